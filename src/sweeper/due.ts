import { float8, integer } from '../database/columns';
import { ownedColumns } from '../fence/owned';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { type OutboxMessageType } from '../outbox/message-codec';
import { IS_OLDEST } from '../outbox/relay-turn';

/** The columns of an `input` that decide whether something is due. */
export const dueColumns = {
  ...{ after_ms: float8, max_delay_ms: float8, max_sweeps: integer, at_most: integer },
  ...ownedColumns,
} as const;

/**
 * SQL: whether so much time has passed: `after_ms`, twice as much after one message, four times after two … The row's own
 * `sweeps` and times decide, so that on a locked row this is true or false for good. One instant, statement_timestamp():
 * a row that this statement waited for is not due for the waiting.
 *
 * @param activity the times of which the last one counts; those that are null do not
 */
export const hasWaited = (...activity: string[]): string => `
  greatest(${activity.join(', ')}) + least(after_ms * 2 ^ least(sweeps, 30), greatest(after_ms, max_delay_ms))
    * interval '1 millisecond' <= statement_timestamp()`;

/**
 * SQL: whether a message of the request is in the outbox and has not gone out, also one that waits for its time or is a dead
 * letter. Here and below OFFSET 0 keeps the look a probe of an index for each row: see IS_OLDEST.
 */
export const isQueued = (messageType: OutboxMessageType, row: string): string => `
  EXISTS (SELECT FROM outbox AS message
          WHERE message.aggregate_id = ${row}.auth_request_id AND message.processed_at IS NULL
            AND message.message_type = '${messageType}' OFFSET 0)`;

/** SQL: whether a dead letter holds back every message of the request. */
export const isBlocked = (row: string): string => `
  EXISTS (SELECT FROM outbox AS letter
          WHERE letter.aggregate_id = ${row}.auth_request_id AND letter.processed_at IS NULL
            AND letter.failed_at IS NOT NULL OFFSET 0)`;

/** SQL: whether a worker holds the request. */
export const isLeased = (row: string): string => `
  EXISTS (SELECT FROM auth_processing_locks AS lease
          WHERE lease.auth_request_id = ${row}.auth_request_id AND lease.expires_at > clock_timestamp() OFFSET 0)`;

/**
 * For how long the oldest message has waited that nothing but a relay keeps from going out. What stands behind a dead
 * letter, or behind one that was refused and waits, is none: a single message would switch the sweeper off.
 */
const READ_OUTBOX_AGE = operation({
  name: 'sweeper_outbox_age',
  input: {},
  output: rowsOf<{ age_ms: string | null }>(),
  sql: `
  SELECT extract(epoch FROM clock_timestamp() - least(
    (SELECT created_at FROM outbox AS message
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL AND ${IS_OLDEST}
     ORDER BY id LIMIT 1),
    (SELECT next_attempt_at FROM outbox AS message
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at <= statement_timestamp() AND ${IS_OLDEST}
     ORDER BY next_attempt_at LIMIT 1))) * 1000 AS age_ms`,
});

export async function readOutboxAgeMs(session: Session): Promise<number | null> {
  const row = await session.row(READ_OUTBOX_AGE, {});
  return row?.age_ms == null ? null : Number(row.age_ms);
}
