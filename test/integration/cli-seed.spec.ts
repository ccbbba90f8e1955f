import { seedCommand } from '../../src/cli/commands/seed';
import { createProgram } from '../../src/cli/program';
import { cliHere, cliProcess, programHere } from '../support/processes/cli';
import { useTestDatabase } from '../support/database/use-test-database';
import { changedUrl, siblingUrl } from './scripts/run-script';

const database = useTestDatabase();
const configs = () => database.query('SELECT restaurant_id, config_version FROM restaurant_payment_configs');
const seed = (url: string, ...args: string[]) => cliHere(url, seedCommand(), args);
const inProduction = (...args: string[]) =>
  programHere(createProgram(), ['seed', ...args], { DATABASE_URL: database.url, NODE_ENV: 'production' });

beforeEach(() => database.query('DELETE FROM restaurant_payment_configs'));

test('in production it refuses, and adds nothing', async () => {
  const { stderr, exitCode } = await inProduction();
  expect(stderr).toContain('NODE_ENV is production');
  expect(exitCode).toBe(4);
  expect(await configs()).toEqual([]);
});

test('on another machine it refuses without trying to reach it', async () => {
  const { stderr, exitCode } = await seed(changedUrl(database.url, { hostname: 'db.example.com' }));
  expect(stderr).toContain('db.example.com is not this machine');
  expect(exitCode).toBe(4);
});

test('it seeds, and running it again is harmless', async () => {
  const done = { stderr: '', exitCode: 0 };
  expect(await cliProcess(database.url, ['seed'])).toEqual({ stdout: 'Seeded the test restaurant.\n', ...done });
  expect(await seed(database.url)).toEqual({ stdout: 'The test restaurant is there already.\n', ...done });
  expect(await configs()).toHaveLength(1);
});

test('with --json it says how many rows it has added', async () => {
  expect(await seed(database.url, '--json')).toMatchObject({ stdout: '{"inserted":1}\n', exitCode: 0 });
  expect(await seed(database.url, '--json')).toMatchObject({ stdout: '{"inserted":0}\n', exitCode: 0 });
});

test('it does so in production when told --force', async () => {
  expect(await inProduction('--force')).toMatchObject({ exitCode: 0 });
  expect(await configs()).toHaveLength(1);
});

test('on a database that is missing it says how to make it, and makes none', async () => {
  const { stderr, exitCode } = await seed(siblingUrl(database.url, '_missing'));
  expect(stderr).toContain(`The database ${database.name}_missing does not exist`);
  expect(stderr).toContain('npx payment-events-db create');
  expect(exitCode).toBe(3);
  expect(await database.query('SELECT FROM pg_database WHERE datname = $1', [`${database.name}_missing`])).toEqual([]);
});

test('on a database that lacks a migration it names that one and adds nothing', async () => {
  const [last] = await database.query<{ name: string }>(
    'DELETE FROM payment_events_db_migrations WHERE id = (SELECT max(id) FROM payment_events_db_migrations) RETURNING name',
  );
  const { stderr, exitCode } = await seed(database.url);
  expect(stderr).toContain(`lacks these migrations:\n  ${last!.name}\n`);
  expect(exitCode).toBe(4);
  expect(await configs()).toEqual([]);
});
