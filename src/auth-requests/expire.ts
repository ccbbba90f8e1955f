import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { AuthRequestNotFoundError, AuthRequestStatusError } from '../errors';
import { encodeEvent } from '../event-store/event-codec';
import { newId } from '../database/new-id';
import { validateCommand } from '../validation/validate-command';
import { ExpireCommand, ExpireStaleCommand, origin } from './commands';
import { toColumn } from '../event-store/event-metadata';
import { readStatus } from './read-status';

/**
 * The UPDATE's own WHERE decides, also after waiting for a worker's write: a request settled by it stays. Nothing follows
 * EXPIRED, so that one which is so already is what a repeat has to find.
 */
const EXPIRE = statement(
  'expire',
  `WITH changed AS (
     UPDATE auth_request_state
     SET status = 'EXPIRED', completed_at = coalesce(completed_at, now()),
         last_event_sequence = last_event_sequence + 1, last_event_id = $3
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND status IN ('PENDING', 'PROCESSING')
     RETURNING *
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $3, auth_request_id, 'auth_request', 'AuthRequestExpired', $4::bytea, $5::jsonb, last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT auth_request_id FROM changed`,
);

export async function expire(dataSource: DataSource, input: ExpireCommand, manager?: EntityManager): Promise<void> {
  const command = validateCommand(ExpireCommand, input);
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const values = [
    authRequestId,
    restaurantId,
    newId(),
    encodeEvent({
      type: 'AuthRequestExpired',
      data: { authRequestId, expiredAt: new Date(), reason: command.reason },
    }),
    toColumn(origin(command)),
  ];
  const [expired] = await run(dataSource, EXPIRE, values, manager);
  if (expired) return;
  const status = await readStatus(dataSource, { authRequestId, restaurantId }, manager);
  if (!status) throw new AuthRequestNotFoundError(authRequestId);
  if (status === 'EXPIRED') return;
  throw new AuthRequestStatusError(authRequestId, status, 'expire');
}

/**
 * Every event names its request, which is known here alone, so the database completes the message, as in RECORD_FAILURE:
 * field 1 as 36 bytes of text has the tag 0x0a and the length 0x24.
 */
const EVENT_DATA = `'\\x0a24'::bytea || convert_to(auth_request_id::text, 'UTF8') || $5::bytea`;

/**
 * The oldest first, by the BRIN index on created_at; clock_timestamp() is volatile, and would have every row read. Without
 * a lower end ($2 null) the first batch reads all that is old; each further one begins where the one before ended ($7). A
 * request that somebody is changing at this moment is left for the next run, one that others like this are closing is
 * left to them (SKIP LOCKED). FOR UPDATE evaluates the status on the newest row: one that was settled since stays.
 */
const EXPIRE_STALE = statement(
  'expire_stale',
  `WITH stale AS (
     SELECT auth_request_id FROM auth_request_state
     WHERE status IN ('PENDING', 'PROCESSING')
       AND created_at < statement_timestamp() - $1 * interval '1 millisecond'
       AND created_at >= coalesce($7::timestamptz, statement_timestamp() - $2 * interval '1 millisecond', '-infinity')
     ORDER BY created_at LIMIT $3
     FOR UPDATE SKIP LOCKED
   ), input AS (
     SELECT auth_request_id, ($4::uuid[])[row_number() OVER ()] AS event_id FROM stale
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = 'EXPIRED', completed_at = coalesce(state.completed_at, now()),
         last_event_sequence = state.last_event_sequence + 1, last_event_id = input.event_id
     FROM input WHERE state.auth_request_id = input.auth_request_id
     RETURNING state.*
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT last_event_id, auth_request_id, 'auth_request', 'AuthRequestExpired', ${EVENT_DATA}, $6::jsonb,
            last_event_sequence, restaurant_id
     FROM changed
   )
   SELECT auth_request_id, created_at FROM changed ORDER BY created_at`,
);

interface StaleRow {
  auth_request_id: string;
  /** Without its microseconds, so never later than the row's own. */
  created_at: Date;
}

export async function expireStale(dataSource: DataSource, input: ExpireStaleCommand): Promise<string[]> {
  const command = validateCommand(ExpireStaleCommand, input);
  const { olderThanMs, withinMs = null, batchSize = 500, reason = 'stale' } = command;
  const expired: string[] = [];
  let from: Date | null = null;
  for (;;) {
    const eventIds = Array.from({ length: batchSize }, () => newId());
    const data = { authRequestId: '', expiredAt: new Date(), reason };
    const event = encodeEvent({ type: 'AuthRequestExpired', data });
    const values = [olderThanMs, withinMs, batchSize, eventIds, event, toColumn(origin(command)), from];
    const changed: StaleRow[] = await run<StaleRow>(dataSource, EXPIRE_STALE, values);
    expired.push(...changed.map(({ auth_request_id }) => auth_request_id));
    if (changed.length < batchSize) return expired;
    from = changed.at(-1)!.created_at;
  }
}
