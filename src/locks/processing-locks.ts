import { IsOptional } from 'class-validator';
import { type DataSource, type EntityManager } from 'typeorm';
import { BigInteger, LARGEST_BIGINT, Text, Uuid, WholeNumber } from '../validation/rules';
import { integer } from '../database/columns';
import { operation } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { sessionOf, writeInBatches } from '../database/session';
import { AuthRequestNotFoundError, LockHeldError } from '../errors';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { holdLease, validWork } from './hold-lease';
import { type Lease, validLease, wantedLease } from './lease';
import { acquireLease, isOfAnother, releaseLease, renewLease } from './lease-writes';

export { type Lease, newFencingToken } from './lease';

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

/** What a purge of leases may be told. */
export class PurgeLocksOptions {
  /** How many a transaction: 1 to 10,000. Default 1,000. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;
}

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
    const command = validateCommand({ AcquireCommand }, input);
    const lease = wantedLease(command);
    const session = sessionOf(this.#dataSource, manager);
    const ask = () => acquireLease(session, lease, command.ttlMs);
    const expiresAt = await (session.isCallers ? ask() : repeatOnce(ask));
    if (expiresAt) return Object.freeze({ ...lease, expiresAt });
    if (await isOfAnother(session, lease)) throw new AuthRequestNotFoundError(lease.authRequestId);
    return null;
  }

  /**
   * Extends a lease that has not expired: from now on it lives for `ttlMs` milliseconds.
   *
   * @param ttlMs as of {@link AcquireCommand}
   * @throws LockLostError, InvalidCommandError
   */
  async renew(given: Lease, ttlMs: number, manager?: EntityManager): Promise<Lease> {
    const lease = validLease(given);
    validateCommand({ AcquireCommand }, { ...lease, ttlMs });
    const expiresAt = await renewLease(sessionOf(this.#dataSource, manager), lease, ttlMs);
    return Object.freeze({ ...lease, expiresAt });
  }

  /**
   * Gives the lease back.
   *
   * @returns whether it was still held
   * @throws InvalidCommandError
   */
  async release(lease: Lease, manager?: EntityManager): Promise<boolean> {
    return await releaseLease(sessionOf(this.#dataSource, manager), validLease(lease));
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
    const command = validateCommand({ AcquireCommand }, ref);
    const { longestMs = HoldOptions.DEFAULT_LONGEST_MS } = validateOptions({ HoldOptions }, options);
    validWork(work);
    const askedAt = performance.now();
    const lease = await this.acquire(command);
    if (!lease) throw new LockHeldError(command.authRequestId);
    const session = sessionOf(this.#dataSource);
    const giveBack = () => releaseLease(session, lease);
    const held = { ttlMs: command.ttlMs, askedAt, longestMs, giveBack };
    return await holdLease(session, lease, held, (signal) => work(lease, signal));
  }

  /**
   * Deletes expired leases, `batchSize` at a time, each batch in a transaction of its own. Nothing waits for it: an expired
   * lease is anybody's anyway.
   *
   * @returns how many there were
   * @throws InvalidCommandError
   */
  async purgeExpired(options?: PurgeLocksOptions): Promise<number> {
    const { batchSize = 1_000 } = validateOptions({ PurgeLocksOptions }, options);
    return await writeInBatches(this.#dataSource, PURGE, batchSize);
  }
}
