import { IsOptional } from 'class-validator';
import { type Columns, type InputOf, integer, orNull } from '../database/columns';
import { type Operation, operation, type RowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, ConstraintViolationError, LockLostError, TransactionConflictError } from '../errors';
import { eventMetadata } from '../event-store/append-event';
import { HELD_LEASE, IS_SAME, leaseColumns, leaseInput } from '../locks/held-lease';
import { type LeaseRef } from '../locks/lease';
import { releaseLease } from '../locks/lease-writes';
import { WholeNumber } from '../validation/rules';
import { readStanding, type Standing } from './read-standing';
import { TracedCommand } from './traced-command';

/** What a worker says of an attempt. */
export abstract class RecordCommand extends TracedCommand {
  /**
   * Which attempt it is about: `attempt` of what `startAttempt` answered. Default: the last one that this lease has begun.
   * Say it where a lease begins several, so that a late or repeated answer to an earlier one is not taken for an answer to
   * the last; it then closes none, and what it leaves open is asked again.
   */
  @IsOptional()
  @WholeNumber(1, 2_147_483_647)
  attempt?: number;
}

/** The columns of `input` that every worker's write begins with. */
export const workerColumns = {
  ...leaseColumns,
  /** The attempt that the worker speaks of; NULL for the last one of its lease. */
  said_attempt: orNull(integer),
  event_metadata: eventMetadata,
} as const;

/** Their values. */
export const workerInput = (
  lease: LeaseRef,
  command: TracedCommand & { readonly attempt?: number },
  metadata: Record<string, unknown> = {},
) => ({
  ...leaseInput(lease),
  said_attempt: command.attempt ?? null,
  event_metadata: {
    correlationId: command.correlationId,
    causationId: command.causationId,
    worker_id: lease.workerId,
    fencing_token: lease.fencingToken.toString(),
    ...metadata,
  },
});

/**
 * The lease behind a worker's write. FOR SHARE holds off a take-over, a renewal and a release until the write has
 * committed; FOR KEY SHARE would not. Evaluated before the request's row is touched, since EXISTS on it is an InitPlan;
 * when the write has to wait for that row, the lease stays held.
 */
export const LEASE = `${HELD_LEASE}
  FOR SHARE`;

/** With a write the worker keeps the lease, or the statement gives it back. */
export type LeaseAfter = 'kept' | 'released';

/** The parts of a worker's write that differ by that. */
interface LeaseParts {
  /** The body of the part `lease`. */
  readonly held: string;
  /** Follows the last part. */
  readonly release: string;
}

const KEPT: LeaseParts = { held: LEASE, release: '' };

/**
 * FOR UPDATE from the start: two of the same at once, each with FOR SHARE, would wait for each other when they delete. The
 * lease goes where the write has changed the request, and only there.
 */
const RELEASED: LeaseParts = {
  held: `${HELD_LEASE}
  FOR UPDATE`,
  release: `, released AS (
      DELETE FROM auth_processing_locks AS held USING input, (SELECT auth_request_id AS written FROM changed) AS changed
      WHERE ${IS_SAME} AND held.auth_request_id = written
    )`,
};

/** A worker's write in both forms: one text, two statements. */
export type WorkerWrite<Input, Row> = Readonly<Record<LeaseAfter, Operation<Input, Row>>>;

interface WorkerWriteSpec<C extends Columns, Row> {
  readonly name: string;
  readonly input: C;
  readonly output: RowsOf<Row>;
  /** Its last part but the result is followed by `lease.release`, which reads the part `changed`. */
  readonly sql: (input: C, lease: LeaseParts) => string;
}

/** Defines a worker's write: see `operation`. */
export const workerWrite = <const C extends Columns, Row>({
  name,
  input,
  output,
  sql,
}: WorkerWriteSpec<C, Row>): WorkerWrite<InputOf<C>, Row> => ({
  kept: operation({ name, input, output, sql: (columns) => sql(columns, KEPT) }),
  released: operation({ name: `${name}_and_release`, input, output, sql: (columns) => sql(columns, RELEASED) }),
});

const IS_OWN = 'attempt_token = fencing_token AND coalesce(said_attempt, attempt) = attempt';

/**
 * The request under the lease, as its newest version is, beside the input: FOR UPDATE waits for a transaction that is changing it,
 * and nobody changes it from there on. `own` is the current attempt where this lease has started it, and where the worker
 * speaks of no other one (`said`); the worker that holds the lease now can only have started the last one.
 */
export const REQUEST = `
  SELECT *, CASE WHEN ${IS_OWN} THEN attempt END AS own,
         coalesce(${IS_OWN} AND attempt_unanswered, false) AS own_open,
         coalesce(said_attempt, CASE WHEN attempt_token = fencing_token THEN attempt END) AS said
  FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
  WHERE EXISTS (SELECT FROM lease)
  FOR UPDATE OF state`;

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
 * key, whatever it has seen. A UUIDv8 (RFC 9562) that begins as the request's own, so that it lies beside the request's other events in the
 * index; the rest is of the SHA-256 of request and identity.
 */
export const eventIdOf = (...identity: string[]) => `(
  SELECT (left(auth_request_id::text, 13) || '-8' || substr(digest, 1, 3) || '-8' || substr(digest, 4, 3) || '-'
          || substr(digest, 7, 12))::uuid
  FROM encode(sha256(convert_to(concat_ws(E'\\x1f', auth_request_id, ${identity.join(', ')}), 'UTF8')), 'hex') AS digest)`;

type Written<Row, Repeat> =
  { row: Row } | { row?: undefined; repeat: Repeat } | { row?: undefined; repeat?: undefined; standing: Standing };

/**
 * Runs a worker's write. Where it changed nothing, a second statement, which sees what has been committed meanwhile,
 * tells why; where an event of that id is there by now, too. `repeated` looks whether the write is there already, before
 * lease and status count: then a lease that is to be released is, by a statement of its own.
 *
 * @throws LockLostError, AuthRequestNotFoundError
 * @throws TransactionConflictError in a transaction of the caller's, which the same write elsewhere has aborted
 */
export async function writeUnderLease<Input, Row extends object, Repeat>(
  session: Session,
  lease: LeaseRef,
  write: Operation<Input, Row>,
  input: NoInfer<Input>,
  repeated: (standing: Standing, idTaken: boolean) => Repeat | undefined,
  after: LeaseAfter = 'kept',
): Promise<Written<Row, Repeat>> {
  const { row, idTaken } = await writeOnce(session, write, input);
  if (row) return { row };
  const standing = await readStanding(session, lease);
  const repeat = repeated(standing, idTaken);
  if (repeat !== undefined) {
    if (after === 'released') await releaseLease(session, lease);
    return { repeat };
  }
  if (!standing.held) throw new LockLostError(lease.authRequestId);
  if (standing.status === null) throw new AuthRequestNotFoundError(lease.authRequestId);
  return { standing };
}

/** Runs a worker's write, and says where an event of its id is there already. */
export async function writeOnce<Input, Row extends object>(
  session: Session,
  write: Operation<Input, Row>,
  input: NoInfer<Input>,
): Promise<{ readonly row?: Row; readonly idTaken: boolean }> {
  try {
    return { row: await session.newest(write, input), idTaken: false };
  } catch (error) {
    const written = error instanceof ConstraintViolationError && error.constraint === 'payment_events_event_id_key';
    if (!written) throw error;
    if (session.isCallers) throw new TransactionConflictError('23505');
    return { idTaken: true };
  }
}
