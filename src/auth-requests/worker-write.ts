import { type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { type Statement } from '../database/statement';
import { AuthRequestNotFoundError, ConstraintViolationError, LockLostError, TransactionConflictError } from '../errors';
import { encodeEvent, type PaymentEventBody } from '../event-store/event-codec';
import { type Lease } from '../locks/processing-locks';
import { type TracedCommand, origin } from './commands';
import { toColumn } from '../event-store/event-metadata';
import { readStanding, type Standing } from './read-standing';

/**
 * The lease behind a worker's write, by the database's clock. FOR SHARE holds off a take-over, a renewal and a release
 * until the write has committed; FOR KEY SHARE would not. Evaluated before the request's row is touched, since EXISTS on
 * it stands alone; when the write has to wait for that row, the lease stays held.
 */
export const LEASE = `
  SELECT FROM auth_processing_locks
  WHERE auth_request_id = $1 AND restaurant_id = $2 AND worker_id = $3 AND fencing_token = $4
    AND expires_at > clock_timestamp()
  FOR SHARE`;

/**
 * The request under the lease, as its newest version is: FOR UPDATE waits for whoever is changing it, and nobody changes
 * it from there on. `own` is the current attempt where this lease has started it, and where the worker speaks of no other
 * one (`said`); whoever holds the lease now can only have started the last one.
 *
 * @param attempt the parameter with the attempt that the worker speaks of, NULL for the last one of its lease
 */
export const requestOf = (attempt: string) => `
  SELECT *, CASE WHEN ${isOwn(attempt)} THEN attempt END AS own,
         coalesce(${isOwn(attempt)} AND attempt_unanswered, false) AS own_open,
         coalesce(${attempt}::integer, CASE WHEN attempt_token = $4 THEN attempt END) AS said
  FROM auth_request_state
  WHERE auth_request_id = $1 AND restaurant_id = $2 AND EXISTS (SELECT FROM lease)
  FOR UPDATE`;

const isOwn = (attempt: string) => `attempt_token = $4 AND coalesce(${attempt}::integer, attempt) = attempt`;

/**
 * What is open after an event, to be set from a CTE `decided` with the row before it and two decisions: whether the event
 * closes the current attempt, and whether it closes the earlier ones of the same version as well.
 */
export const ATTEMPTS_AFTER = `
  attempt_unanswered = decided.attempt_unanswered AND NOT decided.closes_attempt,
  unanswered_versions = decided.versions_after,
  attempt_open = decided.attempt_unanswered AND NOT decided.closes_attempt OR decided.versions_after <> '{}',
  unanswered_since = CASE WHEN decided.attempt_unanswered AND NOT decided.closes_attempt OR decided.versions_after <> '{}'
                          THEN decided.unanswered_since END`;

/** For `decided`: the unanswered versions after an event. Legacy attempts, of the empty version, share no key. */
export const versionsAfter = (closesVersion: string) => `
  CASE WHEN ${closesVersion} AND attempt_version <> '' THEN array_remove(unanswered_versions, attempt_version::text)
       ELSE unanswered_versions END AS versions_after`;

/**
 * The id of an event that is written once, made of what makes it that event. A second writer of the same meets the unique
 * key, whatever it has seen. A UUIDv8 (RFC 9562) that begins as the request's own, so that it lies beside its like in the
 * index; the rest is of the SHA-256 of request and identity.
 */
export const eventIdOf = (...identity: string[]) => `(
  SELECT (left($1::uuid::text, 13) || '-8' || substr(digest, 1, 3) || '-8' || substr(digest, 4, 3) || '-'
          || substr(digest, 7, 12))::uuid
  FROM encode(sha256(convert_to(concat_ws(E'\\x1f', $1::uuid, ${identity.join(', ')}), 'UTF8')), 'hex') AS digest)`;

/** The parameters $1 to $6 that every worker's write begins with. */
export function workerValues(
  lease: Lease,
  command: TracedCommand,
  event: PaymentEventBody,
  metadata: Record<string, unknown> = {},
): unknown[] {
  const { authRequestId, restaurantId, workerId, fencingToken } = lease;
  const token = fencingToken.toString();
  return [
    authRequestId.toLowerCase(),
    restaurantId.toLowerCase(),
    workerId,
    token,
    encodeEvent(event),
    toColumn({ ...origin(command), worker_id: workerId, fencing_token: token, ...metadata }),
  ];
}

/**
 * Runs a worker's write. Where it changed nothing, a second statement, which sees what has been committed meanwhile,
 * tells why; where an event of that id is there by now, too. `repeated` looks whether the write is there already, before
 * lease and status count.
 *
 * @throws LockLostError, AuthRequestNotFoundError
 * @throws TransactionConflictError in a transaction of the caller's, which the same write elsewhere has aborted
 */
export async function writeUnderLease<Row extends QueryResultRow, Repeat>(
  dataSource: DataSource,
  write: Statement,
  values: unknown[],
  repeated: (standing: Standing, idTaken: boolean) => Repeat | undefined,
  manager?: EntityManager,
): Promise<
  { row: Row } | { row?: undefined; repeat: Repeat } | { row?: undefined; repeat?: undefined; standing: Standing }
> {
  const row = await writeOnce<Row>(dataSource, write, values, manager);
  if (row && row !== ID_TAKEN) return { row };
  const standing = await readStanding(dataSource, values.slice(0, 4), manager);
  const repeat = repeated(standing, row === ID_TAKEN);
  if (repeat !== undefined) return { repeat };
  const authRequestId = values[0] as string;
  if (!standing.held) throw new LockLostError(authRequestId);
  if (standing.status === null) throw new AuthRequestNotFoundError(authRequestId);
  return { standing };
}

async function writeOnce<Row extends QueryResultRow>(
  dataSource: DataSource,
  write: Statement,
  values: unknown[],
  manager?: EntityManager,
): Promise<Row | typeof ID_TAKEN | undefined> {
  try {
    return (await run<Row>(dataSource, write, values, manager))[0];
  } catch (error) {
    const written = error instanceof ConstraintViolationError && error.constraint === 'payment_events_event_id_key';
    if (!written) throw error;
    if (manager?.queryRunner) throw new TransactionConflictError('23505');
    return ID_TAKEN;
  }
}

const ID_TAKEN = Symbol('an event of that id is there');
