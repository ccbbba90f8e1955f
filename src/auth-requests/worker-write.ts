import { type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement, type Statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { AuthRequestNotFoundError, LockLostError } from '../errors';
import { encodeEvent, type PaymentEventBody } from '../event-store/event-codec';
import { type Lease } from '../locks/processing-locks';
import { type TracedCommand, origin } from './commands';
import { toColumn } from '../event-store/event-metadata';
import { newId } from '../new-id';

/**
 * The lease behind a worker's write, by the database's clock. FOR SHARE holds off a take-over, a renewal and a release
 * until the write has committed; FOR KEY SHARE would not. Evaluated before the UPDATE touches its row, since EXISTS on it
 * stands alone; when the UPDATE has to wait for that row, the lease stays held.
 */
export const LEASE = `
  SELECT FROM auth_processing_locks
  WHERE auth_request_id = $1 AND restaurant_id = $2 AND worker_id = $3 AND fencing_token = $4
    AND expires_at > clock_timestamp()
  FOR SHARE`;

/** The parameters $1 to $7 that every worker's write begins with. */
export function workerValues(
  lease: Lease,
  command: TracedCommand,
  event: PaymentEventBody,
  metadata: Record<string, string | undefined> = {},
): unknown[] {
  const { authRequestId, restaurantId, workerId, fencingToken } = lease;
  return [
    authRequestId,
    restaurantId,
    workerId,
    fencingToken.toString(),
    newId(),
    encodeEvent(event),
    toColumn({ ...origin(command), worker_id: workerId, ...metadata }),
  ];
}

/** Where a request stands, for a write that found nothing to change. */
export interface Standing {
  readonly status: AuthRequestStatus;
  readonly processorAuthId: string | null;
  readonly denialCode: string | null;
  readonly amountCents: number;
  readonly currency: string;
}

interface StandingRow {
  held: boolean;
  status: AuthRequestStatus | null;
  processor_auth_id: string | null;
  denial_code: string | null;
  amount_cents: string;
  currency: string;
}

const READ_STANDING = statement(
  'read_standing',
  `SELECT EXISTS (
     SELECT FROM auth_processing_locks
     WHERE auth_request_id = $1 AND restaurant_id = $2 AND worker_id = $3 AND fencing_token = $4
       AND expires_at > clock_timestamp()
   ) AS held, state.*
   FROM (SELECT) AS always
   LEFT JOIN (
     SELECT status, processor_auth_id, denial_code, amount_cents, currency FROM auth_request_state
     WHERE auth_request_id = $1 AND restaurant_id = $2
   ) AS state ON true`,
);

/**
 * Runs a worker's write. Where it changed nothing, a second statement, which sees what has been committed meanwhile,
 * tells why.
 *
 * @throws LockLostError, AuthRequestNotFoundError
 */
export async function writeUnderLease<Row extends QueryResultRow>(
  dataSource: DataSource,
  write: Statement,
  values: unknown[],
  manager?: EntityManager,
): Promise<{ row: Row; standing?: undefined } | { row?: undefined; standing: Standing }> {
  const [row] = await run<Row>(dataSource, write, values, manager);
  if (row) return { row };
  const [found] = await run<StandingRow>(dataSource, READ_STANDING, values.slice(0, 4), manager);
  const authRequestId = values[0] as string;
  if (!found?.held) throw new LockLostError(authRequestId);
  if (found.status === null) throw new AuthRequestNotFoundError(authRequestId);
  return {
    standing: {
      status: found.status,
      processorAuthId: found.processor_auth_id,
      denialCode: found.denial_code,
      amountCents: Number(found.amount_cents),
      currency: found.currency,
    },
  };
}
