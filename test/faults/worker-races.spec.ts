import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { LockLostError } from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, comeToWait, crowdOf, eventually, outcomeOf, overlap } from '../support/requests/races';
import { type RequestRecord, requireSound } from '../support/requests/sound-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const WORKERS = 32;
const REQUESTS = 200;
const TTL_MS = 250;

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;

beforeAll(async () => {
  crowd = await crowdOf(WORKERS, database);
  requests = new AuthRequests(crowd);
  locks = new ProcessingLocks(crowd);
});
afterAll(() => crowd.destroy());

const chance = (probability: number) => Math.random() < probability;
const aFailure = (retryable: boolean) => ({
  errorCode: 'TIMEOUT',
  errorMessage: '',
  retryable,
  outcome: chance(0.5) ? ('nothing_held' as const) : ('unknown' as const),
});

describe(`${WORKERS} workers that fight for ${REQUESTS} requests`, () => {
  /** Each acquisition under a worker id of its own, so that every event tells under which lease it was written. */
  const leases = new Map<string, Lease>();
  /** The leases under which a result was acknowledged, and those under which one was refused. */
  const recorded: string[] = [];
  const refused: string[] = [];
  let records: RequestRecord[];

  /** As a worker that may be slow, forgetful or dead: sleeps past its lease, asks twice, does not release. */
  async function work(worker: number, open: Set<string>): Promise<void> {
    for (let turn = 0; open.size > 0; turn++) {
      const authRequestId = [...open][Math.floor(Math.random() * open.size)]!;
      const workerId = `${worker}/${turn}`;
      const lease = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId, ttlMs: TTL_MS });
      if (!lease) continue;
      leases.set(workerId, lease);
      try {
        const attempt = await requests.startAttempt(lease, { configVersion: 'v1' });
        if (attempt.outcome === 'nothing_to_do') {
          open.delete(authRequestId);
        } else {
          if (chance(0.15)) await delay(TTL_MS + Math.random() * TTL_MS);
          await record(lease);
          recorded.push(workerId);
        }
        if (chance(0.8)) await locks.release(lease);
      } catch (error) {
        if (!(error instanceof LockLostError)) throw error;
        refused.push(workerId);
      }
    }
  }
  async function record(lease: Lease): Promise<void> {
    const dice = Math.random();
    if (dice < 0.4) {
      await requests.recordAuthorized(lease, anAuthorization({ processorAuthId: `pi_${lease.authRequestId}` }));
    } else if (dice < 0.6) {
      await requests.recordDenied(lease, { processorName: 'stripe', denialCode: '05' });
    } else {
      await requests.recordFailure(lease, aFailure(dice < 0.9));
    }
  }

  beforeAll(async () => {
    const receipts = await atOnce(REQUESTS, () => requests.authorize(anAuthorizeCommand()));
    const open = new Set(receipts.map(({ authRequestId }) => authRequestId));
    await atOnce(WORKERS, (worker) => work(worker, open));
    records = await requireSound(database);
  });

  const isResult = (event: { type: string }) => ['AuthResponseReceived', 'AuthAttemptFailed'].includes(event.type);

  it('settle every request', () => {
    expect(records).toHaveLength(REQUESTS);
    expect(new Set(records.map(({ status }) => status))).toEqual(new Set(['AUTHORIZED', 'DENIED', 'FAILED']));
  });

  it('lose leases and are refused', () => {
    expect(refused.length).toBeGreaterThan(10);
  });

  it('write what they were told is written, and nothing that they were refused', () => {
    const written = records.flatMap(({ events }) => events.filter(isResult).map(({ metadata }) => metadata.worker_id!));
    expect(written.sort()).toEqual(recorded.sort());
    expect(written.filter((workerId) => refused.includes(workerId))).toEqual([]);
  });

  it('give each attempt one result at most, from the worker that began it last', () => {
    for (const { authRequestId, events } of records) {
      let attempt: string | undefined;
      for (const { type, sequenceNumber, metadata, ...event } of events) {
        if (type === 'AuthAttemptStarted') attempt = metadata.worker_id;
        if (!isResult({ type })) continue;
        expect({ authRequestId, sequenceNumber, worker: metadata.worker_id, event }).toMatchObject({ worker: attempt });
        attempt = 'none: it has its result';
      }
    }
  });

  it('hold leases under tokens that were never given twice', () => {
    expect(new Set([...leases.values()].map(({ fencingToken }) => fencingToken)).size).toBe(leases.size);
  });
});

describe('a write under a lease', () => {
  /** A lease that runs out by itself while its request is worked on. */
  async function aShortLease() {
    const { authRequestId, lease: long } = await aRequest(crowd, { started: true });
    await locks.release(long);
    const lease = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 800 });
    return { authRequestId, lease: lease! };
  }
  const hasExpired = (authRequestId: string) =>
    eventually(async () => {
      const [row] = await database.query<{ expired: boolean }>(
        'SELECT expires_at <= clock_timestamp() AS expired FROM auth_processing_locks WHERE auth_request_id = $1',
        [authRequestId],
      );
      return row!.expired;
    });
  const takeOver = (authRequestId: string) =>
    locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w2', ttlMs: 60_000 });

  it('is refused once the lease has run out, though nobody has taken it over', async () => {
    const { authRequestId, lease } = await aShortLease();
    expect(await hasExpired(authRequestId)).toBe(true);
    expect(await outcomeOf(requests.recordAuthorized(lease, anAuthorization()))).toBe('LockLostError');
    expect(await requireSound(database, [authRequestId])).toMatchObject([{ status: 'PROCESSING', attemptOpen: true }]);
  });

  it('holds off a worker that would take an expired lease over, until it is committed', async () => {
    const { authRequestId, lease } = await aShortLease();
    const { second, waited } = await overlap(
      { database, dataSource: crowd },
      async (manager) => {
        await requests.recordAuthorized(lease, anAuthorization(), manager);
        expect(await hasExpired(authRequestId)).toBe(true);
      },
      () => takeOver(authRequestId),
    );
    expect(waited).toBe(true);
    expect(await requests.startAttempt(second!, { configVersion: 'v1' })).toMatchObject({ outcome: 'settle' });
  });

  it('holds off a release and a renewal as well', async () => {
    const changes: ((lease: Lease) => Promise<unknown>)[] = [
      (lease) => locks.release(lease),
      (lease) => locks.renew(lease, 60_000),
    ];
    for (const change of changes) {
      const { lease } = await aRequest(crowd, { started: true });
      const { waited } = await overlap(
        { database, dataSource: crowd },
        (manager) => requests.recordDenied(lease, { processorName: 'stripe' }, manager),
        () => change(lease),
      );
      expect(waited).toBe(true);
    }
  });

  it.each(['commit', 'rollback'] as const)('waits for the lease to change hands, and for its %s', async (ending) => {
    const { authRequestId, lease } = await aRequest(crowd, { started: true });
    const { second, waited } = await overlap(
      { database, dataSource: crowd },
      async (manager) => {
        await locks.release(lease, manager);
        const { restaurantId } = lease;
        await locks.acquire({ restaurantId, authRequestId, workerId: 'w2', ttlMs: 60_000 }, manager);
      },
      () => outcomeOf(requests.recordAuthorized(lease, anAuthorization())),
      { ending },
    );
    expect(waited).toBe(true);
    if (ending === 'commit') expect(second).toBe('LockLostError');
    else expect(second).toMatchObject({ status: 'AUTHORIZED' });
    await requireSound(database, [authRequestId]);
  });

  it('lands before that of the next worker when it waited for the request past its own lease', async () => {
    const { authRequestId, lease } = await aShortLease();
    const holder = await database.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT FROM auth_request_state WHERE auth_request_id = $1 FOR UPDATE', [authRequestId]);
    const late = requests.recordAuthorized(lease, anAuthorization());
    const expired = await hasExpired(authRequestId);
    const next = takeOver(authRequestId).then((taken) => requests.startAttempt(taken!, { configVersion: 'v1' }));
    const waiting = await comeToWait(database, 2);
    await holder.query('ROLLBACK');
    expect({ expired, waiting }).toEqual({ expired: true, waiting: true });
    expect(await late).toMatchObject({ status: 'AUTHORIZED', replayed: false });
    // Another lease's answer says nothing of the attempt that the first lease began.
    expect(await next).toMatchObject({ outcome: 'settle', status: 'AUTHORIZED', configVersion: 'v1' });
    await requireSound(database, [authRequestId]);
  });
});
