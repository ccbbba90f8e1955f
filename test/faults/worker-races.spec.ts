import { setTimeout as delay } from 'node:timers/promises';
import { type EntityManager } from 'typeorm';
import { type ProcessorAnswer } from '../../src/auth-requests/attempt';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { recordAuthorized } from '../../src/auth-requests/record-authorized';
import { type RecordedResult } from '../../src/auth-requests/recorded-result';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { LockHeldError, LockLostError } from '../../src/errors';
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

interface Ref {
  readonly restaurantId: string;
  readonly authRequestId: string;
  readonly workerId: string;
}

const answerOf = (authRequestId: string): ProcessorAnswer => {
  const dice = Math.random();
  const yes = anAuthorization({ processorAuthId: `pi_${authRequestId}` });
  if (dice < 0.4) return { outcome: 'authorized', ...yes };
  if (dice < 0.6) return { outcome: 'denied', processorName: 'stripe', denialCode: '05' };
  return aFailure(dice < 0.9);
};

/** What time does to the lease of a process that was stopped, and renews nothing. */
const lapse = ({ authRequestId, workerId }: Ref) =>
  database.query(
    `UPDATE auth_processing_locks
     SET locked_at = clock_timestamp() - interval '1 minute', expires_at = clock_timestamp()
     WHERE auth_request_id = $1 AND worker_id = $2`,
    [authRequestId, workerId],
  );

/** A worker's cycle, of one that may be slow, forgetful or dead: it sleeps past its lease, does not release. */
const CYCLES: Record<string, (ref: Ref) => Promise<'taken' | 'settled' | 'recorded'>> = {
  async 'by single calls'(ref) {
    const lease = await locks.acquire({ ...ref, ttlMs: TTL_MS });
    if (!lease) return 'taken';
    const { outcome } = await requests.startAttempt(lease, { configVersion: 'v1' });
    if (outcome !== 'nothing_to_do') {
      if (chance(0.15)) await delay(TTL_MS + Math.random() * TTL_MS);
      await record(lease);
    }
    if (chance(0.8)) await locks.release(lease);
    return outcome === 'nothing_to_do' ? 'settled' : 'recorded';
  },
  async 'by one call'(ref) {
    const command = { ...ref, ttlMs: 10_000, configVersion: 'v1' };
    const attempt = requests.attempt(command, async ({ authRequestId }) => {
      if (chance(0.15)) {
        await lapse(ref);
        await delay(Math.random() * TTL_MS);
      }
      return answerOf(authRequestId);
    });
    const outcome = await attempt.then(
      (result) => result.outcome,
      (error: unknown) => {
        if (error instanceof LockHeldError) return 'taken';
        throw error;
      },
    );
    if (outcome === 'taken') return outcome;
    return outcome === 'nothing_to_do' ? 'settled' : 'recorded';
  },
};

async function record(lease: Lease): Promise<void> {
  const answer = answerOf(lease.authRequestId);
  if (answer.outcome === 'authorized') await requests.recordAuthorized(lease, answer);
  else if (answer.outcome === 'denied') await requests.recordDenied(lease, answer);
  else await requests.recordFailure(lease, answer);
}

describe.each(Object.keys(CYCLES))(`${WORKERS} workers that fight for ${REQUESTS} requests %s`, (how) => {
  /**
   * The leases under which a result was acknowledged, and those under which one was refused: each of a worker id of its own,
   * which the events tell.
   */
  const recorded: string[] = [];
  const refused: string[] = [];
  let records: RequestRecord[];

  async function work(worker: number, open: Set<string>): Promise<void> {
    for (let turn = 0; open.size > 0; turn++) {
      const authRequestId = [...open][Math.floor(Math.random() * open.size)]!;
      const workerId = `${how} ${worker}/${turn}`;
      try {
        const outcome = await CYCLES[how]!({ restaurantId: RESTAURANT, authRequestId, workerId });
        if (outcome === 'settled') open.delete(authRequestId);
        if (outcome === 'recorded') recorded.push(workerId);
      } catch (error) {
        if (!(error instanceof LockLostError)) throw error;
        refused.push(workerId);
      }
    }
  }

  beforeAll(async () => {
    const receipts = await atOnce(REQUESTS, () => requests.authorize(anAuthorizeCommand()));
    const open = new Set(receipts.map(({ authRequestId }) => authRequestId));
    await atOnce(WORKERS, (worker) => work(worker, open));
    records = await requireSound(
      database,
      receipts.map(({ authRequestId }) => authRequestId),
    );
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
    const begun = records.flatMap(({ events }) => events.filter(({ type }) => type === 'AuthAttemptStarted'));
    expect(new Set(begun.map(({ metadata }) => metadata.fencing_token)).size).toBe(begun.length);
  });
});

type Write = (lease: Lease, manager?: EntityManager) => Promise<RecordedResult>;

const WRITES: [name: string, write: Write][] = [
  ['a write under a lease', (lease, manager) => requests.recordAuthorized(lease, anAuthorization(), manager)],
  [
    'a write that releases its lease',
    (lease, manager) => recordAuthorized(sessionOf(crowd, manager), lease, anAuthorization(), 'released'),
  ],
];

describe.each(WRITES)('%s', (name, write) => {
  const releases = name === 'a write that releases its lease';

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
    expect(await outcomeOf(write(lease))).toBe('LockLostError');
    expect(await requireSound(database, [authRequestId])).toMatchObject([{ status: 'PROCESSING', attemptOpen: true }]);
  });

  it('holds off a worker that would take an expired lease over, until it is committed', async () => {
    const { authRequestId, lease } = await aShortLease();
    const { second, waited } = await overlap(
      { database, dataSource: crowd },
      async (manager) => {
        await write(lease, manager);
        expect(await hasExpired(authRequestId)).toBe(true);
      },
      () => takeOver(authRequestId),
    );
    expect(waited).toBe(true);
    expect(await requests.startAttempt(second!, { configVersion: 'v1' })).toMatchObject({ outcome: 'settle' });
  });

  const leasesOf = (authRequestId: string) =>
    database.query('SELECT FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId]);

  it('holds off a release and a renewal as well', async () => {
    const changes: ((lease: Lease) => Promise<unknown>)[] = [
      (lease) => locks.release(lease),
      (lease) => locks.renew(lease, 60_000),
    ];
    for (const change of changes) {
      const { lease } = await aRequest(crowd, { started: true });
      const { waited } = await overlap(
        { database, dataSource: crowd },
        (manager) => write(lease, manager),
        () => outcomeOf(change(lease)),
      );
      expect(waited).toBe(true);
    }
  });

  it('waits for a renewal, and then writes under the lease that was renewed', async () => {
    const { authRequestId, lease } = await aRequest(crowd, { started: true });
    const { second, waited } = await overlap(
      { database, dataSource: crowd },
      (manager) => locks.renew(lease, 60_000, manager),
      () => write(lease),
    );
    expect(waited).toBe(true);
    expect(second).toMatchObject({ status: 'AUTHORIZED', replayed: false });
    expect(await leasesOf(authRequestId)).toHaveLength(releases ? 0 : 1);
    await requireSound(database, [authRequestId]);
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
      () => outcomeOf(write(lease)),
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
    const late = write(lease);
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
