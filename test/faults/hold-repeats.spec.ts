import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { recordVoidFailure } from '../../src/auth-requests/holds/record-void-failure';
import { recordVoided } from '../../src/auth-requests/holds/record-voided';
import { recordAuthorized } from '../../src/auth-requests/record-authorized';
import { type LeaseAfter } from '../../src/auth-requests/worker-write';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { LockLostError, PaymentEventsDbError } from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, crowdOf, overlap } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
beforeAll(async () => {
  crowd = await crowdOf(8, database);
});
afterAll(() => crowd.destroy());

interface Subject {
  readonly lease: Lease;
  readonly id: string;
}
type Write = (by: PaymentEventsDataSource, subject: Subject) => Promise<object | void>;
type Standing = 'under way' | 'AUTHORIZED' | 'being voided' | 'failed';

const ofHold = ({ id }: Subject) => ({ processorName: 'stripe', processorAuthId: id });
const refOf = ({ lease: { authRequestId } }: Subject) => ({ restaurantId: RESTAURANT, authRequestId });
const byPerson = { by: 'ana', reason: 'seen to' };

const report =
  (told: 'authorized' | 'captured', sourceEventId: string): Write =>
  (by, subject) => {
    const said = { told, sourceEventId, source: 'stripe', amountCents: 1050 };
    return new Holds(by).report({ ...refOf(subject), ...ofHold(subject), ...said });
  };
const failVoid =
  (retryable: boolean, after: LeaseAfter = 'kept'): Write =>
  (by, subject) => {
    const failure = { ...ofHold(subject), errorCode: 'TIMEOUT', errorMessage: '', retryable };
    return recordVoidFailure(sessionOf(by), subject.lease, failure, after);
  };

/** What a worker writes of holds, in either form. */
const workersWrites = (after: LeaseAfter): [name: string, standing: Standing, makeWrite: () => Write][] => {
  const how = after === 'kept' ? '' : ' that releases the lease';
  return [
    [
      `recordVoided${how}`,
      'being voided',
      () => (by, subject) => recordVoided(sessionOf(by), subject.lease, ofHold(subject), after),
    ],
    [`recordVoidFailure${how}, retryable`, 'being voided', () => failVoid(true, after)],
    [`recordVoidFailure${how}, for good`, 'being voided', () => failVoid(false, after)],
    [
      `recordAuthorized${how}`,
      'under way',
      () => (by, subject) =>
        recordAuthorized(sessionOf(by), subject.lease, anAuthorization({ processorAuthId: subject.id }), after),
    ],
  ];
};

/** All that writes of holds, each a call that may be made again: of a request under way with a hold, or of a hold further on. */
const WRITES: [name: string, standing: Standing, makeWrite: () => Write][] = [
  ['report, authorized', 'under way', () => report('authorized', 'evt_1')],
  ['report, captured', 'being voided', () => report('captured', 'evt_1')],
  ...workersWrites('kept'),
  ...workersWrites('released'),
  [
    'requeueVoid',
    'failed',
    () => (by, subject) => new Holds(by).requeueVoid({ ...refOf(subject), ...ofHold(subject), ...byPerson }),
  ],
  [
    'recordEnd',
    'failed',
    () => (by, subject) =>
      new Holds(by).recordEnd({ ...refOf(subject), ...ofHold(subject), ...byPerson, end: 'voided' }),
  ],
  [
    'requestVoid',
    'AUTHORIZED',
    () => {
      const idempotencyKey = uuidv4();
      return (by, subject) => new AuthRequests(by).requestVoid({ ...refOf(subject), idempotencyKey, reason: 'left' });
    },
  ],
  ['expire', 'under way', () => (by, subject) => new AuthRequests(by).expire({ ...refOf(subject), reason: 'late' })],
];

async function aSubject(standing: Standing): Promise<Subject> {
  const { authRequestId, lease, requests } = await aRequest(crowd, { started: true });
  const subject = { lease, id: `pi_${authRequestId}` };
  await report('authorized', 'evt_0')(crowd, subject);
  if (standing === 'under way') return subject;
  await requests.recordAuthorized(lease, anAuthorization({ processorAuthId: subject.id }));
  if (standing === 'AUTHORIZED') return subject;
  await requests.requestVoid({ ...refOf(subject), idempotencyKey: uuidv4(), reason: 'left' });
  if (standing === 'failed') await failVoid(false)(crowd, subject);
  return subject;
}

const eventCount = async ({ lease }: Subject) =>
  (await requireSound(database, [lease.authRequestId]))[0]!.events.length;

/** What tells a repeat from the first call, which is not what the call came to. */
const withoutRepeat = (answer: object | void) =>
  answer && { ...answer, replayed: undefined, queued: undefined, voidQueued: undefined };

describe.each(WRITES)('%s of a hold of a request %s', (name, standing, makeWrite) => {
  const isOfWorker = /^record(Void|Authorized)/.test(name);

  it('made again is answered as the first time, and writes nothing', async () => {
    const subject = await aSubject(standing);
    const before = await eventCount(subject);
    const write = makeWrite();
    const first = await write(crowd, subject);
    for (let again = 0; again < 3; again++) {
      expect(withoutRepeat(await write(crowd, subject))).toEqual(withoutRepeat(first));
    }
    expect(await eventCount(subject)).toBe(before + 1);
  });

  it('made again after its lease was taken over is answered as the first time', async () => {
    const subject = await aSubject(standing);
    const write = makeWrite();
    const first = await write(crowd, subject);
    const locks = new ProcessingLocks(crowd);
    await locks.release(subject.lease);
    await locks.acquire({ ...refOf(subject), ttlMs: 60_000 });
    expect(withoutRepeat(await write(crowd, subject))).toEqual(withoutRepeat(first));
  });

  it('made for the first time after its lease was taken over is refused, where it is a worker that says it', async () => {
    const subject = await aSubject(standing);
    const before = await eventCount(subject);
    const locks = new ProcessingLocks(crowd);
    await locks.release(subject.lease);
    await locks.acquire({ ...refOf(subject), ttlMs: 60_000 });
    const write = makeWrite()(crowd, subject);
    if (isOfWorker) await expect(write).rejects.toThrow(LockLostError);
    else await write;
    expect(await eventCount(subject)).toBe(before + Number(!isOfWorker));
  });

  it('made many times at once is written once, and all are told the same', async () => {
    for (let round = 0; round < 3; round++) {
      const subject = await aSubject(standing);
      const before = await eventCount(subject);
      const write = makeWrite();
      const answers = await atOnce(8, () => write(crowd, subject));
      expect(new Set(answers.map((answer) => JSON.stringify(withoutRepeat(answer)))).size).toBe(1);
      expect(await eventCount(subject)).toBe(before + 1);
    }
  });
});

describe('a connection that is cut', () => {
  let proxy: Proxy;
  let cutOff: PaymentEventsDataSource;
  beforeAll(async () => {
    proxy = await Proxy.start(database.url);
    cutOff = await quietDataSource({ url: proxy.url, poolSize: 1, connectTimeoutMs: 20_000 });
  });
  afterAll(async () => {
    await cutOff.destroy();
    await proxy.close();
  });

  /** Ends the connection with the n-th packet of a direction, which still arrives or does not. Says whether it came to that. */
  function cutAt(n: number, direction: 'requests' | 'answers', arrives: boolean): () => boolean {
    let left = n;
    proxy.intercept = (what, data) => {
      if (what !== direction || --left > 0) return undefined;
      proxy.intercept = undefined;
      return { pass: arrives ? data : Buffer.alloc(0), end: true };
    };
    return () => left === 0;
  }

  const CUTS = (['requests', 'answers'] as const).flatMap((direction) =>
    [true, false].map((arrives) => [direction, arrives] as const),
  );

  /** Cuts at the first packet, the second, and so on, until the write comes through; makes it again after each. */
  async function cutEverywhere(
    standing: Standing,
    makeWrite: () => Write,
    send: (write: Write, subject: Subject) => Promise<unknown>,
    furtherEvents: number,
  ): Promise<number> {
    let cuts = 0;
    for (const [direction, arrives] of CUTS) {
      for (let packet = 1, isCut = true; isCut; packet++) {
        const subject = await aSubject(standing);
        const before = await eventCount(subject);
        const write = makeWrite();
        await cutOff.query('SELECT');
        const wasCut = cutAt(packet, direction, arrives);
        const error = await send(write, subject);
        proxy.intercept = undefined;
        isCut = wasCut();
        cuts += Number(isCut);
        if (error !== undefined) expect(error).toMatchObject({ retryable: true });
        expect(error === undefined || error instanceof PaymentEventsDbError).toBe(true);
        const repeated = await write(crowd, subject);
        expect(withoutRepeat(await write(crowd, subject))).toEqual(withoutRepeat(repeated));
        expect(await eventCount(subject)).toBe(before + 1 + furtherEvents);
      }
    }
    return cuts;
  }
  const errorOf = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => undefined,
      (error: unknown) => error,
    );

  it.each(WRITES)('at any packet of %s, of a hold of a request %s, costs nothing but a repeat', async (...args) => {
    const [, standing, makeWrite] = args;
    const cuts = await cutEverywhere(standing, makeWrite, (write, subject) => errorOf(write(cutOff, subject)), 0);
    expect(cuts).toBeGreaterThan(3);
  });

  it.each(WRITES)(
    'at any packet of %s, of a hold of a request %s, costs nothing more where it has waited for another write',
    async (...args) => {
      const [, standing, makeWrite] = args;
      const cuts = await cutEverywhere(
        standing,
        makeWrite,
        async (write, subject) => {
          const { second } = await overlap(
            { database, dataSource: crowd },
            (manager) => {
              const said = { told: 'authorized', source: 'stripe', sourceEventId: 'evt_2', amountCents: 1050 } as const;
              return new Holds(crowd).report({ ...refOf(subject), ...ofHold(subject), ...said }, manager);
            },
            () => errorOf(write(cutOff, subject)),
          );
          return second;
        },
        1,
      );
      // The statement that waited, then BEGIN, the statement again and COMMIT.
      expect(cuts).toBeGreaterThan(12);
    },
  );
});
