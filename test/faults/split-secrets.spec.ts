import { inspect } from 'node:util';
import { type PaymentEventsDataSource } from '../../src';
import { SplitRefusedError } from '../../src/shards/split/errors';
import { withClient } from '../../src/testing/with-client';
import { quietDataSource } from '../support/database/quiet-data-source';
import { failureOf } from '../support/processes/within';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

jest.setTimeout(120_000);

let server: SplitServer;
let pair: SplitPair;

beforeAll(async () => {
  server = await SplitServer.start();
}, 120_000);
afterAll(() => server?.remove());
afterEach(() => pair.end());

/** Two databases that log as they are set, whoever connects. */
async function pairThatLogs(settings: Record<string, string>): Promise<SplitPair> {
  const urls = { source: await server.database(), target: await server.database() };
  for (const url of Object.values(urls)) {
    const name = new URL(url).pathname.slice(1);
    await withClient(url, async (client) => {
      for (const [setting, value] of Object.entries(settings)) {
        await client.query(`ALTER DATABASE ${name} SET ${setting} = '${value}'`);
      }
    });
  }
  return await SplitPair.of(urls);
}

const SLOTS = 'SELECT FROM pg_replication_slots WHERE database = current_database()';

const EVERYTHING = { log_parameter_max_length: '-1', log_parameter_max_length_on_error: '-1' };

test.each<Record<string, string>>([
  { log_statement: 'all' },
  { log_statement: 'ddl', log_min_duration_statement: '0' },
  { log_min_duration_sample: '0', log_statement_sample_rate: '1' },
])('the password is in no log of a server that logs by %j', async (settings) => {
  pair = await pairThatLogs({ ...EVERYTHING, ...settings });
  const before = server.log.length;
  await pair.split.run();
  const log = server.log.slice(before);
  expect(log).toMatch('CREATE SUBSCRIPTION payment_events_split CONNECTION %L');
  expect(log).not.toMatch(/not to be seen|not%20to%20be%20seen/);
  // As it travels.
  expect(log).not.toMatch(Buffer.from('not to be seen').toString('hex'));
  const left = `SELECT current_setting('payment_events_db.split_connection', true) AS left FROM generate_series(1, 3)`;
  for (const row of await pair.target.query<{ left: string | null }[]>(left)) expect(row.left ?? '').toBe('');
});

describe('a connection string with a slip is refused, and no piece of it is quoted, here or in the log of the server', () => {
  beforeEach(async () => {
    pair = await pairThatLogs({ ...EVERYTHING, log_statement: 'all' });
    await pair.split.prepare();
    await pair.split.publish();
  });

  test.each([
    ['a space in the password', 'host=127.0.0.1 user=nobody password=the hunter dbname=postgres'],
    ['a quote that does not end', "host=127.0.0.1 user=nobody password='the hunter"],
    ['a quote within', "host=127.0.0.1 user=nobody password='the'hunter' dbname=postgres"],
    ['a value that is missing', 'user=nobody host= password=hunter'],
    ['an @ in a URL', 'postgresql://nobody:the@hunter@127.0.0.1/postgres'],
    ['a / in a URL', 'postgresql://nobody:hunter/@127.0.0.1/postgres'],
    ['a % in a URL', 'postgresql://nobody:hunter%zz@127.0.0.1/postgres'],
    ['a space in a URL', 'postgresql://nobody:the hunter@127.0.0.1/postgres'],
    // These are libpq's to find.
    ['a keyword that libpq does not know', 'host=127.0.0.1 user=nobody hunter=password'],
    ['an & in a URL', 'postgresql://127.0.0.1/postgres?user=nobody&password=the&hunter=1'],
  ])('%s', async (_slip, connection) => {
    const before = server.log.length;
    const error = await failureOf(pair.splitWith({ connection }).subscribe());
    expect(error).toBeInstanceOf(SplitRefusedError);
    expect((error as Error).message).toMatch('PAYMENT_EVENTS_DB_SPLIT_CONNECTION cannot be read');
    expect(inspect(error, { depth: 10 }) + pair.said.join('\n')).not.toMatch('hunter');
    expect(server.log.slice(before)).not.toMatch('hunter');
    expect((await pair.split.status()).next).toBe('subscribe');
  });
});

test('a target that logs connection strings by itself is refused before a slot is made', async () => {
  pair = await pairThatLogs({ log_min_messages: 'debug1' });
  await pair.split.prepare();
  await pair.split.publish();
  const before = server.log.length;
  const error = await failureOf(pair.split.subscribe());
  expect(error).toBeInstanceOf(SplitRefusedError);
  expect((error as Error).message).toMatch('log_min_messages of the target is debug1');
  expect(server.log.slice(before)).not.toMatch('not to be seen');
  expect(await pair.source.query(SLOTS)).toEqual([]);
});

test('who may not make temporary tables is told so before a slot is made', async () => {
  pair = await pairThatLogs({});
  await pair.split.prepare();
  await pair.split.publish();
  const [target] = await pair.target.query<{ name: string }[]>('SELECT current_database() AS name');
  await pair.target.query(`CREATE ROLE somebody LOGIN PASSWORD 'test' IN ROLE pg_read_all_data;
    REVOKE TEMPORARY ON DATABASE ${target!.name} FROM PUBLIC`);
  const url = Object.assign(new URL(pair.urls.target), { username: 'somebody', password: 'test' }).href;
  const somebody: PaymentEventsDataSource = await quietDataSource({ url });
  try {
    const error = await failureOf(pair.splitWith({ target: somebody }).subscribe());
    expect(error).toBeInstanceOf(SplitRefusedError);
    expect((error as Error).message).toMatch(`GRANT TEMPORARY ON DATABASE ${target!.name} TO somebody`);
    expect(await pair.source.query(SLOTS)).toEqual([]);
  } finally {
    await somebody.destroy();
  }
});
