import { type DataSource, type EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { AuthRequestNotFoundError, AuthRequestStatusError } from '../errors';
import { encodeEvent } from '../event-store/event-codec';
import { validateCommand } from '../validate-command';
import { ExpireCommand, ExpireStaleCommand, origin } from './commands';
import { toColumn } from '../event-store/event-metadata';
import { readStatus } from './read-status';

/** The UPDATE's own WHERE decides, also after waiting for a worker's write: a request settled by it stays. */
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
    uuidv7(),
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
  throw new AuthRequestStatusError(authRequestId, status, 'expire');
}

/** Oldest first, by the BRIN index on created_at: clock_timestamp() is volatile, and would have every row read. */
const FIND_STALE = statement(
  'find_stale',
  `SELECT auth_request_id FROM auth_request_state
   WHERE status IN ('PENDING', 'PROCESSING')
     AND created_at < statement_timestamp() - $1 * interval '1 millisecond'
     AND created_at >= statement_timestamp() - $2 * interval '1 millisecond'
   ORDER BY created_at LIMIT $3`,
);

/**
 * A request that somebody is changing at this moment is left for the next run (SKIP LOCKED), one that was settled since
 * it was found is left alone: FOR UPDATE evaluates the status on the newest row.
 */
const EXPIRE_MANY = statement(
  'expire_many',
  `WITH stale AS (
     SELECT auth_request_id, input.event_id, input.event_data
     FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS input (auth_request_id, event_id, event_data)
     JOIN auth_request_state AS state USING (auth_request_id)
     WHERE state.status IN ('PENDING', 'PROCESSING')
     FOR UPDATE OF state SKIP LOCKED
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = 'EXPIRED', completed_at = coalesce(state.completed_at, now()),
         last_event_sequence = state.last_event_sequence + 1, last_event_id = stale.event_id
     FROM stale WHERE state.auth_request_id = stale.auth_request_id
     RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence, stale.event_id, stale.event_data
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT event_id, auth_request_id, 'auth_request', 'AuthRequestExpired', event_data, $4::jsonb, last_event_sequence,
            restaurant_id
     FROM changed
   )
   SELECT auth_request_id FROM changed`,
);

export async function expireStale(dataSource: DataSource, input: ExpireStaleCommand): Promise<string[]> {
  const command = validateCommand(ExpireStaleCommand, input);
  const { olderThanMs, withinMs = ExpireStaleCommand.DEFAULT_WITHIN_MS, batchSize = 500, reason = 'stale' } = command;
  const expired: string[] = [];
  for (;;) {
    const found = await run<{ auth_request_id: string }>(dataSource, FIND_STALE, [olderThanMs, withinMs, batchSize]);
    const ids = found.map(({ auth_request_id }) => auth_request_id);
    const expiredAt = new Date();
    const events = ids.map((authRequestId) =>
      encodeEvent({ type: 'AuthRequestExpired', data: { authRequestId, expiredAt, reason } }),
    );
    const values = [ids, ids.map(() => uuidv7()), events, toColumn(origin(command))];
    const changed = await run<{ auth_request_id: string }>(dataSource, EXPIRE_MANY, values);
    expired.push(...changed.map(({ auth_request_id }) => auth_request_id));
    // A short batch was the last one; one that changed nothing is all in other hands.
    if (found.length < batchSize || changed.length === 0) return expired;
  }
}
