import fc from 'fast-check';
import { isOpen } from '../../src/auth-requests/statuses';
import { fold } from '../../src/read-model/fold';
import { type FoldedHold } from '../../src/read-model/fold-holds';
import { anyStream, anyStreamEvent, numbered, stream, type StreamEvent } from '../support/requests/hold-streams';

const {
  created,
  started,
  answered,
  failed,
  voided,
  expired,
  reported,
  ended,
  voidCompleted,
  voidFailed,
  voidRequeued,
} = stream;

const time = (sequenceNumber: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, sequenceNumber));
const holdsOf = (...events: StreamEvent[]) => fold(numbered([created(), ...events]))!.holds;

/** As a worker of this package records it. */
const authorized = (metadata: object = { hold_state: 'held', hold_needed: true }, result = {}) =>
  answered('AUTHORIZED', result, { status_after: 'AUTHORIZED', ...metadata });
const UNNEEDED = { unneeded: [['stripe', 'pi_1']] };
const VOIDED = voided({ status_after: 'VOIDED', ...UNNEEDED });

test('an authorization is a hold, with all that its answer says of it', () => {
  const expiry = new Date('2026-02-01T00:00:00Z');
  const at = new Date('2026-01-01T00:00:00Z');
  const answer = authorized(
    { hold_state: 'held', hold_needed: true, config_version: 'v3' },
    { authorizedAt: at, holdExpiresAt: expiry },
  );
  expect(holdsOf(started(), answer)).toEqual([
    {
      processorName: 'stripe',
      processorAuthId: 'pi_1',
      amountCents: 1000,
      currency: 'USD',
      configVersion: 'v3',
      authorizedAt: at,
      holdExpiresAt: expiry,
      state: 'held',
      stateSince: time(3),
      isNeeded: true,
      isAnswered: true,
      endedAmountCents: null,
      endedBy: null,
      closedBy: null,
      voidFailures: 0,
      lastVoidError: null,
      nextVoidAt: null,
      firstEventSequence: 3,
      lastEventSequence: 3,
      isUndecided: false,
    } satisfies FoldedHold,
  ]);
});

test('a denial is none, nor is an answer that is neither', () => {
  expect(holdsOf(started(), answered('DENIED', {}), answered('FAILED', undefined))).toEqual([]);
});

describe('an authorization of which no event says what became of it is held, and undecided', () => {
  const legacy = answered('AUTHORIZED', {});
  const second = answered('AUTHORIZED', { processorAuthId: 'pi_2' });
  test.each([
    ['its request is AUTHORIZED by it', [legacy], [true]],
    ['the request is AUTHORIZED by another', [legacy, second], [false, true]],
    ['the request was voided', [legacy, voided()], [false]],
    ['it came after a void', [voided(), legacy], [false]],
    ['the request has expired', [legacy, expired()], [false]],
    ['the request was denied later', [legacy, answered('DENIED', {})], [false]],
    ['a legacy worker has begun anew', [legacy, started()], [true]],
    ['the request has failed', [failed(false), legacy], [false]],
  ] satisfies [string, StreamEvent[], boolean[]][])('%s', (_, events, needed) => {
    const holds = holdsOf(started(), ...events);
    expect(holds.map(({ isNeeded }) => isNeeded)).toEqual(needed);
    for (const hold of holds) expect(hold).toMatchObject({ state: 'held', isUndecided: true, isAnswered: true });
  });

  test('what it does not say is 0, empty, or as the request has it', () => {
    const [hold] = holdsOf(answered('AUTHORIZED', { processorName: '', currency: '', authorizedAmountCents: -1 }));
    expect(hold).toMatchObject({ processorName: '', currency: 'USD', amountCents: 0, configVersion: null });
    expect(hold!.authorizedAt).toEqual(time(2));
    expect(holdsOf(answered('AUTHORIZED', undefined))).toMatchObject([{ processorAuthId: '', amountCents: 0 }]);
  });

  test('until an event says it', () => {
    expect(holdsOf(started(), legacy, VOIDED)).toMatchObject([
      { state: 'voiding', isNeeded: false, isUndecided: false, lastEventSequence: 4, stateSince: time(4) },
    ]);
    expect(holdsOf(started(), legacy, voided(), voidCompleted({ hold_state: 'voided', worker_id: 'w' }))).toMatchObject(
      [{ state: 'voided', isNeeded: false, isUndecided: false, endedBy: 'w' }],
    );
  });
});

test.each([
  ['a void makes what is held be voided', [VOIDED], { state: 'voiding', isNeeded: false, lastEventSequence: 4 }],
  [
    'a void that worked',
    [VOIDED, voidCompleted({ hold_state: 'voided', worker_id: 'worker-1' })],
    { state: 'voided', endedBy: 'worker-1', endedAmountCents: 1000, lastEventSequence: 5 },
  ],
  [
    'a void that failed, and is tried again',
    [VOIDED, voidFailed({ failureCount: 2 }, { hold_state: 'voiding', next_void_at: '2026-02-01T00:00:00.123Z' })],
    {
      ...{ state: 'voiding', voidFailures: 2, lastVoidError: 'E', stateSince: time(4) },
      nextVoidAt: new Date('2026-02-01T00:00:00.123Z'),
    },
  ],
  [
    'a void that failed for good',
    [VOIDED, voidFailed({ isRetryable: false }, { hold_state: 'void_failed' })],
    { state: 'void_failed', voidFailures: 1, nextVoidAt: null, isNeeded: false },
  ],
  [
    'a void that a person asked for again',
    [VOIDED, voidFailed({}, { hold_state: 'void_failed' }), voidRequeued({ hold_state: 'voiding' })],
    { state: 'voiding', voidFailures: 0, lastVoidError: null, nextVoidAt: null },
  ],
  [
    'a capture, by whom and how much',
    [ended('CAPTURED', { amountCents: 400, source: 'stripe' }, { hold_state: 'captured', hold_needed: true })],
    { state: 'captured', isNeeded: true, endedAmountCents: 400, endedBy: 'stripe', closedBy: null },
  ],
  [
    'of two captures the larger amount, whichever comes last',
    [
      ended('CAPTURED', { amountCents: 700 }, { hold_state: 'captured', hold_needed: true }),
      ended('CAPTURED', { amountCents: 400 }, { hold_state: 'captured', hold_needed: true }),
    ],
    { endedAmountCents: 700 },
  ],
  [
    'a lapse that comes after a capture changes nothing but the number of the last event',
    [
      ended('CAPTURED', { amountCents: 700 }, { hold_state: 'captured', hold_needed: true }),
      ended('LAPSED', { amountCents: 900, source: 'report' }, { hold_state: 'captured', hold_needed: true }),
    ],
    { state: 'captured', endedAmountCents: 700, endedBy: 'stripe', lastEventSequence: 5 },
  ],
  [
    'a capture that comes after a void counts for more',
    [
      VOIDED,
      voidCompleted({ hold_state: 'voided', worker_id: 'w' }),
      ended('CAPTURED', { amountCents: 700, source: 'report' }, { hold_state: 'captured', hold_needed: false }),
    ],
    { state: 'captured', isNeeded: false, endedAmountCents: 700, endedBy: 'report' },
  ],
  [
    'an end that a person has recorded is closed by that person',
    [ended('LAPSED', { source: 'ann' }, { hold_state: 'lapsed', hold_needed: true, closed_by: 'ann' })],
    { state: 'lapsed', endedBy: 'ann', closedBy: 'ann', endedAmountCents: null },
  ],
  [
    'a void takes what was captured for no more than not needed',
    [ended('CAPTURED', { amountCents: 700 }, { hold_state: 'captured', hold_needed: true }), VOIDED],
    { state: 'captured', isNeeded: false, lastEventSequence: 5 },
  ],
  [
    'what a processor tells of an answered hold changes no amount',
    [reported({ amountCents: 1, currency: 'EUR' }, { hold_state: 'held', hold_needed: true })],
    { amountCents: 1000, currency: 'USD', isAnswered: true, lastEventSequence: 4 },
  ],
  [
    'the same answer once more changes no amount either',
    [authorized({ hold_state: 'held', hold_needed: true, config_version: 'v4' }, { authorizedAmountCents: 1 })],
    { amountCents: 1000, configVersion: 'v4', lastEventSequence: 4 },
  ],
] satisfies [string, StreamEvent[], Partial<FoldedHold>][])('%s', (_, events, expected) => {
  const holds = holdsOf(started(), authorized(), ...events);
  expect(holds).toHaveLength(1);
  expect(holds[0]).toMatchObject(expected);
});

describe('what the processor tells before the worker does', () => {
  const told = reported({ amountCents: 900, currency: 'EUR' }, { hold_state: 'held', hold_needed: true });

  test('is a hold that no worker has recorded, and takes the amounts of the last report', () => {
    expect(holdsOf(started(), told)).toMatchObject([{ isAnswered: false, amountCents: 900, currency: 'EUR' }]);
    const again = reported({ amountCents: 950 }, { hold_state: 'held', hold_needed: true });
    expect(holdsOf(started(), told, again)).toMatchObject([{ isAnswered: false, amountCents: 950, currency: 'USD' }]);
  });

  test('takes amount and time from the answer, and keeps what became of it meanwhile', () => {
    const at = new Date('2026-01-01T00:00:00Z');
    const events = [
      told,
      ended('CAPTURED', { amountCents: 5 }, { hold_state: 'captured', hold_needed: true }),
      authorized({ hold_state: 'captured', hold_needed: true }, { authorizedAt: at }),
    ];
    expect(holdsOf(started(), ...events)).toMatchObject([
      {
        state: 'captured',
        isAnswered: true,
        amountCents: 1000,
        authorizedAt: at,
        endedAmountCents: 5,
        firstEventSequence: 3,
      },
    ]);
  });

  test('may be its end', () => {
    const end = ended('VOIDED', { amountCents: 900 }, { hold_state: 'voided', hold_needed: true });
    expect(holdsOf(started(), end)).toMatchObject([
      { state: 'voided', isAnswered: false, amountCents: 900, endedAmountCents: 900, endedBy: 'stripe' },
    ]);
  });
});

test('a hold is kept under the name that the row of its request has, where the event says so', () => {
  const legacy = answered('AUTHORIZED', { processorName: '' });
  const again = authorized({ hold_state: 'held', hold_needed: true, hold_name: '' });
  expect(holdsOf(started(), legacy, again)).toMatchObject([
    { processorName: '', firstEventSequence: 3, lastEventSequence: 4 },
  ]);
});

test('an event about a hold that nobody has told of makes none, unless it tells of its money', () => {
  expect(
    holdsOf(
      voidCompleted({ hold_state: 'voided' }),
      voidFailed({}, { hold_state: 'voiding' }),
      voidRequeued({ hold_state: 'voiding' }),
      voided(UNNEEDED),
    ),
  ).toEqual([]);
});

test('an event about a hold that does not say its state changes nothing', () => {
  const before = holdsOf(started(), authorized());
  for (const event of [ended('CAPTURED', {}), voidCompleted(), voidFailed({}), voidRequeued()]) {
    expect(holdsOf(started(), authorized(), event)).toEqual(before);
  }
});

test('events of holds alone move no request', () => {
  const events = [started(), authorized()];
  const { status } = fold(numbered([created(), ...events]))!;
  for (const event of [reported({}), ended('CAPTURED', {}), voidCompleted(), voidFailed({}), voidRequeued()]) {
    const after = fold(numbered([created(), ...events, event]))!;
    expect(after).toMatchObject({ status, lastEventSequence: 4 });
  }
});

test('whatever happened, in whatever order: it folds, and no hold is forgotten, doubled or reopened without a word', () => {
  fc.assert(
    fc.property(anyStream, anyStreamEvent, (events, last) => {
      const before = fold(numbered(events))!;
      const after = fold(numbered([...events, last]))!;
      const key = ({ processorName, processorAuthId }: FoldedHold) => JSON.stringify([processorName, processorAuthId]);
      expect(new Set(after.holds.map(key)).size).toBe(after.holds.length);
      expect(after.holds.length - before.holds.length).toBeLessThanOrEqual(1);
      for (const [index, hold] of after.holds.entries()) {
        const earlier = before.holds[index];
        if (earlier) expect(key(hold)).toBe(key(earlier));
        expect(hold.amountCents).toBeGreaterThanOrEqual(0);
        if (hold.state === 'voiding' || hold.state === 'void_failed') expect(hold.isNeeded).toBe(false);
        if (hold.isUndecided) {
          expect(hold.state).toBe('held');
          if (isOpen(after.status)) expect(hold.isNeeded).toBe(true);
        }
        if (!earlier || hold.state === earlier.state) continue;
        const unneeds = Array.isArray(last.metadata?.unneeded) && hold.state === 'voiding';
        expect(hold.state === last.metadata?.hold_state || unneeds).toBe(true);
        expect(hold.lastEventSequence).toBe(events.length + 1);
        expect(hold.isUndecided).toBe(false);
      }
    }),
    { numRuns: 2_000 },
  );
});
