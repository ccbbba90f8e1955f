import { type DataSource, type EntityManager } from 'typeorm';
import { type Lease } from '../locks/processing-locks';
import { authorize, type AuthorizeReceipt } from './authorize';
import {
  type AuthorizeCommand,
  type AuthorizedCommand,
  type DeniedCommand,
  type ExpireCommand,
  type ExpireStaleCommand,
  type FailureCommand,
  type FindCommand,
  type ListCommand,
  type RequestRef,
  type StartAttemptCommand,
  type VoidCommand,
} from './commands';
import { expire, expireStale } from './expire';
import { type AuthRequest, type AuthRequestPage, get, list, listStuck, listUnsettled } from './queries';
import { recordAuthorized, type RecordedResult } from './record-authorized';
import { recordDenied } from './record-denied';
import { type RecordedFailure, recordFailure } from './record-failure';
import { requestVoid, type VoidReceipt } from './request-void';
import { type Attempt, startAttempt } from './start-attempt';

/**
 * The life of an authorization request. Every operation is one statement that writes its event, the read model and,
 * where it says so, outbox and idempotency key: all of it or nothing.
 *
 * Each takes the manager of an open transaction, to commit with what else the caller writes. Without one it is a
 * transaction of its own. Beside the errors named, all throw `InvalidCommandError` before anything is sent, and the
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
   * @throws IdempotencyKeyReuseError the key was used for something else
   */
  authorize(command: AuthorizeCommand, manager?: EntityManager): Promise<AuthorizeReceipt> {
    return authorize(this.#dataSource, command, manager);
  }

  /**
   * Tells the worker what to do, and writes down that it is about to ask the processor.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   */
  startAttempt(lease: Lease, command: StartAttemptCommand, manager?: EntityManager): Promise<Attempt> {
    return startAttempt(this.#dataSource, lease, command, manager);
  }

  /**
   * Records that the processor said yes. Where the request was closed meanwhile, its status stays and a message goes out
   * that has the processor release the money (`voidQueued`). A repeat of what is recorded already writes nothing.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthorizationMismatchError another currency than asked for, or more
   * @throws AuthRequestStatusError no attempt was under way
   */
  recordAuthorized(lease: Lease, command: AuthorizedCommand, manager?: EntityManager): Promise<RecordedResult> {
    return recordAuthorized(this.#dataSource, lease, command, manager);
  }

  /**
   * Records that the processor said no. A closed request keeps its status.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthRequestStatusError no attempt was under way
   */
  recordDenied(lease: Lease, command: DeniedCommand, manager?: EntityManager): Promise<RecordedResult> {
    return recordDenied(this.#dataSource, lease, command, manager);
  }

  /**
   * Records that the attempt came to nothing. Retryable, the request stays PROCESSING for another attempt; else it is
   * FAILED, also before any attempt. Where the outcome at the processor is unknown, the attempt stays open until somebody
   * has asked again. A closed request keeps its status.
   *
   * @throws LockLostError, AuthRequestNotFoundError
   * @throws AuthRequestStatusError no attempt was under way
   */
  recordFailure(lease: Lease, command: FailureCommand, manager?: EntityManager): Promise<RecordedFailure> {
    return recordFailure(this.#dataSource, lease, command, manager);
  }

  /**
   * Takes a request back; `outcome` says what that means for the money. The same key is answered with the first outcome.
   *
   * @throws AuthRequestNotFoundError
   * @throws NotVoidableError it is DENIED, FAILED, EXPIRED or VOIDED by another key; the key is not used up
   * @throws IdempotencyKeyReuseError the key was used for something else
   */
  requestVoid(command: VoidCommand, manager?: EntityManager): Promise<VoidReceipt> {
    return requestVoid(this.#dataSource, command, manager);
  }

  /**
   * Closes a request that nobody waits for any more. An attempt under way is settled when it ends.
   *
   * @throws AuthRequestNotFoundError
   * @throws AuthRequestStatusError it is settled already
   */
  expire(command: ExpireCommand, manager?: EntityManager): Promise<void> {
    return expire(this.#dataSource, command, manager);
  }

  /**
   * Closes every PENDING or PROCESSING request of an age, in batches that commit by themselves: for a scheduler. Several
   * at once share the work.
   *
   * @returns the ids of what it closed
   */
  expireStale(command: ExpireStaleCommand): Promise<string[]> {
    return expireStale(this.#dataSource, command);
  }

  /** One request, or null. */
  get(ref: RequestRef, manager?: EntityManager): Promise<AuthRequest | null> {
    return get(this.#dataSource, ref, manager);
  }

  /** A restaurant's requests, newest first, a page at a time. */
  list(command: ListCommand, manager?: EntityManager): Promise<AuthRequestPage> {
    return list(this.#dataSource, command, manager);
  }

  /** PENDING and PROCESSING requests of an age: nobody has picked them up, or their worker is gone. */
  listStuck(command: FindCommand, manager?: EntityManager): Promise<AuthRequest[]> {
    return listStuck(this.#dataSource, command, manager);
  }

  /**
   * Closed requests whose processor was asked and whose answer nobody recorded: money may be held. Have a worker call
   * `startAttempt` on each: it answers `settle`.
   */
  listUnsettled(command: FindCommand, manager?: EntityManager): Promise<AuthRequest[]> {
    return listUnsettled(this.#dataSource, command, manager);
  }
}
