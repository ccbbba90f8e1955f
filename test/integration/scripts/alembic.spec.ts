import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';
import { migrations } from '../../../src/migrations';
import { useTestDatabase } from '../../support/use-test-database';
import { runScript } from './run-script';

const migrate = (url: string) => runScript('migrate_payment_events_db.sh', url);
const names = migrations.map(({ name }) => name);
const insertsIn = (output: string) => output.match(/^ *INSERT INTO .*;$/gm) ?? [];

describe('migrate_payment_events_db.sh on a database that Alembic made', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(async () => {
    jest.spyOn(console, 'log').mockImplementation();
    // Alembic's tables are those of our first two migrations, without our history.
    const mirror = new PaymentEventsDataSource({
      ...createDataSourceOptions({ url: database.url }),
      migrations: migrations.slice(0, 2),
    });
    await mirror.initialize();
    await mirror.runMigrations().finally(() => mirror.destroy());
    await database.query(`
      DROP TABLE payment_events_db_migrations;
      CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
      INSERT INTO alembic_version VALUES ('09c2b295afcd')`);
  });

  test('at an unknown revision it stops and says which one to reach first', async () => {
    await database.query(`UPDATE alembic_version SET version_num = 'abcdef012345'`);
    const { exitCode, output } = await migrate(database.url);
    expect(output).toMatch(/not known here \(abcdef012345\).*09c2b295afcd with Alembic first/);
    expect(exitCode).toBe(4);
  });

  test('at the first revision it asks to record only the first migration', async () => {
    await database.query(`UPDATE alembic_version SET version_num = '9a82c6d3b654'`);
    expect(insertsIn((await migrate(database.url)).output)).toHaveLength(1);
  });

  test('at the last one it says how to take it over, and doing so works', async () => {
    await database.query(`UPDATE alembic_version SET version_num = '09c2b295afcd'`);
    const stopped = await migrate(database.url);
    expect(stopped.exitCode).toBe(4);
    expect(stopped.output).toContain('Alembic made this database (revision 09c2b295afcd)');
    expect(await database.query(`SELECT to_regclass('payment_events_db_migrations') AS history`)).toEqual([
      { history: null },
    ]);

    // What "npm run migration:show" does of the steps it gives.
    await (await database.dataSource()).showMigrations();
    for (const insert of insertsIn(stopped.output)) await database.query(insert);
    const { exitCode, output } = await migrate(database.url);
    expect(output).not.toContain(`Applying ${names[1]}`);
    expect(output).toContain(`Applying ${names[2]}`);
    expect(exitCode).toBe(0);
  });
});
