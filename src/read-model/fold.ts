import { type AuthRequestStatus, isClosed, isSettled } from '../auth-requests/statuses';
import { type AuthRequestState } from '../entities/auth-request-state.entity';
import { type PaymentEventBody } from '../event-store/event-codec';
import { type EventMetadata } from '../event-store/event-metadata';
import { foldAttempts, type FoldedAttempts, isTold, noAttempts } from './fold-attempts';
import { type FoldedHold, foldHolds, settleHolds } from './fold-holds';

/** What {@link fold} looks at: an event as `EventStore` reads it has it all. */
export type FoldableEvent = PaymentEventBody & {
  /** Its number within the request: 1, 2, 3 …. */
  readonly sequenceNumber: number;
  /** `payment_events.created_at`: the database's clock. */
  readonly createdAt: Date;
  /**
   * `payment_events.metadata`. What the operations of this package write says which `attempt` it is about; without that,
   * as legacy services left it, a result or failure is about the attempt before it. It says as well what it makes of holds.
   */
  readonly metadata: EventMetadata;
};

/** The columns of a request's row that its events alone decide. A text that is not set is null. */
export type FoldedRequest = Pick<
  AuthRequestState,
  | 'restaurantId'
  | 'paymentToken'
  | 'status'
  | 'amountCents'
  | 'currency'
  | 'processorAuthId'
  | 'processorName'
  | 'authorizedAmountCents'
  | 'authorizationCode'
  | 'denialCode'
  | 'denialReason'
  | 'completedAt'
  | 'lastEventSequence'
  | 'retryCount'
> &
  FoldedAttempts & {
    /** As in event 1: values are strings, what was nested is JSON text. */
    metadata: Readonly<Record<string, string>>;
    /** Each authorization that a processor has reported, in the order in which they became known. */
    holds: FoldedHold[];
  };

/**
 * Folds the events of one request, all of them and in their order, into its row and those of its holds. Never throws.
 *
 * The last event that carries a status decides, with one exception: the customer of a closed request has been told no,
 * so that it stays closed whatever comes later, and only AuthRequestExpired turns VOIDED into EXPIRED. What an
 * authorization that arrives too late says is kept all the same, since money is held under it.
 *
 * What the operations of this package wrote moves no settled request, and the first authorization stays the one that the
 * row names. A legacy worker that got a message twice has started and answered a request after it was settled: the last answer
 * decides, and what an earlier one left in the other answer's columns stays there.
 *
 * @returns undefined where the first event is not AuthRequestCreated, so that nothing says what was asked for
 *
 * @example
 * const request = fold(events);
 * request?.status; // 'AUTHORIZED'
 */
export function fold(events: Iterable<FoldableEvent>): FoldedRequest | undefined {
  let request: FoldedRequest | undefined;
  for (const event of events) {
    request ??= begin(event);
    if (!request) return undefined;
    apply(request, event);
    foldHolds(request, event);
    request.lastEventSequence = event.sequenceNumber;
    if (isSettled(request.status)) request.completedAt ??= event.createdAt;
  }
  if (request) settleHolds(request);
  return request;
}

function begin(event: FoldableEvent): FoldedRequest | undefined {
  if (event.type !== 'AuthRequestCreated') return undefined;
  const { restaurantId, paymentToken, amountCents, currency, metadata } = event.data;
  return {
    restaurantId,
    paymentToken,
    amountCents,
    currency,
    metadata,
    status: 'PENDING',
    processorAuthId: null,
    processorName: null,
    authorizedAmountCents: null,
    authorizationCode: null,
    denialCode: null,
    denialReason: null,
    completedAt: null,
    lastEventSequence: 0,
    ...noAttempts(),
    retryCount: 0,
    holds: [],
  };
}

function apply(request: FoldedRequest, event: FoldableEvent): void {
  foldAttempts(request, event);
  const stays = isTold(event) && isSettled(request.status);
  switch (event.type) {
    case 'AuthRequestCreated':
      return;
    case 'AuthAttemptStarted':
      if (!stays) moveOn(request, 'PROCESSING');
      return;
    case 'AuthResponseReceived':
      return answer(request, event.data, isTold(event));
    case 'AuthAttemptFailed':
      if (typeof event.metadata.closed_version === 'string') return;
      if (event.data.isRetryable) request.retryCount += 1;
      else if (!stays) moveOn(request, 'FAILED');
      return;
    case 'AuthVoidRequested':
      return moveOn(request, 'VOIDED');
    case 'AuthRequestExpired':
      if (request.status === 'VOIDED') request.status = 'EXPIRED';
      else moveOn(request, 'EXPIRED');
      return;
    // Of a hold alone: it moves no request.
    case 'AuthHoldReported':
    case 'AuthHoldEnded':
    case 'AuthVoidCompleted':
    case 'AuthVoidFailed':
    case 'AuthVoidRequeued':
  }
}

type Answer = PaymentEventBody<'AuthResponseReceived'>['data'];

function answer(request: FoldedRequest, { status, result }: Answer, told: boolean): void {
  const stays = told && isSettled(request.status);
  if (status === 'AUTHORIZED' && !(stays && request.processorAuthId !== null)) {
    request.processorAuthId = result?.processorAuthId || null;
    request.processorName = result?.processorName || null;
    request.authorizedAmountCents = result?.authorizedAmountCents ?? null;
    request.authorizationCode = result?.authorizationCode || null;
  } else if (status === 'DENIED' && !stays && !isClosed(request.status)) {
    request.processorName = result?.processorName || null;
    request.denialCode = result?.denialCode || null;
    request.denialReason = result?.denialReason || null;
  }
  // The other statuses are no answers of a processor.
  if (!stays && (status === 'AUTHORIZED' || status === 'DENIED' || status === 'FAILED')) moveOn(request, status);
}

function moveOn(request: FoldedRequest, status: AuthRequestStatus): void {
  if (!isClosed(request.status)) request.status = status;
}
