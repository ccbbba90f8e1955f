import { IsOptional } from 'class-validator';
import { bigint, text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthorizationConflictError, AuthorizationMismatchError, AuthRequestStatusError } from '../errors';
import { appendEvent, CHANGED, eventOf } from '../event-store/append-event';
import { type Lease } from '../locks/lease';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { textField } from '../protobuf/append-fields';
import { TextMap } from '../validation/json-rules';
import { Currency, Instant, Text, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type Standing } from './read-standing';
import { type RecordedResult, resultOf } from './recorded-result';
import { type AuthRequestStatus, SQL } from './statuses';
import {
  ATTEMPTS_AFTER,
  eventIdOf,
  LEASE,
  RecordCommand,
  REQUEST,
  versionsAfter,
  workerColumns,
  workerInput,
  writeUnderLease,
} from './worker-write';

/** The processor has said yes. */
export class AuthorizedCommand extends RecordCommand {
  @Text(1, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @Text(1, 255)
  processorAuthId: string;

  /** At most what was asked for; 1 to 2^53 − 1. */
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  authorizedAmountCents: number;

  /** The one that was asked for. */
  @Currency()
  currency: string;

  @IsOptional()
  @Text(0, 100)
  authorizationCode?: string;

  /** By the processor's clock, of the years 1970 to 9999. Default: now. */
  @IsOptional()
  @Instant()
  authorizedAt?: Date;

  /** Until when the processor holds the money, of the years 1970 to 9999. Default: not known. */
  @IsOptional()
  @Instant()
  holdExpiresAt?: Date;

  /** Kept in the event. Nothing personal, no card data. */
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/**
 * An authorization is told from others by the processor's name and its id; from the one that an AUTHORIZED request names by
 * the id alone, since releasing that one for a name that another client spelled in another way would be worse. One that is known already (`known`, `same`) is
 * no second one: its event is written only where it answers an attempt that is open, and no message. One that nobody
 * needs, since the request is settled, goes to the outbox to be released, by name: the request itself names the first.
 *
 * What was recorded earlier is read from this statement's snapshot. That suffices: the worker that wrote it held another lease,
 * which had ended before this one was acquired; what the same lease writes at the same time has the same event id.
 */
const RECORD_AUTHORIZED = operation({
  name: 'record_authorized',
  input: {
    ...workerColumns,
    reported_name: text,
    reported_id: text,
    reported_cents: bigint,
    reported_currency: text,
    reported_code: text,
    event: eventOf('AuthResponseReceived'),
    message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ status: AuthRequestStatus; void_queued: boolean }>(),
  sql: (input) => `
    WITH lease AS (${LEASE}
    ), request AS (${REQUEST}
    ), earlier AS (
      SELECT coalesce(nullif(processor_name, ''), reported_name) AS name, processor_auth_id AS id,
             authorized_amount_cents::text AS amount, status = 'AUTHORIZED' AS is_named
      FROM request
      UNION ALL
      SELECT metadata ->> 'processor_name', metadata ->> 'processor_auth_id', metadata ->> 'authorized_amount_cents', false
      FROM payment_events JOIN input ON aggregate_id = auth_request_id
      WHERE event_type = 'AuthResponseReceived'
    ), decided AS (
      SELECT *, own_open AS closes_attempt, ${versionsAfter('own IS NOT NULL')},
        ${eventIdOf('said', 'fencing_token', `'AUTHORIZED'`, 'reported_name', 'reported_id')} AS new_event_id,
        status = 'PROCESSING' OR processor_auth_id IS NULL AS names_it,
        CASE WHEN status IN (${SQL.closed}) THEN 'voided_during_authorization' ELSE 'not_needed' END AS reason,
        EXISTS (SELECT FROM earlier WHERE (name = reported_name OR is_named) AND id = reported_id) AS known,
        NOT EXISTS (SELECT FROM earlier WHERE (name = reported_name OR is_named) AND id = reported_id
                      AND (name <> reported_name OR amount <> reported_cents::text)) AS same
      FROM request
      WHERE status <> 'PENDING' AND amount_cents >= reported_cents AND currency = reported_currency
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = CASE decided.status WHEN 'PROCESSING' THEN 'AUTHORIZED' ELSE decided.status END,
          processor_name = CASE WHEN names_it THEN reported_name ELSE decided.processor_name END,
          processor_auth_id = CASE WHEN names_it THEN reported_id ELSE decided.processor_auth_id END,
          authorized_amount_cents = CASE WHEN names_it THEN reported_cents ELSE decided.authorized_amount_cents END,
          authorization_code = CASE WHEN names_it THEN reported_code ELSE decided.authorization_code END,
          completed_at = coalesce(decided.completed_at, now()), ${ATTEMPTS_AFTER},
          last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
      FROM decided
      WHERE state.auth_request_id = decided.auth_request_id
        AND (NOT known OR same AND own_open)
        AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
      RETURNING state.*, own, reason, decided.status <> 'PROCESSING' AND NOT known AS void_queued
    ), event AS (${appendEvent(input, {
      metadata: `jsonb_strip_nulls(
           jsonb_build_object('attempt', own, 'status_after', status, 'void_queued', void_queued))`,
    })}
    ), message AS (${queueMessage(input, { from: `${CHANGED} WHERE void_queued`, fields: textField(3, 'reason') })}
    )
    SELECT status, void_queued FROM changed`,
});

export async function recordAuthorized(
  session: Session,
  lease: Lease,
  input: AuthorizedCommand,
): Promise<RecordedResult> {
  const command = validateCommand(AuthorizedCommand, input);
  const { authRequestId, restaurantId } = lease;
  const { processorName, processorAuthId, authorizedAmountCents, currency, authorizationCode = '' } = command;
  const now = new Date();
  // What tells it from other authorizations of the request, for the database to compare.
  const identity = {
    processor_name: processorName,
    processor_auth_id: processorAuthId,
    authorized_amount_cents: authorizedAmountCents,
  };
  const answer = {
    ...workerInput(lease, command, identity),
    reported_name: processorName,
    reported_id: processorAuthId,
    reported_cents: authorizedAmountCents,
    reported_currency: currency,
    reported_code: authorizationCode,
    event: {
      authRequestId,
      status: 'AUTHORIZED',
      result: {
        processorAuthId,
        processorName,
        authorizedAmountCents,
        currency,
        authorizationCode,
        authorizedAt: command.authorizedAt ?? now,
        denialCode: '',
        denialReason: '',
        processorMetadata: command.processorMetadata ?? {},
        holdExpiresAt: command.holdExpiresAt,
      },
      receivedAt: now,
    },
    // The statement completes the message: the row says why nobody needs it.
    message: {
      authRequestId,
      restaurantId,
      reason: '',
      createdAt: now,
      processorName,
      processorAuthId,
      amountCents: authorizedAmountCents,
      currency,
    },
    headers: command.headers,
  } as const;
  const written = await writeUnderLease(session, lease, RECORD_AUTHORIZED, answer, (standing) =>
    recordedBefore(standing, authRequestId, command),
  );
  if (written.row) return { status: written.row.status, replayed: false, voidQueued: written.row.void_queued };
  if (written.repeat) return written.repeat;
  const { standing } = written;
  if (standing.currency !== currency || standing.amountCents < authorizedAmountCents) {
    throw new AuthorizationMismatchError(authRequestId);
  }
  throw new AuthRequestStatusError(authRequestId, standing.status!, 'recordAuthorized');
}

/**
 * What the same authorization came to before: under this lease, or, for the worker that holds the lease now, under any.
 *
 * @throws AuthorizationConflictError it was another amount then
 */
function recordedBefore(
  standing: Standing,
  authRequestId: string,
  { processorName, processorAuthId, authorizedAmountCents, currency }: AuthorizedCommand,
): RecordedResult | undefined {
  if (standing.currency !== currency) return undefined;
  const isNamed = standing.held && standing.status === 'AUTHORIZED' && standing.processorAuthId === processorAuthId;
  if (isNamed) {
    const isSame = !standing.processorName || standing.processorName === processorName;
    if (!isSame || standing.authorizedAmountCents !== authorizedAmountCents) {
      throw new AuthorizationConflictError(authRequestId);
    }
  }
  for (const event of standing.events) {
    if (event.type !== 'AuthResponseReceived' || event.data.status !== 'AUTHORIZED') continue;
    if (!event.own && !standing.held) continue;
    const { result } = event.data;
    if (result?.processorAuthId !== processorAuthId || result.processorName !== processorName) continue;
    if (result.authorizedAmountCents !== authorizedAmountCents) throw new AuthorizationConflictError(authRequestId);
    // A legacy service's event does not say what it came to: the row does.
    return resultOf(event) ?? { status: standing.status!, replayed: true, voidQueued: false };
  }
  // The row of another client, which wrote no event that says so.
  return isNamed ? { status: 'AUTHORIZED', replayed: true, voidQueued: false } : undefined;
}
