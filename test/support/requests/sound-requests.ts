import { decodeEvent } from '../../../src/event-store/event-codec';
import { type EventMetadata, fromColumn } from '../../../src/event-store/event-metadata';
import { type StoredEvent } from '../../../src/event-store/event-store';
import { decodeOutboxMessage, type OutboxMessageBody } from '../../../src/outbox/message-codec';
import { fold } from '../../../src/read-model/fold';
import { type DatabaseOfFile } from '../database/use-test-database';
import { type ToldHold, ToldHolds } from './told-holds';

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
  /** The processor's ids that the voids name, in their order. */
  readonly voidIds: readonly string[];
  /** In the order in which they were first told of. */
  readonly holds: readonly ToldHold[];
}

interface Row {
  auth_request_id: string;
  state: Record<string, unknown> | null;
  events: Record<string, unknown>[];
  messages: { message_type: string; payload: string }[];
  holds: Record<string, unknown>[];
}

const EVERYTHING = `
  SELECT auth_request_id, to_jsonb(state) AS state,
    (SELECT coalesce(jsonb_agg(to_jsonb(event) || jsonb_build_object('event_data', encode(event_data, 'hex')) ORDER BY sequence_number), '[]')
     FROM payment_events AS event WHERE aggregate_id = auth_request_id) AS events,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('message_type', message_type, 'payload', encode(payload, 'hex')) ORDER BY id), '[]')
     FROM outbox WHERE aggregate_id = auth_request_id) AS messages,
    (SELECT coalesce(jsonb_agg(to_jsonb(hold) ORDER BY first_event_sequence), '[]')
     FROM auth_holds AS hold WHERE hold.auth_request_id = request.auth_request_id) AS holds
  FROM (SELECT auth_request_id FROM auth_request_state UNION SELECT aggregate_id FROM payment_events
        UNION SELECT aggregate_id FROM outbox) AS request
  LEFT JOIN auth_request_state AS state USING (auth_request_id)
  WHERE $1::uuid[] IS NULL OR auth_request_id = ANY ($1)`;

/**
 * Requires of every request in the database, or of some: events numbered 1 to n, a row that is what its events fold to,
 * exactly the messages and holds that its events call for, and no hold that nobody sees to.
 */
export async function requireSound(database: DatabaseOfFile, ids?: readonly string[]): Promise<RequestRecord[]> {
  return (await database.query<Row>(EVERYTHING, [ids ?? null])).map(requireSoundRow);
}

function requireSoundRow(row: Row): RequestRecord {
  const { auth_request_id: authRequestId, state, events: stored, messages, holds } = row;
  const events = stored.map((event) => toEvent(authRequestId, event));
  const sent = messages.map(({ message_type, payload }) =>
    decodeOutboxMessage(message_type, Buffer.from(payload, 'hex')),
  );
  const folded = fold(events);
  const told = tell(events);
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
    voids: sent.flatMap(voidIdOf).sort(),
    holds: holds.map(toTold),
    forgotten: holds.filter((hold) => !isSeenTo(hold, state)),
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
    messages: told.messages,
    voids: told.voids.toSorted(),
    holds: told.holds,
    forgotten: [],
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
    voidIds: sent.flatMap(voidIdOf),
    holds: told.holds,
  };
}

const voidIdOf = (message: OutboxMessageBody) =>
  message.type === 'void_request_queued' ? [message.data.processorAuthId] : [];

/** Of a hold that may still stand: its request may use it, it is being voided, or it waits for a person. */
function isSeenTo(hold: Record<string, unknown>, state: Record<string, unknown> | null): boolean {
  const { state: stands, is_needed: isNeeded, processor_auth_id: id } = hold;
  const isOpen = state?.status === 'PENDING' || state?.status === 'PROCESSING';
  const isUsed = isOpen || (state?.status === 'AUTHORIZED' && state.processor_auth_id === id);
  if (stands === 'held') return isNeeded === true && isUsed;
  return isNeeded !== true || (isUsed && stands !== 'voiding' && stands !== 'void_failed');
}

const toTold = (row: Record<string, unknown>): ToldHold => ({
  name: row.processor_name as string,
  id: row.processor_auth_id as string,
  state: row.state as ToldHold['state'],
  isNeeded: row.is_needed as boolean,
  isAnswered: row.is_answered as boolean,
  cents: row.amount_cents as number,
  endedCents: row.ended_amount_cents as number | null,
  endedBy: row.ended_by as string | null,
  closedBy: row.closed_by as string | null,
  failures: row.void_failures as number,
  lastError: row.last_void_error as string | null,
  nextVoidAt: row.next_void_at ? new Date(row.next_void_at as string).toISOString() : null,
});

/** What must have been queued, and what holds there must be: told from the events alone, not from what the statements decided. */
function tell(events: readonly StoredEvent[]): { messages: string[]; voids: string[]; holds: ToldHold[] } {
  const told = new ToldHolds();
  const messages: string[] = [];
  const voids: string[] = [];
  for (const [index, event] of events.entries()) {
    const earlier = events.slice(0, index);
    const before = fold(earlier);
    if (event.type === 'AuthRequestCreated') messages.push('auth_request_queued');
    // A failure that comes while a retry waits names the time of that one.
    const isNew = earlier.every((one) => retryAt(one) !== retryAt(event));
    if (before?.status === 'PROCESSING' && retryAt(event) && isNew) messages.push('auth_request_queued');
    const queued = told.take(event, {
      status: before?.status,
      processorAuthId: before?.processorAuthId ?? null,
    });
    messages.push(...queued.map(() => 'void_request_queued'));
    voids.push(...queued);
  }
  return { messages, voids, holds: told.holds };
}

/** When the next attempt is due that a message of the outbox brings; undefined where none does. */
const retryAt = (event: StoredEvent): unknown =>
  event.type === 'AuthAttemptFailed' && event.data.isRetryable && event.metadata.retry_by === 'outbox'
    ? event.metadata.next_retry_at
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
