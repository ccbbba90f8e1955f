import { setTimeout as delay } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PostgresOptions } from '../../src/connection/data-source-settings';
import { PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError, OutcomeUnknownError, TransactionRequiredError } from '../../src/errors';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { Load } from '../support/requests/load';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf, within } from '../support/processes/within';

const database = useTestDatabase();
const query = <Row>(sql: string, params?: unknown[]) => database.query<Row>(sql, params);

const POOL_SIZE = 4;
/** Far more than the time-outs below, far less than a hang. */
const LIMIT_MS = 40_000;

let proxy: Proxy;
let dataSource: DataSource;
let requests: AuthRequests;

beforeEach(async () => {
  proxy = await Proxy.start(database.url);
  dataSource = await quietDataSource({
    url: proxy.url,
    poolSize: POOL_SIZE,
    connectTimeoutMs: 2_500,
    answerTimeoutMs: 2_000,
  });
  requests = new AuthRequests(dataSource);
});

afterEach(async () => {
  await dataSource.destroy();
  await proxy.close();
});

/** Uses more connections at once than the pool has, so that a spoilt one would be met. */
async function expectRecovered(): Promise<void> {
  const all = Array.from({ length: 3 * POOL_SIZE }, () => requests.authorize(anAuthorizeCommand()));
  for (const receipt of await within(LIMIT_MS, 'the pool', Promise.all(all))) {
    expect(receipt).toMatchObject({ status: 'PENDING', replayed: false });
  }
  await expectNothingHalfDone(query, dataSource);
}

const eventsOf = async (idempotencyKey: string) =>
  (
    await database.query<{ event_type: string }>(
      `SELECT event_type FROM payment_events WHERE metadata ->> 'idempotency_key' = $1`,
      [idempotencyKey],
    )
  ).length;

describe('under load', () => {
  const terminateAll = () =>
    database.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'payment-events-db'`,
    );

  it.each([
    ['an administrator ends the sessions', terminateAll],
    ['the network resets the connections', () => Promise.resolve(proxy.cut())],
  ])('nothing that was confirmed is lost and all goes on when %s', async (_what, cut) => {
    const load = new Load(dataSource, 2 * POOL_SIZE);
    for (let round = 0; round < 12; round++) {
      await load.progress(20);
      await delay(Math.random() * 20);
      await cut();
    }
    await within(LIMIT_MS, 'the load', load.progress(50));
    await load.stop();
    expect(load.failures.length).toBeGreaterThan(0);
    expect(load.failures.filter((failure) => !(failure instanceof DatabaseUnavailableError))).toEqual([]);
    await load.expectKept(query);
    await expectNothingHalfDone(query, dataSource);
  });

  it('a session that is ended as it becomes ready is a retryable error, and does not end the process', async () => {
    proxy.endWhenReady = true;
    const all = Array.from({ length: 4 * POOL_SIZE }, () => requests.authorize(anAuthorizeCommand()));
    const failures = (await Promise.allSettled(all)).flatMap((each) =>
      each.status === 'rejected' ? [each.reason as unknown] : [],
    );
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.filter((failure) => !(failure instanceof DatabaseUnavailableError))).toEqual([]);
    proxy.endWhenReady = false;
    await expectRecovered();
  });

  it('a slow network is slow, and nothing else', async () => {
    proxy.delayMs = 30;
    const load = new Load(dataSource, 2 * POOL_SIZE);
    await load.progress(100);
    await load.stop();
    expect(load.failures).toEqual([]);
    await load.expectKept(query);
  });
});

describe('an answer that does not come', () => {
  it.each(['requests', 'answers'] as const)(
    'is a retryable error in time, and the same key then gives one request (lost: %s)',
    async (lost) => {
      await expectRecovered();
      proxy.swallow = lost;
      const commands = Array.from({ length: 2 * POOL_SIZE }, () => anAuthorizeCommand());
      const failures = commands.map((command) => failureOf(requests.authorize(command)));
      for (const failure of await within(LIMIT_MS, 'authorize', Promise.all(failures))) {
        expect(failure).toBeInstanceOf(DatabaseUnavailableError);
      }
      proxy.swallow = 'nothing';
      for (const command of commands) {
        await requests.authorize(command);
        expect(await requests.authorize(command)).toMatchObject({ replayed: true });
        expect(await eventsOf(command.idempotencyKey)).toBe(1);
      }
      await expectRecovered();
    },
  );

  it('is a retryable error in time where the network is slower than the time-out', async () => {
    proxy.delayMs = 2_500;
    expect(await within(LIMIT_MS, 'authorize', failureOf(requests.authorize(anAuthorizeCommand())))).toBeInstanceOf(
      DatabaseUnavailableError,
    );
    proxy.delayMs = 0;
    await expectRecovered();
  });

  it.each(['requests', 'answers'] as const)(
    'ends a transaction of the caller, wherever it is (lost: %s)',
    async (lost) => {
      const swallow = () => {
        proxy.swallow = lost;
      };
      const transactions = {
        'at its start': () => {
          swallow();
          return dataSource.transaction((manager) => requests.authorize(anAuthorizeCommand(), manager));
        },
        'at the operation': () =>
          dataSource.transaction((manager) => {
            swallow();
            return requests.authorize(anAuthorizeCommand(), manager);
          }),
        'at its commit': () =>
          dataSource.transaction(async (manager) => {
            await requests.authorize(anAuthorizeCommand(), manager);
            swallow();
          }),
        'at its rollback': () =>
          dataSource.transaction(async (manager) => {
            await requests.authorize(anAuthorizeCommand(), manager);
            swallow();
            throw new DatabaseUnavailableError('thrown by the caller');
          }),
      };
      for (const [where, transaction] of Object.entries(transactions)) {
        const failure = await within(LIMIT_MS, `the transaction ${where}`, failureOf(transaction()));
        const told = where === 'at its commit' ? OutcomeUnknownError : DatabaseUnavailableError;
        expect([where, failure]).toEqual([where, expect.any(told)]);
        proxy.swallow = 'nothing';
        await expectRecovered();
      }
    },
  );

  it('never leaves its transaction to the next user of the connection, whatever else gives it up', async () => {
    const extra = { ...(dataSource.options as { extra: object }).extra, answerTimeoutMs: 0, query_timeout: 300 };
    const impatient = new PaymentEventsDataSource({ ...(dataSource.options as PostgresOptions), extra, poolSize: 1 });
    await impatient.initialize();
    try {
      const swallowed = impatient.transaction((manager) => {
        proxy.swallow = 'answers';
        return new AuthRequests(impatient).authorize(anAuthorizeCommand(), manager);
      });
      await within(LIMIT_MS, 'the transaction', failureOf(swallowed));
      proxy.swallow = 'nothing';
      const next = anAuthorizeCommand();
      await new AuthRequests(impatient).authorize(next);
      expect(await eventsOf(next.idempotencyKey)).toBe(1);
    } finally {
      await impatient.destroy();
    }
  });

  it("ends a transaction of TypeORM's own DataSource, where it meets the operation", async () => {
    const plain = await new DataSource(dataSource.options).initialize();
    try {
      const transaction = plain.transaction((manager) => {
        proxy.swallow = 'answers';
        return new AuthRequests(plain).authorize(anAuthorizeCommand(), manager);
      });
      expect(await within(LIMIT_MS, 'the transaction', failureOf(transaction))).toBeInstanceOf(
        DatabaseUnavailableError,
      );
    } finally {
      proxy.swallow = 'nothing';
      await plain.destroy();
    }
  });
});

describe('a transaction of the caller', () => {
  it('ends with a retryable error when its connection goes while the caller is thinking', async () => {
    const command = anAuthorizeCommand();
    const transaction = dataSource.transaction(async (manager) => {
      await requests.authorize(command, manager);
      proxy.cut();
      await delay(50);
      await requests.get({ restaurantId: RESTAURANT, authRequestId: RESTAURANT }, manager);
    });
    expect(await within(LIMIT_MS, 'the transaction', failureOf(transaction))).toBeInstanceOf(DatabaseUnavailableError);
    expect(await eventsOf(command.idempotencyKey)).toBe(0);
    await expectRecovered();
  });

  it('is not committed when its connection goes and the caller overlooks it', async () => {
    const command = anAuthorizeCommand();
    const transaction = dataSource.transaction(async (manager) => {
      await requests.authorize(command, manager);
      proxy.cut();
      await delay(50);
    });
    expect(await within(LIMIT_MS, 'the transaction', failureOf(transaction))).toBeInstanceOf(DatabaseUnavailableError);
    expect(await eventsOf(command.idempotencyKey)).toBe(0);
    await expectRecovered();
  });

  it('that has ended carries no more operations, lest they join that of a stranger', async () => {
    const leaked = await dataSource.transaction((manager) => Promise.resolve(manager));
    const command = anAuthorizeCommand();
    await expect(requests.authorize(command, leaked)).rejects.toThrow(TransactionRequiredError);
    expect(await eventsOf(command.idempotencyKey)).toBe(0);
  });
});

describe('no connection', () => {
  it('is a retryable error in time when all of the pool are in use', async () => {
    let finish = () => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    let working = 0;
    const users = Array.from({ length: POOL_SIZE }, () => dataSource.transaction(() => (working++, finished)));
    while (working < POOL_SIZE) await delay(5);
    expect(await within(LIMIT_MS, 'authorize', failureOf(requests.authorize(anAuthorizeCommand())))).toBeInstanceOf(
      DatabaseUnavailableError,
    );
    const transaction = dataSource.transaction((manager) => requests.authorize(anAuthorizeCommand(), manager));
    expect(await within(LIMIT_MS, 'the transaction', failureOf(transaction))).toBeInstanceOf(DatabaseUnavailableError);
    finish();
    await Promise.all(users);
    await expectRecovered();
  });

  it('is a retryable error when nobody listens', async () => {
    await proxy.close();
    await delay(20);
    expect(await within(LIMIT_MS, 'authorize', failureOf(requests.authorize(anAuthorizeCommand())))).toEqual(
      new DatabaseUnavailableError('ECONNREFUSED'),
    );
    proxy = await Proxy.start(database.url);
  });

  it('is a retryable error in time when somebody listens and never speaks', async () => {
    proxy.cut();
    proxy.swallow = 'answers';
    await delay(20);
    expect(await within(LIMIT_MS, 'authorize', failureOf(requests.authorize(anAuthorizeCommand())))).toBeInstanceOf(
      DatabaseUnavailableError,
    );
    proxy.swallow = 'nothing';
    await expectRecovered();
  });
});
