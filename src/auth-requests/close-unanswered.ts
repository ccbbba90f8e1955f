import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { AuthRequestNotFoundError, LockHeldError, TransactionConflictError } from '../errors';
import { int64Field } from '../protobuf/append-fields';
import { encodeEvent } from '../event-store/event-codec';
import { toColumn } from '../event-store/event-metadata';
import { newId } from '../database/new-id';
import { validateCommand } from '../validation/validate-command';
import { CloseUnansweredCommand, origin } from './commands';
import { ATTEMPTS_AFTER } from './worker-write';

/** What closing attempts came to. */
export interface ClosedAttempts {
  /** False where no attempt of that version was open: nothing was written, as by a repeat. */
  readonly closed: boolean;
  /** Attempts under another version are still open. */
  readonly attemptOpen: boolean;
}

/**
 * Not while a worker holds a lease: it may be asking the processor. FOR UPDATE gives the row as its newest version is;
 * leases are looked for in the snapshot, so that nothing is closed where the row has moved on since (`moved`): that may be
 * an attempt which has just begun. The event is a failure that leaves status and retries as they are, for readers that do
 * not know `closed_version`.
 */
export const CLOSE_UNANSWERED = statement(
  'close_unanswered',
  `WITH request AS (
     SELECT *, attempt_unanswered AND attempt_version = $3::text AS closes_attempt,
            array_remove(unanswered_versions, $3::text) AS versions_after
     FROM auth_request_state
     WHERE auth_request_id = $1 AND restaurant_id = $2
     FOR UPDATE
   ), held AS (
     SELECT FROM auth_processing_locks WHERE auth_request_id = $1 AND expires_at > clock_timestamp()
   ), moved AS (
     SELECT FROM auth_request_state AS seen JOIN request USING (auth_request_id)
     WHERE seen.last_event_sequence <> request.last_event_sequence
   ), decided AS (
     SELECT * FROM request
     WHERE (closes_attempt OR $3::text = ANY (unanswered_versions))
       AND NOT EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM moved)
   ), changed AS (
     UPDATE auth_request_state AS state
     SET ${ATTEMPTS_AFTER}, last_event_sequence = decided.last_event_sequence + 1, last_event_id = $4
     FROM decided WHERE state.auth_request_id = decided.auth_request_id
     RETURNING state.*
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $4, auth_request_id, 'auth_request', 'AuthAttemptFailed', $5::bytea || ${int64Field(5, 'retry_count')},
            $6::jsonb || jsonb_build_object('status_after', status), last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT changed.auth_request_id IS NOT NULL AS closed, coalesce(changed.attempt_open, request.attempt_open) AS attempt_open,
          EXISTS (SELECT FROM held) AS held, EXISTS (SELECT FROM moved) AS moved
   FROM request LEFT JOIN changed USING (auth_request_id)`,
);

export async function closeUnanswered(
  dataSource: DataSource,
  input: CloseUnansweredCommand,
  manager?: EntityManager,
): Promise<ClosedAttempts> {
  const command = validateCommand(CloseUnansweredCommand, input);
  const { configVersion, by, reason } = command;
  const authRequestId = command.authRequestId.toLowerCase();
  const values = [
    authRequestId,
    command.restaurantId.toLowerCase(),
    configVersion,
    newId(),
    encodeEvent({
      type: 'AuthAttemptFailed',
      data: {
        authRequestId,
        errorCode: 'CLOSED_BY_PERSON',
        errorMessage: reason,
        isRetryable: true,
        retryCount: 0,
        nextRetryAt: undefined,
        failedAt: new Date(),
      },
    }),
    toColumn({ ...origin(command), closed_version: configVersion, closed_by: by }),
  ];
  const [row] = await run<{ closed: boolean; attempt_open: boolean; held: boolean; moved: boolean }>(
    dataSource,
    CLOSE_UNANSWERED,
    values,
    manager,
  );
  if (!row) throw new AuthRequestNotFoundError(authRequestId);
  if (row.held) throw new LockHeldError(authRequestId);
  if (row.moved) throw new TransactionConflictError('40001');
  return { closed: row.closed, attemptOpen: row.attempt_open };
}
