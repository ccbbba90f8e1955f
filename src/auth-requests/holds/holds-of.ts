import { uuid } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { type Hold, HOLD_COLUMNS, type HoldRow, toHold } from './hold';

const HOLDS_OF = operation({
  name: 'holds_of_request',
  input: { auth_request_id: uuid },
  output: rowsOf<HoldRow>(),
  sql: `
  SELECT ${HOLD_COLUMNS} FROM auth_holds JOIN input USING (auth_request_id)
  ORDER BY first_event_sequence, processor_name, processor_auth_id`,
});

/** Every hold of a request, also those that have ended, in the order in which they were reported. */
export const holdsOf = async (session: Session, authRequestId: string): Promise<Hold[]> =>
  (await session.rows(HOLDS_OF, { auth_request_id: authRequestId })).map(toHold);
