import { uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { type AuthRequestStatus } from './statuses';

const READ_STATUS = operation({
  name: 'read_status',
  input: { auth_request_id: uuid, restaurant_id: uuid },
  output: rowsOf<{ status: AuthRequestStatus }>(),
  sql: `SELECT status FROM auth_request_state JOIN input USING (auth_request_id, restaurant_id)`,
});

/** The status as committed by now, to explain why a write before it changed nothing. */
export async function readStatus(
  session: Session,
  { authRequestId, restaurantId }: { authRequestId: string; restaurantId: string },
): Promise<AuthRequestStatus | undefined> {
  const row = await session.row(READ_STATUS, { auth_request_id: authRequestId, restaurant_id: restaurantId });
  return row?.status;
}
