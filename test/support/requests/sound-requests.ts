import { decodeEvent } from '../../../src/event-store/event-codec';
import { type EventMetadata, fromColumn } from '../../../src/event-store/event-metadata';
import { type StoredEvent } from '../../../src/event-store/event-store';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { fold } from '../../../src/read-model/fold';
import { type DatabaseOfFile } from '../database/use-test-database';

/** All that the database holds of one request. */
export interface RequestRecord {
  readonly authRequestId: string;
  readonly status: string;
  readonly attemptOpen: boolean;
  /** The versions under which attempts are open. */
  readonly openVersions: readonly string[];
  readonly processorAuthId: string | null;
  readonly denialCode: string | null;
  readonly retryCount: number;
  readonly events: readonly (StoredEvent & { metadata: EventMetadata & { worker_id?: string } })[];
  /** Of each `void_request_queued`. */
  readonly voidReasons: readonly string[];
  /** All of them, in their order; a void with its reason. */
  readonly messages: readonly string[];
}

interface Row {
  auth_request_id: string;
  state: Record<string, unknown> | null;
  events: Record<string, unknown>[];
  messages: { message_type: string; payload: string }[];
}

const EVERYTHING = `
  SELECT auth_request_id, to_jsonb(state) AS state,
    (SELECT coalesce(jsonb_agg(to_jsonb(event) || jsonb_build_object('event_data', encode(event_data, 'hex')) ORDER BY sequence_number), '[]')
     FROM payment_events AS event WHERE aggregate_id = auth_request_id) AS events,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('message_type', message_type, 'payload', encode(payload, 'hex')) ORDER BY id), '[]')
     FROM outbox WHERE aggregate_id = auth_request_id) AS messages
  FROM (SELECT auth_request_id FROM auth_request_state UNION SELECT aggregate_id FROM payment_events
        UNION SELECT aggregate_id FROM outbox) AS request
  LEFT JOIN auth_request_state AS state USING (auth_request_id)
  WHERE $1::uuid[] IS NULL OR auth_request_id = ANY ($1)`;

/**
 * Requires of every request in the database, or of some: events numbered 1 to n, a row that is what its events fold to,
 * and exactly the messages that its events call for. An authorization that came to a closed request calls for one.
 */
export async function requireSound(database: DatabaseOfFile, ids?: readonly string[]): Promise<RequestRecord[]> {
  return (await database.query<Row>(EVERYTHING, [ids ?? null])).map(requireSoundRow);
}

function requireSoundRow({ auth_request_id: authRequestId, state, events: stored, messages }: Row): RequestRecord {
  const events = stored.map((event) => toEvent(authRequestId, event));
  const sent = messages.map(({ message_type, payload }) =>
    decodeOutboxMessage(message_type, Buffer.from(payload, 'hex')),
  );
  const folded = fold(events);
  expect({
    authRequestId,
    numbers: events.map(({ sequenceNumber }) => sequenceNumber),
    lastEventId: state?.last_event_id,
    status: state?.status,
    attemptOpen: state?.attempt_open,
    attempt: state?.attempt,
    attemptVersion: state?.attempt_version,
    attemptUnanswered: state?.attempt_unanswered,
    unansweredVersions: state?.unanswered_versions,
    retryCount: state?.retry_count,
    lastEventSequence: state?.last_event_sequence,
    processorAuthId: state?.processor_auth_id,
    processorName: state?.processor_name,
    authorizedAmountCents: state?.authorized_amount_cents,
    denialCode: state?.denial_code,
    completed: state?.completed_at !== null,
    messages: sent.map(({ type }) => type),
  }).toEqual({
    authRequestId,
    numbers: events.map((_, index) => index + 1),
    lastEventId: events.at(-1)?.eventId,
    status: folded?.status,
    attemptOpen: folded?.attemptOpen,
    attempt: folded?.attempt,
    attemptVersion: folded?.attemptVersion,
    attemptUnanswered: folded?.attemptUnanswered,
    unansweredVersions: folded?.unansweredVersions,
    retryCount: folded?.retryCount,
    lastEventSequence: events.length,
    processorAuthId: folded?.processorAuthId,
    processorName: folded?.processorName,
    authorizedAmountCents: folded?.authorizedAmountCents,
    denialCode: folded?.denialCode,
    completed: folded?.completedAt !== null,
    messages: messagesOf(events),
  });
  return {
    authRequestId,
    status: folded!.status,
    attemptOpen: folded!.attemptOpen,
    openVersions: [
      ...new Set([...folded!.unansweredVersions, ...(folded!.attemptUnanswered ? [folded!.attemptVersion!] : [])]),
    ],
    processorAuthId: folded!.processorAuthId,
    denialCode: folded!.denialCode,
    retryCount: folded!.retryCount,
    events,
    voidReasons: sent.flatMap((message) => (message.type === 'void_request_queued' ? [message.data.reason] : [])),
    messages: sent.map(({ type, data }) => ('reason' in data ? `${type}: ${data.reason}` : type)),
  };
}

/** What must have been queued: told from the events alone, not from what the statements decided. */
function messagesOf(events: readonly StoredEvent[]): string[] {
  return events.flatMap((event, index) => {
    const before = fold(events.slice(0, index))?.status;
    if (event.type === 'AuthRequestCreated') return ['auth_request_queued'];
    if (event.type === 'AuthVoidRequested') return before === 'AUTHORIZED' ? ['void_request_queued'] : [];
    if (event.type === 'AuthAttemptFailed') {
      // One that comes while a retry waits names the time of that one.
      const isNew = events.slice(0, index).every((earlier) => retryAt(earlier) !== retryAt(event));
      return before === 'PROCESSING' && retryAt(event) && isNew ? ['auth_request_queued'] : [];
    }
    const id = authorizationOf(event);
    const known = events.slice(0, index).some((earlier) => authorizationOf(earlier) === id);
    return id && before !== 'PROCESSING' && !known ? ['void_request_queued'] : [];
  });
}

/** When the next attempt is due that a message of the outbox brings; undefined where none does. */
const retryAt = (event: StoredEvent): unknown =>
  event.type === 'AuthAttemptFailed' && event.data.isRetryable && event.metadata.retry_by === 'outbox'
    ? event.metadata.next_retry_at
    : undefined;

const authorizationOf = (event: StoredEvent): string | undefined =>
  event.type === 'AuthResponseReceived' && event.data.status === 'AUTHORIZED'
    ? `${event.data.result?.processorName} ${event.data.result?.processorAuthId}`
    : undefined;

const toEvent = (authRequestId: string, row: Record<string, unknown>): StoredEvent => ({
  ...decodeEvent(row.event_type as string, Buffer.from(row.event_data as string, 'hex'), {
    eventId: row.event_id as string,
  }),
  eventId: row.event_id as string,
  sequenceNumber: row.sequence_number as number,
  position: BigInt(row.id as number),
  authRequestId,
  restaurantId: row.restaurant_id as string,
  metadata: fromColumn(row.metadata),
  createdAt: new Date(row.created_at as string),
});
