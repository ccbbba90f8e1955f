import { v4 as uuidv4 } from 'uuid';
import { type EntityManager } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { expireStale } from '../../src/auth-requests/expire-stale';
import { Holds } from '../../src/auth-requests/holds/holds';
import { type ReportHoldCommand } from '../../src/auth-requests/holds/report-hold';
import { type HoldState } from '../../src/auth-requests/holds/states';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { type Lease } from '../../src/locks/processing-locks';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, crowdOf, outcomeOf, overlap } from '../support/requests/races';
import { type RequestRecord, requireSound } from '../support/requests/sound-requests';

const database = useTestDatabase();
let crowd: PaymentEventsDataSource;
let requests: AuthRequests;
let holds: Holds;
beforeAll(async () => {
  crowd = await crowdOf(64, database);
  requests = new AuthRequests(crowd);
  holds = new Holds(crowd);
});
afterAll(() => crowd.destroy());

/** A request with the hold that this is about, and the lease of the worker that has it. */
interface Subject {
  readonly lease: Lease;
  readonly id: string;
}
type Write = (subject: Subject, manager?: EntityManager) => Promise<unknown>;

const ofHold = (id: string) => ({ processorName: 'stripe', processorAuthId: id });
const byPerson = { by: 'ana', reason: 'seen to' };
const refOf = ({ lease: { authRequestId } }: Subject) => ({ restaurantId: RESTAURANT, authRequestId });
const recordOf = async (authRequestId: string) => (await requireSound(database, [authRequestId]))[0]!;

const report =
  (told: ReportHoldCommand['told'], changes: Partial<ReportHoldCommand> = {}): Write =>
  (subject, manager) =>
    holds.report(
      {
        ...{ ...refOf(subject), ...ofHold(subject.id), told, amountCents: 1050, currency: 'USD' },
        ...{ source: 'stripe', sourceEventId: `evt_${told}`, ...changes },
      },
      manager,
    );
const failVoid =
  (retryable: boolean): Write =>
  ({ lease, id }, manager) => {
    const nextRetryAt = new Date('2100-01-01');
    const failure = { ...ofHold(id), errorCode: 'TIMEOUT', errorMessage: '', retryable, nextRetryAt };
    return holds.recordVoidFailure(lease, failure, manager);
  };

const named = <Name extends string>(writes: Record<Name, Write>): Record<Name, Write> => writes;

/** All that can be written about a hold. */
const WRITES = named({
  void: (subject, manager) =>
    requests.requestVoid({ ...refOf(subject), idempotencyKey: uuidv4(), reason: 'left' }, manager),
  answer: ({ lease, id }, manager) =>
    requests.recordAuthorized(lease, anAuthorization({ processorAuthId: id }), manager),
  'another answer': ({ lease, id }, manager) =>
    requests.recordAuthorized(lease, anAuthorization({ processorAuthId: `${id}_2` }), manager),
  denial: ({ lease }, manager) => requests.recordDenied(lease, { processorName: 'stripe', denialCode: '05' }, manager),
  'last failure': ({ lease }, manager) =>
    requests.recordFailure(lease, { errorCode: 'X', errorMessage: '', retryable: false, outcome: 'unknown' }, manager),
  expire: (subject, manager) => requests.expire({ ...refOf(subject), reason: 'late' }, manager),
  expireStale: async ({ lease }, manager) => {
    const expired = await expireStale(sessionOf(crowd, manager), { olderThanMs: 1 });
    return expired.includes(lease.authRequestId);
  },
  'webhook authorized': report('authorized'),
  'webhook captured': report('captured'),
  'webhook voided': report('voided'),
  'webhook lapsed': report('lapsed'),
  'webhook captured, by the id alone': report('captured', { authRequestId: undefined }),
  recordVoided: ({ lease, id }, manager) => holds.recordVoided(lease, ofHold(id), manager),
  'recordVoidFailure, retryable': failVoid(true),
  'recordVoidFailure, for good': failVoid(false),
  requeueVoid: (subject, manager) =>
    holds.requeueVoid({ ...refOf(subject), ...ofHold(subject.id), ...byPerson }, manager),
  recordEnd: (subject, manager) =>
    holds.recordEnd({ ...refOf(subject), ...ofHold(subject.id), ...byPerson, end: 'voided' }, manager),
});
type Name = keyof typeof WRITES;
const NAMES = Object.keys(WRITES) as Name[];

/** Where a hold can stand when two writes meet at it, how it comes there, and what can happen to it then. */
const BEGINNINGS: Record<string, { steps: Name[]; meet: Name[] }> = {
  'of a request under way, of which nobody has told yet': {
    steps: [],
    meet: [
      ...(['void', 'expire', 'expireStale', 'answer', 'denial', 'last failure'] as const),
      ...(['webhook authorized', 'webhook captured', 'webhook captured, by the id alone'] as const),
    ],
  },
  'of a request under way, of which the processor has told': {
    steps: ['webhook authorized'],
    meet: [
      ...(['void', 'expire', 'expireStale', 'answer', 'another answer', 'denial', 'last failure'] as const),
      ...(['webhook captured', 'webhook voided'] as const),
    ],
  },
  'of an AUTHORIZED request': {
    steps: ['answer'],
    meet: [
      ...(['void', 'answer', 'another answer', 'recordVoided', 'recordEnd'] as const),
      ...(['webhook authorized', 'webhook captured', 'webhook lapsed'] as const),
    ],
  },
  'that is being voided': {
    steps: ['answer', 'void'],
    meet: [
      ...(['answer', 'recordVoided', 'recordVoidFailure, retryable', 'recordVoidFailure, for good'] as const),
      ...(['webhook authorized', 'webhook captured', 'webhook voided', 'requeueVoid', 'recordEnd'] as const),
    ],
  },
  'that is being voided, and that only the processor has told of': {
    steps: ['webhook authorized', 'void'],
    meet: ['answer', 'webhook captured', 'recordVoided'],
  },
  'whose void has failed': {
    steps: ['answer', 'void', 'recordVoidFailure, for good'],
    meet: ['answer', 'requeueVoid', 'recordVoided', 'recordEnd', 'webhook captured', 'webhook lapsed'],
  },
  'that was captured': {
    steps: ['answer', 'webhook captured'],
    meet: ['void', 'answer', 'recordVoided', 'recordEnd', 'webhook voided'],
  },
};

async function aSubject(steps: readonly Name[]): Promise<Subject> {
  const { authRequestId, lease } = await aRequest(crowd, { started: true });
  const subject = { lease, id: `pi_${authRequestId}` };
  for (const step of steps) await WRITES[step](subject);
  return subject;
}

/** The same of all requests: without ids and times. */
function comparable(subject: Subject, told: unknown): unknown {
  const plain = JSON.stringify(told, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value)) ?? '';
  return plain.replaceAll(subject.lease.authRequestId, 'request');
}

function worldOf(subject: Subject, { status, openVersions, events, messages, holds: rows, voidIds }: RequestRecord) {
  const types = events.map(({ type }) => type);
  return comparable(subject, { status, openVersions, types, messages, voidIds, rows });
}

/** Forces an order on two writes. A report that comes before its hold is delivered again, and a person looks again. */
async function meet(subject: Subject, first: Name, second: Name) {
  const write = () => outcomeOf(WRITES[second](subject));
  const told = await overlap(
    { database, dataSource: crowd },
    (manager) => outcomeOf(WRITES[first](subject, manager)),
    write,
  );
  return told.second === 'HoldNotFoundError' ? { ...told, second: await write() } : told;
}

describe.each(Object.entries(BEGINNINGS))('two writes that meet at a hold %s', (_, { steps, meet: names }) => {
  const meeting = process.env.RUN_FULL ? NAMES : names;

  it('come to what one after the other comes to, in either order, and never to a deadlock', async () => {
    const differing: unknown[] = [];
    for (const [first, second] of meeting.flatMap((one) => meeting.map((other) => [one, other] as const))) {
      const apart = await aSubject(steps);
      const expected = [await outcomeOf(WRITES[first](apart)), await outcomeOf(WRITES[second](apart))];
      const wanted = [comparable(apart, expected), worldOf(apart, await recordOf(apart.lease.authRequestId))];

      const subject = await aSubject(steps);
      const told = await meet(subject, first, second);
      const record = await recordOf(subject.lease.authRequestId);
      const outcome = [comparable(subject, [told.first, told.second]), worldOf(subject, record)];
      // A scheduler waits for nobody: what others are writing is left for its next turn.
      if (second === 'expireStale' && !told.waited && told.second === false) continue;
      if (JSON.stringify(outcome) !== JSON.stringify(wanted)) differing.push({ first, second, outcome, wanted });
    }
    expect(differing).toEqual([]);
  });
});

describe('of two writes that meet at a hold', () => {
  const listed = { isNeeded: false, closedBy: null };
  const CASES: [
    promise: string,
    steps: Name[],
    order: [first: Name, second: Name],
    told: unknown,
    record: { status: string; voids: string[]; hold: Partial<RequestRecord['holds'][number]> },
  ][] = [
    [
      'a void that waited for the answer voids the hold which that answer made',
      [],
      ['answer', 'void'],
      { outcome: 'queued' },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'voiding', isNeeded: false } },
    ],
    [
      'a void that waited for the first word of a hold voids it',
      [],
      ['webhook authorized', 'void'],
      { outcome: 'pending' },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'voiding', isNeeded: false } },
    ],
    [
      'an expiry that waited for the first word of a hold voids it',
      [],
      ['webhook authorized', 'expire'],
      undefined,
      { status: 'EXPIRED', voids: ['expired'], hold: { state: 'voiding', isNeeded: false } },
    ],
    [
      'an expiry of many leaves the request of which somebody tells at that moment to the next turn',
      [],
      ['webhook authorized', 'expireStale'],
      false,
      { status: 'PROCESSING', voids: [], hold: { state: 'held', isNeeded: true } },
    ],
    [
      'a denial that waited for the first word of a hold voids it',
      [],
      ['webhook authorized', 'denial'],
      { status: 'DENIED' },
      { status: 'DENIED', voids: ['denied'], hold: { state: 'voiding', isNeeded: false } },
    ],
    [
      'a void that waited for a capture is refused',
      ['answer'],
      ['webhook captured', 'void'],
      'NotVoidableError',
      { status: 'AUTHORIZED', voids: [], hold: { state: 'captured', isNeeded: true } },
    ],
    [
      'a void that waited for a capture before the answer is refused',
      [],
      ['webhook captured', 'void'],
      'NotVoidableError',
      { status: 'PROCESSING', voids: [], hold: { state: 'captured', isNeeded: true } },
    ],
    [
      'a void that waited until the hold lapsed has nothing to void',
      ['answer'],
      ['webhook lapsed', 'void'],
      { outcome: 'not_required' },
      { status: 'VOIDED', voids: [], hold: { state: 'lapsed', isNeeded: false } },
    ],
    [
      'a capture that waited for the void is listed, and nothing is lost',
      ['answer'],
      ['void', 'webhook captured'],
      { state: 'captured', voidQueued: false },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'captured', ...listed } },
    ],
    [
      'the first word of a hold that waited for the void has it voided',
      [],
      ['void', 'webhook authorized'],
      { state: 'voiding', voidQueued: true },
      { status: 'VOIDED', voids: ['reported_too_late'], hold: { state: 'voiding', isNeeded: false } },
    ],
    [
      'an answer that waited for the void has its hold voided, once',
      ['webhook authorized'],
      ['void', 'answer'],
      { status: 'VOIDED', voidQueued: false },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'voiding', isAnswered: true } },
    ],
    [
      'an answer that waited for a capture reopens nothing',
      [],
      ['webhook captured', 'answer'],
      { status: 'AUTHORIZED', voidQueued: false },
      { status: 'AUTHORIZED', voids: [], hold: { state: 'captured', isNeeded: true, isAnswered: true } },
    ],
    [
      'a worker that has voided it, and waited for a capture, is told of that',
      ['answer', 'void'],
      ['webhook captured', 'recordVoided'],
      { state: 'captured', replayed: false },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'captured', endedBy: 'stripe', ...listed } },
    ],
    [
      'a capture that waited for the worker who has voided it wins',
      ['answer', 'void'],
      ['recordVoided', 'webhook captured'],
      { state: 'captured', replayed: false },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'captured', endedBy: 'stripe', ...listed } },
    ],
    [
      'a failure that waited for the void by the processor changes nothing, and sends no further message',
      ['answer', 'void'],
      ['webhook voided', 'recordVoidFailure, retryable'],
      { state: 'voided', nextRetryAt: null },
      { status: 'VOIDED', voids: ['left'], hold: { state: 'voided', endedBy: 'stripe' } },
    ],
    [
      'a failure for good that waited for a person who asked again counts',
      ['answer', 'void', 'recordVoidFailure, retryable'],
      ['requeueVoid', 'recordVoidFailure, for good'],
      { state: 'void_failed' },
      { status: 'VOIDED', voids: ['left', 'void_failed'], hold: { state: 'void_failed', failures: 2 } },
    ],
    [
      'a person who waited for a failure for good sends the void again',
      ['answer', 'void'],
      ['recordVoidFailure, for good', 'requeueVoid'],
      { queued: true },
      { status: 'VOIDED', voids: ['left', 'seen to'], hold: { state: 'voiding', failures: 0 } },
    ],
    [
      'a person who waited for a capture sends no void',
      ['answer', 'void', 'recordVoidFailure, for good'],
      ['webhook captured', 'requeueVoid'],
      'HoldStateError',
      { status: 'VOIDED', voids: ['left'], hold: { state: 'captured', ...listed } },
    ],
  ];

  it.each(CASES)('%s', async (_, steps, [first, second], told, { status, voids, hold }) => {
    const subject = await aSubject(steps);
    const met = await meet(subject, first, second);
    expect(met.waited).toBe(second !== 'expireStale');
    if (typeof told === 'object') expect(met.second).toMatchObject(told!);
    else expect(met.second).toBe(told);
    expect(await recordOf(subject.lease.authRequestId)).toMatchObject({ status, voidReasons: voids, holds: [hold] });
  });
});

describe('let loose at once', () => {
  /** What can happen to a request and its hold, by many. */
  const CROWD: Name[] = [
    ...(['void', 'expire', 'answer', 'another answer', 'last failure', 'recordVoided', 'requeueVoid'] as const),
    ...(['recordVoidFailure, retryable', 'recordVoidFailure, for good', 'webhook authorized'] as const),
    ...(['webhook captured', 'webhook voided', 'webhook lapsed', 'webhook captured, by the id alone'] as const),
  ];

  it('all writes leave each hold seen to, and no write fails for another', async () => {
    const outcomes = new Set<string>();
    const states = new Set<HoldState>();
    const ids: string[] = [];
    for (let round = 0; round < 60; round++) {
      const { steps } = Object.values(BEGINNINGS)[round % 5]!;
      const subject = await aSubject(steps);
      ids.push(subject.lease.authRequestId);
      const chosen = CROWD.filter(() => Math.random() < 0.6);
      const told = await Promise.all(
        chosen.map(async (name) => {
          if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
          return outcomeOf(WRITES[name](subject));
        }),
      );
      for (const outcome of told) if (typeof outcome === 'string') outcomes.add(outcome);
    }
    for (const record of await requireSound(database, ids)) for (const { state } of record.holds) states.add(state);
    const refusals = ['AuthRequestStatusError', 'HoldNotFoundError', 'HoldStateError', 'NotVoidableError'];
    expect([...outcomes].filter((outcome) => !refusals.includes(outcome))).toEqual([]);
    expect([...states].sort()).toEqual(expect.arrayContaining(['captured', 'voiding']));
  });

  it('64 webhooks that say the same are one event', async () => {
    for (const told of ['authorized', 'captured'] as const) {
      const subject = await aSubject([]);
      const answers = (await atOnce(64, () => report(told)(subject))) as { replayed: boolean; state: string }[];
      expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
      expect(new Set(answers.map(({ state }) => state))).toEqual(new Set([told === 'captured' ? told : 'held']));
      const { events, holds: made } = await recordOf(subject.lease.authRequestId);
      expect(events).toHaveLength(3);
      expect(made).toHaveLength(1);
    }
  });

  it('of 64 workers and webhooks that tell of a hold of a closed request, one has it voided', async () => {
    const subject = await aSubject(['void']);
    await atOnce(64, (index) =>
      index % 2 ? WRITES.answer(subject) : report('authorized', { sourceEventId: `evt_${index % 8}` })(subject),
    );
    const { voidIds, holds: made } = await recordOf(subject.lease.authRequestId);
    expect(voidIds).toEqual([subject.id]);
    expect(made).toMatchObject([{ state: 'voiding', isNeeded: false }]);
  });

  it('1,200 ends of 200 holds in random order: the one that counts for most stands, and each message is one event', async () => {
    const subjects = await atOnce(200, (index) => aSubject(index % 2 ? ['answer'] : ['answer', 'void']));
    const ENDS = ['lapsed', 'voided', 'captured'] as const;
    const ends = subjects.flatMap((subject, index) =>
      Array.from({ length: 6 }, (_, number) => {
        // Of some holds nobody tells of a capture.
        const told = ENDS[number % (index % 4 < 2 ? 3 : 2)]!;
        return { subject, told, sourceEventId: `evt_${number}`, amountCents: 100 + number };
      }),
    );
    expect(ends).toHaveLength(1_200);
    const shuffled = shuffle(ends);
    // Each is told twice, at once or later.
    await Promise.all(
      [...shuffled, ...shuffle(ends)].map(({ subject, told, ...changes }) => report(told, changes)(subject)),
    );
    const records = await requireSound(
      database,
      subjects.map(({ lease }) => lease.authRequestId),
    );
    const byId = new Map(records.map((record) => [record.authRequestId, record]));
    for (const [index, { lease }] of subjects.entries()) {
      const { events, holds: made } = byId.get(lease.authRequestId)!;
      const isCaptured = index % 4 < 2;
      const state = isCaptured ? 'captured' : 'voided';
      expect(made).toMatchObject([{ state, ...(isCaptured && { endedCents: 105 }) }]);
      expect(events.filter(({ type }) => type === 'AuthHoldEnded')).toHaveLength(6);
    }
  });
});

function shuffle<T>(items: readonly T[]): T[] {
  return items
    .map((item) => ({ item, place: Math.random() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
