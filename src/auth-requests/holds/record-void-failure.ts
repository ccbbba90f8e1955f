import { IsIn, IsOptional } from 'class-validator';
import { FreeText } from '../../card-numbers/free-fields';
import { screenReport } from '../../card-numbers/screen';
import { boolean, orNull, text, timestamptz } from '../../database/columns';
import { rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { appendEvent, eventOf } from '../../event-store/append-event';
import { type EventMetadata } from '../../event-store/event-metadata';
import { type LeaseRef } from '../../locks/lease';
import { messageHeaders, messageOf } from '../../outbox/queue-message';
import { int64Field } from '../../protobuf/append-fields';
import { Flag, Instant, Text } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { backOff, isoTime } from '../retry-times';
import { type LeaseAfter, workerWrite } from '../worker-write';
import { type HoldState } from './states';
import { beforeVoid, countEvent, voidColumns, voidInput, VoidWriteCommand, writeVoid } from './void-write';
import { isMeant, queueVoids, voidMessage } from './write-holds';

/** The processor did not void a hold. */
export class VoidFailureCommand extends VoidWriteCommand {
  /** Such as `PROCESSOR_TIMEOUT`. */
  @FreeText()
  @Text(1, 100)
  errorCode: string;

  /** For people. Kept in the event. */
  @FreeText()
  @Text(0, 1000)
  errorMessage: string;

  /** Whether it will be tried again. If not, the hold is `void_failed`, and a person has to see to it. */
  @Flag()
  retryable: boolean;

  /**
   * When it is due: a time of the years 1970 to 9999. Default, by the database's clock: after 2, 4, 8 … seconds, 5 minutes
   * at most, each shortened by up to a half at random. Not used where it will not be tried again.
   */
  @IsOptional()
  @Instant()
  nextRetryAt?: Date;

  /**
   * What brings the void to a worker again. `outbox`: the next `void_request_queued`, which this call writes, due at that
   * time, unless one waits already; acknowledge the current message. `broker`: your queue delivers the current message again,
   * and none is written. Default `outbox`.
   */
  @IsOptional()
  @IsIn(['outbox', 'broker'])
  retryBy?: 'outbox' | 'broker';
}

/** What recording the failure of a void came to. */
export interface RecordedVoidFailure {
  /** `voiding` where it will be tried again, `void_failed` where not; or how the hold has ended meanwhile. */
  readonly state: HoldState;
  /** Voids of this hold that have failed since a person last asked for one, this one included. */
  readonly failures: number;
  /** When the next one is due, in milliseconds. Null where none is, and with `retryBy: 'broker'` where no time was given. */
  readonly nextRetryAt: Date | null;
}

interface FailedRow {
  state: HoldState;
  failures: number;
  next_at: Date | null;
  is_outdated: boolean;
}

/**
 * SQL: whether the message waits for its time that the last failure queued: the row has the time, and the outbox a message for
 * it. A time alone may be that of a queue which delivers again, or of a message that somebody has discarded.
 */
const IS_WAITING = `
  waiting_at > clock_timestamp() AND EXISTS (
    SELECT FROM outbox WHERE aggregate_id = auth_request_id AND processed_at IS NULL
      AND message_type = 'void_request_queued' AND next_attempt_at = waiting_at)`;

/**
 * A hold that has ended meanwhile keeps its state and has the event. The same failure under the same lease is one. A message
 * is written where none waits for its time.
 */
const RECORD_VOID_FAILURE = workerWrite({
  name: 'record_void_failure',
  input: {
    ...voidColumns,
    is_retryable: boolean,
    error_code: text,
    asked_retry_at: orNull(timestamptz),
    by_outbox: boolean,
    event: eventOf('AuthVoidFailed'),
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<FailedRow>(),
  sql: (input, lease) => `
    WITH ${beforeVoid(lease.held)}, decided AS (
      SELECT *, is_retryable AND state_before = 'voiding' AS tries_again, coalesce(${IS_WAITING}, false) AS waits,
             failures_before + 1 AS failures
      FROM before
    ), changed AS (${countEvent(
      `(SELECT *, CASE WHEN tries_again THEN date_trunc('milliseconds', coalesce(
            CASE WHEN waits THEN waiting_at END, asked_retry_at,
            CASE WHEN by_outbox THEN clock_timestamp() + ${backOff('failures')} END)) END AS next_at
          FROM decided)`,
      'is_stray, failures, next_at, tries_again AND by_outbox AND NOT waits AS queues_void',
    )}
    ), hold AS (
      UPDATE auth_holds AS hold
      SET state = CASE WHEN is_stray THEN 'voiding'
                       WHEN hold.state = 'voiding' AND NOT is_retryable THEN 'void_failed' ELSE hold.state END,
          is_needed = hold.is_needed AND NOT is_stray,
          void_failures = failures, last_void_error = error_code, next_void_at = next_at,
          last_event_sequence = changed.last_event_sequence
      FROM changed JOIN input USING (auth_request_id, restaurant_id)
      WHERE ${isMeant('changed')}
      RETURNING hold.*
    ), event AS (${appendEvent(input, {
      from: `(
        SELECT changed.*, floor(extract(epoch FROM next_at))::bigint AS next_second, hold.state, hold.is_needed
        FROM changed JOIN hold USING (auth_request_id)
      ) AS changed JOIN input USING (auth_request_id, restaurant_id)`,
      fields: `${int64Field(7, 'failures')} || ${int64Field(8, 'next_second')}`,
      // The field has whole seconds.
      metadata: `jsonb_strip_nulls(jsonb_build_object('hold_state', state, 'hold_needed', is_needed, 'failures', failures, 'next_void_at', ${isoTime('next_at')}))`,
    })}
    ), message AS (${queueVoids(input, {
      holds: `(SELECT hold.* FROM hold JOIN changed USING (auth_request_id) WHERE queues_void) AS hold`,
      dueAt: 'next_at',
    })}
    )${lease.release}
    SELECT state, failures, next_at, false AS is_outdated FROM hold JOIN changed USING (auth_request_id)
    UNION ALL SELECT NULL, NULL, NULL, true FROM seen WHERE is_outdated`,
});

export async function recordVoidFailure(
  session: Session,
  lease: LeaseRef,
  input: VoidFailureCommand,
  after: LeaseAfter = 'kept',
): Promise<RecordedVoidFailure> {
  const command = screenReport(session.dataSource, 'recordVoidFailure', validateCommand({ VoidFailureCommand }, input));
  const { authRequestId, restaurantId } = lease;
  const { processorName, processorAuthId, errorCode, errorMessage, retryable, retryBy = 'outbox' } = command;
  const writeKey = `VOID_FAILED ${retryable ? 'retryable' : 'for good'} ${errorCode}`;
  const failure = {
    ...voidInput(lease, command, writeKey, { retry_by: retryable ? retryBy : undefined }),
    is_retryable: retryable,
    error_code: errorCode,
    asked_retry_at: command.nextRetryAt ?? null,
    by_outbox: retryBy === 'outbox',
    // The statement completes the event.
    event: {
      ...{ authRequestId, processorName, processorAuthId, errorCode, errorMessage, isRetryable: retryable },
      ...{ failureCount: 0, nextAttemptAt: undefined, failedAt: new Date() },
    },
    void_message: voidMessage(authRequestId, restaurantId, 'void_failed'),
    headers: command.headers,
  };
  return await writeVoid(
    session,
    lease,
    {
      write: RECORD_VOID_FAILURE,
      input: failure,
      written: (row) => ({ state: row.state, failures: row.failures, nextRetryAt: row.next_at }),
      repeated: (before) => before && recordedBefore(before),
    },
    after,
  );
}

const recordedBefore = ({ hold_state, failures, next_void_at }: EventMetadata): RecordedVoidFailure => ({
  state: hold_state as HoldState,
  failures: failures as number,
  nextRetryAt: typeof next_void_at === 'string' ? new Date(next_void_at) : null,
});
