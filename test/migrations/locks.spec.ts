import { setTimeout as delay } from 'node:timers/promises';
import { type Client } from 'pg';
import { type QueryRunner } from 'typeorm';
import { LOCK_TIMEOUT_MS } from '../../src/migrator/locking';
import { interceptQueries } from '../support/intercept-queries';
import { loadLegacyDatabase } from '../support/legacy-fixture';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migration-chain';
import { useTestDatabase } from '../support/use-test-database';

describe('a transaction that is in the way of a migration', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    { migration: 'LegacyMockProcessor', table: 'restaurant_payment_configs', hold: 'SELECT' },
    { migration: 'ExpandColumns', table: 'payment_events', hold: 'SELECT' },
    { migration: 'ContractTimestamps', table: 'outbox', hold: 'SELECT' },
    { migration: 'ContractChecks', table: 'auth_idempotency_keys', hold: 'SELECT' },
    { migration: 'GuardConfigVersions', table: 'restaurant_payment_configs', hold: 'UPDATE' },
    { migration: 'GuardPaymentEvents', table: 'payment_events', hold: 'INSERT' },
  ])('delays $migration, does not fail it, and lets others through meanwhile', async ({ migration, table, hold }) => {
    const chain = new MigrationChain(database);
    await chain.upTo(levelOf(migration) - 1);
    const [holder, other] = [await database.connect(), await database.connect()];
    await holder.query('BEGIN');
    await holder.query(HOLD[hold as keyof typeof HOLD](table));

    const migrated = chain.upTo(levelOf(migration));
    let done = false;
    const settled = migrated.finally(() => (done = true)).catch(() => undefined);
    await untilTheMigrationWaits(other);
    // It may be queued behind the migration, which gives up its place in the queue long before this gives up.
    await other.query(`SET statement_timeout = ${10 * LOCK_TIMEOUT_MS}`);
    await other.query(`SELECT count(*) FROM ${table}`);
    if (hold !== 'SELECT') await other.query(`UPDATE ${table} SET created_at = created_at WHERE false`);
    expect(done).toBe(false);

    await holder.query('COMMIT');
    await migrated;
    await settled;
    for (const client of [holder, other]) await client.end();
  });
});

const HOLD = {
  SELECT: (table: string) => `SELECT count(*) FROM ${table}`,
  UPDATE: (table: string) => `UPDATE ${table} SET created_at = created_at WHERE false`,
  INSERT: (table: string) => `INSERT INTO ${table} SELECT * FROM ${table} WHERE false`,
};

/** For a table, or for older transactions, as the concurrent statements do. */
async function untilTheMigrationWaits(client: Client): Promise<void> {
  const WAITING = `
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'payment-events-db' AND wait_event_type = 'Lock'`;
  while ((await client.query(WAITING)).rowCount === 0) await delay(10);
}

describe('no table is rewritten and no index built under a lock that stops traffic', () => {
  const database = useTestDatabase({ empty: true });
  const chain = () => new MigrationChain(database);

  const FILES = `
    SELECT relfilenode::integer FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')`;

  /** Statements, other than the concurrent ones, that made a new file for a table or an index. */
  async function statementsThatBuild(session: QueryRunner, run: () => Promise<void>): Promise<string[]> {
    const found: string[] = [];
    const files = async () => {
      const rows = await database.query<{ relfilenode: number }>(FILES);
      return new Set(rows.map((row) => row.relfilenode));
    };
    const compareFiles = async (sql: string, send: () => Promise<unknown>) => {
      const before = await files();
      const result = await send();
      const built = [...(await files())].filter((file) => !before.has(file));
      if (built.length > 0 && !/^(CREATE|DROP) (UNIQUE )?INDEX CONCURRENTLY/.test(sql)) found.push(sql);
      return result;
    };
    await interceptQueries(session, compareFiles, run);
    return found;
  }

  beforeAll(() => loadLegacyDatabase(database));

  test('on the way up and down', async () => {
    for (let level = 3; level <= LATEST_LEVEL; level++) {
      const built = await chain().byHand(level, async (migration, session) => ({
        up: await statementsThatBuild(session, () => migration.up(session)),
        down: await statementsThatBuild(session, () => migration.down(session)),
      }));
      expect({ level, ...built }).toEqual({ level, up: [], down: [] });
      await chain().upTo(level);
    }
  });
});

describe.each([
  { migration: 'ContractRestaurants', row: 'payment_events' },
  { migration: 'GuardAuthRequestState', row: 'auth_request_state' },
])('the backfill of $migration', ({ migration, row }) => {
  const database = useTestDatabase({ empty: true });

  test('goes on in the same session when an operator has cancelled it', async () => {
    const chain = new MigrationChain(database);
    await loadLegacyDatabase(database);
    await chain.upTo(levelOf(migration) - 1);
    const holder = await database.connect();
    await holder.query(`BEGIN; SELECT FROM ${row} FOR UPDATE`);

    await chain.byHand(levelOf(migration), async (instance, session) => {
      const [backend] = (await session.query('SELECT pg_backend_pid() AS pid')) as { pid: number }[];
      const running = instance.up(session);
      const cancelled = expect(running).rejects.toThrow('canceling statement due to user request');
      while ((await holder.query(WAITS, [backend?.pid])).rowCount === 0) await delay(10);
      await holder.query('SELECT pg_cancel_backend($1)', [backend?.pid]);
      await cancelled;
      await holder.query('COMMIT');
      await instance.up(session);
    });
    await chain.upTo(LATEST_LEVEL);
    await holder.end();
  });
});

const WAITS = `SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'`;
