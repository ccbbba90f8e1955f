import { AbstractLogger } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { migrate } from '../../src/migrator/migrator';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { MigratorProcess } from '../support/processes/migrator-process';
import { quietDataSource } from '../support/database/quiet-data-source';
import { eventually } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(180_000);

const NAMES = migrations.map(({ name }) => name);
const HISTORY = 'SELECT name FROM payment_events_db_migrations ORDER BY id';
const LOCKS = `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database = (
  SELECT oid FROM pg_database WHERE datname = current_database())`;

const eight: MigratorProcess[] = [];
beforeAll(async () => {
  eight.push(...(await Promise.all(Array.from({ length: 8 }, () => MigratorProcess.start()))));
});
afterAll(async () => {
  // Whatever it was told before, each of them comes to its end.
  expect(await Promise.all(eight.map((migrator) => migrator.end()))).toEqual(eight.map(() => 0));
});

describe.each([
  { start: 'a fresh database', level: 0 },
  { start: 'a database with rows', level: LEGACY_LEVEL },
])('eight processes at once on $start', ({ level }) => {
  const database = useTestDatabase({ empty: true });

  test('all succeed, and each migration is run once', async () => {
    if (level > 0) await loadLegacyDatabase(database);
    const outcomes = await Promise.all(eight.map(async (migrator) => await migrator.perform({ url: database.url })));
    const applied = outcomes.map((outcome) => Number(/^done (\d+)$/.exec(outcome)?.[1]));
    expect(applied.toSorted((a, b) => a - b)).toEqual([0, 0, 0, 0, 0, 0, 0, LATEST_LEVEL - level]);
    expect(await database.query(HISTORY)).toEqual(NAMES.map((name) => ({ name })));
    expect(await readCatalog(await database.dataSource())).toBe(targetCatalog);
  });
});

describe.each(['all', 'none'] as const)('the transaction mode "%s"', (transaction) => {
  const database = useTestDatabase({ empty: true });

  test('is refused by an error that says which to use, before anything is changed', async () => {
    const outcome = await eight[0]!.perform({ url: database.url, transaction });
    expect(outcome).toMatch(/^failed TransactionModeError: .* Use the mode "each", or npx payment-events-db migrate/);
    expect(await database.query(`SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace`)).toEqual([]);
  });
});

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

describe('services that migrate when they start, as by migrationsRun', () => {
  const database = useTestDatabase({ empty: true });

  test('go through the same lock and keep the same history', async () => {
    const options = { ...createDataSourceOptions({ url: database.url, logger: new Silence() }), migrationsRun: true };
    const start = () => new PaymentEventsDataSource(options).initialize();
    const services = await Promise.all(Array.from({ length: 4 }, start));
    await Promise.all(services.map((service) => service.destroy()));
    const history = await database.query('SELECT name, checksum FROM payment_events_db_migrations ORDER BY id');
    expect(history).toEqual(
      NAMES.map((name) => ({ name, checksum: expect.stringMatching(/^[0-9a-f]{64}$/) as string })),
    );
  });
});

describe('a migrator that waits for another', () => {
  const database = useTestDatabase({ empty: true });

  test('says so, is told after a time who it is, and goes on by itself when that one is killed', async () => {
    const holder = await MigratorProcess.start();
    holder.send({ url: database.url, haltIn: { name: NAMES[4]!, after: 3 } });
    expect(await holder.nextLine()).toBe('halted');

    const impatient = await quietDataSource({ url: database.url, migrationWaitMs: 300 });
    const [session] = await database.query<{ pid: number }>(LOCKS);
    await expect(migrate(impatient)).rejects.toMatchObject({
      code: 'MIGRATION_IN_PROGRESS',
      retryable: true,
      message: expect.stringMatching(
        new RegExp(`process ${session!.pid} \\(payment-events-db, user \\w+\\), \\w+ since 20`),
      ) as string,
    });
    await impatient.destroy();

    eight[0]!.send({ url: database.url });
    expect(await eight[0]!.nextLine()).toBe('waiting');
    await holder.kill();
    expect(await eight[0]!.nextLine()).toBe(`done ${LATEST_LEVEL - 4}`);
    expect(await database.query(HISTORY)).toEqual(NAMES.map((name) => ({ name })));
  });

  test('does not hold up an index that is built concurrently', async () => {
    await new MigrationChain(database).downTo(levelOf('ContractTimestamps') - 1);
    const outcomes = await Promise.all(eight.map((migrator) => migrator.perform({ url: database.url })));
    expect(outcomes.filter((outcome) => !outcome.startsWith('done'))).toEqual([]);
  });
});

describe('a migrator that is killed while its session waits for a lock', () => {
  const database = useTestDatabase({ empty: true });

  test('leaves the migration lock to the next one, as its session notices that nobody listens', async () => {
    const chain = new MigrationChain(database);
    await chain.upTo(levelOf('ContractTimestamps') - 1);
    // DROP INDEX CONCURRENTLY waits for whoever uses the table, without a limit.
    const reader = await database.connect();
    await reader.query('BEGIN; SELECT FROM payment_events');
    const holder = await MigratorProcess.start();
    holder.send({ url: database.url });
    const waits = `SELECT FROM pg_stat_activity WHERE pid = (${LOCKS}) AND wait_event_type = 'Lock'`;
    expect(await eventually(async () => (await database.query(waits)).length > 0)).toBe(true);
    await holder.kill();
    expect(await eventually(async () => (await database.query(LOCKS)).length === 0, 10_000)).toBe(true);
    await reader.end();
    expect(await eight[0]!.perform({ url: database.url })).toMatch(/^done/);
    expect(await chain.catalog()).toBe(targetCatalog);
  });
});
