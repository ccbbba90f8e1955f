import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { spawnSync } from 'node:child_process';
import { Client } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { aSecret, plainConfigs, TestKeyring } from '../support/configs/configs';
import { quietDataSource } from '../support/database/quiet-data-source';
import { compiled } from '../support/jest/compiled';

/** Of its own, so that it may tell everything: each statement with its parameters, those of errors too. */
const TELLTALE = {
  log_statement: 'all',
  log_min_error_statement: 'debug5',
  log_parameter_max_length: '-1',
  log_parameter_max_length_on_error: '-1',
  log_error_verbosity: 'verbose',
  shared_preload_libraries: 'pg_stat_statements',
};

const keyring = new TestKeyring();
const secret = aSecret();
const plain = aSecret();
const careless = aSecret();
let folder: TemporaryDirectory;
let server: EmbeddedServer;
let client: Client;
let url: string;

beforeAll(async () => {
  folder = new TemporaryDirectory();
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, settings: TELLTALE });
  ({ url } = await createTestDatabase(server.url));
  const dataSource = await quietDataSource({ url });
  await dataSource.runMigrations();
  await dataSource.destroy();
  client = new Client({ connectionString: url });
  await client.connect();
  await client.query('CREATE EXTENSION pg_stat_statements');
  // As a legacy service left it: what it said to the server then is not ours to hide.
  await client.query(`SET log_statement = 'none'`);
  await plainConfigs({ query: async <Row>(sql: string) => [await client.query(sql)] as Row[] }, [
    [uuidv4(), { api_key: plain }],
  ]);
  await client.query('SELECT pg_stat_statements_reset()');
});
afterAll(async () => {
  await client?.end();
  await folder?.remove();
});

test('a service that prints all that it gets, and a server that logs all it is told, tell no secret that was sealed', async () => {
  const args = [compiled('test/fixtures/configs/leaking.fixture.ts'), url, keyring.path, secret, careless];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 120_000,
    maxBuffer: 2 ** 28,
  });
  expect({ status, stderr: status === 0 ? '' : stderr }).toEqual({ status: 0, stderr: '' });
  const statements = await client.query('SELECT query FROM pg_stat_statements');
  const serverLog = readFileSync(join(server.dataDirectory, 'server.log'), 'utf8');
  const places = { stdout, stderr, statements: JSON.stringify(statements.rows), serverLog };
  const told = (text: string) => Object.entries(places).flatMap(([place, has]) => (has.includes(text) ? [place] : []));
  // It is looked for where it would be found.
  expect(told('activate_config')).toEqual(expect.arrayContaining(['serverLog']));
  expect(told('kim')).toEqual(expect.arrayContaining(['stdout', 'serverLog']));
  // What goes past the operations the server is told, and logs among the parameters where it is set to, and PostgreSQL
  // quotes text that is no UUID: there and nowhere else.
  const logged = serverLog.split('\n').filter((line) => line.includes(careless));
  expect(logged.length).toBeGreaterThan(0);
  expect(logged.filter((line) => !/parameters?: |parameter \$1 = |22P02/i.test(line))).toEqual([]);
  expect(told(careless)).toEqual(['serverLog']);
  expect({ secret: told(secret), plain: told(plain) }).toEqual({ secret: [], plain: [] });
});
