import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { UndecodableEventError, UnknownEventTypeError } from '../errors';
import { decodeEvent, type PaymentEventBody } from '../event-store/event-codec';
import { type EventMetadata, fromColumn } from '../event-store/event-metadata';
import { HELD_LEASE, leaseColumns, leaseInput } from '../locks/held-lease';
import { type LeaseRef } from '../locks/lease';
import { type AuthRequestStatus } from './statuses';

/** Where a request stands, for a write that found nothing to change. */
export interface Standing {
  /** Whether the lease is still held. */
  readonly held: boolean;
  /** Null where there is no such request. */
  readonly status: AuthRequestStatus | null;
  /** The number of its last event; 0 where there is no such request. */
  readonly lastEventSequence: number;
  readonly paymentToken: string;
  readonly amountCents: number;
  readonly currency: string;
  readonly metadata: Record<string, unknown>;
  readonly retryCount: number;
  readonly attemptOpen: boolean;
  /** The number of the current attempt, and whether it is open. */
  readonly attempt: number | null;
  readonly attemptUnanswered: boolean;
  readonly unansweredVersions: readonly string[];
  readonly processorName: string | null;
  readonly processorAuthId: string | null;
  readonly authorizedAmountCents: number | null;
  /** What was written under this lease, and every result. In their order. */
  readonly events: readonly StandingEvent[];
}

/** An event that may be the one that a write would repeat. */
export type StandingEvent = PaymentEventBody & {
  readonly eventId: string;
  readonly sequenceNumber: number;
  readonly metadata: EventMetadata;
  /** It was written under this lease. */
  readonly own: boolean;
};

/** The number of the last attempt that this lease has started, and so of what it records; undefined without one. */
export const lastOwnAttempt = ({ events }: Standing): number | undefined =>
  events.findLast(({ own, type }) => own && type === 'AuthAttemptStarted')?.sequenceNumber;

interface Line {
  held: boolean;
  status: AuthRequestStatus | null;
  last_event_sequence: number | null;
  payment_token: string;
  amount_cents: string;
  currency: string;
  request_metadata: Record<string, unknown> | null;
  retry_count: number;
  attempt_open: boolean;
  attempt: number | null;
  attempt_unanswered: boolean;
  unanswered_versions: string[];
  processor_name: string | null;
  processor_auth_id: string | null;
  authorized_amount_cents: string | null;
  event_id: string | null;
  event_type: string;
  event_data: Buffer;
  sequence_number: number;
  metadata: unknown;
  own: boolean;
}

const READ_STANDING = operation({
  name: 'read_standing',
  input: leaseColumns,
  output: rowsOf<Line>(),
  sql: `
    SELECT EXISTS (${HELD_LEASE}) AS held, state.*, event.*
    FROM (SELECT) AS always
    LEFT JOIN (
      SELECT status, payment_token, amount_cents, currency, metadata AS request_metadata, retry_count, attempt_open,
             attempt, attempt_unanswered, unanswered_versions, processor_name, processor_auth_id, authorized_amount_cents,
             last_event_sequence
      FROM auth_request_state JOIN input USING (auth_request_id, restaurant_id)
    ) AS state ON true
    LEFT JOIN (
      SELECT event_id, event_type, event_data, sequence_number, metadata,
             coalesce(metadata ->> 'fencing_token' = fencing_token::text, false) AS own
      FROM payment_events JOIN input USING (restaurant_id)
      WHERE aggregate_id = auth_request_id
        AND (event_type = 'AuthResponseReceived' OR metadata ->> 'fencing_token' = fencing_token::text)
    ) AS event ON true
    ORDER BY event.sequence_number`,
});

export async function readStanding(session: Session, lease: LeaseRef): Promise<Standing> {
  const lines = await session.rows(READ_STANDING, leaseInput(lease));
  const line = lines[0]!;
  return {
    held: line.held,
    status: line.status,
    lastEventSequence: line.last_event_sequence ?? 0,
    paymentToken: line.payment_token,
    amountCents: Number(line.amount_cents),
    currency: line.currency,
    metadata: line.request_metadata ?? {},
    retryCount: line.retry_count,
    attemptOpen: line.attempt_open,
    attempt: line.attempt,
    attemptUnanswered: line.attempt_unanswered,
    unansweredVersions: line.unanswered_versions,
    processorName: line.processor_name,
    processorAuthId: line.processor_auth_id,
    authorizedAmountCents: line.authorized_amount_cents === null ? null : Number(line.authorized_amount_cents),
    events: lines.flatMap(toEvent),
  };
}

/** What this version cannot read is nothing that it has written, and no reason to refuse anything: `verify` reports it. */
function toEvent({ event_id, event_type, event_data, sequence_number, metadata, own }: Line): StandingEvent[] {
  if (event_id === null) return [];
  try {
    const body = decodeEvent(event_type, event_data, { eventId: event_id });
    return [{ ...body, eventId: event_id, sequenceNumber: sequence_number, metadata: fromColumn(metadata), own }];
  } catch (error) {
    if (error instanceof UndecodableEventError || error instanceof UnknownEventTypeError) return [];
    throw error;
  }
}
