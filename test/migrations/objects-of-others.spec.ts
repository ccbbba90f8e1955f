import { AbstractLogger, DataSource } from 'typeorm';
import { createDataSourceOptions, type PaymentEventsDataSource } from '../../src/data-source';
import { readCatalog } from '../../src/schema/catalog';
import { alembicCatalogs, targetCatalog } from '../../src/schema/catalogs';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { namesOf, readHistory } from '../../src/migrator/history';
import { migrate, revert } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const silent = { say: () => undefined };
const LEGACY = 'LegacyMockProcessor';

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

const applied = async (dataSource: DataSource) => namesOf(await readHistory(dataSource), 'applied').length;

describe('an index of another application', () => {
  const database = useTestDatabase({ empty: true });
  let dataSource: PaymentEventsDataSource;
  const orders = () =>
    database.query(
      `SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = 'orders'::regclass ORDER BY 1`,
    );
  const inTheWay = (...objects: unknown[]) => ({
    code: 'OBJECTS_IN_THE_WAY',
    objects: objects.map((object) => expect.stringContaining(String(object)) as string),
  });
  beforeAll(async () => {
    await loadLegacyDatabase(database);
    dataSource = await quietDataSource({ url: database.url });
    await database.query('CREATE TABLE orders (id integer)');
  });
  afterAll(() => dataSource.destroy());

  test('that has a name of ours is named before the first step of all, with whatever else is in the way', async () => {
    await database.query(`
      CREATE UNIQUE INDEX idx_outbox_pending ON orders (id);
      CREATE UNIQUE INDEX idx_payment_events_created_at ON orders (id);
      CREATE VIEW restaurant_payment_configs_version_key AS SELECT 1 AS one;
      CREATE SEQUENCE auth_processing_fencing_tokens;
      CREATE FUNCTION guard_auth_request_state() RETURNS integer LANGUAGE sql RETURN 1`);
    const all = inTheWay(
      'Relation auth_processing_fencing_tokens',
      'Index idx_outbox_pending of table orders',
      'Relation restaurant_payment_configs_version_key',
      'Index idx_payment_events_created_at of table orders',
      'Function guard_auth_request_state()',
    );
    await expect(planMigrations(dataSource)).rejects.toMatchObject(all);
    await expect(migrate(dataSource, silent)).rejects.toMatchObject(all);
    expect(await applied(dataSource)).toBe(LEGACY_LEVEL);
    expect(await orders()).toHaveLength(2);
  });

  test('is not dropped by the SQL itself either: of a plan that is run by hand, or by TypeORM alone', async () => {
    await database.query(`DROP VIEW restaurant_payment_configs_version_key; DROP SEQUENCE auth_processing_fencing_tokens; DROP FUNCTION guard_auth_request_state();
      DROP INDEX idx_outbox_pending, idx_payment_events_created_at`);
    const { preparation, migrations } = await planMigrations(dataSource);
    await database.query('CREATE UNIQUE INDEX idx_outbox_unprocessed_aggregate ON orders (id)');
    const session = await database.connect();
    await expect(
      (async () => {
        for (const sql of [preparation, ...migrations.map(({ statements }) => statements)].flat())
          await session.query(sql);
      })(),
    ).rejects.toThrow('Index idx_outbox_unprocessed_aggregate of table orders is not of this package');
    await session.end();

    const options = createDataSourceOptions({ url: database.url, logger: new Silence() });
    const typeorm = await new DataSource(options).initialize();
    await expect(typeorm.runMigrations()).rejects.toThrow('Index idx_outbox_unprocessed_aggregate of table orders');
    await typeorm.destroy();
    expect(await orders()).toEqual([{ name: 'idx_outbox_unprocessed_aggregate' }]);
  });

  test('may have another name, and then it all goes on', async () => {
    await database.query('ALTER INDEX idx_outbox_unprocessed_aggregate RENAME TO orders_id');
    await migrate(dataSource, silent);
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
    expect(await orders()).toEqual([{ name: 'orders_id' }]);
  });

  test('that took a name which ours had is not replaced by a revert', async () => {
    await database.query('CREATE UNIQUE INDEX idx_status ON orders (id)');
    const to = { ...silent, to: LEGACY };
    const named = inTheWay('Index idx_status of table orders');
    await expect(revert(dataSource, to)).rejects.toMatchObject(named);
    await expect(planMigrations(dataSource, { direction: 'down', to: LEGACY })).rejects.toMatchObject(named);
    expect(await applied(dataSource)).toBe(LATEST_LEVEL);
    await database.query('DROP INDEX idx_status');
    await revert(dataSource, to);
    await migrate(dataSource, silent);
  });
});

describe('update_updated_at_column(), which other tables use as well', () => {
  const database = useTestDatabase({ empty: true });
  let dataSource: PaymentEventsDataSource;
  const body = async () => {
    const [row] = await database.query<{ body: string }>(
      `SELECT prosrc AS body FROM pg_proc WHERE proname = 'update_updated_at_column'`,
    );
    return row?.body;
  };
  /** Whether an update of another application's row sets its time. */
  const works = async () => {
    const [row] = await database.query<{ works: boolean }>(
      `UPDATE orders SET updated_at = 'epoch' RETURNING updated_at = now()::timestamp AS works`,
    );
    return row!.works;
  };
  beforeAll(async () => {
    await loadLegacyDatabase(database);
    await database.query(`
      CREATE TABLE orders (id integer, updated_at timestamp);
      INSERT INTO orders VALUES (1);
      CREATE TRIGGER update_orders BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`);
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  test('does not stop contract, and stays for them', async () => {
    await migrate(dataSource, silent);
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
    expect(await works()).toBe(true);
  });

  test('is used again by a revert, as it is', async () => {
    const before = await body();
    await revert(dataSource, { ...silent, to: LEGACY });
    expect(await body()).toBe(before);
    expect(compareCatalogs(alembicCatalogs['09c2b295afcd'], await readCatalog(dataSource))).toEqual([]);
    expect(await works()).toBe(true);
    await migrate(dataSource, silent);
  });

  test('that does something else by now is named and left alone, and goes by another name as well', async () => {
    await database.query(`
      CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN
        NEW.updated_at = now(); NEW.id = NEW.id + 1; RETURN NEW;
      END $$`);
    const before = await body();
    await expect(revert(dataSource, { ...silent, to: LEGACY })).rejects.toMatchObject({
      code: 'OBJECTS_IN_THE_WAY',
      objects: [expect.stringContaining('Function update_updated_at_column() is not of this package') as string],
    });
    expect(await applied(dataSource)).toBe(LATEST_LEVEL);
    expect(await body()).toBe(before);

    await database.query('ALTER FUNCTION update_updated_at_column() RENAME TO update_orders');
    await revert(dataSource, { ...silent, to: LEGACY });
    expect(await works()).toBe(true);
    expect(compareCatalogs(alembicCatalogs['09c2b295afcd'], await readCatalog(dataSource))).toEqual([]);
  });

  test('is dropped by nobody on the way to an empty database', async () => {
    await database.query(`
      TRUNCATE payment_events; DROP TABLE alembic_version; DELETE FROM restaurant_payment_configs WHERE processor_name = 'mock';
      CREATE TRIGGER update_orders_too BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`);
    await new MigrationChain(database).downTo(0);
    expect(await body()).toBeDefined();
    expect(await works()).toBe(true);
    // And a first migration finds it and shares it.
    await migrate(dataSource, silent);
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
    expect(await works()).toBe(true);
  });

  test('is not shared by a first migration where it does something else', async () => {
    await new MigrationChain(database).downTo(0);
    await database.query(`
      CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN NEW.updated_at = clock_timestamp(); RETURN NEW; END $$`);
    await expect(migrate(dataSource, silent)).rejects.toMatchObject({ code: 'OBJECTS_IN_THE_WAY' });
    expect(await applied(dataSource)).toBe(0);
  });
});

describe('a guard function of another application', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    ['guard_auth_request_state', levelOf('GuardAuthRequestState')],
    ['guard_restaurant_payment_configs', levelOf('GuardConfigVersions')],
    ['refuse_payment_events_change', levelOf('GuardConfigVersions') + 1],
    ['refuse_payment_events_gap', levelOf('GuardConfigVersions') + 1],
    ['guard_data_keys', levelOf('AddConfigSecrets')],
  ])('%s is neither replaced nor dropped', async (name, level) => {
    const chain = new MigrationChain(database);
    await chain.upTo(level - 1);
    await database.query(`CREATE FUNCTION ${name}() RETURNS integer LANGUAGE sql RETURN 1`);
    await expect(chain.upTo(level)).rejects.toMatchObject({ code: 'OBJECTS_IN_THE_WAY' });
    expect(await database.query(`SELECT ${name}() AS one`)).toEqual([{ one: 1 }]);
    await database.query(`DROP FUNCTION ${name}()`);
    await chain.upTo(level);
    await chain.downTo(level - 1);
  });
});

describe('a relation of another application', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    ['processors', 'AddProcessors'],
    ['processors_pkey', 'AddProcessors'],
    ['data_keys', 'AddConfigSecrets'],
    ['data_keys_pkey', 'AddConfigSecrets'],
  ])('%s is neither used nor dropped by %s', async (name, migration) => {
    const chain = new MigrationChain(database);
    const level = levelOf(migration);
    await chain.upTo(level - 1);
    await database.query(`CREATE TABLE ${name} (one integer); INSERT INTO ${name} VALUES (1)`);
    await expect(chain.upTo(level)).rejects.toMatchObject({
      code: 'OBJECTS_IN_THE_WAY',
      objects: [expect.stringContaining(`Relation ${name} is not of this package`) as string],
    });
    expect(await database.query(`TABLE ${name}`)).toEqual([{ one: 1 }]);
    await database.query(`ALTER TABLE ${name} RENAME TO mine`);
    await chain.upTo(level);
    await chain.downTo(level - 1);
    expect(await database.query('TABLE mine')).toEqual([{ one: 1 }]);
    await database.query('DROP TABLE mine');
  });
});
