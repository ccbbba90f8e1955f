import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthRequestStatusError } from '../errors';
import { type Lease } from '../locks/processing-locks';
import { validateCommand } from '../validation/validate-command';
import { DeniedCommand } from './commands';
import { lastOwnAttempt, type Standing } from './read-standing';
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

/** A settled request keeps its status and its row; the event says what the processor answered, and closes the attempt. */
export const RECORD_DENIED = statement(
  'record_denied',
  `WITH lease AS (${LEASE}
   ), request AS (${requestOf('$10')}
   ), decided AS (
     SELECT *, own_open AS closes_attempt, ${versionsAfter('own IS NOT NULL')}, status = 'PROCESSING' AS decides,
       ${eventIdOf('said', '$4::bigint', `'DENIED'`, '$7::text', '$8::text')} AS new_event_id
     FROM request WHERE status <> 'PENDING'
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = CASE WHEN decides THEN 'DENIED' ELSE decided.status END,
         processor_name = CASE WHEN decides THEN $7 ELSE decided.processor_name END,
         denial_code = CASE WHEN decides THEN $8 ELSE decided.denial_code END,
         denial_reason = CASE WHEN decides THEN $9 ELSE decided.denial_reason END,
         completed_at = coalesce(decided.completed_at, now()), ${ATTEMPTS_AFTER},
         last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
     FROM decided
     WHERE state.auth_request_id = decided.auth_request_id
       AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
     RETURNING state.*, own
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT last_event_id, auth_request_id, 'auth_request', 'AuthResponseReceived', $5::bytea,
            $6::jsonb || jsonb_strip_nulls(jsonb_build_object('attempt', own, 'status_after', status)),
            last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT status FROM changed`,
);

export async function recordDenied(
  dataSource: DataSource,
  lease: Lease,
  input: DeniedCommand,
  manager?: EntityManager,
): Promise<RecordedResult> {
  const command = validateCommand(DeniedCommand, input);
  const { authRequestId } = lease;
  const { processorName, denialCode = '', denialReason = '' } = command;
  const values = [
    ...workerValues(lease, command, {
      type: 'AuthResponseReceived',
      data: {
        authRequestId,
        status: 'DENIED',
        result: {
          processorAuthId: '',
          processorName,
          authorizedAmountCents: 0,
          currency: '',
          authorizationCode: '',
          authorizedAt: undefined,
          denialCode,
          denialReason,
          processorMetadata: command.processorMetadata ?? {},
        },
        receivedAt: new Date(),
      },
    }),
    processorName,
    denialCode,
    denialReason,
    command.attempt ?? null,
  ];
  const written = await writeUnderLease<{ status: AuthRequestStatus }, RecordedResult>(
    dataSource,
    RECORD_DENIED,
    values,
    (standing) => recordedBefore(standing, command.attempt, processorName, denialCode),
    manager,
  );
  if (written.row) return { status: written.row.status, replayed: false, voidQueued: false };
  if (written.repeat) return written.repeat;
  throw new AuthRequestStatusError(authRequestId, written.standing.status!, 'recordDenied');
}

/** What the same denial of the same attempt came to before. */
function recordedBefore(
  standing: Standing,
  attempt: number | undefined,
  processorName: string,
  denialCode: string,
): RecordedResult | undefined {
  const begun = attempt ?? lastOwnAttempt(standing) ?? 0;
  const recorded = standing.events.find(
    ({ type, data, own, sequenceNumber }) =>
      own &&
      type === 'AuthResponseReceived' &&
      data.status === 'DENIED' &&
      sequenceNumber > begun &&
      data.result?.processorName === processorName &&
      data.result.denialCode === denialCode,
  );
  return recorded && resultOf(recorded);
}
