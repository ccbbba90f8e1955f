import { text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { IS_OWNED } from '../fence/owned';
import { int64Field } from '../protobuf/append-fields';
import { dueColumns, isBlocked, isLeased, isQueued } from './due';
import { HOLD, IS_TIME_TO_VOID, IS_VOIDING, voidInput } from './send-voids';
import { type GivenUpVoid, type VoidGivenUpReason } from './sweep-result';
import { type TurnSettings } from './sweeper-options';

/** Whether it is to be given up, and has had its time since the last message; a worker that holds it may be voiding it. */
const IS_LOST = `${IS_VOIDING} AND ${IS_TIME_TO_VOID} AND NOT ${isLeased('hold')}
  AND (sweeps >= max_sweeps AND NOT ${isQueued('void_request_queued', 'hold')} OR ${isBlocked('hold')})`;

const FIND = operation({
  name: 'sweep_lost_voids',
  input: dueColumns,
  output: rowsOf<GivenUpVoid>(),
  sql: `
    SELECT ${HOLD}, CASE WHEN ${isBlocked('hold')} THEN 'MESSAGE_REFUSED' ELSE 'NOT_VOIDED_IN_TIME' END AS reason
    FROM auth_holds AS hold CROSS JOIN input
    WHERE ${IS_LOST} AND ${IS_OWNED}
    ORDER BY state_since LIMIT (SELECT at_most FROM input)`,
});

/**
 * The request's row first, then the hold's, as everywhere; neither is waited for (SKIP LOCKED): who is writing may be about
 * to void it, and the next turn looks again. Whether it is lost is decided on the hold as it is locked.
 *
 * Outbox and lease are read in the snapshot. What queues a void raises last_event_sequence of the request's row, or
 * `sweeps` of the hold: where both are as in the snapshot, the snapshot has its message. A worker that took a lease since then records what the processor says afterwards, and that counts: a void that has
 * failed may still turn out to be voided.
 */
const GIVE_UP = operation({
  name: 'give_up_void',
  input: {
    ...dueColumns,
    auth_request_id: uuid,
    name: text,
    id: text,
    event_id: uuid,
    error_code: text,
    event: eventOf('AuthVoidFailed'),
    event_metadata: eventMetadata,
  },
  output: rowsOf<{ auth_request_id: string }>(),
  sql: (input) => `
    WITH request AS (
      SELECT state.auth_request_id, state.last_event_sequence AS request_sequence
      FROM auth_request_state AS state JOIN input USING (auth_request_id)
      FOR UPDATE OF state SKIP LOCKED
    ), lost AS (
      SELECT hold.auth_request_id, processor_name, processor_auth_id, void_failures + 1 AS failure_count
      FROM auth_holds AS hold JOIN request USING (auth_request_id)
      CROSS JOIN (SELECT name, id, after_ms, max_delay_ms, max_sweeps FROM input) AS given
      WHERE processor_name = name AND processor_auth_id = id AND ${IS_LOST}
        AND request_sequence = (SELECT last_event_sequence FROM auth_request_state JOIN input USING (auth_request_id))
        AND sweeps = (SELECT seen.sweeps FROM auth_holds AS seen JOIN input USING (auth_request_id)
                      WHERE seen.processor_name = name AND seen.processor_auth_id = id)
      FOR UPDATE OF hold SKIP LOCKED
    ), changed AS (
      UPDATE auth_request_state AS state
      SET last_event_sequence = state.last_event_sequence + 1, last_event_id = event_id
      FROM lost, input WHERE state.auth_request_id = lost.auth_request_id
      RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence, state.last_event_id, failure_count
    ), event AS (${appendEvent(input, {
      from: 'changed JOIN (SELECT event, event_metadata FROM input) AS given ON true',
      fields: int64Field(7, 'failure_count'),
    })}
    ), failed AS (
      UPDATE auth_holds AS hold
      SET state = 'void_failed', void_failures = lost.failure_count, last_void_error = error_code, next_void_at = NULL,
          last_event_sequence = changed.last_event_sequence
      FROM changed, lost, input
      WHERE hold.auth_request_id = lost.auth_request_id AND hold.processor_name = lost.processor_name
        AND hold.processor_auth_id = lost.processor_auth_id
    )
    SELECT auth_request_id FROM changed`,
});

const TEXTS: Record<VoidGivenUpReason, string> = {
  NOT_VOIDED_IN_TIME: 'The sweeper has sent the void again and again, and nobody has recorded what came of it.',
  MESSAGE_REFUSED: 'A dead letter of the outbox holds back the messages of the request.',
};

/**
 * Makes each hold `void_failed` that nobody voids, one at a time, or finds which would be.
 *
 * @param isEnding asked before each: the rest is for the next turn
 */
export async function giveUpVoids(
  session: Session,
  settings: TurnSettings,
  dryRun: boolean,
  isEnding: () => boolean,
): Promise<GivenUpVoid[]> {
  const input = voidInput(settings, settings.batchSize);
  const lost = await session.rows(FIND, input);
  if (dryRun) return lost;
  const givenUp: GivenUpVoid[] = [];
  for (const hold of lost) {
    if (isEnding()) break;
    const { authRequestId, processorName, processorAuthId, reason } = hold;
    const given = await session.row(GIVE_UP, {
      ...input,
      auth_request_id: authRequestId,
      ...{ name: processorName, id: processorAuthId },
      event_id: newId(),
      error_code: reason,
      // The statement completes the event.
      event: {
        ...{ authRequestId, processorName, processorAuthId, errorCode: reason, errorMessage: TEXTS[reason] },
        ...{ isRetryable: false, failureCount: 0, nextAttemptAt: undefined, failedAt: new Date() },
      },
      event_metadata: { worker_id: 'sweeper', hold_state: 'void_failed' },
    });
    if (given) givenUp.push(hold);
  }
  return givenUp;
}
