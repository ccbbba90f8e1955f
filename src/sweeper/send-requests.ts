import { CAN_BE_ASKED, IN_WINDOW } from '../auth-requests/find-requests';
import { SQL, type AuthRequestStatus } from '../auth-requests/statuses';
import { float8 } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { IS_OWNED, ownedBy } from '../fence/owned';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { textField } from '../protobuf/append-fields';
import { dueColumns, hasWaited, isBlocked, isLeased, isQueued } from './due';
import { type GivenUpRequest, type SentRequest } from './sweep-result';
import { type TurnSettings } from './sweeper-options';

/** Which requests a worker should look at again. */
const WHICH = { stuck: `status IN (${SQL.open})`, unsettled: `attempt_open AND ${CAN_BE_ASKED}` } as const;
type Which = keyof typeof WHICH;

const findColumns = { ...dueColumns, older_than_ms: float8, within_ms: float8, settle_within_ms: float8 } as const;

const SENT = 'auth_request_id AS "authRequestId", restaurant_id AS "restaurantId"';

/** Whether it is time, by the row alone. updated_at moves with every event and every message of the sweeper. */
const isTime = (which: string) => `${which} AND ${hasWaited('updated_at', 'swept_at')}`;

/** In the snapshot: candidates, the oldest first. */
const due = (which: Which) => `
  SELECT auth_request_id, restaurant_id, sweeps, last_event_sequence AS seen_sequence,
         sweeps AS seen_sweeps
  FROM auth_request_state AS state CROSS JOIN input
  WHERE ${IN_WINDOW} AND ${isTime(WHICH[which])} AND sweeps < max_sweeps AND ${IS_OWNED}
    AND NOT ${isQueued('auth_request_queued', 'state')} AND NOT ${isBlocked('state')} AND NOT ${isLeased('state')}
  ORDER BY created_at LIMIT (SELECT at_most FROM input)`;

/**
 * Each row is locked, looked at again as it is now, and counts the message in the same statement. Of two sweepers that find it
 * at once one skips it, or finds that it is not what it saw: neither the lease nor the outbox decides that.
 *
 * Whether a message is there already is read in the snapshot, which may be older than the locked row. Whatever queues one for
 * a request changes its row in the same transaction: an operation raises last_event_sequence, a sweeper `sweeps`. Where the
 * row, as it is locked, has both as in the snapshot, the snapshot has every message. Where not, it is left for the next
 * turn. (`isTime` alone would not do: with pauses that are shorter than a commit takes, a row that another has just counted is due
 * again, and the snapshot lacks its message.) It is looked at nevertheless: the time must have passed since a change that is no event.
 *
 * A lease that was taken since then is not seen. Its worker has not begun an attempt, or the number would differ; it got
 * an earlier message, and meets this one as any that is delivered twice: the lease keeps the second worker off.
 */
const sendOf = (which: Which) =>
  operation({
    name: `sweep_${which}`,
    input: { ...findColumns, message: messageOf('auth_request_queued'), headers: messageHeaders },
    output: rowsOf<SentRequest>(),
    sql: (input) => `
    WITH due AS MATERIALIZED (${due(which)}
    ), locked AS (
      SELECT state.auth_request_id, state.sweeps
      FROM auth_request_state AS state JOIN (SELECT auth_request_id, seen_sequence, seen_sweeps FROM due) AS due USING (auth_request_id)
      CROSS JOIN input
      WHERE last_event_sequence = seen_sequence AND sweeps = seen_sweeps AND ${isTime(WHICH[which])}
      FOR UPDATE OF state SKIP LOCKED
    ), swept AS (
      UPDATE auth_request_state AS state SET sweeps = locked.sweeps + 1, swept_at = clock_timestamp()
      FROM locked WHERE state.auth_request_id = locked.auth_request_id
      RETURNING state.auth_request_id, state.restaurant_id, state.sweeps
    ), message AS (${queueMessage(input, {
      from: 'swept CROSS JOIN input',
      fields: `${textField(1, 'auth_request_id::text')} || ${textField(2, 'restaurant_id::text')}`,
    })}
    )
    SELECT ${SENT}, sweeps FROM swept`,
  });

const findOf = (which: Which) =>
  operation({
    name: `sweep_${which}_dry`,
    input: findColumns,
    output: rowsOf<SentRequest>(),
    sql: `WITH due AS MATERIALIZED (${due(which)}) SELECT ${SENT}, sweeps + 1 AS sweeps FROM due`,
  });

const SEND = { stuck: sendOf('stuck'), unsettled: sendOf('unsettled') };
const FIND = { stuck: findOf('stuck'), unsettled: findOf('unsettled') };

const findInput = (settings: TurnSettings, afterMs: number, atMost: number) => ({
  after_ms: afterMs,
  max_delay_ms: settings.maxDelayMs,
  max_sweeps: settings.maxSweeps,
  at_most: atMost,
  older_than_ms: afterMs,
  within_ms: settings.withinMs,
  settle_within_ms: settings.settleWithinMs,
  ...ownedBy(settings.fence),
});

/** Has at most so many requests sent to a worker again, or finds which would be. */
export async function sendRequests(
  session: Session,
  which: Which,
  settings: TurnSettings,
  atMost: number,
  dryRun: boolean,
): Promise<SentRequest[]> {
  const input = findInput(settings, which === 'stuck' ? settings.stuckAfterMs : settings.unsettledAfterMs, atMost);
  if (dryRun) return await session.rows(FIND[which], input);
  // The database completes the message of each.
  const message = { authRequestId: '', restaurantId: '', createdAt: new Date() };
  return await session.rows(SEND[which], { ...input, message, headers: undefined });
}

const FIND_GIVEN_UP = operation({
  name: 'sweeper_given_up',
  input: findColumns,
  output: rowsOf<GivenUpRequest & { status: AuthRequestStatus }>(),
  sql: `
    SELECT ${SENT}, status, sweeps,
           CASE WHEN ${isBlocked('state')} THEN 'message_refused' ELSE 'not_taken_up' END AS reason
    FROM auth_request_state AS state CROSS JOIN input
    WHERE ${IN_WINDOW} AND ${isTime(`(${WHICH.stuck} OR ${WHICH.unsettled})`)} AND NOT ${isLeased('state')} AND ${IS_OWNED}
      AND (sweeps >= max_sweeps AND NOT ${isQueued('auth_request_queued', 'state')} OR ${isBlocked('state')})
    ORDER BY created_at LIMIT (SELECT at_most FROM input)`,
});

/** Requests that get no further message: a person has to see to them. */
export const findGivenUp = (session: Session, settings: TurnSettings): Promise<GivenUpRequest[]> =>
  session.rows(
    FIND_GIVEN_UP,
    findInput(settings, Math.min(settings.stuckAfterMs, settings.unsettledAfterMs), settings.batchSize),
  );
