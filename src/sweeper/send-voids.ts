import { holdFields, voidMessage } from '../auth-requests/holds/write-holds';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { IS_OWNED, ownedBy } from '../fence/owned';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { textField } from '../protobuf/append-fields';
import { dueColumns, hasWaited, isBlocked, isLeased, isQueued } from './due';
import { type SentVoid } from './sweep-result';
import { type TurnSettings } from './sweeper-options';

/** What idx_auth_holds_open holds, in its words, and of these what is to be voided. */
export const IS_VOIDING = `
  NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])
    AND state = 'voiding'`;

/** Whether it is time, by the row alone: since the state, the last message, or the time that the last failure named. */
export const IS_TIME_TO_VOID = hasWaited('state_since', 'swept_at', 'next_void_at');

export const HOLD = `
  auth_request_id AS "authRequestId", restaurant_id AS "restaurantId", processor_name AS "processorName",
  processor_auth_id AS "processorAuthId"`;

/** In the snapshot: candidates, the oldest first. */
const DUE = `
  SELECT auth_request_id, restaurant_id, processor_name, processor_auth_id, sweeps, last_event_sequence AS seen_sequence,
         sweeps AS seen_sweeps
  FROM auth_holds AS hold CROSS JOIN input
  WHERE ${IS_VOIDING} AND ${IS_TIME_TO_VOID} AND sweeps < max_sweeps AND ${IS_OWNED}
    AND NOT ${isQueued('void_request_queued', 'hold')} AND NOT ${isBlocked('hold')} AND NOT ${isLeased('hold')}
  ORDER BY state_since LIMIT (SELECT at_most FROM input)`;

/**
 * As for requests: the hold's row is locked, looked at again as it is now, and counts the message in the same statement, so
 * that each is sent once, however many sweepers there are. What queues a void for a hold raises its last_event_sequence, or
 * `sweeps`: where both are as in the snapshot, the snapshot has its message. That of another hold of the request, which
 * it may lack, would only have put this one off.
 *
 * The request's row is locked as well: a message of somebody else gets its number before or after, in the order in which the two are
 * committed, and so in that in which they go out. No row is waited for (SKIP LOCKED): who holds the one and wants the other gets it.
 */
const SEND = operation({
  name: 'sweep_voiding',
  input: { ...dueColumns, message: messageOf('void_request_queued'), headers: messageHeaders },
  output: rowsOf<SentVoid>(),
  sql: (input) => `
    WITH due AS MATERIALIZED (${DUE}
    ), locked AS (
      SELECT hold.auth_request_id, hold.processor_name, hold.processor_auth_id, hold.sweeps
      FROM auth_holds AS hold
      JOIN (SELECT auth_request_id, processor_name, processor_auth_id, seen_sequence, seen_sweeps FROM due) AS due
        USING (auth_request_id, processor_name, processor_auth_id)
      JOIN (SELECT auth_request_id FROM auth_request_state) AS request USING (auth_request_id)
      CROSS JOIN input
      WHERE last_event_sequence = seen_sequence AND ${IS_VOIDING} AND ${IS_TIME_TO_VOID} AND sweeps = seen_sweeps
      FOR UPDATE OF request, hold SKIP LOCKED
    ), swept AS (
      UPDATE auth_holds AS hold SET sweeps = locked.sweeps + 1, swept_at = clock_timestamp()
      FROM locked
      WHERE hold.auth_request_id = locked.auth_request_id AND hold.processor_name = locked.processor_name
        AND hold.processor_auth_id = locked.processor_auth_id
      RETURNING hold.auth_request_id, hold.restaurant_id, hold.processor_name, hold.processor_auth_id, hold.amount_cents,
                hold.currency, hold.sweeps
    ), message AS (${queueMessage(input, {
      from: 'swept CROSS JOIN input',
      fields: [
        ...[textField(1, 'auth_request_id::text'), textField(2, 'restaurant_id::text')],
        holdFields({ name: 'processor_name', id: 'processor_auth_id', cents: 'amount_cents', currency: 'currency' }),
      ].join(' || '),
    })}
    )
    SELECT ${HOLD}, sweeps FROM swept`,
});

const FIND = operation({
  name: 'sweep_voiding_dry',
  input: dueColumns,
  output: rowsOf<SentVoid>(),
  sql: `WITH due AS MATERIALIZED (${DUE}) SELECT ${HOLD}, sweeps + 1 AS sweeps FROM due`,
});

export const voidInput = ({ voidingAfterMs, maxDelayMs, maxSweeps, fence }: TurnSettings, atMost: number) => ({
  after_ms: voidingAfterMs,
  max_delay_ms: maxDelayMs,
  max_sweeps: maxSweeps,
  at_most: atMost,
  ...ownedBy(fence),
});

/** Has at most so many voids sent to a worker again, or finds which would be. */
export async function sendVoids(
  session: Session,
  settings: TurnSettings,
  atMost: number,
  dryRun: boolean,
): Promise<SentVoid[]> {
  const input = voidInput(settings, atMost);
  if (dryRun) return await session.rows(FIND, input);
  // The database completes the message of each.
  const message = voidMessage('', '', 'not_voided_yet');
  return await session.rows(SEND, { ...input, message, headers: undefined });
}
