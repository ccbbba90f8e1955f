import { PaymentEventsDbError } from '../errors';
import { decodeEvent } from '../event-store/event-codec';
import { fromColumn } from '../event-store/event-metadata';
import { fold, type FoldableEvent, type FoldedRequest } from './fold';
import { type EventRow } from './read-records';

/** Why events do not tell what their request is. */
export type UnfoldableReason = 'no_events' | 'sequence_gap' | 'undecodable_event' | 'no_beginning';

/** The events of a request do not tell what it is, so that nothing can be compared with them or made from them. */
export class UnfoldableStreamError extends PaymentEventsDbError {
  readonly code = 'UNFOLDABLE_STREAM';

  /** @param sequenceNumber the first event that is missing, or the one that is at fault */
  constructor(
    readonly authRequestId: string,
    readonly reason: UnfoldableReason,
    readonly sequenceNumber: number,
  ) {
    super(`Authorization request ${authRequestId} ${EXPLANATIONS[reason](sequenceNumber)}`);
  }
}

const EXPLANATIONS: Record<UnfoldableReason, (sequenceNumber: number) => string> = {
  no_events: () => 'has a row and no events. Find out who wrote it, or bring its events back from a backup.',
  sequence_gap: (missing) => `lacks event ${missing}, and has later ones. Bring it back from a backup.`,
  undecodable_event: (n) =>
    `has an event ${n} that cannot be read. Upgrade to its writer's version, or find its writer.`,
  no_beginning: () => 'has a first event that is not AuthRequestCreated. Find its writer.',
};

/**
 * Decodes and folds the stored events of one request.
 *
 * @param events in the order of their numbers
 *
 * @throws {UnfoldableStreamError}
 */
export function foldStream(authRequestId: string, events: readonly EventRow[]): FoldedRequest {
  if (events.length === 0) throw new UnfoldableStreamError(authRequestId, 'no_events', 1);
  const gap = events.findIndex(({ sequenceNumber }, index) => sequenceNumber !== index + 1);
  if (gap >= 0) throw new UnfoldableStreamError(authRequestId, 'sequence_gap', gap + 1);
  const folded = fold(events.map((event) => decode(authRequestId, event)));
  if (!folded) throw new UnfoldableStreamError(authRequestId, 'no_beginning', 1);
  return folded;
}

function decode(authRequestId: string, event: EventRow): FoldableEvent {
  const { eventType, eventData, eventId, sequenceNumber, createdAt } = event;
  try {
    const body = decodeEvent(eventType, eventData, { eventId });
    return { ...body, sequenceNumber, createdAt, metadata: fromColumn(event.metadata) };
  } catch {
    throw new UnfoldableStreamError(authRequestId, 'undecodable_event', sequenceNumber);
  }
}
