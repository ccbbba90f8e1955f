import { AbstractLogger, DataSource } from 'typeorm';
import { createDataSourceOptions, type PaymentEventsDataSource } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { assertNonePending, readHistory } from '../../src/migrator/history';
import { checksumOf } from '../../src/migrator/planned-sql';
import { planMigrations } from '../../src/migrator/plan';
import { stamp } from '../../src/migrator/stamp';
import { VERSION } from '../../src/migrator/version';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const NAMES = migrations.map(({ name }) => name);
const checksums = () => Promise.all(migrations.map((Migration) => checksumOf(new Migration())));

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}
const silent = { say: () => undefined };

describe('a history that plain TypeORM has written', () => {
  const database = useTestDatabase({ empty: true });
  const byHand = useTestDatabase({ empty: true });
  const level = levelOf('ExpandIndexes');
  const HISTORY = `SELECT name, checksum, package_version, applied_by, applied_at IS NOT NULL AS timed
                   FROM payment_events_db_migrations ORDER BY id`;

  /** As several processes at once leave it: each wrote that it had run the last one. */
  async function writeWithTypeOrm(url: string): Promise<void> {
    const options = {
      ...createDataSourceOptions({ url, logger: new Silence() }),
      migrations: migrations.slice(0, level),
    };
    const typeorm = await new DataSource(options).initialize();
    await typeorm.runMigrations({ transaction: 'each' });
    await typeorm.query(`INSERT INTO payment_events_db_migrations ("timestamp", name)
      SELECT "timestamp", name FROM payment_events_db_migrations ORDER BY id DESC LIMIT 2`);
    await typeorm.destroy();
  }
  beforeAll(() => Promise.all([database, byHand].map(({ url }) => writeWithTypeOrm(url))));

  test('is read as it is: what it does not hold is null, and what it holds twice is there once', async () => {
    const history = await readHistory(await database.dataSource());
    expect(history.filter(({ state }) => state === 'applied')).toEqual(
      NAMES.slice(0, level).map((name) => ({
        ...{ name, state: 'applied', appliedAt: null },
        ...{ durationMs: null, packageVersion: null, appliedBy: null },
      })),
    );
    expect(() => assertNonePending(history)).toThrow(NAMES.at(-1));
  });

  test('is completed by the next migration: each name once, with its checksum', async () => {
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    const [user] = await database.query<{ name: string }>('SELECT session_user AS name');
    const all = await checksums();
    expect(await database.query(HISTORY)).toEqual(
      NAMES.map((name, index) => ({
        ...{ name, checksum: all[index] },
        ...(index < level
          ? { package_version: null, applied_by: null, timed: false }
          : { package_version: VERSION, applied_by: user!.name, timed: true }),
      })),
    );
    await expect(
      database.query(`INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1, '${NAMES[0]}')`),
    ).rejects.toMatchObject({ code: '23505', constraint: 'payment_events_db_migrations_name_key' });
  });

  test('is completed by a plan that is run by hand as well', async () => {
    const { preparation, migrations: planned } = await planMigrations(await byHand.dataSource());
    const session = await byHand.connect();
    for (const sql of [preparation, ...planned.map(({ statements }) => statements)].flat()) await session.query(sql);
    expect(await byHand.query(HISTORY)).toEqual(await database.query(HISTORY));
  });

  test('can still be read and written by plain TypeORM, and what that writes is completed again', async () => {
    const options = createDataSourceOptions({ url: database.url, logger: new Silence() });
    const typeorm = await new DataSource(options).initialize();
    expect(await typeorm.showMigrations()).toBe(false);
    await typeorm.undoLastMigration({ transaction: 'none' });
    expect(await typeorm.showMigrations()).toBe(true);
    await typeorm.runMigrations({ transaction: 'each' });
    await typeorm.destroy();
    expect(await database.query(`${HISTORY} DESC LIMIT 1`)).toMatchObject([{ checksum: null, timed: true }]);
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    expect(await database.query(`${HISTORY} DESC LIMIT 1`)).toMatchObject([{ checksum: (await checksums()).at(-1) }]);
  });
});

describe('a stamp', () => {
  const database = useTestDatabase();
  const HISTORY = 'SELECT name, checksum FROM payment_events_db_migrations ORDER BY id';
  let onlyOneConnection: PaymentEventsDataSource;
  beforeAll(async () => {
    onlyOneConnection = await quietDataSource({ url: database.url, poolSize: 1 });
  });
  afterAll(() => onlyOneConnection.destroy());

  test('corrects what was changed, records what is missing and forgets the rest, in the order of the migrations', async () => {
    const before = await database.query<{ applied_at: Date }>('SELECT * FROM payment_events_db_migrations ORDER BY id');
    await database.query(`
      UPDATE payment_events_db_migrations SET checksum = 'of another' WHERE name = '${NAMES[2]}';
      DELETE FROM payment_events_db_migrations WHERE name = '${NAMES[1]}';
      INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1795300000000, 'AddRefunds1795300000000')`);
    const changes = {
      recorded: [NAMES[1]],
      mended: [NAMES[2]],
      ended: [],
      removed: [...NAMES.slice(4), 'AddRefunds1795300000000'],
    };
    const damaged = await database.query(HISTORY);
    expect(await stamp(onlyOneConnection, 'ExpandIndexes', { dryRun: true })).toEqual(changes);
    expect(await database.query(HISTORY)).toEqual(damaged);

    expect(await stamp(onlyOneConnection, 'ExpandIndexes', silent)).toEqual(changes);
    const all = await checksums();
    const stamped = NAMES.slice(0, 4).map((name, index) => ({ name, checksum: all[index] }));
    expect(await database.query(HISTORY)).toEqual(stamped);
    expect(
      await database.query(
        `SELECT applied_at FROM payment_events_db_migrations WHERE name <> '${NAMES[1]}' ORDER BY id`,
      ),
    ).toEqual([before[0], before[2], before[3]].map((row) => ({ applied_at: row!.applied_at })));
    // Nothing but the history was touched.
    expect(await database.query(`SELECT to_regclass('idx_outbox_processed_at') IS NOT NULL AS there`)).toEqual([
      { there: true },
    ]);
  });

  test('of the last migration brings all of them back, and once more does nothing', async () => {
    expect(await stamp(onlyOneConnection, NAMES.at(-1)!, silent)).toEqual({
      ...{ recorded: NAMES.slice(4), mended: [], ended: [], removed: [] },
    });
    expect(await stamp(onlyOneConnection, NAMES.at(-1)!, silent)).toEqual({
      recorded: [],
      mended: [],
      ended: [],
      removed: [],
    });
    await onlyOneConnection.undoLastMigration();
    expect(await database.query(HISTORY)).toHaveLength(LATEST_LEVEL - 1);
    expect(await onlyOneConnection.runMigrations()).toHaveLength(1);
  });
});

describe('a stamp of an empty database', () => {
  const database = useTestDatabase({ empty: true });

  test('makes the history table', async () => {
    const dataSource = await database.dataSource();
    expect(await stamp(dataSource, 'LegacySchema', silent)).toMatchObject({ recorded: [NAMES[0]] });
    expect(await readHistory(dataSource)).toContainEqual(
      expect.objectContaining({ name: NAMES[0], state: 'applied', durationMs: null }),
    );
  });
});
