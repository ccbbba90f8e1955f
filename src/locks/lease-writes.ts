import { float8, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { LockLostError } from '../errors';
import { IS_SAME, leaseColumns, leaseInput } from './held-lease';
import { type LeaseRef } from './lease';

/** The columns of an operation's `input` that name the lease which it takes, and for how many milliseconds. */
export const takenColumns = { ...leaseColumns, ttl_ms: float8 } as const;

/**
 * Takes the lease that `input` names, or an expired one over; gives a row where it is held from then on.
 *
 * clock_timestamp() throughout: now() stands still in a caller's transaction. After waiting for a worker's write, which
 * holds the row, or for another one that takes it, WHERE and SET are evaluated on the row as it is then. The caller has
 * drawn the token: a caller that finds it in the row has taken this lease before.
 *
 * @param condition SQL, of the snapshot: without it no lease is asked for
 */
export const takeLease = (condition: string): string => `
    INSERT INTO auth_processing_locks AS held
      (auth_request_id, restaurant_id, worker_id, fencing_token, locked_at, expires_at)
    SELECT auth_request_id, restaurant_id, worker_id, fencing_token, clock_timestamp(),
           clock_timestamp() + ttl_ms * interval '1 millisecond'
    FROM input
    WHERE ${condition}
    ON CONFLICT (auth_request_id) DO UPDATE
      SET restaurant_id = excluded.restaurant_id, worker_id = excluded.worker_id, fencing_token = excluded.fencing_token,
          locked_at = clock_timestamp(), expires_at = clock_timestamp() + (SELECT ttl_ms FROM input) * interval '1 millisecond'
      WHERE held.expires_at <= clock_timestamp()
         OR held.fencing_token = excluded.fencing_token AND held.worker_id = excluded.worker_id
    RETURNING fencing_token, expires_at`;

/** A request of another restaurant is left alone; one that is not there yet may be locked. */
const ACQUIRE = operation({
  name: 'acquire_lock',
  input: takenColumns,
  output: rowsOf<{ expires_at: Date }>(),
  sql: takeLease(`NOT EXISTS (SELECT FROM auth_request_state AS state
                      WHERE state.auth_request_id = input.auth_request_id AND state.restaurant_id <> input.restaurant_id)`),
});

const IS_OF_ANOTHER = operation({
  name: 'lock_of_another_restaurant',
  input: { auth_request_id: uuid, restaurant_id: uuid },
  sql: `
    SELECT FROM auth_request_state AS state JOIN input USING (auth_request_id)
    WHERE state.restaurant_id <> input.restaurant_id`,
});

const RENEW = operation({
  name: 'renew_lock',
  input: takenColumns,
  output: rowsOf<{ expires_at: Date }>(),
  sql: `
    UPDATE auth_processing_locks AS held SET expires_at = clock_timestamp() + ttl_ms * interval '1 millisecond'
    FROM input
    WHERE ${IS_SAME} AND held.expires_at > clock_timestamp()
    RETURNING held.expires_at`,
});

const RELEASE = operation({
  name: 'release_lock',
  input: leaseColumns,
  sql: `DELETE FROM auth_processing_locks AS held USING input WHERE ${IS_SAME}`,
});

/** Until when the lease is held; undefined where another one is. */
export async function acquireLease(session: Session, lease: LeaseRef, ttlMs: number): Promise<Date | undefined> {
  const row = await session.row(ACQUIRE, { ...leaseInput(lease), ttl_ms: ttlMs });
  return row?.expires_at;
}

/** Whether the request is another restaurant's. */
export const isOfAnother = async (session: Session, { authRequestId, restaurantId }: LeaseRef): Promise<boolean> =>
  (await session.row(IS_OF_ANOTHER, { auth_request_id: authRequestId, restaurant_id: restaurantId })) !== undefined;

/**
 * Until when the lease lives from now on.
 *
 * @throws LockLostError
 */
export async function renewLease(session: Session, lease: LeaseRef, ttlMs: number): Promise<Date> {
  const row = await session.row(RENEW, { ...leaseInput(lease), ttl_ms: ttlMs });
  if (!row) throw new LockLostError(lease.authRequestId);
  return row.expires_at;
}

/** Gives the lease back. Whether it was still there. */
export const releaseLease = async (session: Session, lease: LeaseRef): Promise<boolean> =>
  (await session.write(RELEASE, leaseInput(lease))) > 0;
