import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { Callable } from '../validation/option-rules';
import { BigInteger, LARGEST_BIGINT, Text, Uuid, WholeNumber } from '../validation/rules';
import { newId } from '../database/new-id';
import { float8, integer, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { sessionOf, writeInBatches } from '../database/session';
import { AuthRequestNotFoundError, LockHeldError, LockLostError } from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { IS_SAME, leaseColumns, leaseInput } from './held-lease';
import { holdLease } from './hold-lease';
import { type Lease, validLease } from './lease';

export { type Lease } from './lease';

/** Who wants to work on what, and for how long. */
export class AcquireCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  /** Unlike that of any other worker. Default: host, process id and a UUID, the same for the whole process. */
  @IsOptional()
  @Text(1, 255)
  workerId?: string;

  /** Until others may take over, in milliseconds: 100 to 24 hours. Longer than the processor may take to answer. */
  @WholeNumber(100, 86_400_000)
  ttlMs: number;

  /**
   * A positive bigint of {@link newFencingToken}. Calls that carry the same one are one call, repeated: the second gets
   * the lease that the first one has taken. Default: a new one.
   */
  @IsOptional()
  @BigInteger(0n, LARGEST_BIGINT)
  fencingToken?: bigint;
}

/** How a lease is held. */
export class HoldOptions {
  static readonly DEFAULT_LONGEST_MS = 900_000;

  /** For how long at most, in milliseconds, from the acquisition on: 1 to 24 hours. Default 15 minutes. */
  @IsOptional()
  @WholeNumber(1, 86_400_000)
  longestMs?: number;
}

/** A process id alone is 1 in every container. */
const THIS_PROCESS = `${hostname().slice(0, 100)}/${process.pid}/${newId()}`;

/** What to do under a lease. */
class Work {
  @Callable()
  work: unknown;
}

/** A fencing token: 62 random bits. */
export const newFencingToken = (): bigint => randomBytes(8).readBigUInt64BE() >> 2n;

/** What a purge of leases may be told. */
export class PurgeLocksOptions {
  /** How many a transaction: 1 to 10,000. Default 1,000. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;
}

/**
 * clock_timestamp() throughout: now() stands still in a caller's transaction. After waiting for a worker's write, which
 * holds the row FOR SHARE, or for another acquire, WHERE and SET are evaluated on the row as it is then. The caller has
 * drawn the token: a caller that finds it in the row has taken this lease before. A request of another restaurant is left
 * alone; one that is not there yet may be locked.
 */
const ACQUIRE = operation({
  name: 'acquire_lock',
  input: { ...leaseColumns, ttl_ms: float8 },
  output: rowsOf<{ fencing_token: string; expires_at: Date }>(),
  sql: `
    INSERT INTO auth_processing_locks AS held
      (auth_request_id, restaurant_id, worker_id, fencing_token, locked_at, expires_at)
    SELECT auth_request_id, restaurant_id, worker_id, fencing_token, clock_timestamp(),
           clock_timestamp() + ttl_ms * interval '1 millisecond'
    FROM input
    WHERE NOT EXISTS (SELECT FROM auth_request_state AS state
                      WHERE state.auth_request_id = input.auth_request_id AND state.restaurant_id <> input.restaurant_id)
    ON CONFLICT (auth_request_id) DO UPDATE
      SET restaurant_id = excluded.restaurant_id, worker_id = excluded.worker_id, fencing_token = excluded.fencing_token,
          locked_at = clock_timestamp(), expires_at = clock_timestamp() + (SELECT ttl_ms FROM input) * interval '1 millisecond'
      WHERE held.expires_at <= clock_timestamp()
         OR held.fencing_token = excluded.fencing_token AND held.worker_id = excluded.worker_id
    RETURNING fencing_token, expires_at`,
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
  input: { ...leaseColumns, ttl_ms: float8 },
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

/** Rows that somebody is taking over at this moment are left to them. */
const PURGE = operation({
  name: 'purge_expired_locks',
  input: { batch_size: integer },
  sql: `
    DELETE FROM auth_processing_locks WHERE auth_request_id IN (
      SELECT auth_request_id FROM auth_processing_locks WHERE expires_at <= clock_timestamp()
      LIMIT (SELECT batch_size FROM input) FOR UPDATE SKIP LOCKED)`,
});

/**
 * Leases: at most one worker works on a request, and one that was paused past its lease can write nothing more.
 *
 * The fencing token is after M. Kleppmann, "How to do distributed locking" (2016); here the database that the token
 * protects is also the one that issues it, so equality in the writing statement suffices.
 *
 * @example
 * const locks = new ProcessingLocks(dataSource);
 * const lease = await locks.acquire({ restaurantId, authRequestId, ttlMs: 30_000 });
 * if (!lease) return; // another worker has it
 * try {
 *   await requests.startAttempt(lease, { configVersion: 'v1' });
 * } finally {
 *   await locks.release(lease);
 * }
 */
export class ProcessingLocks {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Takes the lease, or an expired one over. What a connection that broke has left in doubt is asked once more.
   *
   * @returns null while another worker holds it, or another call of the same one: a lease is not re-entrant
   * @throws AuthRequestNotFoundError the request is another restaurant's
   * @throws InvalidCommandError
   */
  async acquire(input: AcquireCommand, manager?: EntityManager): Promise<Lease | null> {
    const command = validateCommand(AcquireCommand, input);
    const { authRequestId, restaurantId, ttlMs } = command;
    const { workerId = THIS_PROCESS, fencingToken = newFencingToken() } = command;
    const session = sessionOf(this.#dataSource, manager);
    const ref = { auth_request_id: authRequestId, restaurant_id: restaurantId };
    const ask = () => session.row(ACQUIRE, { ...ref, worker_id: workerId, fencing_token: fencingToken, ttl_ms: ttlMs });
    const row = await (session.isCallers ? ask() : repeatOnce(ask));
    if (!row) {
      if (await session.row(IS_OF_ANOTHER, ref)) throw new AuthRequestNotFoundError(authRequestId);
      return null;
    }
    return Object.freeze({
      restaurantId: restaurantId.toLowerCase(),
      authRequestId: authRequestId.toLowerCase(),
      workerId,
      fencingToken: BigInt(row.fencing_token),
      expiresAt: row.expires_at,
    });
  }

  /**
   * Extends a lease that has not expired: from now on it lives for `ttlMs` milliseconds.
   *
   * @param ttlMs as of {@link AcquireCommand}
   * @throws LockLostError, InvalidCommandError
   */
  async renew(given: Lease, ttlMs: number, manager?: EntityManager): Promise<Lease> {
    const lease = validLease(given);
    validateCommand(AcquireCommand, { ...lease, ttlMs });
    const session = sessionOf(this.#dataSource, manager);
    const row = await session.row(RENEW, { ...leaseInput(lease), ttl_ms: ttlMs });
    if (!row) throw new LockLostError(lease.authRequestId);
    return Object.freeze({ ...lease, expiresAt: row.expires_at });
  }

  /**
   * Gives the lease back.
   *
   * @returns whether it was still held
   * @throws InvalidCommandError
   */
  async release(lease: Lease, manager?: EntityManager): Promise<boolean> {
    return (await sessionOf(this.#dataSource, manager).write(RELEASE, leaseInput(validLease(lease)))) > 0;
  }

  /**
   * Runs `work` under a lease: acquires it, renews it at a third of its time to live, releases it in the end, whatever
   * happens. The signal aborts when the lease is lost: stop asking processors then. A write that comes too late throws
   * LockLostError by itself.
   *
   * Work that takes longer than `longestMs` is left behind: its signal aborts, the lease is renewed no more, and this
   * rejects. An answer to the release that the network swallows is waited for no longer than a third of `ttlMs`.
   *
   * @throws LockHeldError another worker holds it
   * @throws LockTimeoutError the work took too long; the lease expires by itself
   * @throws InvalidCommandError before anything is sent
   *
   * @example
   * await locks.withLock({ restaurantId, authRequestId, ttlMs: 30_000 }, async (lease, signal) => {
   *   const attempt = await requests.startAttempt(lease, { configVersion: 'v1' });
   *   if (attempt.outcome === 'nothing_to_do') return;
   *   const answer = await stripe.authorize(attempt, { idempotencyKey: lease.authRequestId, signal });
   *   await requests.recordAuthorized(lease, answer);
   * });
   */
  async withLock<T>(
    ref: AcquireCommand,
    work: (lease: Lease, signal: AbortSignal) => Promise<T>,
    options?: HoldOptions,
  ): Promise<T> {
    const command = validateCommand(AcquireCommand, ref);
    const { longestMs = HoldOptions.DEFAULT_LONGEST_MS } = validateOptions(HoldOptions, options);
    validateCommand(Work, { work });
    const askedAt = performance.now();
    const lease = await this.acquire(command);
    if (!lease) throw new LockHeldError(command.authRequestId);
    return await holdLease(this, lease, { ttlMs: command.ttlMs, askedAt, longestMs }, work);
  }

  /**
   * Deletes expired leases, `batchSize` at a time, each batch in a transaction of its own. Nothing waits for it: an expired
   * lease is anybody's anyway.
   *
   * @returns how many there were
   * @throws InvalidCommandError
   */
  async purgeExpired(options?: PurgeLocksOptions): Promise<number> {
    const { batchSize = 1_000 } = validateOptions(PurgeLocksOptions, options);
    return await writeInBatches(this.#dataSource, PURGE, batchSize);
  }
}
