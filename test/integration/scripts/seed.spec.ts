import { useTestDatabase } from '../../support/database/use-test-database';
import { changedUrl, runScript } from './run-script';

describe('npm run seed', () => {
  const database = useTestDatabase();
  const configs = () => database.query('SELECT restaurant_id, config_version FROM restaurant_payment_configs');

  test('in production it refuses', async () => {
    const { exitCode, output } = await runScript('seed.ts', database.url, [], { NODE_ENV: 'production' });
    expect(output).toContain('NODE_ENV is production');
    expect(exitCode).toBe(4);
    expect(await configs()).toEqual([]);
  });

  test('on another machine it refuses without trying to reach it', async () => {
    const { exitCode, output } = await runScript('seed.ts', changedUrl(database.url, { hostname: 'db.example.com' }));
    expect(output).toContain('db.example.com is not this machine');
    expect(exitCode).toBe(4);
  });

  test('it seeds, and running it again is harmless', async () => {
    expect(await runScript('seed.ts', database.url)).toEqual({ exitCode: 0, output: 'Seeded the test restaurant.\n' });
    const again = await runScript('seed.ts', database.url);
    expect(again).toEqual({ exitCode: 0, output: 'The test restaurant is there already.\n' });
    expect(await configs()).toHaveLength(1);
  });

  test('it does so in production when told --force', async () => {
    await database.query('DELETE FROM restaurant_payment_configs');
    const { exitCode } = await runScript('seed.ts', database.url, ['--force'], { NODE_ENV: 'production' });
    expect(exitCode).toBe(0);
    expect(await configs()).toHaveLength(1);
  });

  test('on a database that lacks a migration it names that one and adds nothing', async () => {
    await database.query('DELETE FROM restaurant_payment_configs');
    const [last] = await database.query<{ name: string }>(
      'DELETE FROM payment_events_db_migrations WHERE id = (SELECT max(id) FROM payment_events_db_migrations) RETURNING name',
    );
    const { exitCode, output } = await runScript('seed.ts', database.url);
    expect(output).toContain(`lacks these migrations:\n  ${last!.name}\n`);
    expect(exitCode).toBe(4);
    expect(await configs()).toEqual([]);
  });
});
