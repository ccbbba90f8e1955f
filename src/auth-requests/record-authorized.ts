import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthorizationMismatchError, AuthRequestStatusError } from '../errors';
import { encodeOutboxMessage } from '../event-store/outbox-messages';
import { type Lease } from '../locks/processing-locks';
import { withTraceContext } from '../outbox/trace-context';
import { validateCommand } from '../validation/validate-command';
import { AuthorizedCommand } from './commands';
import { LEASE, workerValues, writeUnderLease } from './worker-write';

/** What recording a result came to. */
export interface RecordedResult {
  /** AUTHORIZED, DENIED or FAILED; or the closed status that had overtaken the attempt and stays. */
  readonly status: AuthRequestStatus;
  /** The same result had been recorded before: nothing was written. */
  readonly replayed: boolean;
  /** The request was closed meanwhile: a message went out that has the processor release the money. */
  readonly voidQueued: boolean;
}

/**
 * A closed request keeps its status; the authorization is stored all the same and its release goes out with it, so that
 * no hold on a customer's card is forgotten. One that the closed request already has, with no attempt open, is a repeat.
 */
const RECORD_AUTHORIZED = statement(
  'record_authorized',
  `WITH lease AS (${LEASE}
   ), changed AS (
     UPDATE auth_request_state
     SET status = CASE status WHEN 'PROCESSING' THEN 'AUTHORIZED' ELSE status END,
         processor_name = $8, processor_auth_id = $9, authorized_amount_cents = $10::bigint, authorization_code = $12,
         completed_at = coalesce(completed_at, now()),
         attempt_open = false,
         last_event_sequence = last_event_sequence + 1, last_event_id = $5
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND EXISTS (SELECT FROM lease)
       AND amount_cents >= $10::bigint AND currency = $11
       AND (status = 'PROCESSING'
            OR status IN ('VOIDED', 'EXPIRED', 'FAILED') AND (attempt_open OR processor_auth_id IS DISTINCT FROM $9))
     RETURNING *
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5, auth_request_id, 'auth_request', 'AuthResponseReceived', $6::bytea, $7::jsonb, last_event_sequence, restaurant_id
     FROM changed
   ), message AS (
     INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, headers)
     SELECT auth_request_id, restaurant_id, 'void_request_queued', $13::bytea, $14::jsonb
     FROM changed WHERE status <> 'AUTHORIZED'
   )
   SELECT status FROM changed`,
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
    ...workerValues(lease, command, {
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
    }),
    processorName,
    processorAuthId,
    authorizedAmountCents,
    currency,
    authorizationCode,
    encodeOutboxMessage({
      type: 'void_request_queued',
      data: { authRequestId, restaurantId, reason: 'voided_during_authorization', createdAt: now },
    }),
    JSON.stringify(withTraceContext(command.headers)),
  ];
  const { row, standing } = await writeUnderLease<{ status: AuthRequestStatus }>(
    dataSource,
    RECORD_AUTHORIZED,
    values,
    manager,
  );
  if (row) return { status: row.status, replayed: false, voidQueued: row.status !== 'AUTHORIZED' };
  if (standing.currency !== currency || standing.amountCents < authorizedAmountCents) {
    throw new AuthorizationMismatchError(authRequestId);
  }
  if (standing.processorAuthId === processorAuthId)
    return { status: standing.status, replayed: true, voidQueued: false };
  throw new AuthRequestStatusError(authRequestId, standing.status, 'recordAuthorized');
}
