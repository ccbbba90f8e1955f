import { bigint, text, uuid } from '../database/columns';
import { type LeaseRef } from './lease';

/** The columns of an operation's `input` that name a lease. */
export const leaseColumns = {
  auth_request_id: uuid,
  restaurant_id: uuid,
  worker_id: text,
  fencing_token: bigint,
} as const;

/** Their values. */
export const leaseInput = ({ authRequestId, restaurantId, workerId, fencingToken }: LeaseRef) => ({
  auth_request_id: authRequestId,
  restaurant_id: restaurantId,
  worker_id: workerId,
  fencing_token: fencingToken,
});

/** The lease `held` is the one that `input` names, expired or not. */
export const IS_SAME = Object.keys(leaseColumns)
  .map((column) => `held.${column} = input.${column}`)
  .join(' AND ');

/** A query for the lease that `input` names, by the database's clock: a row as long as it is held. */
export const HELD_LEASE = `
  SELECT FROM auth_processing_locks JOIN input USING (auth_request_id, restaurant_id, worker_id, fencing_token)
  WHERE expires_at > clock_timestamp()`;
