import { type DataSource } from 'typeorm';
import { uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { sessionOf } from '../database/session';
import { assertOwned } from '../fence/assert-owned';

/** By columns that every role may read which sees requests. Null where there is neither a row nor an event. */
const FIND_RESTAURANT = operation({
  name: 'find_restaurant_of_request',
  input: { auth_request_id: uuid },
  output: rowsOf<{ restaurant_id: string | null }>(),
  sql: `
  SELECT coalesce(
    (SELECT restaurant_id FROM auth_request_state AS request WHERE request.auth_request_id = input.auth_request_id),
    (SELECT restaurant_id FROM payment_events WHERE aggregate_id = input.auth_request_id ORDER BY sequence_number LIMIT 1)
  ) AS restaurant_id
  FROM input`,
});

/**
 * Whether a database has a request: its row, or events alone.
 *
 * @throws WrongShardError its restaurant is in another database
 */
export async function hasRequest(dataSource: DataSource, authRequestId: string): Promise<boolean> {
  const session = sessionOf(dataSource);
  const found = await session.row(FIND_RESTAURANT, { auth_request_id: authRequestId });
  if (!found?.restaurant_id) return false;
  await assertOwned(session, found.restaurant_id);
  return true;
}
