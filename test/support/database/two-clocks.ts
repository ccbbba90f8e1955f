import { loadAlembicDatabase } from '../legacy/alembic-database';
import { type DatabaseOfFile } from './use-test-database';

/** What the server's now() writes; the made-up rows are those of a server in UTC. */
const SERVER_TIMES = {
  payment_events: ['created_at'],
  outbox: ['created_at', 'processed_at'],
  restaurant_payment_configs: ['updated_at'],
  auth_idempotency_keys: ['created_at', 'expires_at'],
  auth_processing_locks: ['locked_at', 'expires_at'],
};

/**
 * Makes the database of a server in another zone than UTC, as Alembic and the legacy services left it: all times are of
 * the server's clock, but for those that the services write of a request, which are in UTC.
 */
export async function loadTwoClockDatabase(database: DatabaseOfFile, zone: string): Promise<void> {
  await loadAlembicDatabase(database);
  const toZone = (column: string) => `${column} = ${column} AT TIME ZONE 'UTC' AT TIME ZONE '${zone}'`;
  await database.query(`
    CREATE TABLE requests_in_utc AS TABLE auth_request_state;
    ${Object.entries(SERVER_TIMES)
      .map(([table, columns]) => `UPDATE ${table} SET ${columns.map(toZone).join(', ')};`)
      .join('\n')}
    ${pastTheTrigger(`UPDATE auth_request_state SET ${toZone('updated_at')} WHERE updated_at <> created_at`)}`);
}

/** Changes requests without the trigger that would set updated_at. */
export const pastTheTrigger = (update: string) => `
  ALTER TABLE auth_request_state DISABLE TRIGGER USER;
  ${update};
  ALTER TABLE auth_request_state ENABLE TRIGGER USER`;
