import { IsIn, IsOptional } from 'class-validator';
import { boolean, text } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestStatusError } from '../errors';
import { appendEvent, eventOf } from '../event-store/append-event';
import { type Lease } from '../locks/lease';
import { int64Field } from '../protobuf/append-fields';
import { Flag, Instant, Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { lastOwnAttempt, type Standing } from './read-standing';
import { type AuthRequestStatus, SQL } from './statuses';
import {
  ATTEMPTS_AFTER,
  CHANGED,
  eventIdOf,
  LEASE,
  RecordCommand,
  REQUEST,
  versionsAfter,
  workerColumns,
  workerInput,
  writeUnderLease,
} from './worker-write';

/** The attempt came to nothing. */
export class FailureCommand extends RecordCommand {
  /** Such as `PROCESSOR_TIMEOUT`. */
  @Text(1, 100)
  errorCode: string;

  /** For people. Kept in the event. */
  @Text(0, 1000)
  errorMessage: string;

  /** Whether another attempt will follow. If not, the request is FAILED. */
  @Flag()
  retryable: boolean;

  /** When that attempt is due: a time of the years 1970 to 9999. */
  @IsOptional()
  @Instant()
  nextRetryAt?: Date;

  /**
   * `not_asked`: this attempt did not reach the processor. `unknown`: it may have authorized, as after a time-out; the
   * attempt then stays open until someone has asked again. `nothing_held`: the processor, asked the same
   * question again under the same key, has answered that it holds nothing, which is an answer to the earlier attempts of
   * the version as well. What a search finds is no such answer: a question may still be on its way.
   */
  @IsIn(['not_asked', 'unknown', 'nothing_held'])
  outcome: 'not_asked' | 'unknown' | 'nothing_held';
}

/** What recording a failure came to; the same failure again is answered with it, and writes nothing. */
export interface RecordedFailure {
  /** PROCESSING when it will be retried, FAILED when not; or the settled status that had overtaken the attempt and stays. */
  readonly status: AuthRequestStatus;
  /** Attempts that have failed and were to be tried again, this one included. */
  readonly retryCount: number;
}

interface FailedRow {
  status: AuthRequestStatus;
  retry_count: number;
}

/**
 * An attempt fails once, and may be answered with "nothing held" once: the event's id is made of the attempt alone.
 * Another failure under the same lease (`is_further`) is of no attempt, and closes none: a worker that gives up without asking
 * again. Only `not_asked` and `nothing_held` close the attempt, the latter with the earlier ones of its version, since it
 * is the processor's answer.
 */
const RECORD_FAILURE = operation({
  name: 'record_failure',
  input: {
    ...workerColumns,
    is_retryable: boolean,
    outcome: text,
    error_code: text,
    is_further: boolean,
    event: eventOf('AuthAttemptFailed'),
  },
  output: rowsOf<FailedRow>(),
  sql: ({ event }) => `
    WITH lease AS (${LEASE}
    ), request AS (${REQUEST}
    ), decided AS (
      SELECT *, CASE WHEN is_further THEN NULL ELSE own END AS of_attempt,
        own_open AND NOT is_further AND outcome IN ('not_asked', 'nothing_held') AS closes_attempt,
        ${versionsAfter(`own IS NOT NULL AND NOT is_further AND outcome = 'nothing_held'`)},
        CASE WHEN own IS NULL OR is_further
             THEN ${eventIdOf('said', 'fencing_token', `'FAILED'`, 'is_retryable', 'outcome', 'error_code')}
             ELSE ${eventIdOf('own', `CASE outcome WHEN 'nothing_held' THEN 'NOTHING_HELD' ELSE 'FAILED' END`)}
        END AS new_event_id
      FROM request
      WHERE status = 'PROCESSING' OR status = 'PENDING' AND NOT is_retryable
        OR NOT is_further AND (own_open OR own IS NOT NULL AND outcome = 'nothing_held'
                                         AND attempt_version = ANY (unanswered_versions))
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = CASE WHEN decided.status IN (${SQL.open}) AND NOT is_retryable THEN 'FAILED' ELSE decided.status END,
          retry_count = decided.retry_count + is_retryable::integer,
          completed_at = CASE WHEN decided.status IN (${SQL.open}) AND is_retryable THEN NULL
                              ELSE coalesce(decided.completed_at, now()) END,
          ${ATTEMPTS_AFTER},
          last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
      FROM decided
      WHERE state.auth_request_id = decided.auth_request_id
        AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
      RETURNING state.*, of_attempt
    ), event AS (${appendEvent(event, {
      from: CHANGED,
      fields: int64Field(5, 'retry_count'),
      metadata: `jsonb_strip_nulls(jsonb_build_object('attempt', of_attempt, 'status_after', status))`,
    })}
    )
    SELECT status, retry_count FROM changed`,
});

export async function recordFailure(session: Session, lease: Lease, input: FailureCommand): Promise<RecordedFailure> {
  const command = validateCommand(FailureCommand, input);
  const { authRequestId } = lease;
  const { errorCode, errorMessage, retryable, nextRetryAt, outcome } = command;
  const failure = {
    // The message has no field for the outcome; folding the events needs it.
    ...workerInput(lease, command, { outcome }),
    is_retryable: retryable,
    outcome,
    error_code: errorCode,
    event: {
      authRequestId,
      errorCode,
      errorMessage,
      isRetryable: retryable,
      retryCount: 0,
      nextRetryAt,
      failedAt: new Date(),
    },
  };
  const write = (isFurther: boolean) =>
    writeUnderLease(session, lease, RECORD_FAILURE, { ...failure, is_further: isFurther }, (standing) =>
      recordedBefore(standing, command),
    );
  let written = await write(false);
  // Where the attempt has had another failure, this one is of no attempt.
  if ('standing' in written && hasFailed(written.standing)) written = await write(true);
  if (written.row) return { status: written.row.status, retryCount: written.row.retry_count };
  if (written.repeat) return written.repeat;
  throw new AuthRequestStatusError(authRequestId, written.standing.status!, 'recordFailure');
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
