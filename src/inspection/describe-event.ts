import { decodeEvent, type PaymentEventBody } from '../event-store/event-codec';
import { type EventMetadata, fromColumn } from '../event-store/event-metadata';
import { type InspectedEvent } from './inspection';

/** An event as any role may read it, and what only some may. */
export interface StoredEventRow {
  readonly eventId: string;
  readonly eventType: string;
  readonly sequenceNumber: number;
  readonly createdAt: Date;
  readonly eventData?: Uint8Array;
  readonly metadata?: unknown;
}

/** Puts an event into one line. Neither the payment token nor the fencing token is in it, nor what services put beside. */
export function describeEvent(row: StoredEventRow): InspectedEvent {
  const { eventId, eventType, sequenceNumber, createdAt } = row;
  const metadata = fromColumn(row.metadata);
  const textOf = (field: string) => (typeof metadata[field] === 'string' ? metadata[field] : null);
  return {
    ...{ sequenceNumber, eventId, createdAt, type: eventType, says: row.eventData ? say(row, metadata) : null },
    statusAfter: textOf('status_after'),
    correlationId: metadata.correlationId ?? null,
    causationId: metadata.causationId ?? null,
    workerId: textOf('worker_id'),
  };
}

function say({ eventType, eventData, eventId, sequenceNumber }: StoredEventRow, metadata: EventMetadata) {
  try {
    return sentence(decodeEvent(eventType, eventData!, { eventId }), metadata, sequenceNumber);
  } catch {
    // Of a newer version, or damaged: the difference says which.
    return null;
  }
}

function sentence(event: PaymentEventBody, metadata: EventMetadata, sequenceNumber: number): string {
  switch (event.type) {
    case 'AuthRequestCreated':
      return `asked for ${event.data.amountCents} ${event.data.currency}`;
    case 'AuthAttemptStarted': {
      const version = metadata.attempt === sequenceNumber ? event.data.restaurantPaymentConfigVersion : '';
      return `about to ask the processor, ${underVersion(version)}`;
    }
    case 'AuthResponseReceived':
      return answer(event.data);
    case 'AuthAttemptFailed':
      return failure(event.data, metadata);
    case 'AuthVoidRequested':
      return `void asked for: ${event.data.reason}`;
    case 'AuthRequestExpired':
      return `given up: ${event.data.reason}`;
    case 'AuthHoldReported':
      return holdReported(event.data, metadata);
    case 'AuthHoldEnded':
      return holdEnded(event.data, metadata);
    case 'AuthVoidCompleted':
      return `${holdOf(event.data)} was voided`;
    case 'AuthVoidFailed':
      return voidFailed(event.data);
    case 'AuthVoidRequeued':
      return `${event.data.by} asked for a void of ${holdOf(event.data)}: ${event.data.reason}`;
  }
}

const holdOf = ({ processorAuthId, processorName }: { processorAuthId: string; processorName: string }) =>
  `${processorAuthId} at ${processorName || 'the processor'}`;

/** Attempts of legacy services have no version. */
export const underVersion = (version: string): string =>
  version === '' ? 'as a legacy service' : `under configuration version ${version}`;

type Data<T extends PaymentEventBody['type']> = PaymentEventBody<T>['data'];

function answer({ status, result }: Data<'AuthResponseReceived'>): string {
  const processor = result?.processorName || 'the processor';
  if (status === 'DENIED') return `${processor} denied: ${result?.denialCode} ${result?.denialReason}`;
  if (status !== 'AUTHORIZED') return `${processor} answered ${status}`;
  const code = result?.authorizationCode ? `, code ${result.authorizationCode}` : '';
  return `${processor} authorized ${result?.authorizedAmountCents} ${result?.currency} as ${result?.processorAuthId}${code}`;
}

function failure(data: Data<'AuthAttemptFailed'>, { outcome, closed_version: version, closed_by: by }: EventMetadata) {
  const { errorCode, errorMessage, isRetryable, retryCount, nextRetryAt } = data;
  if (typeof version === 'string') {
    return `${String(by)} closed the open attempts made ${underVersion(version)}: ${errorMessage}`;
  }
  const money = typeof outcome === 'string' ? `, outcome ${outcome}` : '';
  const retry = isRetryable
    ? `retry ${retryCount}${nextRetryAt ? ` at ${nextRetryAt.toISOString()}` : ''}`
    : 'for good';
  return `failed: ${errorCode} ${errorMessage} (${retry}${money})`;
}

function holdReported(data: Data<'AuthHoldReported'>, { hold_state: state }: EventMetadata): string {
  const { source, sourceEventId, amountCents, currency, holdExpiresAt } = data;
  const until = holdExpiresAt ? ` until ${holdExpiresAt.toISOString()}` : '';
  return `${source}${ofMessage(sourceEventId)} told that it holds ${amountCents} ${currency}${until} as ${holdOf(data)}${stays(state, ['held', 'voiding'])}`;
}

const HOW_IT_ENDED: Record<Data<'AuthHoldEnded'>['end'], string> = {
  CAPTURED: 'was captured',
  VOIDED: 'was voided',
  LAPSED: 'has lapsed',
  UNSPECIFIED: 'has ended',
};

/** What was told counts only where nothing that counts for more was told before. */
function holdEnded(data: Data<'AuthHoldEnded'>, { hold_state: state, closed_by: by }: EventMetadata): string {
  const { source, sourceEventId, end, amountCents, currency, reason } = data;
  const amount = amountCents === 0 ? '' : `, ${amountCents} ${currency}`.trimEnd();
  const how = `${holdOf(data)} ${HOW_IT_ENDED[end]}${amount}${stays(state, [end.toLowerCase()])}`;
  if (typeof by === 'string') return `${by} wrote down that ${how}: ${reason}`;
  return `${source}${ofMessage(sourceEventId)} told that ${how}`;
}

const ofMessage = (sourceEventId: string) => (sourceEventId === '' ? '' : ` (${sourceEventId})`);

const stays = (state: unknown, told: readonly string[]) =>
  typeof state === 'string' && !told.includes(state) ? `; it stays ${state}` : '';

function voidFailed(data: Data<'AuthVoidFailed'>): string {
  const { errorCode, errorMessage, isRetryable, failureCount, nextAttemptAt } = data;
  const next = isRetryable ? `again${nextAttemptAt ? ` at ${nextAttemptAt.toISOString()}` : ''}` : 'for good';
  return `${holdOf(data)} was not voided: ${errorCode} ${errorMessage} (failure ${failureCount}, ${next})`;
}
