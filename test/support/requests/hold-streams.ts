import fc from 'fast-check';
import { HOLD_STATES } from '../../../src/auth-requests/holds/states';
import { type PaymentEventBody, type PaymentEventType } from '../../../src/event-store/event-codec';
import { type FoldableEvent } from '../../../src/read-model/fold';

/** An event and its metadata, for a stream. */
export type StreamEvent<T extends PaymentEventType = PaymentEventType> = PaymentEventBody<T> & {
  metadata?: FoldableEvent['metadata'];
};

type Data<T extends PaymentEventType> = PaymentEventBody<T>['data'];
type Result = NonNullable<Data<'AuthResponseReceived'>['result']>;

const authRequestId = '0199f1e2-7e1c-7000-8000-000000000001';

/** One of each event that says something of a request or its holds, by what differs. */
export const stream = {
  created: (data: Partial<Data<'AuthRequestCreated'>> = {}): StreamEvent => ({
    type: 'AuthRequestCreated',
    data: {
      ...{ authRequestId, paymentToken: 'pt_1', restaurantId: '00000000-0000-0000-0000-000000000001' },
      ...{ amountCents: 1050, currency: 'USD', metadata: {}, createdAt: undefined, ...data },
    },
  }),
  started: (metadata?: object): StreamEvent => ({
    type: 'AuthAttemptStarted',
    data: { authRequestId, workerId: 'w', restaurantPaymentConfigVersion: 'v1', startedAt: undefined },
    metadata: { ...metadata },
  }),
  answered: (
    status: Data<'AuthResponseReceived'>['status'],
    result: Partial<Result> | undefined,
    metadata?: object,
  ): StreamEvent => ({
    type: 'AuthResponseReceived',
    data: {
      ...{ authRequestId, status, receivedAt: undefined },
      result: result && {
        ...{ processorAuthId: 'pi_1', processorName: 'stripe', authorizedAmountCents: 1000, currency: 'USD' },
        ...{ authorizationCode: '', authorizedAt: undefined, denialCode: '', denialReason: '', processorMetadata: {} },
        ...{ holdExpiresAt: undefined, ...result },
      },
    },
    metadata: { ...metadata },
  }),
  failed: (isRetryable: boolean, metadata?: object): StreamEvent => ({
    type: 'AuthAttemptFailed',
    data: {
      ...{ authRequestId, errorCode: 'E', errorMessage: '', isRetryable, retryCount: 0 },
      ...{ nextRetryAt: undefined, failedAt: undefined },
    },
    metadata: { ...metadata },
  }),
  voided: (metadata?: object): StreamEvent => ({
    type: 'AuthVoidRequested',
    data: { authRequestId, reason: '', requestedAt: undefined },
    metadata: { ...metadata },
  }),
  expired: (metadata?: object): StreamEvent => ({
    type: 'AuthRequestExpired',
    data: { authRequestId, reason: '', expiredAt: undefined },
    metadata: { ...metadata },
  }),
  reported: (data: Partial<Data<'AuthHoldReported'>>, metadata?: object): StreamEvent => ({
    type: 'AuthHoldReported',
    data: {
      ...{ authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', amountCents: 900, currency: 'USD' },
      ...{ authorizedAt: undefined, holdExpiresAt: undefined, source: 'stripe', sourceEventId: 'evt_1' },
      ...{ reportedAt: undefined, ...data },
    },
    metadata: { ...metadata },
  }),
  ended: (end: Data<'AuthHoldEnded'>['end'], data: Partial<Data<'AuthHoldEnded'>>, metadata?: object): StreamEvent => ({
    type: 'AuthHoldEnded',
    data: {
      ...{ authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', end, amountCents: 0, currency: 'USD' },
      ...{ source: 'stripe', sourceEventId: 'evt_2', endedAt: undefined, reportedAt: undefined, reason: '', ...data },
    },
    metadata: { ...metadata },
  }),
  voidCompleted: (metadata?: object, data: Partial<Data<'AuthVoidCompleted'>> = {}): StreamEvent => ({
    type: 'AuthVoidCompleted',
    data: { ...{ authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', completedAt: undefined }, ...data },
    metadata: { ...metadata },
  }),
  voidFailed: (data: Partial<Data<'AuthVoidFailed'>>, metadata?: object): StreamEvent => ({
    type: 'AuthVoidFailed',
    data: {
      ...{ authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', errorCode: 'E', errorMessage: '' },
      ...{ isRetryable: true, failureCount: 1, nextAttemptAt: undefined, failedAt: undefined, ...data },
    },
    metadata: { ...metadata },
  }),
  voidRequeued: (metadata?: object, data: Partial<Data<'AuthVoidRequeued'>> = {}): StreamEvent => ({
    type: 'AuthVoidRequeued',
    data: {
      ...{ authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', by: 'ann', reason: 'r' },
      ...{ requeuedAt: undefined, ...data },
    },
    metadata: { ...metadata },
  }),
};

/** Few, so that events meet at one hold; one is longer than its column, in characters and in code units. */
const names = fc.constantFrom('stripe', 'stripe', 'adyen', '', '🍕é'.repeat(40));
const ids = fc.constantFrom('pi_1', 'pi_1', 'pi_2', '', 'é'.repeat(300));
const cents = fc.oneof(fc.constantFrom(0, 900, 1000), fc.integer({ min: -5, max: 2_000 }), fc.nat(2 ** 53 - 1));
const currencies = fc.constantFrom('USD', 'USD', '', 'EUR', 'dollars');
const times = fc.constantFrom(
  undefined,
  new Date('2020-01-01T00:00:00Z'),
  new Date('2099-01-01T00:00:00Z'),
  new Date('2026-05-01T12:00:00Z'),
);

const texts = fc.constantFrom('', 'ann', 'é'.repeat(300), 7, null);

/** As operations of this package write it, as clients that knew no holds did, or damaged. */
const metadata = fc.record(
  {
    status_after: fc.constantFrom('AUTHORIZED', 'VOIDED'),
    closed_version: fc.constantFrom('v1', 7),
    hold_state: fc.constantFrom(...HOLD_STATES, ...HOLD_STATES, 'unknown', 7, null),
    hold_needed: fc.constantFrom(true, false, false, 'true', null),
    hold_name: fc.oneof({ weight: 1, arbitrary: names }, { weight: 1, arbitrary: fc.constantFrom(7, null) }),
    config_version: fc.oneof(texts, fc.constantFrom('v2', 'é'.repeat(60))),
    closed_by: texts,
    worker_id: texts,
    next_void_at: fc.constantFrom('2026-05-01T12:00:00.123Z', 'never', 7, null),
    unneeded: fc.oneof(
      fc.array(fc.tuple(names, ids), { maxLength: 3 }),
      fc.constantFrom<unknown>(
        ['stripe'],
        { stripe: 'pi_1' },
        [['pi_1', 'stripe']],
        [['stripe', 'pi_1', 'x']],
        [7],
        'stripe',
      ),
    ),
  },
  { requiredKeys: [] },
);
const untold = fc.constant({});
const anyMetadata = fc.oneof({ weight: 2, arbitrary: metadata }, { weight: 1, arbitrary: untold });

const named = { processorName: names, processorAuthId: ids };
const optional = { requiredKeys: [] };

/** Any event that a stream may have after its first, whether anybody would write it or not. */
export const anyStreamEvent: fc.Arbitrary<StreamEvent> = fc.oneof(
  anyMetadata.map(stream.started),
  fc
    .tuple(
      fc.constantFrom('AUTHORIZED', 'AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'UNSPECIFIED' as const),
      fc.option(
        fc.record(
          { ...named, authorizedAmountCents: cents, currency: currencies, authorizedAt: times, holdExpiresAt: times },
          optional,
        ),
        { nil: undefined, freq: 8 },
      ),
      anyMetadata,
    )
    .map(([status, result, more]) => stream.answered(status as 'AUTHORIZED', result, more)),
  fc.tuple(fc.boolean(), anyMetadata).map(([isRetryable, more]) => stream.failed(isRetryable, more)),
  anyMetadata.map(stream.voided),
  anyMetadata.map(stream.expired),
  fc
    .tuple(
      fc.record(
        { ...named, amountCents: cents, currency: currencies, authorizedAt: times, holdExpiresAt: times },
        optional,
      ),
      anyMetadata,
    )
    .map(([data, more]) => stream.reported(data, more)),
  fc
    .tuple(
      fc.constantFrom('CAPTURED', 'VOIDED', 'LAPSED', 'UNSPECIFIED'),
      fc.record(
        { ...named, amountCents: cents, currency: currencies, endedAt: times, source: fc.constantFrom('', 'stripe') },
        optional,
      ),
      anyMetadata,
    )
    .map(([end, data, more]) => stream.ended(end as 'CAPTURED', data, more)),
  fc.tuple(anyMetadata, fc.record(named, optional)).map(([more, data]) => stream.voidCompleted(more, data)),
  fc
    .tuple(
      fc.record({ ...named, errorCode: fc.constantFrom('', 'E', 'é'.repeat(120)), failureCount: fc.nat(9) }, optional),
      anyMetadata,
    )
    .map(([data, more]) => stream.voidFailed(data, more)),
  fc.tuple(anyMetadata, fc.record(named, optional)).map(([more, data]) => stream.voidRequeued(more, data)),
  fc.constant(stream.created()),
);

/** A request that begins as it should, and goes on anyhow. */
export const anyStream: fc.Arbitrary<StreamEvent[]> = fc
  .tuple(currencies, fc.array(anyStreamEvent, { maxLength: 10 }))
  .map(([currency, events]) => [stream.created({ currency }), ...events]);

/** As the store gives them. */
export const numbered = (events: readonly StreamEvent[]): FoldableEvent[] =>
  events.map((event, index) => ({
    metadata: {},
    ...event,
    sequenceNumber: index + 1,
    createdAt: new Date(Date.UTC(2026, 0, 1, 0, 0, index + 1)),
  }));
