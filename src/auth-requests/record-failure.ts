import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthRequestStatusError } from '../errors';
import { type Lease } from '../locks/processing-locks';
import { validateCommand } from '../validation/validate-command';
import { FailureCommand } from './commands';
import { LEASE, workerValues, writeUnderLease } from './worker-write';

/** What recording a failure came to. */
export interface RecordedFailure {
  /** PROCESSING when it will be retried, FAILED when not; or the closed status that had overtaken the attempt and stays. */
  readonly status: AuthRequestStatus;
  /** Attempts that have failed and were to be tried again, this one included. */
  readonly retryCount: number;
}

/**
 * The event's retry_count is known to the row alone, so the database completes the message: protobuf lets a field be
 * appended (protobuf.dev, "Encoding"). Field 5 as a varint has the tag 0x28; two bytes carry counts up to 16,383.
 */
const EVENT_DATA = `
  $6::bytea || CASE
    WHEN retry_count < 128 THEN set_byte('\\x2800', 1, retry_count)
    ELSE set_byte(set_byte('\\x280000', 1, retry_count & 127 | 128), 2, retry_count >> 7) END`;

const RECORD_FAILURE = statement(
  'record_failure',
  `WITH lease AS (${LEASE}
   ), changed AS (
     UPDATE auth_request_state
     SET status = CASE WHEN status IN ('PENDING', 'PROCESSING') AND NOT $8::boolean THEN 'FAILED' ELSE status END,
         retry_count = retry_count + $8::boolean::integer,
         completed_at = CASE WHEN status IN ('PENDING', 'PROCESSING') AND $8::boolean THEN NULL
                             ELSE coalesce(completed_at, now()) END,
         attempt_open = attempt_open AND $9::boolean,
         last_event_sequence = last_event_sequence + 1, last_event_id = $5
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND EXISTS (SELECT FROM lease)
       AND (status = 'PROCESSING' OR status = 'PENDING' AND NOT $8::boolean
            OR status IN ('VOIDED', 'EXPIRED', 'FAILED') AND attempt_open)
     RETURNING *
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5, auth_request_id, 'auth_request', 'AuthAttemptFailed', ${EVENT_DATA}, $7::jsonb, last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT status, retry_count FROM changed`,
);

export async function recordFailure(
  dataSource: DataSource,
  lease: Lease,
  input: FailureCommand,
  manager?: EntityManager,
): Promise<RecordedFailure> {
  const command = validateCommand(FailureCommand, input);
  const { authRequestId } = lease;
  const { errorCode, errorMessage, retryable, nextRetryAt, outcome } = command;
  const values = [
    ...workerValues(
      lease,
      command,
      {
        type: 'AuthAttemptFailed',
        data: {
          authRequestId,
          errorCode,
          errorMessage,
          isRetryable: retryable,
          retryCount: 0,
          nextRetryAt,
          failedAt: new Date(),
        },
      },
      // The message has no field for it; folding the events needs it.
      { outcome },
    ),
    retryable,
    outcome === 'unknown',
  ];
  const { row, standing } = await writeUnderLease<{ status: AuthRequestStatus; retry_count: number }>(
    dataSource,
    RECORD_FAILURE,
    values,
    manager,
  );
  if (row) return { status: row.status, retryCount: row.retry_count };
  throw new AuthRequestStatusError(authRequestId, standing.status, 'recordFailure');
}
