import { adopt, migrations, type PaymentEventsDataSource, type SchemaDriftError } from '../../src';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { digestLegacyColumns, lastingDigests } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const MIRROR = migrations.slice(0, LEGACY_LEVEL).map(({ name }) => name);
const HISTORY = `
  SELECT to_jsonb(history) - 'applied_at' - 'duration_ms' AS row FROM payment_events_db_migrations AS history ORDER BY id`;

describe('adopt', () => {
  const database = useTestDatabase({ empty: true });
  const ran = useTestDatabase({ empty: true });
  const hasHistory = async () =>
    (await database.query(`SELECT to_regclass('payment_events_db_migrations') IS NOT NULL AS it`))[0]!.it;
  const version = (...revisions: string[]) =>
    database.query(
      `DELETE FROM alembic_version; INSERT INTO alembic_version SELECT unnest('{${revisions.join(',')}}'::text[])`,
    );
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    await loadAlembicDatabase(database);
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  describe('refuses, and changes nothing:', () => {
    afterEach(async () => {
      await version('09c2b295afcd');
      expect(await hasHistory()).toBe(false);
    });
    const refusal = () => failureOf(adopt(dataSource));

    test('a database without a revision of Alembic', async () => {
      await version();
      expect(await refusal()).toMatchObject({ code: 'NOT_MADE_BY_ALEMBIC' });
      await database.query('ALTER TABLE alembic_version RENAME TO elsewhere');
      expect(await refusal()).toMatchObject({ code: 'NOT_MADE_BY_ALEMBIC' });
      await database.query('ALTER TABLE elsewhere RENAME TO alembic_version');
    });

    test('a revision that is not known, or several', async () => {
      await version('abcdef012345');
      expect(await refusal()).toMatchObject({
        code: 'UNKNOWN_ALEMBIC_REVISION',
        message: expect.stringMatching(/\(abcdef012345\)\. Bring it to 09c2b295afcd with Alembic first/) as string,
      });
      await version('9a82c6d3b654', '09c2b295afcd');
      expect(await refusal()).toMatchObject({ revisions: ['09c2b295afcd', '9a82c6d3b654'] });
    });

    test('a schema with one column that was altered by hand, and says which', async () => {
      await database.query('ALTER TABLE auth_request_state ALTER COLUMN payment_token TYPE varchar(65)');
      const error = (await refusal()) as SchemaDriftError;
      expect(error.code).toBe('SCHEMA_DRIFT');
      expect(error.drift).toHaveLength(1);
      expect(error.message.split('\n').slice(1, -1)).toEqual([
        'different: table auth_request_state: column payment_token',
        '  - column payment_token character varying(64) not null',
        '  + column payment_token character varying(65) not null',
      ]);
      await database.query('ALTER TABLE auth_request_state ALTER COLUMN payment_token TYPE varchar(64)');
    });

    test('a schema that is that of another revision than it says', async () => {
      await version('9a82c6d3b654');
      expect(await refusal()).toMatchObject({
        drift: [{ kind: 'different', object: 'table restaurant_payment_configs: constraint check_processor' }],
      });
    });

    test('a view that the migrations would run into', async () => {
      await database.query('CREATE VIEW report AS SELECT created_at FROM outbox');
      expect(await refusal()).toMatchObject({
        drift: [{ kind: 'unexpected', object: 'table outbox: read by report' }],
      });
      await database.query('DROP VIEW report');
    });

    test('a history that other code has written', async () => {
      await database.query(`
        CREATE TABLE payment_events_db_migrations (id serial, "timestamp" bigint, name varchar);
        INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1, 'Other1795367318204')`);
      expect(await refusal()).toMatchObject({ code: 'UNKNOWN_MIGRATIONS' });
      await database.query('DROP TABLE payment_events_db_migrations');
    });
  });

  test('as a dry run changes nothing, and keeps nobody from migrating', async () => {
    expect(await adopt(dataSource, { dryRun: true })).toEqual({
      outcome: 'would_be_adopted',
      revision: '09c2b295afcd',
      recorded: MIRROR,
      legacyTimeZone: 'UTC',
      legacyClocks: [
        { column: 'created_at', zone: 'UTC', compared: 152 },
        { column: 'completed_at', zone: 'UTC', compared: 111 },
      ],
      grants: [],
      kept: [],
      obstacles: [],
    });
    expect(await hasHistory()).toBe(false);
    const locks = `SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
      WHERE locktype = 'advisory' AND datname = current_database()`;
    expect(await database.query(locks)).toEqual([]);
  });

  test('records what a run would have recorded, and leaves privileges, rows and alembic_version as they are', async () => {
    await new MigrationChain(ran).upTo(LEGACY_LEVEL);
    await database.query('GRANT SELECT, INSERT ON outbox TO PUBLIC');
    const grants = ['INSERT', 'SELECT'].map((privilege) => `table outbox: grant ${privilege} to PUBLIC`);
    expect(await adopt(dataSource)).toMatchObject({ outcome: 'adopted', recorded: MIRROR, grants });
    expect(await database.query(HISTORY)).toEqual(await ran.query(HISTORY));
    expect(await database.query(`SELECT version_num FROM alembic_version`)).toEqual([{ version_num: '09c2b295afcd' }]);
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
    await database.query('REVOKE ALL ON outbox FROM PUBLIC');
  });

  test('again changes nothing, and does not pretend that the zone could be changed now', async () => {
    const before = await database.query(HISTORY);
    for (const legacyTimeZone of [undefined, 'etc/utc']) {
      expect(await adopt(dataSource, { legacyTimeZone })).toMatchObject({ outcome: 'adopted_already', recorded: [] });
    }
    expect(await failureOf(adopt(dataSource, { legacyTimeZone: 'Europe/Berlin' }))).toMatchObject({
      code: 'LEGACY_TIME_ZONE',
      message: expect.stringContaining('adopted with times of UTC') as string,
    });
    expect(await database.query(HISTORY)).toEqual(before);
  });

  test('lets the migrations bring it to the newest schema with all its rows', async () => {
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
  });

  test('at the first revision records the first migration alone; the second is then run', async () => {
    await database.query(`DELETE FROM restaurant_payment_configs WHERE processor_name = 'mock'`);
    await new MigrationChain(database).downTo(1);
    await database.query('DROP TABLE payment_events_db_migrations');
    await version('9a82c6d3b654');
    expect((await adopt(dataSource)).recorded).toEqual([MIRROR[0]]);
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
  });
});

describe('adopt and the migrations after it', () => {
  const database = useTestDatabase({ empty: true });
  let owner: string;
  beforeAll(async () => {
    await loadAlembicDatabase(database);
    owner = `owner_of_${database.name}`;
    await database.query(`
      CREATE ROLE ${owner} LOGIN PASSWORD 'password';
      ALTER DATABASE ${database.name} OWNER TO ${owner};
      ALTER FUNCTION update_updated_at_column() OWNER TO ${owner};
      DO $$ DECLARE it text; BEGIN
        FOR it IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
          EXECUTE format('ALTER TABLE %I OWNER TO ${owner}', it);
        END LOOP;
      END $$`);
  });
  afterAll(() =>
    database.query(`REASSIGN OWNED BY ${owner} TO CURRENT_USER; DROP OWNED BY ${owner}; DROP ROLE ${owner}`),
  );

  test('take the owner of the database and no superuser, whatever the zone of its rows', async () => {
    const { href } = Object.assign(new URL(database.url), { username: owner, password: 'password' });
    const dataSource = await quietDataSource({ url: href });
    try {
      expect(await adopt(dataSource, { legacyTimeZone: 'Asia/Kolkata' })).toMatchObject({ outcome: 'adopted' });
      await new MigrationChain({ url: href }).upTo(LATEST_LEVEL);
      expect(await readCatalog(dataSource)).toBe(targetCatalog);
    } finally {
      await dataSource.destroy();
    }
  });
});
