import { getEventListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type Pool } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { AuthRequestNotFoundError, DatabaseError, DataSourceNotOpenError } from '../../src/errors';
import { type Lease } from '../../src/locks/processing-locks';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce } from '../support/requests/races';

const database = useTestDatabase();
/** That of who waits, and that of another process. */
let dataSource: PaymentEventsDataSource;
let elsewhere: PaymentEventsDataSource;
let requests: AuthRequests;

beforeEach(async () => {
  // Of its own for each test: a wait that hangs keeps no other one waiting.
  dataSource = await quietDataSource({ url: database.url });
  elsewhere = await quietDataSource({ url: database.url });
  requests = new AuthRequests(dataSource);
});
afterEach(async () => {
  jest.useRealTimers();
  if (dataSource.isInitialized) await dataSource.destroy();
  await elsewhere.destroy();
});

const STRANGER = uuidv4();
const LONG = { timeoutMs: 60_000 };
const DENIED = { processorName: 'stripe' };
const FAILED = { errorCode: 'E', errorMessage: '', retryable: false, outcome: 'not_asked' } as const;

const pending = async () => ({
  restaurantId: RESTAURANT,
  authRequestId: (await requests.authorize(anAuthorizeCommand())).authRequestId,
});
const started = async () => (await aRequest(dataSource, { started: true })).lease;

/**
 * From here on nothing but what wakes it makes a wait look: no pause ends and no time is up, however slow the machine is.
 * After a first look, which is still under way.
 */
function stopTheClock(): void {
  const others = ['Date', 'hrtime', 'nextTick', 'queueMicrotask', 'setImmediate', 'clearImmediate'] as const;
  jest.useFakeTimers({ doNotFake: [...others, 'setInterval', 'clearInterval'] });
}

/** What a pool does from here on: statements, and how many of them at once. */
function watchPool(source: PaymentEventsDataSource) {
  const pool = (source.driver as unknown as { master: Pool }).master;
  const seen = { statements: 0, underWay: 0, most: 0 };
  pool.on('acquire', () => {
    seen.statements++;
    seen.most = Math.max(seen.most, ++seen.underWay);
  });
  pool.on('release', () => seen.underWay--);
  return seen;
}

describe('a result', () => {
  it('that another process records ends the wait, with all that get tells', async () => {
    const lease = await started();
    const waiting = requests.waitForResult(lease, LONG);
    await delay(30);
    const recorded = anAuthorization();
    await new AuthRequests(elsewhere).recordAuthorized(lease, recorded);
    const awaited = await waiting;
    expect(awaited).toMatchObject({ settled: true, status: 'AUTHORIZED', processorAuthId: recorded.processorAuthId });
    expect(awaited).toEqual({ ...(await requests.get(lease)), settled: true });
  });

  it('that is there already ends it at once', async () => {
    const lease = await started();
    await requests.recordDenied(lease, DENIED);
    stopTheClock();
    expect(await requests.waitForResult(lease, LONG)).toMatchObject({ settled: true, status: 'DENIED' });
  });

  const recordings: [string, (other: AuthRequests, lease: Lease) => Promise<unknown>][] = [
    ['recordAuthorized', (other, lease) => other.recordAuthorized(lease, anAuthorization())],
    ['recordDenied', (other, lease) => other.recordDenied(lease, DENIED)],
    ['recordFailure', (other, lease) => other.recordFailure(lease, FAILED)],
    ['requestVoid', (other, lease) => other.requestVoid({ ...lease, reason: '', idempotencyKey: uuidv4() })],
    ['expire', (other, lease) => other.expire({ ...lease, reason: '' })],
    ['expireStale', (other) => other.expireStale({ olderThanMs: 1 })],
  ];

  it.each(recordings)('that this process records by %s is seen without a pause', async (_name, record) => {
    for (let round = 0; round < 10; round++) {
      const { authRequestId, ...lease } = await started();
      const ref = { ...lease, authRequestId: authRequestId.toUpperCase() };
      stopTheClock();
      const waiting = requests.waitForResult(ref, LONG);
      await record(new AuthRequests(dataSource), ref);
      expect(await waiting).toMatchObject({ settled: true, authRequestId });
      jest.useRealTimers();
    }
  });

  it('that this process records by attempt is seen without a pause', async () => {
    for (let round = 0; round < 10; round++) {
      const ref = await pending();
      const worker = new AuthRequests(dataSource);
      stopTheClock();
      const waiting = requests.waitForResult(ref, LONG);
      const denied = { outcome: 'denied', ...DENIED } as const;
      await worker.attempt({ ...ref, ttlMs: 60_000, configVersion: 'v1' }, () => Promise.resolve(denied));
      expect(await waiting).toMatchObject({ settled: true, status: 'DENIED' });
      jest.useRealTimers();
    }
  });

  it('that this process records at any moment of a wait is seen without a pause', async () => {
    const leases = await atOnce(300, started);
    stopTheClock();
    const statuses = await Promise.all(
      leases.map(async (lease, index) => {
        const turns = async (count: number) => {
          for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
        };
        const [{ status }] = await Promise.all([
          turns(index % 7).then(() => requests.waitForResult(lease, LONG)),
          turns(index % 11).then(() => requests.recordDenied(lease, DENIED)),
        ]);
        return status;
      }),
    );
    expect(new Set(statuses)).toEqual(new Set(['DENIED']));
  });

  it('that a transaction of the caller records is seen after its commit, and not before', async () => {
    const lease = await started();
    const waiting = requests.waitForResult(lease, LONG);
    let ended = false;
    void waiting.then(() => (ended = true));
    await dataSource.transaction(async (manager) => {
      await requests.recordDenied(lease, DENIED, manager);
      expect(await requests.waitForResult(lease, { timeoutMs: 150 })).toMatchObject({ settled: false });
      expect(ended).toBe(false);
    });
    expect(await waiting).toMatchObject({ status: 'DENIED' });
  });

  it('is never older than the wait for it', async () => {
    const proxy = await Proxy.start(database.url);
    await dataSource.destroy();
    dataSource = await quietDataSource({ url: proxy.url });
    requests = new AuthRequests(dataSource);
    proxy.delayMs = 15;
    const other = new AuthRequests(elsewhere);
    for (let round = 0; round < 60; round++) {
      const { lease } = await aRequest(elsewhere, { started: true });
      const first = requests.waitForResult(lease, LONG);
      await delay(Math.random() * 15);
      await other.recordAuthorized(lease, anAuthorization());
      // Here the server may answer the first look, and the answer is still on its way when the second wait begins.
      await delay(Math.random() * 15);
      await other.requestVoid({ ...lease, reason: '', idempotencyKey: uuidv4() });
      expect(await requests.waitForResult(lease, LONG)).toMatchObject({ status: 'VOIDED' });
      await first;
    }
    await dataSource.destroy();
    await proxy.close();
  });

  it('of each of thousands goes to who waits for it', async () => {
    const refs = await atOnce(2_500, pending);
    const waiting = refs.map((ref) => requests.waitForResult(ref, LONG));
    // While those before it, more than a statement asks about, have none.
    await new AuthRequests(elsewhere).expire({ ...refs.at(-1)!, reason: '' });
    expect(await waiting.at(-1)).toMatchObject({ status: 'EXPIRED' });
    await new AuthRequests(elsewhere).expireStale({ olderThanMs: 1, batchSize: 1_000 });
    const awaited = await Promise.all(waiting);
    expect(awaited.map(({ authRequestId }) => authRequestId)).toEqual(refs.map(({ authRequestId }) => authRequestId));
    expect(new Set(awaited.map(({ status }) => status))).toEqual(new Set(['EXPIRED']));
  });
});

describe('a wait whose time is up', () => {
  it('tells the status of that moment', async () => {
    const { lease } = await aRequest(dataSource);
    const waiting = requests.waitForResult(lease, { timeoutMs: 300 });
    await delay(50);
    await new AuthRequests(elsewhere).startAttempt(lease, { configVersion: 'v1' });
    const awaited = await waiting;
    expect(awaited).toEqual({ ...(await requests.get(lease)), settled: false });
    expect(awaited.status).toBe('PROCESSING');
  });

  it('is one look where it has no time', async () => {
    const ref = await pending();
    const seen = watchPool(dataSource);
    expect(await requests.waitForResult(ref, { timeoutMs: 0 })).toMatchObject({ settled: false, status: 'PENDING' });
    await delay(50);
    expect(seen.statements).toBe(1);
  });

  it('ends others that have time no earlier', async () => {
    const lease = await started();
    const patient = requests.waitForResult(lease, LONG);
    expect(await requests.waitForResult(lease, { timeoutMs: 30 })).toMatchObject({ settled: false });
    await requests.recordDenied(lease, DENIED);
    expect(await patient).toMatchObject({ settled: true });
  });
});

describe('a request that is not there', () => {
  it.each([
    ['of nobody', () => Promise.resolve({ restaurantId: RESTAURANT, authRequestId: uuidv4() })],
    ['of another restaurant', async () => ({ ...(await pending()), restaurantId: STRANGER })],
    [
      'of another restaurant, which has its result',
      async () => {
        const lease = await started();
        await requests.recordAuthorized(lease, anAuthorization());
        return { ...lease, restaurantId: STRANGER };
      },
    ],
  ])('(%s) is said at once', async (_which, make) => {
    const ref = await make();
    stopTheClock();
    expect(await failureOf(requests.waitForResult(ref, LONG))).toEqual(new AuthRequestNotFoundError(ref.authRequestId));
  });

  it('is said to a stranger also while its restaurant waits for it, which is not disturbed', async () => {
    const lease = await started();
    const waiting = requests.waitForResult(lease, LONG);
    const wrong = { ...lease, restaurantId: STRANGER };
    for (let round = 0; round < 20; round++) {
      expect(await failureOf(requests.waitForResult(wrong, LONG))).toBeInstanceOf(AuthRequestNotFoundError);
    }
    const late = failureOf(requests.waitForResult(wrong, LONG));
    await requests.recordDenied(lease, DENIED);
    expect(await late).toBeInstanceOf(AuthRequestNotFoundError);
    expect(await waiting).toMatchObject({ status: 'DENIED' });
  });
});

describe('a signal', () => {
  it('ends the wait at once, with its reason', async () => {
    const ref = await pending();
    stopTheClock();
    const [gone, reason] = [new AbortController(), new Error('the client has gone')];
    const waiting = failureOf(requests.waitForResult(ref, { ...LONG, signal: gone.signal }));
    gone.abort(reason);
    expect(await waiting).toBe(reason);
  });

  it('that has aborted has nothing sent', async () => {
    const ref = await pending();
    const seen = watchPool(dataSource);
    const signal = AbortSignal.abort('gone');
    await expect(requests.waitForResult(ref, { signal })).rejects.toBe('gone');
    await delay(50);
    expect(seen.statements).toBe(0);
  });

  it('may be that of many, and of others than those who wait: it has one listener', async () => {
    const refs = await atOnce(50, pending);
    const shutdown = new AbortController();
    const waiting = refs.map((ref) => failureOf(requests.waitForResult(ref, { ...LONG, signal: shutdown.signal })));
    const other = requests.waitForResult(refs[0]!, LONG);
    await new Promise(setImmediate);
    // Node warns where there are more than ten.
    expect(getEventListeners(shutdown.signal, 'abort')).toHaveLength(1);
    shutdown.abort();
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([shutdown.signal.reason]));
    await new AuthRequests(elsewhere).expire({ ...refs[0]!, reason: '' });
    expect(await other).toMatchObject({ settled: true });
  });
});

describe('many who wait', () => {
  it('share one statement at a time and one in ten milliseconds, however many instances they use', async () => {
    const refs = await atOnce(300, pending);
    const seen = watchPool(dataSource);
    const began = performance.now();
    const waiting = refs.flatMap((ref) => [
      new AuthRequests(dataSource).waitForResult(ref, LONG),
      requests.waitForResult(ref, LONG),
    ]);
    await delay(500);
    const { statements, most } = seen;
    const most10ms = (performance.now() - began) / 10;
    await new AuthRequests(elsewhere).expireStale({ olderThanMs: 1 });
    expect((await Promise.all(waiting)).every(({ settled }) => settled)).toBe(true);
    // Beside one each 10 ms, the first looks: of who came first, and of all who came while it was under way.
    expect(statements).toBeLessThan(most10ms + 3);
    expect(statements).toBeGreaterThan(2);
    expect(most).toBe(1);
  });

  it('wait on a pool of one connection beside what else uses it', async () => {
    const narrow = await quietDataSource({ url: database.url, poolSize: 1 });
    const its = new AuthRequests(narrow);
    const leases = await atOnce(50, started);
    const waiting = leases.map((lease) => its.waitForResult(lease, LONG));
    // A transaction holds the connection, and writes within.
    await narrow.transaction(async (manager) => {
      await delay(200);
      for (const lease of leases.slice(0, 25)) await its.recordDenied(lease, DENIED, manager);
    });
    for (const lease of leases.slice(25)) await its.recordDenied(lease, DENIED);
    expect((await Promise.all(waiting)).every(({ status }) => status === 'DENIED')).toBe(true);
    await narrow.destroy();
  });

  it('leave nothing running when all have gone', async () => {
    const gone = new AbortController();
    const waiting = (await atOnce(20, pending)).map((ref) =>
      failureOf(requests.waitForResult(ref, { ...LONG, signal: gone.signal })),
    );
    await delay(30);
    gone.abort();
    await Promise.all(waiting);
    await delay(30);
    const seen = watchPool(dataSource);
    await delay(300);
    expect(seen.statements).toBe(0);
  });
});

describe('what does not pass', () => {
  it('ends all waits at once, with the error', async () => {
    const refs = await atOnce(20, pending);
    const own = await quietDataSource({ url: database.url });
    const waiting = refs.map((ref) => failureOf(new AuthRequests(own).waitForResult(ref, LONG)));
    await delay(50);
    await database.query('ALTER TABLE auth_request_state RENAME TO moved');
    const failures = await Promise.all(waiting);
    await database.query('ALTER TABLE moved RENAME TO auth_request_state');
    expect(failures.filter((failure) => !(failure instanceof DatabaseError))).toEqual([]);
    expect(await new AuthRequests(own).waitForResult(refs[0]!, { timeoutMs: 0 })).toMatchObject({ settled: false });
    await own.destroy();
  });

  it('is a DataSource that is closed meanwhile, or was not open', async () => {
    const refs = await atOnce(20, pending);
    const own = await quietDataSource({ url: database.url });
    const waiting = refs.map((ref) => failureOf(new AuthRequests(own).waitForResult(ref, LONG)));
    await delay(50);
    await own.destroy();
    for (const failure of await Promise.all(waiting)) expect(failure).toBeInstanceOf(DataSourceNotOpenError);
    expect(await failureOf(new AuthRequests(own).waitForResult(refs[0]!))).toBeInstanceOf(DataSourceNotOpenError);
    await own.initialize();
    expect(await new AuthRequests(own).waitForResult(refs[0]!, { timeoutMs: 0 })).toMatchObject({ settled: false });
    await own.destroy();
  });
});
