import fc from 'fast-check';
import { AUTH_REQUEST_STATUSES } from '../../src/auth-requests/statuses';
import { type PaymentEventBody } from '../../src/event-store/event-codec';
import { fold, type FoldableEvent } from '../../src/read-model/fold';
import { stream } from '../support/requests/hold-streams';

const authRequestId = '0199f1e2-7e1c-7000-8000-000000000001';

type Result = NonNullable<PaymentEventBody<'AuthResponseReceived'>['data']['result']>;

const result = (fields: Partial<Result> = {}): Result => ({
  processorAuthId: '',
  processorName: '',
  authorizedAmountCents: 0,
  currency: '',
  authorizationCode: '',
  authorizedAt: undefined,
  denialCode: '',
  denialReason: '',
  processorMetadata: {},
  holdExpiresAt: undefined,
  ...fields,
});

/** One of each event, and what differs between two of a type. */
const created: PaymentEventBody = {
  type: 'AuthRequestCreated',
  data: {
    authRequestId,
    paymentToken: 'pt_1',
    restaurantId: '00000000-0000-0000-0000-000000000001',
    amountCents: 1050,
    currency: 'USD',
    metadata: { order: '7' },
    createdAt: undefined,
  },
};
const started: PaymentEventBody = {
  type: 'AuthAttemptStarted',
  data: { authRequestId, workerId: 'w', restaurantPaymentConfigVersion: 'v1', startedAt: undefined },
};
const authorized = (processorAuthId = 'pi_1'): PaymentEventBody => ({
  type: 'AuthResponseReceived',
  data: {
    authRequestId,
    status: 'AUTHORIZED',
    result: result({ processorAuthId, processorName: 'stripe', authorizedAmountCents: 1000, authorizationCode: '42' }),
    receivedAt: undefined,
  },
});
const denied: PaymentEventBody = {
  type: 'AuthResponseReceived',
  data: {
    authRequestId,
    status: 'DENIED',
    result: result({ processorName: 'chase', denialCode: '05', denialReason: 'Do not honor' }),
    receivedAt: undefined,
  },
};
const failed = (isRetryable: boolean, errorCode = 'E'): PaymentEventBody => ({
  type: 'AuthAttemptFailed',
  data: {
    authRequestId,
    errorCode,
    errorMessage: '',
    isRetryable,
    retryCount: 99,
    nextRetryAt: undefined,
    failedAt: undefined,
  },
});
/** As the operations of this package write it: it says which attempt it is about. */
const told = <E extends PaymentEventBody>(event: E, metadata: Record<string, unknown>) => ({
  ...event,
  metadata: { status_after: '', ...metadata },
});
const voided: PaymentEventBody = {
  type: 'AuthVoidRequested',
  data: { authRequestId, reason: '', requestedAt: undefined },
};
const expired: PaymentEventBody = {
  type: 'AuthRequestExpired',
  data: { authRequestId, reason: '', expiredAt: undefined },
};

const time = (sequenceNumber: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, sequenceNumber));

function foldAll(...bodies: (PaymentEventBody & { metadata?: FoldableEvent['metadata'] })[]) {
  return fold(
    bodies.map((body, index) => ({ metadata: {}, ...body, sequenceNumber: index + 1, createdAt: time(index + 1) })),
  );
}

test('event 1 says what was asked for', () => {
  expect(foldAll(created)).toEqual({
    restaurantId: '00000000-0000-0000-0000-000000000001',
    paymentToken: 'pt_1',
    amountCents: 1050,
    currency: 'USD',
    metadata: { order: '7' },
    status: 'PENDING',
    processorAuthId: null,
    processorName: null,
    authorizedAmountCents: null,
    authorizationCode: null,
    denialCode: null,
    denialReason: null,
    completedAt: null,
    lastEventSequence: 1,
    attempt: null,
    attemptVersion: null,
    attemptToken: null,
    attemptUnanswered: false,
    unansweredVersions: [],
    unansweredSince: null,
    attemptOpen: false,
    retryCount: 0,
    holds: [],
  });
});

test('without a beginning nothing says what was asked for', () => {
  expect(foldAll()).toBeUndefined();
  expect(foldAll(started, created)).toBeUndefined();
});

const authorization = {
  processorAuthId: 'pi_1',
  processorName: 'stripe',
  authorizedAmountCents: 1000,
  authorizationCode: '42',
};
const denial = { processorName: 'chase', denialCode: '05', denialReason: 'Do not honor' };
const none = { processorAuthId: null, processorName: null, authorizedAmountCents: null, authorizationCode: null };

test.each([
  ['a start opens an attempt', [started], { status: 'PROCESSING', attemptOpen: true }],
  [
    'an authorization settles it',
    [started, authorized()],
    { status: 'AUTHORIZED', ...authorization, attemptOpen: false },
  ],
  ['a denial settles it', [started, denied], { status: 'DENIED', ...none, ...denial, attemptOpen: false }],
  [
    'a failure that will be retried leaves it PROCESSING, and is counted',
    [started, failed(true), started, failed(true)],
    { status: 'PROCESSING', retryCount: 2, attemptUnanswered: true, unansweredVersions: [''] },
  ],
  [
    'a failure that will not be retried ends it, and is not counted',
    [started, failed(true), started, failed(false)],
    { status: 'FAILED', retryCount: 1, attemptUnanswered: true, unansweredVersions: [''] },
  ],
  ['one fails before anyone starts', [failed(false)], { status: 'FAILED', attemptOpen: false }],
  [
    'a legacy failure closes its attempt where its code means that nobody was asked',
    [started, failed(true, 'TOKEN_SERVICE_TIMEOUT')],
    { status: 'PROCESSING', retryCount: 1, attemptOpen: false, unansweredSince: null },
  ],
  [
    'a legacy answer closes its own attempt alone',
    [started, started, authorized()],
    { status: 'AUTHORIZED', attemptUnanswered: false, unansweredVersions: [''], attemptOpen: true },
  ],
  [
    'an attempt is current, by its number, version and token',
    [told(started, { attempt: 2, fencing_token: '4611686018427387903' })],
    { attempt: 2, attemptVersion: 'v1', attemptToken: 4611686018427387903n, attemptUnanswered: true },
  ],
  [
    'a token that none can be is left out',
    [told(started, { attempt: 2, fencing_token: '9223372036854775808' })],
    { attempt: 2, attemptToken: null },
  ],
  [
    'an answer closes every attempt under its version',
    [told(started, { attempt: 2 }), told(started, { attempt: 3 }), told(authorized(), { attempt: 3 })],
    { status: 'AUTHORIZED', attemptOpen: false, unansweredVersions: [] },
  ],
  [
    'the word that nothing is held is an answer, and that nobody was asked is none',
    [
      told(started, { attempt: 2 }),
      told(started, { attempt: 3 }),
      told(failed(true), { attempt: 3, outcome: 'not_asked' }),
      told(started, { attempt: 5 }),
      told(failed(true), { attempt: 5, outcome: 'unknown' }),
    ],
    { attemptUnanswered: true, unansweredVersions: ['v1'] },
  ],
  [
    'a failure of no attempt closes none',
    [told(started, { attempt: 2 }), told(failed(false), { outcome: 'not_asked' })],
    { status: 'FAILED', attemptUnanswered: true },
  ],
  [
    'a person closes a version, and changes neither status nor retries',
    [told(started, { attempt: 2 }), told(failed(true), { closed_version: 'v1' })],
    { status: 'PROCESSING', retryCount: 0, attemptOpen: false },
  ],
  [
    'the first authorization stays the one that the row names',
    [
      told(started, { attempt: 2 }),
      told(authorized('pi_1'), { attempt: 2 }),
      told(started, { attempt: 4 }),
      told(authorized('pi_2'), { attempt: 4 }),
    ],
    { status: 'AUTHORIZED', processorAuthId: 'pi_1', attemptOpen: false },
  ],
  [
    'a settled request is neither denied nor failed by what comes later',
    [
      told(started, { attempt: 2 }),
      told(authorized(), { attempt: 2 }),
      told(started, { attempt: 4 }),
      told(failed(false), { attempt: 4, outcome: 'unknown' }),
      told(denied, { attempt: 4 }),
    ],
    { status: 'AUTHORIZED', denialCode: null, attemptOpen: false },
  ],
  ['a void closes it', [voided], { status: 'VOIDED' }],
  [
    'an authorization that is voided keeps what the processor said',
    [started, authorized(), voided],
    { status: 'VOIDED', ...authorization },
  ],
  ['an expiry closes it', [started, expired], { status: 'EXPIRED', attemptOpen: true }],
  ['a void may expire', [voided, expired], { status: 'EXPIRED' }],
  ['what has expired is not voided any more', [expired, voided], { status: 'EXPIRED' }],
  ['what has failed neither expires nor is voided', [failed(false), expired, voided], { status: 'FAILED' }],
  ['closed stays closed when it fails', [voided, failed(false)], { status: 'VOIDED' }],
  [
    'a start on a closed request opens the attempt and nothing else',
    [started, voided, started],
    { status: 'VOIDED', attemptOpen: true },
  ],
  [
    'an authorization that comes after a void is kept: money is held',
    [started, voided, authorized()],
    { status: 'VOIDED', ...authorization, attemptOpen: false },
  ],
  [
    'an authorization that comes after an expiry is kept',
    [started, expired, authorized()],
    { status: 'EXPIRED', ...authorization, attemptOpen: false },
  ],
  [
    'an authorization that comes after a failure of unknown outcome is kept',
    [started, failed(false), started, authorized()],
    { status: 'FAILED', ...authorization, attemptUnanswered: false, unansweredVersions: [''] },
  ],
  [
    'a denial that comes after a void leaves nothing',
    [started, voided, denied],
    { status: 'VOIDED', ...none, denialCode: null, denialReason: null, attemptOpen: false },
  ],
  [
    'a request delivered again to a legacy worker: the last authorization decides',
    [started, authorized('pi_old'), started, authorized('pi_new')],
    { status: 'AUTHORIZED', ...authorization, processorAuthId: 'pi_new' },
  ],
  [
    'a request delivered again to a legacy worker that has not answered yet is PROCESSING',
    [started, authorized(), started],
    { status: 'PROCESSING', ...authorization, attemptOpen: true },
  ],
  [
    'a request delivered again to a legacy worker: a denial leaves the old processor_auth_id',
    [started, authorized(), started, denied],
    { status: 'DENIED', ...authorization, ...denial },
  ],
] satisfies [string, PaymentEventBody[], object][])('%s', (_, events, expected) => {
  expect(foldAll(created, ...events)).toMatchObject({ ...expected, lastEventSequence: events.length + 1 });
});

test('a text that the processor did not send is null', () => {
  const silent: PaymentEventBody = {
    type: 'AuthResponseReceived',
    data: { authRequestId, status: 'AUTHORIZED', result: result(), receivedAt: undefined },
  };
  expect(foldAll(created, started, silent)).toMatchObject({ ...none, status: 'AUTHORIZED', authorizedAmountCents: 0 });
});

test('completed_at is when it was settled first', () => {
  expect(foldAll(created, started)?.completedAt).toBeNull();
  expect(foldAll(created, started, authorized())?.completedAt).toEqual(time(3));
  expect(foldAll(created, started, authorized(), voided, expired)?.completedAt).toEqual(time(3));
  expect(foldAll(created, started, authorized(), started)?.completedAt).toEqual(time(3));
});

test('an answer that neither authorizes nor denies: FAILED ends the request, any other changes no status', () => {
  const answered = (status: 'FAILED' | 'VOIDED' | 'UNSPECIFIED') =>
    foldAll(created, started, {
      type: 'AuthResponseReceived',
      data: { authRequestId, status, result: undefined, receivedAt: undefined },
    });
  expect(answered('FAILED')).toMatchObject({ status: 'FAILED', attemptOpen: false });
  expect(answered('VOIDED')).toMatchObject({ status: 'PROCESSING', attemptOpen: false });
  expect(answered('UNSPECIFIED')).toMatchObject({ status: 'PROCESSING', attemptOpen: false });
});

/** What follows from them for holds: fold-holds.spec.ts. */
const OF_HOLDS = {
  AuthHoldReported: stream.reported({}, { hold_state: 'held', hold_needed: true }),
  AuthHoldEnded: stream.ended('CAPTURED', {}, { hold_state: 'captured', hold_needed: true }),
  AuthVoidCompleted: stream.voidCompleted({ hold_state: 'voided' }),
  AuthVoidFailed: stream.voidFailed({}, { hold_state: 'void_failed' }),
  AuthVoidRequeued: stream.voidRequeued({ hold_state: 'voiding' }),
};

test.each(Object.entries(OF_HOLDS))('%s moves no request', (type, event) => {
  expect(event.type).toBe(type);
  const before = foldAll(created, started, authorized())!;
  const after = foldAll(created, started, authorized(), event)!;
  expect({ ...after, holds: [] }).toEqual({ ...before, holds: [], lastEventSequence: 4 });
});

const anyAnswer = fc.record({
  status: fc.constantFrom(...AUTH_REQUEST_STATUSES, 'UNSPECIFIED' as const),
  result: fc.option(
    fc
      .record({ processorAuthId: fc.string(), denialCode: fc.string(), authorizedAmountCents: fc.maxSafeInteger() })
      .map(result),
    { nil: undefined },
  ),
});
const anyEvent: fc.Arbitrary<PaymentEventBody & { metadata?: FoldableEvent['metadata'] }> = fc.oneof(
  fc.constantFrom(created, started, voided, expired, failed(true), failed(false), ...Object.values(OF_HOLDS)),
  fc
    .record({
      event: fc.constantFrom(started, authorized(), denied, failed(true), failed(false)),
      attempt: fc.integer({ min: 2, max: 6 }),
      outcome: fc.constantFrom('not_asked', 'unknown', 'nothing_held'),
    })
    .map(({ event, ...metadata }) => told(event, metadata)),
  anyAnswer.map((answer) => ({
    type: 'AuthResponseReceived' as const,
    data: { authRequestId, receivedAt: undefined, ...answer },
  })),
);
const CLOSED = ['VOIDED', 'EXPIRED', 'FAILED'];

test('whatever happened, in whatever order: it folds, and nothing reopens a closed request', () => {
  fc.assert(
    fc.property(fc.array(anyEvent, { maxLength: 12 }), anyEvent, (events, last) => {
      expect(() => foldAll(...events)).not.toThrow();
      const before = foldAll(created, ...events)!;
      const after = foldAll(created, ...events, last)!;
      expect(after.lastEventSequence).toBe(events.length + 2);
      if (!CLOSED.includes(before.status)) return;
      const expires = before.status === 'VOIDED' && last.type === 'AuthRequestExpired';
      expect(after.status).toBe(expires ? 'EXPIRED' : before.status);
      expect(after.completedAt).toEqual(before.completedAt);
    }),
    { numRuns: 1000 },
  );
});
