import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { type EntityManager } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { recordAuthorized } from '../../src/auth-requests/record-authorized';
import { recordDenied } from '../../src/auth-requests/record-denied';
import { recordFailure } from '../../src/auth-requests/record-failure';
import { type VoidReceipt } from '../../src/auth-requests/request-void';
import { beginAttempt } from '../../src/auth-requests/start-attempt';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, crowdOf, eventually, outcomeOf, overlap } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;

beforeAll(async () => {
  crowd = await crowdOf(24, database);
  requests = new AuthRequests(crowd);
  locks = new ProcessingLocks(crowd);
});
afterAll(() => crowd.destroy());

const aVoid = (authRequestId: string) => ({
  restaurantId: RESTAURANT,
  authRequestId,
  idempotencyKey: uuidv4(),
  reason: 'customer left',
});
const anAnswer = ({ authRequestId }: { authRequestId: string }) =>
  anAuthorization({ processorAuthId: `pi_${authRequestId}` });
const aFailure = (retryable: boolean, outcome: 'nothing_held' | 'unknown') => ({
  errorCode: 'TIMEOUT',
  errorMessage: '',
  retryable,
  outcome,
});
const recordOf = async (authRequestId: string) => (await requireSound(database, [authRequestId]))[0]!;

const CLOSINGS = {
  void: {
    to: 'VOIDED',
    close: (authRequestId: string, manager?: EntityManager): Promise<unknown> =>
      requests.requestVoid(aVoid(authRequestId), manager),
  },
  expiry: {
    to: 'EXPIRED',
    close: (authRequestId: string, manager?: EntityManager): Promise<unknown> =>
      requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: 'late' }, manager),
  },
};
type Closing = keyof typeof CLOSINGS;

/** A worker delivered the request again: asks the processor, which knows it by its id, until there is nothing to do. */
async function deliverAgain(given: Lease): Promise<void> {
  // Where it was released, it is taken again.
  const lease = (await locks.acquire({ ...given, ttlMs: 60_000 }))!;
  for (let times = 0; times < 3; times++) {
    const attempt = await requests.startAttempt(lease, { configVersion: 'v1' });
    if (attempt.outcome === 'nothing_to_do') return;
    await requests.recordAuthorized(lease, anAnswer(lease));
  }
  throw new Error('a request that was answered has nothing left to do');
}

describe('a worker and a closing that meet at one request', () => {
  /** By a statement of its own, or by the one that takes or releases the lease as well. */
  type Form = 'alone' | 'with its lease';
  type Write = (lease: Lease, form: Form, manager?: EntityManager) => Promise<unknown>;
  const after = (form: Form) => (form === 'alone' ? 'kept' : 'released');
  const start: Write = async (lease, form) => {
    if (form === 'alone') return await requests.startAttempt(lease, { configVersion: 'v1' });
    await locks.release(lease);
    return await beginAttempt(sessionOf(crowd), lease, { configVersion: 'v1', ttlMs: 60_000 });
  };
  const fail =
    (...failure: Parameters<typeof aFailure>): Write =>
    (lease, form, manager) =>
      recordFailure(sessionOf(crowd, manager), lease, aFailure(...failure), after(form));

  const aDenial = { processorName: 'stripe', denialCode: '05' };

  /** What the worker writes, what it is told where it comes first, and where it comes second. */
  const WRITES: [
    name: string,
    write: Write,
    first: { told: object; status: string; open?: boolean },
    second: { told: object; open?: boolean; released?: boolean },
  ][] = [
    [
      'the start of an attempt',
      start,
      { told: { outcome: 'proceed' }, status: 'PROCESSING', open: true },
      { told: { outcome: 'nothing_to_do' } },
    ],
    [
      'the start of a second attempt',
      start,
      { told: { outcome: 'proceed' }, status: 'PROCESSING', open: true },
      { told: { outcome: 'settle' }, open: true },
    ],
    [
      'an authorization',
      (lease, form, manager) => recordAuthorized(sessionOf(crowd, manager), lease, anAnswer(lease), after(form)),
      { told: { status: 'AUTHORIZED', voidQueued: false }, status: 'AUTHORIZED' },
      { told: { voidQueued: true }, released: true },
    ],
    [
      'a denial',
      (lease, form, manager) => recordDenied(sessionOf(crowd, manager), lease, aDenial, after(form)),
      { told: { status: 'DENIED' }, status: 'DENIED' },
      { told: { voidQueued: false } },
    ],
    [
      'a failure to be retried',
      fail(true, 'nothing_held'),
      { told: { status: 'PROCESSING', retryCount: 1 }, status: 'PROCESSING' },
      { told: { retryCount: 1 } },
    ],
    [
      'a failure to be retried, of unknown outcome',
      fail(true, 'unknown'),
      { told: { status: 'PROCESSING', retryCount: 1 }, status: 'PROCESSING', open: true },
      { told: { retryCount: 1 }, open: true },
    ],
    [
      'a last failure',
      fail(false, 'nothing_held'),
      { told: { status: 'FAILED', retryCount: 0 }, status: 'FAILED' },
      { told: { retryCount: 0 } },
    ],
    [
      'a last failure of unknown outcome',
      fail(false, 'unknown'),
      { told: { status: 'FAILED', retryCount: 0 }, status: 'FAILED', open: true },
      { told: { retryCount: 0 }, open: true },
    ],
  ];
  const CASES = Object.keys(CLOSINGS).flatMap((closing) =>
    (['alone', 'with its lease'] as const).flatMap((form) =>
      WRITES.map(([name, ...expected]) => [name, form, closing as Closing, ...expected] as const),
    ),
  );

  it.each(CASES)(
    '%s, %s, waits for the %s before it, and does not undo it',
    async (name, form, closing, write, _first, second) => {
      const { authRequestId, lease } = await aRequest(crowd, { started: name !== 'the start of an attempt' });
      const { to, close } = CLOSINGS[closing];
      const { second: told, waited } = await overlap(
        { database, dataSource: crowd },
        (manager) => close(authRequestId, manager),
        () => write(lease, form),
      );
      expect(waited).toBe(true);
      expect(told).toMatchObject({ ...second.told, status: to });
      const voidReasons = second.released ? ['voided_during_authorization'] : [];
      const { open: attemptOpen = false } = second;
      expect(await recordOf(authRequestId)).toMatchObject({ status: to, attemptOpen, voidReasons });
      await requireReleased(authRequestId, lease, to, { asked: attemptOpen || second.released === true });
    },
  );

  it.each(CASES)('%s, %s, holds the %s off, which then goes by it', async (name, form, closing, write, first) => {
    const { authRequestId, lease } = await aRequest(crowd, { started: name !== 'the start of an attempt' });
    const { to, close } = CLOSINGS[closing];
    const {
      first: told,
      second: closed,
      waited,
    } = await overlap(
      { database, dataSource: crowd },
      (manager) => write(lease, form, manager),
      () => outcomeOf(close(authRequestId)),
    );
    // An attempt begins in a transaction of its own.
    expect(waited).toBe(write !== start);
    expect(told).toMatchObject(first.told);
    const closable = first.status === 'PROCESSING' || (first.status === 'AUTHORIZED' && closing === 'void');
    const status = closable ? to : first.status;
    if (closable && closing === 'void') {
      expect(closed).toMatchObject({ outcome: first.status === 'AUTHORIZED' ? 'queued' : 'pending' });
    } else if (closable) expect(closed).toBeUndefined();
    else expect(closed).toBe(closing === 'void' ? 'NotVoidableError' : 'AuthRequestStatusError');
    const voidReasons = status === 'VOIDED' && first.status === 'AUTHORIZED' ? ['customer left'] : [];
    const { open: attemptOpen = false } = first;
    expect(await recordOf(authRequestId)).toMatchObject({ status, attemptOpen, voidReasons });
    const asked = attemptOpen || first.status === 'AUTHORIZED';
    await requireReleased(authRequestId, lease, status, { asked: asked && status !== 'AUTHORIZED' });
  });

  /** Whatever happened: once it is settled, money that the processor holds for a closed request is released, once. */
  async function requireReleased(authRequestId: string, lease: Lease, status: string, { asked }: { asked: boolean }) {
    await deliverAgain(lease);
    const record = await recordOf(authRequestId);
    expect(record).toMatchObject({ status, attemptOpen: false });
    expect(record.voidReasons).toHaveLength(asked ? 1 : 0);
  }
});

describe('a closing thrown into a running attempt', () => {
  const pause = () => (Math.random() < 0.5 ? undefined : delay(Math.random() * 4));

  /** One attempt, by single calls or by one, with a closing let loose, unawaited, right before one of its steps or after the last. */
  async function attempt(closing: Closing, at: number, form: 'single calls' | 'one call') {
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    const ref = { restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 60_000 };
    let closed: Promise<unknown> = Promise.resolve();
    let asked = false;
    const before = (step: number) => {
      if (step === at) closed = outcomeOf(CLOSINGS[closing].close(authRequestId));
    };
    const isUnknown = Math.random() < 0.2;
    before(0);
    if (form === 'one call') {
      await requests.attempt({ ...ref, configVersion: 'v1' }, async ({ authRequestId }) => {
        asked = true;
        before(1);
        await pause();
        before(2);
        if (isUnknown) return aFailure(false, 'unknown');
        return { outcome: 'authorized', ...anAnswer({ authRequestId }) };
      });
    } else {
      const lease = (await locks.acquire(ref))!;
      const { outcome } = await requests.startAttempt(lease, { configVersion: 'v1' });
      asked = outcome !== 'nothing_to_do';
      before(1);
      await pause();
      before(2);
      if (asked && isUnknown) await requests.recordFailure(lease, aFailure(false, 'unknown'));
      else if (asked) await requests.recordAuthorized(lease, anAnswer(lease));
      await locks.release(lease);
    }
    before(3);
    const outcome = await closed;
    await deliverAgain((await locks.acquire(ref))!);
    return { authRequestId, asked, closing, outcome };
  }

  it('never leaves money held for a closed request, and never releases it twice', async () => {
    const attempts = [];
    for (let round = 0; round < 60; round++) {
      const form = round % 2 ? 'one call' : 'single calls';
      attempts.push(...(await atOnce(16, (index) => attempt(index % 2 ? 'void' : 'expiry', (index >> 1) % 4, form))));
    }
    const records = new Map(
      (
        await requireSound(
          database,
          attempts.map(({ authRequestId }) => authRequestId),
        )
      ).map((record) => [record.authRequestId, record]),
    );
    const ends = new Set<string>();
    for (const { authRequestId, asked, closing, outcome } of attempts) {
      const record = records.get(authRequestId)!;
      expect(record.attemptOpen).toBe(false);
      expect(record.voidReasons).toHaveLength(asked && record.status !== 'AUTHORIZED' ? 1 : 0);
      if (typeof outcome !== 'string') expect(record.status).toBe(CLOSINGS[closing].to);
      const { outcome: receipt = 'done' } = (outcome ?? {}) as Partial<VoidReceipt>;
      ends.add(`${closing}: ${typeof outcome === 'string' ? outcome : receipt}`);
      ends.add(record.status);
    }
    expect([...ends].sort()).toEqual([
      'AUTHORIZED',
      'EXPIRED',
      'FAILED',
      'VOIDED',
      'expiry: AuthRequestStatusError',
      'expiry: done',
      'void: NotVoidableError',
      'void: not_required',
      'void: pending',
      'void: queued',
    ]);
  });
});

describe('a worker killed while the processor was asked', () => {
  const TTL_MS = 2_000;
  const FATES = ['voided', 'voided before the kill', 'expired', 'left alone', 'voided, and denied'] as const;

  it('leaves requests that are delivered again and settled, whatever happened to them meanwhile', async () => {
    const receipts = await atOnce(FATES.length, () => requests.authorize(anAuthorizeCommand()));
    const ids = Object.fromEntries(FATES.map((fate, index) => [fate, receipts[index]!.authRequestId])) as Record<
      (typeof FATES)[number],
      string
    >;
    await killOnceStarted(Object.values(ids), () => CLOSINGS.void.close(ids['voided before the kill']));
    await CLOSINGS.void.close(ids.voided);
    await CLOSINGS.void.close(ids['voided, and denied']);
    await CLOSINGS.expiry.close(ids.expired);
    expect(await unsettled()).toEqual(Object.values(ids).sort());

    for (const fate of FATES) {
      const lease = await takeOver(ids[fate]);
      const told = await requests.startAttempt(lease, { configVersion: 'v1' });
      expect(told).toMatchObject({ outcome: fate === 'left alone' ? 'proceed' : 'settle', paymentToken: 'pt_test' });
      if (fate === 'voided, and denied') await requests.recordDenied(lease, { processorName: 'stripe' });
      else await requests.recordAuthorized(lease, anAnswer(lease));
      expect(await recordOf(ids[fate])).toMatchObject({
        status: fate === 'left alone' ? 'AUTHORIZED' : fate === 'expired' ? 'EXPIRED' : 'VOIDED',
        attemptOpen: false,
        voidReasons: ['left alone', 'voided, and denied'].includes(fate) ? [] : ['voided_during_authorization'],
      });
    }
    expect(await unsettled()).toEqual([]);
  });

  async function killOnceStarted(ids: string[], beforeTheKill: () => Promise<unknown>): Promise<void> {
    const script = compiled('test/fixtures/hanging-worker.fixture.ts');
    const child = spawn(process.execPath, [script, database.url, RESTAURANT, `${TTL_MS}`, ...ids], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(child, 'exit');
    try {
      const [said] = (await Promise.race([once(child.stdout, 'data'), exited])) as [unknown];
      expect(String(said)).toBe('started\n');
      await beforeTheKill();
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  }
  async function takeOver(authRequestId: string): Promise<Lease> {
    const command = { restaurantId: RESTAURANT, authRequestId, workerId: 'w2', ttlMs: 60_000 };
    let lease: Lease | null = null;
    await eventually(async () => (lease = await locks.acquire(command)) !== null);
    return lease!;
  }
  const unsettled = async () =>
    (await requests.listUnsettled({ olderThanMs: 0 })).map(({ authRequestId }) => authRequestId).sort();
});
