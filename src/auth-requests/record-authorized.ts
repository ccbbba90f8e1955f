import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthorizationConflictError, AuthorizationMismatchError, AuthRequestStatusError } from '../errors';
import { textField } from '../protobuf/append-fields';
import { encodeOutboxMessage } from '../outbox/message-codec';
import { type Lease } from '../locks/processing-locks';
import { withTraceContext } from '../outbox/trace-context';
import { validateCommand } from '../validation/validate-command';
import { AuthorizedCommand } from './commands';
import { type Standing } from './read-standing';
import { type RecordedResult, resultOf } from './recorded-result';
import {
  ATTEMPTS_AFTER,
  eventIdOf,
  LEASE,
  requestOf,
  versionsAfter,
  workerValues,
  writeUnderLease,
} from './worker-write';

/**
 * An authorization is told from others by the processor's name and its id; from the one that an AUTHORIZED request names by
 * the id alone, since releasing that one for a name that another client spelt otherwise would be worse. One that is known already (`known`, `same`) is
 * no second one: its event is written only where it answers an attempt that is open, and no message. One that nobody
 * needs, since the request is settled, goes to the outbox to be released, by name: the request itself names the first.
 *
 * What was recorded earlier is read from this statement's snapshot. That suffices: whoever wrote it held another lease,
 * which had ended before this one was acquired; what the same lease writes at the same time has the same event id.
 */
export const RECORD_AUTHORIZED = statement(
  'record_authorized',
  `WITH lease AS (${LEASE}
   ), request AS (${requestOf('$14')}
   ), earlier AS (
     SELECT coalesce(nullif(processor_name, ''), $7) AS name, processor_auth_id AS id, authorized_amount_cents::text AS amount,
            status = 'AUTHORIZED' AS is_named
     FROM request
     UNION ALL
     SELECT metadata ->> 'processor_name', metadata ->> 'processor_auth_id', metadata ->> 'authorized_amount_cents', false
     FROM payment_events WHERE aggregate_id = $1 AND event_type = 'AuthResponseReceived'
   ), decided AS (
     SELECT *, own_open AS closes_attempt, ${versionsAfter('own IS NOT NULL')},
       ${eventIdOf('said', '$4::bigint', `'AUTHORIZED'`, '$7::text', '$8::text')} AS new_event_id,
       status = 'PROCESSING' OR processor_auth_id IS NULL AS names_it,
       CASE WHEN status IN ('VOIDED', 'EXPIRED', 'FAILED') THEN 'voided_during_authorization' ELSE 'not_needed' END AS reason,
       EXISTS (SELECT FROM earlier WHERE (name = $7 OR is_named) AND id = $8) AS known,
       NOT EXISTS (SELECT FROM earlier WHERE (name = $7 OR is_named) AND id = $8
                     AND (name <> $7 OR amount <> $9::bigint::text)) AS same
     FROM request
     WHERE status <> 'PENDING' AND amount_cents >= $9::bigint AND currency = $10
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = CASE decided.status WHEN 'PROCESSING' THEN 'AUTHORIZED' ELSE decided.status END,
         processor_name = CASE WHEN names_it THEN $7 ELSE decided.processor_name END,
         processor_auth_id = CASE WHEN names_it THEN $8 ELSE decided.processor_auth_id END,
         authorized_amount_cents = CASE WHEN names_it THEN $9::bigint ELSE decided.authorized_amount_cents END,
         authorization_code = CASE WHEN names_it THEN $11 ELSE decided.authorization_code END,
         completed_at = coalesce(decided.completed_at, now()), ${ATTEMPTS_AFTER},
         last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
     FROM decided
     WHERE state.auth_request_id = decided.auth_request_id
       AND (NOT known OR same AND own_open)
       AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
     RETURNING state.*, own, reason, decided.status <> 'PROCESSING' AND NOT known AS void_queued
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT last_event_id, auth_request_id, 'auth_request', 'AuthResponseReceived', $5::bytea,
            $6::jsonb || jsonb_strip_nulls(
              jsonb_build_object('attempt', own, 'status_after', status, 'void_queued', void_queued)),
            last_event_sequence, restaurant_id
     FROM changed
   ), message AS (
     INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, headers)
     SELECT auth_request_id, restaurant_id, 'void_request_queued', $12::bytea || ${textField(3, 'reason')}, $13::jsonb
     FROM changed WHERE void_queued
   )
   SELECT status, void_queued FROM changed`,
);

export async function recordAuthorized(
  dataSource: DataSource,
  lease: Lease,
  input: AuthorizedCommand,
  manager?: EntityManager,
): Promise<RecordedResult> {
  const command = validateCommand(AuthorizedCommand, input);
  const { authRequestId, restaurantId } = lease;
  const { processorName, processorAuthId, authorizedAmountCents, currency, authorizationCode = '' } = command;
  const now = new Date();
  const values = [
    ...workerValues(
      lease,
      command,
      {
        type: 'AuthResponseReceived',
        data: {
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
          },
          receivedAt: now,
        },
      },
      // What tells it from other authorizations of the request, for the database to compare.
      {
        processor_name: processorName,
        processor_auth_id: processorAuthId,
        authorized_amount_cents: authorizedAmountCents,
      },
    ),
    processorName,
    processorAuthId,
    authorizedAmountCents,
    currency,
    authorizationCode,
    // The statement completes the message: the row says why nobody needs it.
    encodeOutboxMessage({
      type: 'void_request_queued',
      data: {
        authRequestId,
        restaurantId,
        reason: '',
        createdAt: now,
        processorName,
        processorAuthId,
        amountCents: authorizedAmountCents,
        currency,
      },
    }),
    JSON.stringify(withTraceContext(command.headers)),
    command.attempt ?? null,
  ];
  const written = await writeUnderLease<{ status: AuthRequestStatus; void_queued: boolean }, RecordedResult>(
    dataSource,
    RECORD_AUTHORIZED,
    values,
    (standing) => recordedBefore(standing, authRequestId, command),
    manager,
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
 * What the same authorization came to before: under this lease, or, for whoever holds the lease now, under any.
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
