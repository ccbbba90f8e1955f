import { adopt, findDrift, migrate, planMigrations, revert } from '../../src';
import { targetCatalog } from '../../src/schema/catalogs';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { digestLegacyColumns, lastingDigests } from '../support/legacy/legacy-fixture';
import { EXPANDED_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const say = () => undefined;

/** Each changes the text of the catalog, or what SQL means. Through a pooler no connection can pin them at its start. */
const SETTINGS: [name: string, value: string][] = [
  ['IntervalStyle', 'iso_8601'],
  ['DateStyle', 'German'],
  ['quote_all_identifiers', 'on'],
  ['bytea_output', 'escape'],
  ['extra_float_digits', '-10'],
  ['standard_conforming_strings', 'off'],
  ['array_nulls', 'off'],
  ['transform_null_equals', 'on'],
  ['default_transaction_isolation', 'serializable'],
];

describe('settings of the database', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(() => database.query(`ALTER DATABASE ${database.name} SET search_path = "public", pg_temp`));

  test.each(SETTINGS)('change nothing for adopt, migrate, plan, check and revert: %s = %s', async (name, value) => {
    await database.closeSessions();
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await loadAlembicDatabase(database);
    await database.query(`ALTER DATABASE ${database.name} SET ${name} = '${value}'`);
    const dataSource = await quietDataSource({ url: database.url, timeoutsVia: 'role' });
    try {
      const shown = Object.values((await dataSource.query<object[]>(`SHOW ${name}`))[0]!)[0] as string;
      expect(shown).toMatch(value);
      expect(await adopt(dataSource)).toMatchObject({ outcome: 'adopted', kept: [], obstacles: [] });
      expect(await findDrift(dataSource, { rolePrefix: database.name })).toEqual([]);
      await migrate(dataSource, { say });
      expect(await new MigrationChain(database).catalog()).toBe(targetCatalog);
      expect(await planMigrations(dataSource)).toMatchObject({ migrations: [] });
      expect(await findDrift(dataSource, { rolePrefix: database.name })).toEqual([]);
      // A session that has migrated goes back to its pool as it was.
      expect(Object.values((await dataSource.query<object[]>(`SHOW ${name}`))[0]!)).toEqual([shown]);
      await revert(dataSource, { to: 'LegacyMockProcessor', say });
      expect(await findDrift(dataSource, { rolePrefix: database.name })).toEqual([]);
    } finally {
      await dataSource.destroy();
      await database.query(`ALTER DATABASE ${database.name} RESET ${name}`);
    }
    await database.closeSessions();
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
  });

  test('that end a long transaction end no index build', async () => {
    await database.closeSessions();
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await new MigrationChain(database).upTo(LEGACY_LEVEL);
    const [known] = await database.query(`SELECT FROM pg_settings WHERE name = 'transaction_timeout'`);
    const older = await database.connect();
    await older.query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
    if (known) await database.query(`ALTER DATABASE ${database.name} SET transaction_timeout = '4s'`);
    const dataSource = await quietDataSource({ url: database.url, timeoutsVia: 'role' });
    try {
      const migrating = migrate(dataSource, { to: 'ExpandIndexes', say });
      // The build waits for the transaction that is older, and longer than it might last.
      const waiting = `SELECT FROM pg_stat_activity WHERE query ~ 'CREATE INDEX' AND wait_event_type = 'Lock'
        AND datname = current_database() AND now() - query_start > interval '5 s'`;
      while ((await database.query(waiting)).length === 0) await database.query('SELECT pg_sleep(0.2)');
      await older.query('COMMIT');
      await migrating;
    } finally {
      await dataSource.destroy();
      if (known) await database.query(`ALTER DATABASE ${database.name} RESET transaction_timeout`);
    }
    expect(await database.query('SELECT FROM payment_events_db_migrations')).toHaveLength(EXPANDED_LEVEL);
  });
});
