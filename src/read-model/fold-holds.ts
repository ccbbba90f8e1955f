import { HOLD_STATES, type HoldState } from '../auth-requests/holds/states';
import { isOpen } from '../auth-requests/statuses';
import { type AuthHold } from '../entities/auth-hold.entity';
import { type PaymentEventBody } from '../event-store/event-codec';
import { type FoldableEvent, type FoldedRequest } from './fold';

/** The columns of a hold's row that its request's events decide. Amounts are in the currency's minor unit. */
export type FoldedHold = Pick<
  AuthHold,
  | 'processorName'
  | 'processorAuthId'
  | 'amountCents'
  | 'currency'
  | 'configVersion'
  | 'authorizedAt'
  | 'holdExpiresAt'
  | 'state'
  | 'stateSince'
  | 'isNeeded'
  | 'isAnswered'
  | 'endedAmountCents'
  | 'endedBy'
  | 'closedBy'
  | 'voidFailures'
  | 'lastVoidError'
  | 'nextVoidAt'
  | 'firstEventSequence'
  | 'lastEventSequence'
> & {
  /**
   * No event says its state, as those of clients that knew no holds: it counts as `held`. Where the request does
   * not need it, its row may say `voiding` instead.
   */
  isUndecided: boolean;
};

type EventOf<T extends PaymentEventBody['type']> = FoldableEvent & PaymentEventBody<T>;

/**
 * Takes an event to the holds of its request, whose status it has already been taken to. The statement that wrote the
 * event has decided what it means and says so in the event's metadata: `hold_state`, `hold_needed`, `unneeded`. Nothing is
 * decided here. Events of clients that knew no holds say that money is held, and no more.
 */
export function foldHolds(request: FoldedRequest, event: FoldableEvent): void {
  switch (event.type) {
    case 'AuthResponseReceived':
      if (event.data.status === 'AUTHORIZED') answer(request, event);
      break;
    case 'AuthHoldReported':
      report(request, event);
      break;
    case 'AuthHoldEnded':
      end(request, event);
      break;
    case 'AuthVoidCompleted':
      completeVoid(request, event);
      break;
    case 'AuthVoidFailed':
      failVoid(request, event);
      break;
    case 'AuthVoidRequeued':
      requeueVoid(request, event);
      break;
    case 'AuthRequestCreated':
    case 'AuthAttemptStarted':
    case 'AuthAttemptFailed':
    case 'AuthVoidRequested':
    case 'AuthRequestExpired':
  }
  for (const hold of request.holds) if (isUnneededBy(event, hold)) unneed(hold, event);
}

/**
 * Once all events are folded: whether a request needs a hold of which no event says so. One that it did need it does not where
 * a client of an earlier version, which knows no holds, has decided the request.
 */
export function settleHolds(request: FoldedRequest): void {
  for (const hold of request.holds) {
    if (hold.isUndecided || hold.isNeeded) hold.isNeeded = needs(request, hold);
  }
}

/**
 * An open request may come to need it; one that is AUTHORIZED needs the one that it names: told by the id alone, since a name may
 * be spelled in several ways.
 */
const needs = ({ status, processorAuthId }: FoldedRequest, hold: FoldedHold) =>
  isOpen(status) || (status === 'AUTHORIZED' && within(processorAuthId ?? '', 255) === hold.processorAuthId);

/** A worker has recorded it. */
function answer(request: FoldedRequest, event: EventOf<'AuthResponseReceived'>): void {
  const { result } = event.data;
  const said = {
    processorName: result?.processorName ?? '',
    processorAuthId: result?.processorAuthId ?? '',
    amountCents: result?.authorizedAmountCents ?? 0,
    currency: result?.currency ?? '',
    authorizedAt: result?.authorizedAt,
  };
  const hold = find(request, event, said) ?? make(request, event, said);
  if (!hold.isAnswered) recordMoney(request, hold, event, said);
  hold.isAnswered = true;
  hold.configVersion ??= textIn(event.metadata.config_version, 50);
  hold.holdExpiresAt = result?.holdExpiresAt ?? hold.holdExpiresAt;
  tell(request, hold, event);
}

/** The processor has told of it. */
function report(request: FoldedRequest, event: EventOf<'AuthHoldReported'>): void {
  const hold = find(request, event, event.data) ?? make(request, event, event.data);
  if (!hold.isAnswered) recordMoney(request, hold, event, event.data);
  hold.holdExpiresAt = event.data.holdExpiresAt ?? hold.holdExpiresAt;
  tell(request, hold, event);
}

const ENDS = { CAPTURED: 'captured', VOIDED: 'voided', LAPSED: 'lapsed', UNSPECIFIED: undefined } as const;

/** Its end may be the first that is told of it. */
function end(request: FoldedRequest, event: EventOf<'AuthHoldEnded'>): void {
  if (!stateIn(event)) return;
  const { data, metadata } = event;
  const hold = find(request, event, data) ?? make(request, event, { ...data, authorizedAt: data.endedAt });
  const { state: before } = hold;
  tell(request, hold, event);
  const amountCents = Math.max(data.amountCents, 0) || null;
  const isTold = hold.state === ENDS[data.end];
  const grows = before === 'captured' && isTold && (amountCents ?? 0) > (hold.endedAmountCents ?? 0);
  // The person who has seen to it has not seen to what the processor tells later.
  if (hold.state !== before || grows) hold.closedBy = null;
  hold.closedBy ??= textIn(metadata.closed_by, 255);
  if (isTold && before !== hold.state) {
    hold.endedAmountCents = amountCents;
    hold.endedBy = textIn(data.source, 255);
  } else if (grows) hold.endedAmountCents = amountCents;
}

function completeVoid(request: FoldedRequest, event: EventOf<'AuthVoidCompleted'>): void {
  const hold = find(request, event, event.data);
  if (!hold || !stateIn(event)) return;
  const { state: before } = hold;
  tell(request, hold, event);
  if (hold.state !== 'voided' || before === 'voided') return;
  hold.endedBy = textIn(event.metadata.worker_id, 255);
  hold.endedAmountCents = hold.amountCents || null;
}

function failVoid(request: FoldedRequest, event: EventOf<'AuthVoidFailed'>): void {
  const hold = find(request, event, event.data);
  if (!hold || !stateIn(event)) return;
  tell(request, hold, event);
  hold.voidFailures = event.data.failureCount;
  hold.lastVoidError = textIn(event.data.errorCode, 100);
  hold.nextVoidAt = timeIn(event.metadata.next_void_at);
}

function requeueVoid(request: FoldedRequest, event: EventOf<'AuthVoidRequeued'>): void {
  const hold = find(request, event, event.data);
  if (!hold || !stateIn(event)) return;
  tell(request, hold, event);
  hold.voidFailures = 0;
  hold.lastVoidError = null;
  hold.nextVoidAt = null;
}

/** Which hold of its request an event is about. */
interface Named {
  readonly processorName: string;
  readonly processorAuthId: string;
}

function keyOf({ metadata }: FoldableEvent, { processorName, processorAuthId }: Named): Named {
  const name = typeof metadata.hold_name === 'string' ? metadata.hold_name : processorName;
  return { processorName: within(name, 50), processorAuthId: within(processorAuthId, 255) };
}

function find({ holds }: FoldedRequest, event: FoldableEvent, named: Named): FoldedHold | undefined {
  const { processorName, processorAuthId } = keyOf(event, named);
  return holds.find((hold) => hold.processorName === processorName && hold.processorAuthId === processorAuthId);
}

interface Money {
  readonly amountCents: number;
  readonly currency: string;
}

function recordMoney(
  request: FoldedRequest,
  hold: FoldedHold,
  { createdAt }: FoldableEvent,
  said: Money & { readonly authorizedAt: Date | undefined },
): void {
  Object.assign(hold, moneyOf(request, said), { authorizedAt: said.authorizedAt ?? createdAt });
}

const moneyOf = (request: FoldedRequest, { amountCents, currency }: Money) => ({
  amountCents: Math.max(amountCents, 0),
  currency: within(currency || request.currency, 3),
});

function make(
  request: FoldedRequest,
  event: FoldableEvent,
  said: Named & Money & { readonly authorizedAt: Date | undefined },
): FoldedHold {
  const hold: FoldedHold = {
    ...keyOf(event, said),
    ...moneyOf(request, said),
    configVersion: null,
    authorizedAt: said.authorizedAt ?? event.createdAt,
    holdExpiresAt: null,
    state: 'held',
    stateSince: event.createdAt,
    isNeeded: false,
    isAnswered: false,
    endedAmountCents: null,
    endedBy: null,
    closedBy: null,
    voidFailures: 0,
    lastVoidError: null,
    nextVoidAt: null,
    firstEventSequence: event.sequenceNumber,
    lastEventSequence: event.sequenceNumber,
    isUndecided: true,
  };
  request.holds.push(hold);
  return hold;
}

/** Takes over what an event about a hold says of it. */
function tell(request: FoldedRequest, hold: FoldedHold, event: FoldableEvent): void {
  hold.lastEventSequence = event.sequenceNumber;
  const state = stateIn(event);
  if (!state) return;
  const { hold_needed: needed } = event.metadata;
  if (typeof needed === 'boolean') hold.isNeeded = needed;
  else if (hold.isUndecided) hold.isNeeded = needs(request, hold);
  move(hold, state, event);
}

const isUnneededBy = ({ metadata: { unneeded } }: FoldableEvent, { processorName, processorAuthId }: FoldedHold) =>
  Array.isArray(unneeded) &&
  unneeded.some(
    (pair) => Array.isArray(pair) && pair.length === 2 && pair[0] === processorName && pair[1] === processorAuthId,
  );

/** The event has given the request another answer, so that nobody will use it. */
function unneed(hold: FoldedHold, event: FoldableEvent): void {
  hold.lastEventSequence = event.sequenceNumber;
  hold.isNeeded = false;
  move(hold, hold.state === 'held' ? 'voiding' : hold.state, event);
}

function move(hold: FoldedHold, state: HoldState, { createdAt }: FoldableEvent): void {
  if (hold.state !== state) hold.stateSince = createdAt;
  hold.state = state;
  hold.isUndecided = false;
  if (state === 'voiding' || state === 'void_failed') hold.isNeeded = false;
}

function stateIn({ metadata: { hold_state: state } }: FoldableEvent): HoldState | undefined {
  return HOLD_STATES.find((known) => known === state);
}

const textIn = (value: unknown, length: number): string | null =>
  typeof value === 'string' && value !== '' ? within(value, length) : null;

/** What the column takes, which counts characters. */
const within = (text: string, length: number) =>
  text.length <= length ? text : Array.from(text).slice(0, length).join('');

function timeIn(value: unknown): Date | null {
  const time = typeof value === 'string' ? new Date(value) : undefined;
  return time && !Number.isNaN(time.getTime()) ? time : null;
}
