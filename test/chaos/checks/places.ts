import { inClass } from '../../../src/fence/fence-sql';
import { SWEEPER_LEASE_ID } from '../../../src/sweeper/sweeper';
import { type World } from '../world';

/** Of these nothing is left behind at a database that a restaurant has moved away from. */
const MOVED = [
  ...['auth_request_state', 'auth_holds', 'auth_idempotency_keys', 'auth_processing_locks', 'outbox'],
  'restaurant_payment_configs',
];

/**
 * Rows in a database that has not their restaurant; events alone stay where they were written. And of those, the ones
 * that the restaurant's own database does not have.
 */
export async function misplaced(world: World): Promise<string[]> {
  const owned = await world.query<{ event_id: string }>('SELECT event_id FROM payment_events');
  const known = new Set(owned.map(({ event_id }) => event_id));
  const problems: string[] = [];
  for (const database of world.databases) {
    // Sweepers take turns at each database under an id that is no restaurant's.
    const foreign = `NOT (${inClass(database.owns)}) AND restaurant_id <> '${SWEEPER_LEASE_ID}'`;
    for (const table of MOVED) {
      const rows = await database.query<object>(`SELECT * FROM ${table} WHERE ${foreign} LIMIT 10`);
      problems.push(...rows.map((row) => `${database.name}: a row of others in ${table}: ${JSON.stringify(row)}`));
    }
    const left = await database.query<{ event_id: string }>(`SELECT event_id FROM payment_events WHERE ${foreign}`);
    const lost = left.filter(({ event_id }) => !known.has(event_id));
    problems.push(
      ...lost.map(({ event_id }) => `${database.name}: event ${event_id} did not move with its restaurant`),
    );
  }
  return problems;
}
