import { IsIn, IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { boolean, orNull, text, timestamptz } from '../database/columns';
import { rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestStatusError } from '../errors';
import { appendEvent, CHANGED, eventOf } from '../event-store/append-event';
import { type LeaseRef } from '../locks/lease';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { int64Field } from '../protobuf/append-fields';
import { Flag, Instant, Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { IS_OUTDATED, queueVoids, TO_BE_VOIDED, unneededHolds, unneededIn, voidMessage } from './holds/write-holds';
import { backOff, isoTime } from './retry-times';
import { lastOwnAttempt, type Standing, type StandingEvent } from './read-standing';
import { type AuthRequestStatus, SQL } from './statuses';
import {
  ATTEMPTS_AFTER,
  eventIdOf,
  type LeaseAfter,
  RecordCommand,
  REQUEST,
  versionsAfter,
  workerColumns,
  workerInput,
  workerWrite,
  writeUnderLease,
} from './worker-write';

/** The attempt came to nothing. */
export class FailureCommand extends RecordCommand {
  /** Such as `PROCESSOR_TIMEOUT`. */
  @FreeText()
  @Text(1, 100)
  errorCode: string;

  /** For people. Kept in the event. */
  @FreeText()
  @Text(0, 1000)
  errorMessage: string;

  /** Whether another attempt will follow. If not, the request is FAILED. */
  @Flag()
  retryable: boolean;

  /**
   * When that attempt is due: a time of the years 1970 to 9999. Default, by the database's clock: after 2, 4, 8 … seconds, 5
   * minutes at most, each shortened by up to a half at random. Not used where none will follow.
   */
  @IsOptional()
  @Instant()
  nextRetryAt?: Date;

  /**
   * What brings the request to a worker again. `outbox`: the next `auth_request_queued`, which this call writes, due at that
   * time, unless one waits already; acknowledge the current message. `broker`: your queue delivers the current message again,
   * and none is written. Default `outbox`.
   */
  @IsOptional()
  @IsIn(['outbox', 'broker'])
  retryBy?: 'outbox' | 'broker';

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
  /** The number of the event that recorded it. See `ReplicaReads`. */
  readonly lastEventSequence: number;
  /** Attempts that have failed and were to be tried again, this one included. */
  readonly retryCount: number;
  /**
   * When the next attempt is due, in milliseconds: that of the message that waits already where there is one. Null where none will
   * follow, as at a settled request, and with `retryBy: 'broker'` where no time was given.
   */
  readonly nextRetryAt: Date | null;
}

interface FailedRow {
  status: AuthRequestStatus;
  last_event_sequence: number;
  retry_count: number;
  next_retry_at: Date | null;
  is_outdated: boolean;
}

/** SQL: when the retry is due that waits for its time, in this statement's snapshot. */
const WAITING_AT = `
  SELECT min(next_attempt_at) FROM outbox JOIN input ON aggregate_id = auth_request_id
  WHERE processed_at IS NULL AND message_type = 'auth_request_queued' AND next_attempt_at > clock_timestamp()`;

/**
 * An attempt fails once, and may be answered with "nothing held" once: the event's id is made of the attempt alone.
 * Another failure under the same lease (`is_further`) is of no attempt, and closes none: a worker that gives up without asking
 * again. Only `not_asked` and `nothing_held` close the attempt, the latter with the earlier ones of its version, since it
 * is the processor's answer.
 *
 * The message of a retry is written where none waits for its time: read, as holds are, in this statement's snapshot, which
 * has every retry where it is not outdated, since every statement that queues one also raises last_event_sequence: see
 * {@link IS_OUTDATED}. A unique index could not decide it: a message that is due no longer waits, since a relay may have sent
 * it and not yet marked it; an insert that conflicts would have to wait for that relay.
 *
 * Where the request is FAILED now, nobody will use what the processor has told of by itself: it is voided.
 */
const RECORD_FAILURE = workerWrite({
  name: 'record_failure',
  input: {
    ...workerColumns,
    is_retryable: boolean,
    outcome: text,
    error_code: text,
    is_further: boolean,
    asked_retry_at: orNull(timestamptz),
    by_outbox: boolean,
    event: eventOf('AuthAttemptFailed'),
    message: messageOf('auth_request_queued'),
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<FailedRow>(),
  sql: (input, lease) => `
    WITH lease AS (${lease.held}
    ), request AS (${REQUEST}
    ), retry AS MATERIALIZED (
      SELECT *, CASE WHEN needs_message THEN (${WAITING_AT}) END AS waiting_at, ${IS_OUTDATED} AS is_outdated
      FROM (SELECT *, is_retryable AND status = 'PROCESSING' AND by_outbox AS needs_message FROM request) AS request
    ), decided AS (
      SELECT *, CASE WHEN is_further THEN NULL ELSE own END AS of_attempt,
        own_open AND NOT is_further AND outcome IN ('not_asked', 'nothing_held') AS closes_attempt,
        ${versionsAfter(`own IS NOT NULL AND NOT is_further AND outcome = 'nothing_held'`)},
        CASE WHEN own IS NULL OR is_further
             THEN ${eventIdOf('said', 'fencing_token', `'FAILED'`, 'is_retryable', 'outcome', 'error_code')}
             ELSE ${eventIdOf('own', `CASE outcome WHEN 'nothing_held' THEN 'NOTHING_HELD' ELSE 'FAILED' END`)}
        END AS new_event_id,
        CASE WHEN is_retryable AND status = 'PROCESSING' THEN date_trunc('milliseconds', coalesce(
          waiting_at, asked_retry_at, CASE WHEN by_outbox THEN clock_timestamp() + ${backOff('retry_count + 1')} END)) END AS next_retry_at
      FROM retry
      WHERE NOT is_outdated
        AND (status = 'PROCESSING' OR status = 'PENDING' AND NOT is_retryable
          OR NOT is_further AND (own_open OR own IS NOT NULL AND outcome = 'nothing_held'
                                           AND attempt_version = ANY (unanswered_versions)))
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
      RETURNING state.*, of_attempt, next_retry_at, floor(extract(epoch FROM next_retry_at))::bigint AS next_retry_second,
        needs_message AND waiting_at IS NULL AS queues_retry, decided.status IN (${SQL.open}) AND NOT is_retryable AS gives_up
    ), unneeded AS (${unneededHolds('gives_up')}
    ), event AS (${appendEvent(input, {
      fields: `${int64Field(5, 'retry_count')} || ${int64Field(6, 'next_retry_second')}`,
      // The field has whole seconds.
      metadata: `jsonb_strip_nulls(jsonb_build_object('attempt', of_attempt, 'status_after', status,
           'next_retry_at', ${isoTime('next_retry_at')},
           ${unneededIn()}))`,
    })}
    ), message AS (${queueMessage(input, { from: `${CHANGED} WHERE queues_retry`, dueAt: 'next_retry_at' })}
    ), void_message AS (${queueVoids(input, { holds: TO_BE_VOIDED })}
    )${lease.release}
    SELECT status, last_event_sequence, retry_count, next_retry_at, false AS is_outdated FROM changed
    UNION ALL SELECT status, last_event_sequence, retry_count, NULL, true FROM retry WHERE is_outdated`,
});

export async function recordFailure(
  session: Session,
  lease: LeaseRef,
  input: FailureCommand,
  after: LeaseAfter = 'kept',
): Promise<RecordedFailure> {
  const command = screenReport(session.dataSource, 'recordFailure', validateCommand({ FailureCommand }, input));
  const { authRequestId, restaurantId } = lease;
  const { errorCode, errorMessage, retryable, retryBy = 'outbox', outcome } = command;
  const now = new Date();
  const failure = {
    // The message has no field for the outcome; folding the events needs it.
    ...workerInput(lease, command, { outcome, retry_by: retryable ? retryBy : undefined }),
    is_retryable: retryable,
    outcome,
    error_code: errorCode,
    asked_retry_at: command.nextRetryAt ?? null,
    by_outbox: retryBy === 'outbox',
    // The statement completes the event.
    event: {
      authRequestId,
      errorCode,
      errorMessage,
      isRetryable: retryable,
      retryCount: 0,
      nextRetryAt: undefined,
      failedAt: now,
    },
    message: { authRequestId, restaurantId, createdAt: now },
    void_message: voidMessage(authRequestId, restaurantId, 'failed'),
    headers: command.headers,
  };
  const repeated = (standing: Standing) => recordedBefore(standing, command);
  const write = (isFurther: boolean) =>
    writeUnderLease(session, lease, RECORD_FAILURE[after], { ...failure, is_further: isFurther }, repeated, after);
  let written = await write(false);
  // Where the attempt has had another failure, this one is of no attempt.
  if ('standing' in written && hasFailed(written.standing)) written = await write(true);
  if (written.row) return toRecorded(written.row);
  if (written.repeat) return written.repeat;
  throw new AuthRequestStatusError(authRequestId, written.standing.status!, 'recordFailure');
}

const toRecorded = ({ status, last_event_sequence, retry_count, next_retry_at }: FailedRow): RecordedFailure => ({
  status,
  lastEventSequence: last_event_sequence,
  retryCount: retry_count,
  nextRetryAt: next_retry_at,
});

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
    const status = metadata.status_after as AuthRequestStatus;
    const { sequenceNumber: lastEventSequence } = event;
    return { status, lastEventSequence, retryCount: data.retryCount, nextRetryAt: dueAt(event) };
  }
  return undefined;
}

/** Events of earlier versions have the field alone, of whole seconds. */
function dueAt({ data, metadata }: StandingEvent & { type: 'AuthAttemptFailed' }): Date | null {
  const { next_retry_at: exact } = metadata;
  return typeof exact === 'string' ? new Date(exact) : (data.nextRetryAt ?? null);
}
