import { existsSync } from 'node:fs';
import { Client } from 'pg';
import { useTestDatabase } from '../../support/database/use-test-database';
import { changedUrl, runScript, runScriptAtTerminal, siblingUrl, TERMINAL } from './run-script';

const reset = (url: string, args?: string[], env?: NodeJS.ProcessEnv) =>
  runScript('reset_payment_events_db.sh', url, args, env);

const inTerminal = existsSync(TERMINAL) && process.platform === 'linux' ? test : test.skip;

describe('reset_payment_events_db.sh', () => {
  const database = useTestDatabase({ empty: true });
  let url: string;
  let client: Client;

  beforeAll(async () => {
    url = siblingUrl(database.url, '_reset');
    await database.query(`CREATE DATABASE "${database.name}_reset"`);
  });
  afterAll(() => database.query(`DROP DATABASE "${database.name}_reset" WITH (FORCE)`));

  beforeEach(async () => {
    client = new Client({ connectionString: url }).on('error', () => undefined);
    await client.connect();
    await client.query('CREATE TABLE IF NOT EXISTS old_data AS SELECT 1 AS row');
  });
  afterEach(async () => {
    await client.end().catch(() => undefined);
  });

  const oldData = async () => (await client.query<{ row: number }>('SELECT row FROM old_data')).rows;

  test('without a terminal and without --yes it warns and deletes nothing', async () => {
    const { exitCode, output } = await reset(url);
    expect(output).toContain(`deletes the database ${database.name}_reset`);
    expect(output).toContain('Nothing was deleted');
    expect(exitCode).toBe(4);
    expect(await oldData()).toEqual([{ row: 1 }]);
  });

  inTerminal.each(['', 'yep', '\x03'])('asked at a terminal, %j deletes nothing', async (answer) => {
    const { exitCode, output } = await runScriptAtTerminal('reset_payment_events_db.sh', url, answer);
    expect(output).toContain('[y/N]');
    expect(output).toContain('Nothing was deleted.');
    expect(exitCode).toBe(4);
    expect(await oldData()).toEqual([{ row: 1 }]);
  });

  inTerminal('asked at a terminal, y deletes everything', async () => {
    const { exitCode } = await runScriptAtTerminal('reset_payment_events_db.sh', url, 'y');
    expect(exitCode).toBe(0);
    await expect(oldData()).rejects.toThrow();
  });

  test('in production it refuses, whatever it is told', async () => {
    const { exitCode, output } = await reset(url, ['--yes'], { NODE_ENV: 'production' });
    expect(output).toContain('NODE_ENV is production');
    expect(exitCode).toBe(4);
    expect(await oldData()).toEqual([{ row: 1 }]);
  });

  test('it refuses another machine without trying to reach it', async () => {
    const { exitCode, output } = await reset(changedUrl(url, { hostname: 'db.example.com' }), ['--yes']);
    expect(output).toContain('db.example.com is not this machine');
    expect(exitCode).toBe(4);
  });

  test('it refuses a host that hides behind localhost', async () => {
    const { exitCode, output } = await reset(`${changedUrl(url, { hostname: 'localhost' })}?host=db.example.com`, [
      '--yes',
    ]);
    expect(output).toContain('db.example.com is not this machine');
    expect(exitCode).toBe(4);
  });

  test('it refuses a database of the server itself', async () => {
    const own = Object.assign(new URL(url), { pathname: 'postgres' }).href;
    const { exitCode, output } = await reset(own, ['--yes']);
    expect(output).toContain('postgres is a database of the server itself');
    expect(exitCode).toBe(4);
  });

  test('with --yes it deletes everything, though others are connected, and leaves a migrated and seeded database', async () => {
    const { exitCode, output } = await reset(url, ['--yes', '--seed']);
    expect(output).toMatch(/restaurant_payment_configs +1 rows/);
    expect(output).not.toContain('old_data');
    expect(exitCode).toBe(0);
  });

  test('where there is no database yet it makes one', async () => {
    await database.query(`DROP DATABASE "${database.name}_reset" WITH (FORCE)`);
    const { exitCode, output } = await reset(url, ['--yes']);
    expect(output).toMatch(/restaurant_payment_configs +0 rows/);
    expect(exitCode).toBe(0);
  });
});
