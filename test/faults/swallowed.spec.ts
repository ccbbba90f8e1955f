import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { type PostgresOptions } from '../../src/connection/data-source-settings';
import { PaymentEventsDataSource } from '../../src/data-source';
import { OutboxMessage } from '../../src/entities/outbox-message.entity';
import { RestaurantPaymentConfig } from '../../src/entities/restaurant-payment-config.entity';
import { grantPrivileges } from '../../src/grants/grant-privileges';
import { findDrift } from '../../src/check/drift';
import { readHistory } from '../../src/migrator/history';
import { migrate, revert } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { Outbox } from '../../src/outbox/outbox';
import { ReadModel } from '../../src/read-model/read-model';
import { RESTAURANT } from '../support/requests/auth-requests';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf, within } from '../support/processes/within';
import { compiled } from '../support/jest/compiled';

const database = useTestDatabase();

/** What the answer time-out below and the question at the server take, and time for a machine that is busy. */
const LIMIT_MS = 30_000;
const ANSWER_TIMEOUT_MS = 400;

let proxy: Proxy;
let dataSource: PaymentEventsDataSource;
const open = () =>
  quietDataSource({ url: proxy.url, poolSize: 2, connectTimeoutMs: 600, answerTimeoutMs: ANSWER_TIMEOUT_MS });

beforeEach(async () => {
  proxy = await Proxy.start(database.url);
  dataSource = await open();
});
afterEach(async () => {
  proxy.swallow = 'nothing';
  if (dataSource.isInitialized) await dataSource.destroy();
  await proxy.close();
});

const calls: Record<string, (source: DataSource) => Promise<unknown>> = {
  query: (source) => source.query('SELECT 1'),
  find: (source) => source.getRepository(RestaurantPaymentConfig).find(),
  save: (source) =>
    source.getRepository(OutboxMessage).save({
      ...{ aggregateType: 'auth_request', aggregateId: RESTAURANT, restaurantId: RESTAURANT },
      ...{ messageType: 'auth_request_queued', payload: Buffer.from('p') },
    }),
  'a query builder': (source) => source.createQueryBuilder(OutboxMessage, 'message').getCount(),
  transaction: (source) => source.transaction((manager) => manager.query('SELECT 1')),
  'a transaction that only begins': (source) => source.transaction(() => Promise.resolve()),
  findDrift: (source) => findDrift(source),
  readHistory: (source) => readHistory(source),
  planMigrations: (source) => planMigrations(source),
  migrate: (source) => migrate(source),
  revert: (source) => revert(source),
  showMigrations: (source) => source.showMigrations(),
  grantPrivileges: (source) => grantPrivileges(source),
  'Outbox.stats': (source) => new Outbox(source).stats(),
  'ReadModel.rebuild': (source) => new ReadModel(source).rebuild(RESTAURANT),
};

describe.each(Object.entries(calls))('%s', (_name, call) => {
  it.each(['requests', 'answers'] as const)(
    'ends with an error where the network swallows %s, then and later',
    async (what) => {
      for (let again = 0; again < 2; again++) {
        proxy.swallow = what;
        await within(LIMIT_MS, 'the call', failureOf(call(dataSource)));
      }
      proxy.swallow = 'nothing';
      expect(await dataSource.query<object[]>('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    },
  );
});

it.each(['requests', 'answers'] as const)(
  'initialize ends with an error where the network swallows %s',
  async (what) => {
    proxy.swallow = what;
    await within(LIMIT_MS, 'initialize', failureOf(open()));
    // From its first statement on.
    proxy.swallow = 'nothing';
    proxy.intercept = (direction, data) => {
      if (direction === 'requests' && data.includes('version()')) proxy.swallow = what;
      return undefined;
    };
    await within(LIMIT_MS, 'initialize', failureOf(open()));
    proxy.intercept = undefined;
  },
);

it('destroy ends, and the process that called it, where the network swallows everything', async () => {
  const program = `
    const { createDataSourceOptions, PaymentEventsDataSource } = require(${JSON.stringify(compiled('src'))});
    const dataSource = new PaymentEventsDataSource(createDataSourceOptions({ url: ${JSON.stringify(proxy.url)} }));
    dataSource.initialize().then(async () => {
      await dataSource.query('SELECT 1');
      process.stdout.write('open');
      process.stdin.once('data', async () => {
        process.stdin.destroy();
        await dataSource.destroy();
      });
    });`;
  const child = spawn(process.execPath, ['-e', program], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  proxy.swallow = 'requests';
  child.stdin.write('x');
  const exited = once(child, 'exit');
  try {
    expect((await within(LIMIT_MS, 'the process', exited))[0]).toBe(0);
  } finally {
    child.kill('SIGKILL');
  }
});

describe('a statement that takes longer than the limit', () => {
  const LONG = `SELECT pg_sleep(${(6 * ANSWER_TIMEOUT_MS) / 1_000}), 7 AS seven`;

  it('is waited for as long as the server is at work on it', async () => {
    const patient = { ...(dataSource.options as PostgresOptions) };
    expect(await dataSource.query<object[]>(LONG)).toMatchObject([{ seven: 7 }]);
    const single = await new PaymentEventsDataSource({ ...patient, poolSize: 1 }).initialize();
    expect(await single.transaction((manager) => manager.query<object[]>(LONG))).toMatchObject([{ seven: 7 }]);
    await single.destroy();
  });

  it('fails where the network swallows its answer, however long it takes', async () => {
    const asked = failureOf(dataSource.query(LONG));
    await delay(100);
    proxy.swallow = 'answers';
    await within(LIMIT_MS, 'the statement', asked);
  });

  it('fails where only its own connection is swallowed, once the server has done its work', async () => {
    const asked = failureOf(dataSource.query(LONG));
    await delay(100);
    // What the connection says; a new one gets through.
    proxy.intercept = (what, data) =>
      what === 'answers' && data.includes('seven') ? { pass: Buffer.alloc(0), end: false } : undefined;
    await within(LIMIT_MS, 'the statement', asked);
    proxy.intercept = undefined;
  });
});
