import { type DataSource, type EntityManager } from 'typeorm';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthRequestStatusError } from '../errors';
import { int64Field } from '../protobuf/append-fields';
import { type Lease } from '../locks/processing-locks';
import { validateCommand } from '../validation/validate-command';
import { FailureCommand } from './commands';
import { lastOwnAttempt, type Standing } from './read-standing';
import {
  ATTEMPTS_AFTER,
  eventIdOf,
  LEASE,
  requestOf,
  versionsAfter,
  workerValues,
  writeUnderLease,
} from './worker-write';

/** What recording a failure came to; the same failure again is answered with it, and writes nothing. */
export interface RecordedFailure {
  /** PROCESSING when it will be retried, FAILED when not; or the settled status that had overtaken the attempt and stays. */
  readonly status: AuthRequestStatus;
  /** Attempts that have failed and were to be tried again, this one included. */
  readonly retryCount: number;
}

/**
 * An attempt fails once, and may be answered with "nothing held" once: the event's id is made of the attempt alone.
 * Another failure under the same lease (`$10`) is of no attempt, and closes none: a worker that gives up without asking
 * again. Only `not_asked` and `nothing_held` close the attempt, the latter with the earlier ones of its version, since it
 * is the processor's answer.
 */
export const RECORD_FAILURE = statement(
  'record_failure',
  `WITH lease AS (${LEASE}
   ), request AS (${requestOf('$11')}
   ), decided AS (
     SELECT *, CASE WHEN $10::boolean THEN NULL ELSE own END AS of_attempt,
       own_open AND NOT $10 AND $8 IN ('not_asked', 'nothing_held') AS closes_attempt,
       ${versionsAfter(`own IS NOT NULL AND NOT $10 AND $8 = 'nothing_held'`)},
       CASE WHEN own IS NULL OR $10
            THEN ${eventIdOf('said', '$4::bigint', `'FAILED'`, '$7::boolean', '$8::text', '$9::text')}
            ELSE ${eventIdOf('own', `CASE $8 WHEN 'nothing_held' THEN 'NOTHING_HELD' ELSE 'FAILED' END`)} END AS new_event_id
     FROM request
     WHERE status = 'PROCESSING' OR status = 'PENDING' AND NOT $7
       OR NOT $10 AND (own_open OR own IS NOT NULL AND $8 = 'nothing_held' AND attempt_version = ANY (unanswered_versions))
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = CASE WHEN decided.status IN ('PENDING', 'PROCESSING') AND NOT $7 THEN 'FAILED' ELSE decided.status END,
         retry_count = decided.retry_count + $7::integer,
         completed_at = CASE WHEN decided.status IN ('PENDING', 'PROCESSING') AND $7 THEN NULL
                             ELSE coalesce(decided.completed_at, now()) END,
         ${ATTEMPTS_AFTER},
         last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
     FROM decided
     WHERE state.auth_request_id = decided.auth_request_id
       AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
     RETURNING state.*, of_attempt
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT last_event_id, auth_request_id, 'auth_request', 'AuthAttemptFailed', $5::bytea || ${int64Field(5, 'retry_count')},
            $6::jsonb || jsonb_strip_nulls(jsonb_build_object('attempt', of_attempt, 'status_after', status)),
            last_event_sequence, restaurant_id
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
    outcome,
    errorCode,
  ];
  const write = (further: boolean) =>
    writeUnderLease<FailedRow, RecordedFailure>(
      dataSource,
      RECORD_FAILURE,
      [...values, further, command.attempt ?? null],
      (standing) => recordedBefore(standing, command),
      manager,
    );
  let written = await write(false);
  // Where the attempt has had another failure, this one is of no attempt.
  if ('standing' in written && hasFailed(written.standing)) written = await write(true);
  if (written.row) return { status: written.row.status, retryCount: written.row.retry_count };
  if (written.repeat) return written.repeat;
  throw new AuthRequestStatusError(authRequestId, written.standing.status!, 'recordFailure');
}

interface FailedRow {
  status: AuthRequestStatus;
  retry_count: number;
}

/** Whether the last attempt of this lease has had its failure. */
function hasFailed(standing: Standing): boolean {
  const attempt = lastOwnAttempt(standing);
  return standing.events.some(
    ({ type, own, metadata }) => own && type === 'AuthAttemptFailed' && metadata.attempt === attempt,
  );
}

/** What the same failure under this lease came to before, since its last attempt. */
function recordedBefore(
  standing: Standing,
  { errorCode, retryable, outcome, attempt: said }: FailureCommand,
): RecordedFailure | undefined {
  const attempt = said ?? lastOwnAttempt(standing) ?? 0;
  for (const event of standing.events) {
    if (event.type !== 'AuthAttemptFailed' || !event.own || event.sequenceNumber < attempt) continue;
    const { data, metadata } = event;
    if (data.errorCode !== errorCode || data.isRetryable !== retryable || metadata.outcome !== outcome) continue;
    return { status: metadata.status_after as AuthRequestStatus, retryCount: data.retryCount };
  }
  return undefined;
}
