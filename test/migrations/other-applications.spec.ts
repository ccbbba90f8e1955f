import { DataSource, type MigrationInterface } from 'typeorm';
import { adopt, migrate, planMigrations } from '../../src';
import { createDataSourceOptions } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { targetCatalog } from '../../src/schema/catalogs';
import { MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const say = () => undefined;

describe('a database where another application uses Alembic', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    [
      'its revision',
      `CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('f00')`,
    ],
    [
      'a table that only has the name',
      `CREATE TABLE alembic_version (version integer); INSERT INTO alembic_version VALUES (7)`,
    ],
  ])('is migrated from nothing, beside %s, and is none to adopt', async (_what, sql) => {
    await database.query(`DROP SCHEMA public CASCADE; CREATE SCHEMA public; ${sql}`);
    const dataSource = await quietDataSource({ url: database.url });
    try {
      expect(await failureOf(adopt(dataSource))).toMatchObject({
        code: 'NOT_MADE_BY_ALEMBIC',
        message: expect.stringContaining('To create the tables: npx payment-events-db migrate') as string,
      });
      expect((await planMigrations(dataSource)).migrations).toHaveLength(migrations.length);
      await migrate(dataSource, { say });
    } finally {
      await dataSource.destroy();
    }
    expect(await new MigrationChain(database).catalog()).toBe(targetCatalog);
    expect(await database.query('SELECT FROM alembic_version')).toHaveLength(1);
  });
});

class AddRefunds1800000000000 implements MigrationInterface {
  name = 'AddRefunds1800000000000';
  async up(): Promise<void> {}
  async down(): Promise<void> {}
}

describe('a migration of one’s own', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    ['migrate', (dataSource: DataSource) => migrate(dataSource, { say })],
    ['plan', (dataSource: DataSource) => planMigrations(dataSource)],
    ['adopt', (dataSource: DataSource) => adopt(dataSource, { say })],
  ])('does not get into the history of the package: %s', async (_command, run) => {
    const options = createDataSourceOptions({ url: database.url });
    const mixed = [...migrations, AddRefunds1800000000000];
    const dataSource = await new DataSource({ ...options, migrations: mixed }).initialize();
    try {
      expect(await failureOf(run(dataSource))).toMatchObject({
        code: 'FOREIGN_MIGRATIONS',
        names: ['AddRefunds1800000000000'],
        message: expect.stringContaining('a second DataSource') as string,
      });
    } finally {
      await dataSource.destroy();
    }
    expect(await database.query(`SELECT to_regclass('payment_events_db_migrations') AS it`)).toEqual([{ it: null }]);
  });

  test('that is there already is refused with the same advice', async () => {
    await new MigrationChain(database).upTo(migrations.length);
    await database.query(
      `INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1, 'AddRefunds1800000000000')`,
    );
    const dataSource = await quietDataSource({ url: database.url });
    const error = await failureOf(migrate(dataSource, { say }).finally(() => dataSource.destroy()));
    expect(error).toMatchObject({
      code: 'UNKNOWN_MIGRATIONS',
      message: expect.stringContaining('a second DataSource') as string,
    });
  });
});
