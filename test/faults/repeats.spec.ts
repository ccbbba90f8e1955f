import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { recordAuthorized } from '../../src/auth-requests/record-authorized';
import { recordDenied } from '../../src/auth-requests/record-denied';
import { recordFailure } from '../../src/auth-requests/record-failure';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { AuthRequestNotFoundError, EventIdConflictError, LockLostError, LockTimeoutError } from '../../src/errors';
import { type Lease, newFencingToken, ProcessingLocks } from '../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { atOnce, crowdOf, eventually, outcomeOf } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;
beforeAll(async () => {
  crowd = await crowdOf(8, database);
  requests = new AuthRequests(crowd);
  locks = new ProcessingLocks(crowd);
});
afterAll(() => crowd.destroy());

type Write = (dataSource: DataSource, lease: Lease) => Promise<object | void>;

const processorAuthId = 'pi_the_same';
const failure = { errorCode: 'TIMEOUT', errorMessage: 'of now' };
const eventId = () => uuidv4();

/** Everything that a worker writes, each by a call that may be made again. */
const WRITES: [name: string, makeWrite: () => Write][] = [
  [
    'startAttempt with its event id',
    () => {
      const id = eventId();
      return (by, lease) => new AuthRequests(by).startAttempt(lease, { configVersion: 'v1', eventId: id });
    },
  ],
  ...(['kept', 'released'] as const).flatMap((after): [string, () => Write][] => {
    const how = after === 'kept' ? '' : ' that releases the lease';
    const denial = { processorName: 'stripe', denialCode: '05' };
    return [
      [
        `recordAuthorized${how}`,
        () => (by, lease) => recordAuthorized(sessionOf(by), lease, anAuthorization({ processorAuthId }), after),
      ],
      [`recordDenied${how}`, () => (by, lease) => recordDenied(sessionOf(by), lease, denial, after)],
      ...[true, false].flatMap((retryable) =>
        (['not_asked', 'unknown', 'nothing_held'] as const).map((outcome): [string, () => Write] => [
          `recordFailure${how}, ${retryable ? 'retryable' : 'terminal'}, ${outcome}`,
          () => (by, lease) => recordFailure(sessionOf(by), lease, { ...failure, retryable, outcome }, after),
        ]),
      ),
    ];
  }),
  [
    'expire',
    () =>
      (by, { restaurantId, authRequestId }) =>
        new AuthRequests(by).expire({ restaurantId, authRequestId, reason: 'late' }),
  ],
];

const CLOSINGS = {
  'that is open': () => Promise.resolve(),
  'that was voided': (authRequestId: string) =>
    requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: '', idempotencyKey: uuidv4() }),
};

const withoutReplayed = (answer: object | void) => answer && { ...answer, replayed: undefined };

const CASES = WRITES.flatMap(([name, makeWrite]) =>
  Object.entries(CLOSINGS)
    .filter(([what]) => name !== 'expire' || what === 'that is open')
    .map(([what, close]) => [name, what, makeWrite, close] as const),
);

const eventCount = async (authRequestId: string) => (await requireSound(database, [authRequestId]))[0]!.events.length;

describe.each(CASES)('%s of a request %s', (_name, _what, makeWrite, close) => {
  const prepared = async () => {
    const request = await aRequest(crowd, { started: true });
    await close(request.authRequestId);
    return { ...request, before: await eventCount(request.authRequestId) };
  };

  it('made again under the same lease is answered as the first time, and writes nothing', async () => {
    const { authRequestId, lease, before } = await prepared();
    const write = makeWrite();
    const first = await write(crowd, lease);
    for (let again = 0; again < 3; again++) {
      expect(withoutReplayed(await write(crowd, lease))).toEqual(withoutReplayed(first));
    }
    expect(await eventCount(authRequestId)).toBe(before + 1);
  });

  it('made again by another process after its lease was taken over is answered as the first time', async () => {
    const { authRequestId, lease, before } = await prepared();
    const write = makeWrite();
    const first = await write(crowd, lease);
    await locks.release(lease);
    await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 });
    const other = await quietDataSource({ url: database.url });
    try {
      const written = JSON.parse(JSON.stringify({ ...lease, fencingToken: lease.fencingToken.toString() })) as Lease;
      const revived = {
        ...written,
        fencingToken: BigInt(written.fencingToken),
        expiresAt: new Date(written.expiresAt),
      };
      expect(withoutReplayed(await write(other, revived))).toEqual(withoutReplayed(first));
    } finally {
      await other.destroy();
    }
    expect(await eventCount(authRequestId)).toBe(before + 1);
  });

  it('made many times at once is written once, and all are told the same', async () => {
    for (let round = 0; round < 5; round++) {
      const { authRequestId, lease, before } = await prepared();
      const write = makeWrite();
      const answers = await atOnce(8, () => write(crowd, lease));
      expect(new Set(answers.map((answer) => JSON.stringify(withoutReplayed(answer)))).size).toBe(1);
      expect(await eventCount(authRequestId)).toBe(before + 1);
    }
  });
});

describe('what is no repeat', () => {
  it('a start whose attempt another worker has settled meanwhile: it is no word to ask the processor', async () => {
    const { authRequestId, lease } = await aRequest(crowd);
    const command = { configVersion: 'v1', eventId: eventId() };
    await requests.startAttempt(lease, command);
    await locks.release(lease);
    const next = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 });
    await requests.startAttempt(next!, { configVersion: 'v1' });
    await requests.recordFailure(next!, { ...failure, retryable: false, outcome: 'nothing_held' });
    await expect(requests.startAttempt(lease, command)).rejects.toThrow(LockLostError);
  });

  it('the same failure of the next attempt under the same lease counts', async () => {
    const { lease } = await aRequest(crowd);
    for (const retryCount of [1, 2, 3]) {
      await requests.startAttempt(lease, { configVersion: 'v1' });
      const timedOut = { ...failure, retryable: true, outcome: 'unknown' } as const;
      expect(await requests.recordFailure(lease, timedOut)).toMatchObject({ status: 'PROCESSING', retryCount });
    }
  });

  it('another start under the same lease, without the event id, is an attempt of its own', async () => {
    const { lease } = await aRequest(crowd, { started: true });
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toMatchObject({
      ...{ attempt: 3, unansweredVersions: ['v1'] },
    });
  });

  it('an event id that belongs to something else is refused, and nothing is written', async () => {
    const { authRequestId, lease } = await aRequest(crowd);
    const other = await aRequest(crowd);
    const command = { configVersion: 'v1', eventId: eventId() };
    await requests.startAttempt(other.lease, command);
    await expect(requests.startAttempt(lease, command)).rejects.toThrow(EventIdConflictError);
    expect(await requireSound(database, [authRequestId])).toMatchObject([{ status: 'PENDING' }]);
  });

  it('a result of a worker that has lost its lease, though another one has recorded the same', async () => {
    const { authRequestId, lease } = await aRequest(crowd, { started: true });
    await locks.release(lease);
    const next = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 });
    await requests.startAttempt(next!, { configVersion: 'v1' });
    await requests.recordAuthorized(next!, anAuthorization({ processorAuthId }));
    await expect(requests.recordAuthorized(lease, anAuthorization({ processorAuthId }))).rejects.toThrow(LockLostError);
  });
});

describe('acquire', () => {
  const command = async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    return { restaurantId: RESTAURANT, authRequestId, workerId: 'w', ttlMs: 60_000 };
  };

  it('made again with its token gets the lease; another call of the same worker does not', async () => {
    const ref = { ...(await command()), fencingToken: newFencingToken() };
    const first = await locks.acquire(ref);
    expect(await locks.acquire(ref)).toMatchObject({ fencingToken: first!.fencingToken });
    expect(await locks.acquire({ ...ref, fencingToken: undefined })).toBeNull();
    expect(await locks.acquire({ ...ref, workerId: 'other' })).toBeNull();
  });

  it('leaves a request of another restaurant to its owner', async () => {
    const ref = await command();
    await expect(locks.acquire({ ...ref, restaurantId: uuidv4() })).rejects.toThrow(AuthRequestNotFoundError);
    expect(await locks.acquire(ref)).not.toBeNull();
  });

  it('draws tokens that no other lease has had', () => {
    const tokens = Array.from({ length: 10_000 }, newFencingToken);
    expect(new Set(tokens).size).toBe(tokens.length);
    expect(tokens.every((token) => token >= 0n && token < 2n ** 62n)).toBe(true);
  });

  it('names a worker by itself, unlike any other process', async () => {
    const ref = { ...(await command()), workerId: undefined };
    expect((await locks.acquire(ref))!.workerId).toMatch(new RegExp(`/${process.pid}/[0-9a-f-]{36}$`));
  });
});

describe('over a network that swallows one answer', () => {
  let proxy: Proxy;
  let cutOff: PaymentEventsDataSource;
  beforeAll(async () => {
    proxy = await Proxy.start(database.url);
    cutOff = await quietDataSource({ url: proxy.url, poolSize: 4, connectTimeoutMs: 20_000, answerTimeoutMs: 500 });
  });
  afterAll(async () => {
    await cutOff.destroy();
    await proxy.close();
  });

  /** The server does what it is asked, and nobody is told until it has. */
  async function losingAnswers<T>(work: () => Promise<T>, done: () => Promise<boolean>): Promise<T> {
    await cutOff.query('SELECT');
    proxy.swallow = 'answers';
    const working = work();
    working.catch(() => undefined);
    await eventually(done);
    proxy.swallow = 'nothing';
    return working;
  }

  it('acquire gets the lease that it has taken', async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const ref = { restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 };
    const held = async () =>
      (await database.query('SELECT FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId])).length >
      0;
    expect(await losingAnswers(() => new ProcessingLocks(cutOff).acquire(ref), held)).not.toBeNull();
  });

  it('startAttempt begins one attempt', async () => {
    const { authRequestId, lease } = await aRequest(crowd);
    const begun = async () => (await requireSound(database, [authRequestId]))[0]!.status === 'PROCESSING';
    const start = () => new AuthRequests(cutOff).startAttempt(lease, { configVersion: 'v1' });
    expect(await losingAnswers(start, begun)).toMatchObject({ outcome: 'proceed', attempt: 2, unansweredVersions: [] });
    expect((await requireSound(database, [authRequestId]))[0]!.events).toHaveLength(2);
  });

  it('withLock returns though its release is never answered', async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const ref = { restaurantId: RESTAURANT, authRequestId, ttlMs: 900 };
    const working = new ProcessingLocks(cutOff).withLock(ref, () => {
      proxy.swallow = 'answers';
      return Promise.resolve('done');
    });
    expect(await working).toBe('done');
    proxy.swallow = 'nothing';
    proxy.cut();
  });
});

describe('withLock', () => {
  it('leaves work behind that takes longer than it may: it is told, and its lease is not released', async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const ref = { restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 };
    const heard: unknown[] = [];
    const work = (_lease: Lease, signal: AbortSignal) => {
      signal.addEventListener('abort', () => heard.push(signal.reason));
      return delay(60_000, undefined, { signal, ref: false });
    };
    await expect(locks.withLock(ref, work, { longestMs: 50 })).rejects.toThrow(LockTimeoutError);
    expect(heard).toEqual([expect.any(LockTimeoutError)]);
    expect(await locks.acquire(ref)).toBeNull();
  });

  it('gives what the work gives, also where that throws at once', async () => {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const ref = { restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 };
    const throwing = () => {
      throw new Error('at once');
    };
    expect(await outcomeOf(locks.withLock(ref, throwing))).toBe('Error');
    expect(await locks.withLock(ref, () => Promise.resolve(7))).toBe(7);
    const missing = locks.withLock({ ...ref, restaurantId: uuidv4() }, () => Promise.resolve(7));
    await expect(missing).rejects.toThrow(AuthRequestNotFoundError);
  });
});
