import { type DataSource, type EntityManager } from 'typeorm';
import { sessionOf } from '../database/session';
import { type Lease, validLease } from '../locks/lease';
import { type AskProcessor, attempt, type AttemptCommand, type AttemptResult } from './attempt';
import { type AuthRequest } from './auth-request';
import { authorize, type AuthorizeCommand, type AuthorizeReceipt, takeAlone } from './authorize';
import { type ClosedAttempts, closeUnanswered, type CloseUnansweredCommand } from './close-unanswered';
import { expire, type ExpireCommand } from './expire';
import { expireStale, type ExpireStaleCommand } from './expire-stale';
import {
  type FindCommand,
  type FindUnsettledCommand,
  type FoundRequest,
  listStuck,
  listUnsettled,
  type UnsettledRequest,
} from './find-requests';
import { type AuthRequestPage, get, list, type ListCommand, type RequestRef } from './queries';
import { type AuthorizedCommand, recordAuthorized } from './record-authorized';
import { type DeniedCommand, recordDenied } from './record-denied';
import { type FailureCommand, type RecordedFailure, recordFailure } from './record-failure';
import { type RecordedResult } from './recorded-result';
import { requestVoid, type VoidCommand, type VoidReceipt } from './request-void';
import { tellRecorded } from './result-watch';
import { type Attempt, startAttempt, type StartAttemptCommand } from './start-attempt';
import { takeTogether } from './take-together';
import { type AwaitedRequest, waitForResult, type WaitOptions } from './wait-for-result';

/**
 * The life of an authorization request. Every operation is one statement that writes its event, the read model and,
 * where it says so, outbox and idempotency key: all of it or nothing.
 *
 * Each but `attempt`, `startAttempt` and `waitForResult` takes the manager of an open transaction, to commit with what else the
 * caller writes. Without
 * one it is a transaction of its own. Each may be repeated after a lost answer, and is answered with what the first call
 * did: `authorize` and `requestVoid` by their key; a result, a failure or an expiry by what it says; `startAttempt` by the
 * `eventId` that it is given. Beside the errors named, all throw `InvalidCommandError` before anything is sent, and the
 * retryable `DatabaseUnavailableError`, `DatabaseTimeoutError` and `TransactionConflictError`.
 *
 * @example
 * const requests = new AuthRequests(dataSource);
 * const { authRequestId } = await requests.authorize({
 *   restaurantId, paymentToken, amountCents: 1050, currency: 'USD', idempotencyKey,
 * });
 */
export class AuthRequests {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Accepts a request: it is PENDING and its message to the workers goes out. The same key with the same request is
   * answered with the first one's id and its current status.
   *
   * Calls that would wait for each other travel together, in one statement, and are answered as if each had gone alone:
   * see `coalescedStatements` of the DataSource's settings.
   *
   * @throws IdempotencyKeyReuseError the key was used for something else
   * @throws OverloadedError 10,000 calls of this process, or 128 MiB of them, are under way, or there was no place within
   *   `connectTimeoutMs`. Nothing was written
   */
  authorize(command: AuthorizeCommand, manager?: EntityManager): Promise<AuthorizeReceipt> {
    if (manager === undefined) return authorize(this.#dataSource, takeTogether(this.#dataSource), command);
    return authorize(this.#dataSource, takeAlone(sessionOf(this.#dataSource, manager)), command);
  }

  /**
   * A worker's whole cycle, by two statements: takes the lease and begins an attempt, has `ask` ask the processor while it
   * renews the lease, records the answer and gives the lease back with it. It resolves where something is recorded, or there is
   * nothing to do: acknowledge the message (unless the broker is to retry: `retryBy`). It rejects where nothing was recorded, or
   * nobody knows: have it delivered again.
   *
   * No answer can be forgotten. What `ask` throws is recorded as a failure whose outcome is unknown, whose retry waits (its code, or
   * `WORKER_ERROR`; of its text only the error's name), and is the result's `error`. So is an answer that is not valid or
   * none, by an `InvalidCommandError`. An authorization that does not fit the request (`AuthorizationMismatchError`)
   * is kept as a hold and fails the request for good, so that it is voided; of one that is recorded with another amount
   * (`AuthorizationConflictError`) the attempt stays open, for a person. A write of the answer that the database does not take is
   * made again for as long as the lease is held.
   *
   * The lease is given back by the statement that records, never without it. Where that does not come about it expires,
   * and the attempt stays open.
   *
   * @throws LockHeldError retryable: another worker is on it
   * @throws LockLostError the lease was lost meanwhile: nothing was recorded
   * @throws LockTimeoutError it took longer than `longestMs`. What `ask` still answers is recorded as long as the lease is held
   * @throws AuthRequestNotFoundError; what `ask` has thrown, where the failure could not be recorded
   *
   * @example
   * const result = await requests.attempt(
   *   { restaurantId, authRequestId, configVersion: 'v1', ttlMs: 30_000 },
   *   async (attempt, signal) => {
   *     const charge = await stripe.authorize(attempt, { idempotencyKey: attempt.authRequestId, signal });
   *     if (charge.declined) return { outcome: 'denied', processorName: 'stripe', denialCode: charge.code };
   *     return {
   *       outcome: 'authorized', processorName: 'stripe', processorAuthId: charge.id,
   *       authorizedAmountCents: charge.amount, currency: attempt.currency,
   *     };
   *   },
   * );
   */
  async attempt(command: AttemptCommand, ask: AskProcessor): Promise<AttemptResult> {
    const result = await attempt(sessionOf(this.#dataSource), command, ask);
    this.#tellRecorded([command.authRequestId]);
    return result;
  }

  /**
   * Tells the worker what to do, and writes down that it is about to ask the processor. Always a transaction of its own:
   * were it undone, nothing would say that the processor was asked.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws EventIdConflictError the event id that was given belongs to something else
   */
  async startAttempt(lease: Lease, command: StartAttemptCommand): Promise<Attempt> {
    return await startAttempt(sessionOf(this.#dataSource), validLease(lease), command);
  }

  /**
   * Records that the processor said yes. Where the request is settled by now, its status stays and a message goes out that
   * has the processor release this authorization (`voidQueued`). The same authorization again writes nothing.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthorizationMismatchError another currency than asked for, or more
   * @throws AuthorizationConflictError the same authorization is recorded with another amount
   * @throws AuthRequestStatusError it is PENDING: no attempt was ever begun
   */
  async recordAuthorized(lease: Lease, command: AuthorizedCommand, manager?: EntityManager): Promise<RecordedResult> {
    const recorded = await recordAuthorized(sessionOf(this.#dataSource, manager), validLease(lease), command);
    this.#tellRecorded([lease.authRequestId], manager);
    return recorded;
  }

  /**
   * Records that the processor said no. A settled request keeps its status.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthRequestStatusError it is PENDING: no attempt was ever begun
   */
  async recordDenied(lease: Lease, command: DeniedCommand, manager?: EntityManager): Promise<RecordedResult> {
    const recorded = await recordDenied(sessionOf(this.#dataSource, manager), validLease(lease), command);
    this.#tellRecorded([lease.authRequestId], manager);
    return recorded;
  }

  /**
   * Records that the attempt came to nothing. Retryable, the request stays PROCESSING for another attempt, and the message
   * that brings it to a worker is queued, due at `nextRetryAt`; acknowledge the current one. Else it is
   * FAILED, also before any attempt. What that says of money is `outcome`: it closes no attempt but the one that this
   * lease has begun, and where the outcome is unknown not even that. A settled request keeps its status.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthRequestStatusError it is settled and this lease has no attempt open that it has not reported; or PENDING,
   *   and to be retried
   * @throws TransactionConflictError other writes of the same lease came in between three times
   */
  async recordFailure(lease: Lease, command: FailureCommand, manager?: EntityManager): Promise<RecordedFailure> {
    const recorded = await recordFailure(sessionOf(this.#dataSource, manager), validLease(lease), command);
    this.#tellRecorded([lease.authRequestId], manager);
    return recorded;
  }

  /**
   * Takes a request back; `outcome` says what that means for the money. The same key is answered with the first outcome.
   *
   * @throws AuthRequestNotFoundError
   * @throws NotVoidableError it is DENIED, FAILED, EXPIRED or VOIDED by another key; the key is not used up
   * @throws IdempotencyKeyReuseError the key was used for something else
   */
  async requestVoid(command: VoidCommand, manager?: EntityManager): Promise<VoidReceipt> {
    const receipt = await requestVoid(sessionOf(this.#dataSource, manager), command);
    this.#tellRecorded([receipt.authRequestId], manager);
    return receipt;
  }

  /**
   * Closes a request that nobody waits for any more. An attempt under way is settled when it ends. One that is EXPIRED
   * already stays so, and nothing is written.
   *
   * @throws AuthRequestNotFoundError
   * @throws AuthRequestStatusError it is settled otherwise
   */
  async expire(command: ExpireCommand, manager?: EntityManager): Promise<void> {
    await expire(sessionOf(this.#dataSource, manager), command);
    this.#tellRecorded([command.authRequestId], manager);
  }

  /**
   * Closes every PENDING or PROCESSING request of an age, in batches that commit by themselves: for a scheduler. Several
   * at once share the work.
   *
   * @returns the ids of what it closed
   */
  async expireStale(command: ExpireStaleCommand): Promise<string[]> {
    const expired = await expireStale(sessionOf(this.#dataSource), command);
    this.#tellRecorded(expired);
    return expired;
  }

  /** One request, or null. */
  get(ref: RequestRef, manager?: EntityManager): Promise<AuthRequest | null> {
    return get(sessionOf(this.#dataSource, manager), ref);
  }

  /**
   * Waits until a request is settled, by this process or another, for `timeoutMs` at most. All who wait in a process share
   * one statement each 10 to 100 ms, however many they are. A result that this process records is seen at once, unless it
   * does so in a transaction of the caller's.
   *
   * @returns the request, as read in the end; `settled` says whether there is a result or the time was up
   * @throws AuthRequestNotFoundError at once
   * @throws DatabaseUnavailableError and other retryable ones where the database is away when the time is up, at most a
   *   second after it
   * @throws DataSourceNotOpenError also where it is closed meanwhile
   * @throws the reason of the signal, at once
   *
   * @example
   * const { authRequestId } = await requests.authorize(command);
   * const { settled, status } = await requests.waitForResult({ restaurantId, authRequestId }, { timeoutMs: 3_000 });
   */
  waitForResult(ref: RequestRef, options?: WaitOptions): Promise<AwaitedRequest> {
    return waitForResult(this.#dataSource, ref, options);
  }

  /** A restaurant's requests, newest first, a page at a time. */
  list(command: ListCommand, manager?: EntityManager): Promise<AuthRequestPage> {
    return list(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * PENDING and PROCESSING requests of an age: nobody has picked them up, or their worker is gone. The oldest first; the next
   * page comes `after` the `cursor` of the last one, and the last page has fewer than `limit`. What a split has moved to another
   * database is not listed, also where it has left rows here: look for it there.
   *
   * @throws ConfigurationError the fences of the tables do not agree
   * @throws WrongShardError a split sends restaurants to this database, which has none yet
   *
   * @example
   * let page = await requests.listStuck({ olderThanMs: 600_000 });
   * while (page.length > 0) {
   *   for (const { authRequestId } of page) console.log(authRequestId);
   *   page = await requests.listStuck({ olderThanMs: 600_000, after: page.at(-1)!.cursor });
   * }
   */
  listStuck(command: FindCommand, manager?: EntityManager): Promise<FoundRequest[]> {
    return listStuck(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * Requests, whatever their status, of which a processor may have been asked and nobody has recorded the answer: money
   * may be held. Have a worker call `startAttempt` on each that can be asked: it answers `settle`, or `proceed` where the
   * request is still open. The others are for a person: see `closeUnanswered`. Those that can be asked come first, each part by age, in pages
   * as of {@link listStuck}, and of the same restaurants. One whose time to be asked runs out between two pages comes again, among the others.
   */
  listUnsettled(command: FindUnsettledCommand, manager?: EntityManager): Promise<UnsettledRequest[]> {
    return listUnsettled(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * Closes attempts that nobody can be asked about, on the word of a person who has looked at the processor. Kept as an
   * event with name and reason. A repeat finds nothing open and writes nothing.
   *
   * @throws AuthRequestNotFoundError
   * @throws LockHeldError a worker holds the request, and may be asking the processor
   *
   * @example
   * await requests.closeUnanswered({ restaurantId, authRequestId, configVersion: '', by: 'ops', reason: 'not at Stripe' });
   */
  closeUnanswered(command: CloseUnansweredCommand, manager?: EntityManager): Promise<ClosedAttempts> {
    return closeUnanswered(sessionOf(this.#dataSource, manager), command);
  }
  /** What a caller's transaction has written is not there before it commits: those who wait find it by themselves. */
  #tellRecorded(authRequestIds: readonly string[], manager?: EntityManager): void {
    if (!manager) tellRecorded(this.#dataSource, authRequestIds);
  }
}
