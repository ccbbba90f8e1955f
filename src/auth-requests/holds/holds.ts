import { type DataSource, type EntityManager } from 'typeorm';
import { sessionOf } from '../../database/session';
import { type Lease, validLease } from '../../locks/lease';
import { attemptVoid, type AttemptVoidCommand, type AttemptVoidResult, type VoidAtProcessor } from './attempt-void';
import { type HoldFilter, listHolds, type ListHoldsCommand, type StandingHold } from './list-holds';
import { recordEnd, type RecordEndCommand } from './record-end';
import { recordVoidFailure, type RecordedVoidFailure, type VoidFailureCommand } from './record-void-failure';
import { recordVoided, type RecordedVoid, type VoidedCommand } from './record-voided';
import { reportHold, type ReportedHold, type ReportHoldCommand } from './report-hold';
import { requeueVoid, type RequeuedVoid, type RequeueVoidCommand } from './requeue-void';
import { type HoldState } from './states';
import { toVoid, type ToVoidCommand, type Voiding } from './to-void';
import { holdStats, type HoldStats, type HoldStatsCommand, holdTotals, type HoldTotals } from './total-holds';

/**
 * The money that processors hold: one hold for each authorization that one has ever reported, until somebody has ended it.
 * A hold that no request needs is `voiding`, with a message to the workers, until a worker or the processor tells how it ended.
 *
 * Every write is one statement under the lock of the request's row, writes its event with it, and may be repeated after a
 * lost answer. Each but `attemptVoid` and `toVoid` takes the manager of an open transaction. Beside the errors named, all throw
 * `InvalidCommandError` before anything is sent, and the retryable `DatabaseUnavailableError`, `DatabaseTimeoutError` and
 * `TransactionConflictError`.
 *
 * @example
 * const holds = new Holds(dataSource);
 * await holds.report({
 *   processorName: 'stripe', processorAuthId: 'pi_3OqFbW', told: 'captured', amountCents: 1050,
 *   source: 'stripe', sourceEventId: 'evt_1OqFbX',
 * });
 */
export class Holds {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Takes in what a processor tells by itself, any number of times, in any order and from many processes: that it holds
   * money, or how a hold ended. What counts for more stays: captured, voided, lapsed, in this order. It moves no request. A
   * hold that nobody needs is voided; a captured one of a closed request stays listed for a person.
   *
   * Where the processor was given the request as a reference, name it: the report may then come before the worker's answer,
   * which reopens nothing.
   *
   * @throws HoldNotFoundError retryable: the processor's id alone is named, and nobody has told of that hold yet. Have the
   *   processor deliver it again
   * @throws AmbiguousHoldError several requests have that hold: say the restaurant
   * @throws AuthRequestNotFoundError the request that is named is not there
   */
  report(command: ReportHoldCommand, manager?: EntityManager): Promise<ReportedHold> {
    return reportHold(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * Voids a hold, by two statements: takes the lease where there is something to void, has `ask` ask the processor while it
   * renews the lease, records the answer and gives the lease back with it. It resolves where something is recorded, or there is nothing to
   * do: acknowledge the message (unless the broker is to retry: `retryBy`). It rejects where nothing was recorded, or nobody knows: have it delivered again. What `ask` throws, and an answer
   * that is not valid or none, is recorded as a failure whose retry waits: see `AuthRequests.attempt`.
   *
   * @throws LockHeldError retryable: another worker is on it
   * @throws HoldNotFoundError retryable: the hold is not there
   * @throws LockLostError the lease was lost meanwhile: nothing was recorded
   * @throws LockTimeoutError it took longer than `longestMs`. What `ask` still answers is recorded as long as the lease is held
   *
   * @example
   * await holds.attemptVoid({ ...message, ttlMs: 30_000 }, async (hold, signal) => {
   *   const answer = await stripe.cancel(hold.processorAuthId, { signal });
   *   if (answer.canceled) return { outcome: 'voided' };
   *   return { outcome: 'failed', errorCode: answer.code, errorMessage: '', retryable: false };
   * });
   */
  async attemptVoid(command: AttemptVoidCommand, ask: VoidAtProcessor): Promise<AttemptVoidResult> {
    return await attemptVoid(sessionOf(this.#dataSource), command, ask);
  }

  /**
   * Tells the worker that has a `void_request_queued` message what to void, or that there is nothing to do. Under a lease on
   * the request, as attempts are. Writes nothing.
   *
   * @throws LockLostError
   * @throws HoldNotFoundError retryable: the hold is not there
   */
  async toVoid(lease: Lease, command: ToVoidCommand): Promise<Voiding> {
    return await toVoid(sessionOf(this.#dataSource), validLease(lease), command);
  }

  /**
   * Records that the processor has voided a hold.
   *
   * @throws LockLostError, HoldNotFoundError
   */
  async recordVoided(lease: Lease, command: VoidedCommand, manager?: EntityManager): Promise<RecordedVoid> {
    return await recordVoided(sessionOf(this.#dataSource, manager), validLease(lease), command);
  }

  /**
   * Records that the processor did not void a hold. Retryable, the message that brings it to a worker again is queued, due
   * at `nextRetryAt`; acknowledge the current one. Else the hold is `void_failed` and listed for a person.
   *
   * @throws LockLostError, HoldNotFoundError
   */
  async recordVoidFailure(
    lease: Lease,
    command: VoidFailureCommand,
    manager?: EntityManager,
  ): Promise<RecordedVoidFailure> {
    return await recordVoidFailure(sessionOf(this.#dataSource, manager), validLease(lease), command);
  }

  /**
   * Sends the void of a hold on its way again, on the word of a person. Kept as an event with name and reason. A repeat finds
   * it on its way and writes nothing.
   *
   * @throws HoldNotFoundError
   * @throws HoldStateError the hold has ended, or its request may use it: see `requestVoid`
   */
  requeueVoid(command: RequeueVoidCommand, manager?: EntityManager): Promise<RequeuedVoid> {
    return requeueVoid(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * Records how a hold ended, on the word of a person who has looked at the processor. Kept as an event with name and reason;
   * a hold that no request needs is on no list from then on. The same said by the same person is said once.
   *
   * @returns where the hold stands: what was captured stays so
   *
   * @throws HoldNotFoundError, AmbiguousHoldError
   */
  recordEnd(command: RecordEndCommand, manager?: EntityManager): Promise<{ readonly state: HoldState }> {
    return recordEnd(sessionOf(this.#dataSource, manager), command);
  }

  /**
   * Every hold that may still stand, all of one moment: the hold of a request that is open or AUTHORIZED, one
   * that is being voided, or one that waits for a person; each says which. Beside them what was captured although nobody
   * needed it, until a person has seen to it. What nobody needs comes first, the oldest first, then what lapses first.
   *
   * A hold is not listed that has ended, that the processor has let go by itself by now (`holdExpiresAt`), or that a person
   * has closed. Nor is one that a split has moved to another database, which may have ended there: `list`, `totals` and `stats` leave out
   * what it has left here.
   *
   * The next page comes `after` the `cursor` of the last one; the last page has fewer than `limit`. A hold whose state changes
   * meanwhile comes again at its new place. Needed ones of which nobody knows when they lapse come last of all, in no order,
   * and have no cursor: none is overdue and no person waits for one, there may be as many as authorized requests, and an index that
   * keeps them in order would cost each authorization a write. Raise `limit` to see more of them; `totals` counts them.
   *
   * @throws ConfigurationError the fences of the tables do not agree
   * @throws WrongShardError a split sends restaurants to this database, which has none yet
   */
  list(command?: ListHoldsCommand, manager?: EntityManager): Promise<StandingHold[]> {
    return listHolds(sessionOf(this.#dataSource, manager), command);
  }

  /** Counts and amounts of the same, by state and currency. Throws what {@link list} throws. */
  totals(filter?: HoldFilter, manager?: EntityManager): Promise<HoldTotals> {
    return holdTotals(sessionOf(this.#dataSource, manager), filter);
  }

  /**
   * The totals of all, the age of the oldest that should be gone, how many wait for a person, and how many lapse soon. Throws what
   * {@link list} throws.
   */
  stats(command?: HoldStatsCommand, manager?: EntityManager): Promise<HoldStats> {
    return holdStats(sessionOf(this.#dataSource, manager), command);
  }
}
