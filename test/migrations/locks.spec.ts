import { setTimeout as delay } from 'node:timers/promises';
import { type Client } from 'pg';
import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { migrations } from '../../src/migrations';
import { targetCatalog } from '../../src/schema/catalogs';
import { LOCK_TIMEOUT_MS } from '../../src/migrations/helpers/locking';
import { migrate } from '../../src/migrator/migrator';
import { interceptQueries } from '../support/database/intercept-queries';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

describe('a transaction that is in the way of a migration', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    { migration: 'LegacyMockProcessor', table: 'restaurant_payment_configs', hold: 'SELECT' },
    { migration: 'ExpandColumns', table: 'payment_events', hold: 'SELECT' },
    { migration: 'ContractTimestamps', table: 'outbox', hold: 'SELECT' },
    { migration: 'ContractChecks', table: 'auth_idempotency_keys', hold: 'SELECT' },
    { migration: 'GuardConfigVersions', table: 'restaurant_payment_configs', hold: 'UPDATE' },
    { migration: 'GuardPaymentEvents', table: 'payment_events', hold: 'INSERT' },
    { migration: 'CommentOnObjects', table: 'outbox', hold: 'VACUUM' },
    { migration: 'AddProcessors', table: 'restaurant_payment_configs', hold: 'SELECT' },
    { migration: 'AddConfigSecrets', table: 'restaurant_payment_configs', hold: 'SELECT' },
    { migration: 'GuardConfigSecrets', table: 'restaurant_payment_configs', hold: 'INSERT' },
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

describe('a transaction that stays in the way', () => {
  const database = useTestDatabase({ empty: true });
  const level = levelOf('ExpandColumns');

  test('is spoken of while the migration waits, and named by the error when its time is up', async () => {
    const chain = new MigrationChain(database);
    await chain.upTo(level - 1);
    const holder = await database.connect();
    await holder.query(`SET application_name = 'nightly report'; BEGIN; SELECT FROM payment_events`);
    const [session] = (await holder.query('SELECT pg_backend_pid() AS pid')).rows as { pid: number }[];

    const dataSource = await quietDataSource({ url: database.url, poolSize: 1, migrationLockBudgetMs: 3_000 });
    const said: string[] = [];
    const migrated = migrate(dataSource, { to: migrations[level - 1]!.name, say: (message) => said.push(message) });
    await expect(migrated).rejects.toMatchObject({
      code: 'MIGRATION_BLOCKED',
      retryable: true,
      blockers: [{ pid: session!.pid, applicationName: 'nightly report', state: 'idle in transaction' }],
      message: expect.stringContaining(`process ${session!.pid} (nightly report, user `) as string,
    });
    const waiting = new RegExp(`^${migrations[level - 1]!.name}: \\d+ s so far; waiting for process ${session!.pid} `);
    expect(said).toContainEqual(expect.stringMatching(waiting));
    await holder.end();
    await migrate(dataSource, { say: () => undefined });
    await dataSource.destroy();
  });
});

describe('a migration in one transaction', () => {
  const database = useTestDatabase();

  class InOneTransaction1900000000000 implements MigrationInterface {
    name = 'InOneTransaction1900000000000';
    async up(queryRunner: QueryRunner): Promise<void> {
      await queryRunner.query('CREATE TABLE made_before_the_lock ()');
      await queryRunner.query('ALTER TABLE outbox ADD COLUMN made_under_the_lock integer');
    }
    async down(): Promise<void> {}
  }

  test('is tried again as a whole when it lacks a lock, and lets traffic through in between', async () => {
    const holder = await database.connect();
    await holder.query('BEGIN; SELECT FROM outbox');
    const dataSource = await quietDataSource({ url: database.url });
    dataSource.migrations.push(new InOneTransaction1900000000000());
    const migrated = migrate(dataSource, { say: () => undefined });
    await untilTheMigrationWaits(holder);
    // Behind it in the queue, until it gives up its place.
    await database.query('SELECT count(*) FROM outbox');
    await holder.query('COMMIT');
    expect((await migrated).map(({ name }) => name)).toEqual([InOneTransaction1900000000000.name]);
    expect(await database.query('SELECT made_under_the_lock FROM outbox')).toEqual([]);
    await holder.end();
    await dataSource.destroy();
  });
});

describe('an index whose build was cancelled', () => {
  const database = useTestDatabase({ empty: true });
  const INVALID = `SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid`;

  test('is found INVALID and built again when the migration is run again', async () => {
    const chain = new MigrationChain(database);
    const level = levelOf('ExpandIndexes');
    await chain.upTo(level - 1);
    const holder = await database.connect();
    await holder.query(
      `BEGIN; INSERT INTO outbox (aggregate_id, message_type, payload) VALUES (gen_random_uuid(), 'm', '')`,
    );
    const migrated = chain.upTo(level);
    const cancelled = expect(migrated).rejects.toThrow('canceling statement due to user request');
    const observer = await database.connect();
    await untilTheMigrationWaits(observer);
    await observer.query(`
      SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'`);
    await cancelled;
    expect(await database.query(INVALID)).toEqual([{ name: expect.stringContaining('idx_outbox') as string }]);

    await holder.query('ROLLBACK');
    await chain.upTo(level);
    expect(await database.query(INVALID)).toEqual([]);
    await chain.upTo(LATEST_LEVEL);
    expect(await chain.catalog()).toBe(targetCatalog);
    for (const client of [holder, observer]) await client.end();
  });
});

const HOLD = {
  SELECT: (table: string) => `SELECT count(*) FROM ${table}`,
  UPDATE: (table: string) => `UPDATE ${table} SET created_at = created_at WHERE false`,
  INSERT: (table: string) => `INSERT INTO ${table} SELECT * FROM ${table} WHERE false`,
  // VACUUM itself runs in no transaction.
  VACUUM: (table: string) => `LOCK TABLE ${table} IN SHARE UPDATE EXCLUSIVE MODE`,
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

  /** Of tables and indexes, each with its table. */
  const FILES = `
    SELECT relfilenode::integer, coalesce(indrelid, pg_class.oid)::integer AS of
    FROM pg_class LEFT JOIN pg_index ON indexrelid = pg_class.oid
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')`;

  /** Statements, other than the concurrent ones, that made a new file for a table or an index of one that was there. */
  async function statementsThatBuild(session: QueryRunner, run: () => Promise<void>): Promise<string[]> {
    const found: string[] = [];
    const files = async () => {
      const rows = await database.query<{ relfilenode: number; of: number }>(FILES);
      return new Map(rows.map((row) => [row.relfilenode, row.of]));
    };
    const compareFiles = async (sql: string, send: () => Promise<unknown>) => {
      const before = await files();
      const result = await send();
      const tables = new Set(before.values());
      const built = [...(await files())].filter(([file, table]) => !before.has(file) && tables.has(table));
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
