import { readFile } from 'node:fs/promises';
import { Client } from 'pg';
import { explainError } from '../../../src/cli/explain-error';
import { databaseAddress } from '../../../src/database/database-address';
import { useTestDatabase } from '../../support/database/use-test-database';

describe('explainError', () => {
  const database = useTestDatabase({ empty: true });
  const explain = (error: unknown) => explainError(error, databaseAddress(database.url));

  /** What it says of the failure of a statement that runs through the DataSource, as a migration's would. */
  async function explainFailureOf(sql: string, params?: unknown[]) {
    const dataSource = await database.dataSource();
    jest.spyOn(console, 'error').mockImplementation();
    return dataSource.query(sql, params).then(() => Promise.reject(new Error('did not fail')), explain);
  }

  test('a missing privilege is named, and who needs it', async () => {
    const { text, exitCode } = await explainFailureOf(`
      DO $$ BEGIN
        SET LOCAL ROLE pg_read_all_data;
        CREATE TABLE payment_events ();
      END $$`);
    expect(text).toContain('lacks a privilege: permission denied for schema public');
    expect(exitCode).toBe(1);
  });

  test('a lock that others hold is a reason to try again', async () => {
    await database.query('CREATE TABLE busy AS SELECT 1 AS id');
    const holder = await database.connect();
    await holder.query('BEGIN; SELECT FROM busy FOR UPDATE');
    expect((await explainFailureOf('SELECT FROM busy FOR UPDATE NOWAIT')).text).toMatch(
      /took too long \(55P03\).*\nRun this again/,
    );
    await holder.query('ROLLBACK');
  });

  test('a value that the database refuses is not repeated', async () => {
    const { text } = await explainFailureOf('SELECT $1::uuid', ['tok_secret']);
    expect(text).toBe('The database refused a value (22P02); its log says which.');
  });

  test('a duplicate is named by its constraint, not by its value', async () => {
    await database.query(
      `CREATE TABLE tokens (token text CONSTRAINT tokens_key UNIQUE); INSERT INTO tokens VALUES ('tok_secret')`,
    );
    const { text } = await explainFailureOf('INSERT INTO tokens VALUES ($1)', ['tok_secret']);
    expect(text).toMatch(/"tokens_key" \(23505\)/);
    expect(text).not.toContain('tok_secret');
  });

  test('a server that is full, starting or stopping is not a wrong address', async () => {
    for (const state of ['53300', '57P03']) {
      const { text, exitCode } = await explainFailureOf(`DO $$ BEGIN RAISE SQLSTATE '${state}'; END $$`);
      expect(text).toMatch(/Try again/);
      expect(exitCode).toBe(3);
    }
  });

  test('a session that the server ends is not a fault of ours', async () => {
    const client = new Client({ connectionString: database.url }).on('error', () => undefined);
    await client.connect();
    const failed = client.query('SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)').catch(explain);
    expect(await failed).toMatchObject({ exitCode: 3 });
    await client.end();
  });

  test('a Unix socket that is missing is a server to start, a file that is missing is not', async () => {
    const socket = new Client({ host: '/nowhere/at/all', database: 'payments', user: 'jo' });
    expect(await socket.connect().catch(explain)).toMatchObject({ exitCode: 3 });
    expect(await readFile('/nowhere/at/all').catch(explain)).toMatchObject({ exitCode: 1 });
  });

  test('whatever the system says of a connection is a server that cannot be reached', async () => {
    for (const host of ['/etc/hostname', 'fe80::1%nowhere', 'xn--a', `/tmp/${'x'.repeat(200)}`]) {
      const client = new Client({ host, database: 'payments', user: 'jo' });
      expect(await client.connect().catch(explain)).toMatchObject({
        text: expect.stringContaining('No PostgreSQL server answers at') as string,
        exitCode: 3,
      });
    }
  });

  test('a name that a terminal would obey is disarmed', () => {
    const address = databaseAddress('postgresql://jo@127.0.0.1/a%1B%5B2J');
    const { text } = explainError(Object.assign(new Error('no'), { code: '3D000' }), address);
    expect(text).toContain('The database a\\u001b[2J does not exist');
  });

  test('anything unforeseen keeps its stack', () => {
    const error = new TypeError('a fault of ours');
    expect(explain(error)).toEqual({ code: 'UNFORESEEN', text: error.stack, exitCode: 1 });
    expect(explain('thrown text').text).toBe('thrown text');
  });
});
