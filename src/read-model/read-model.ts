import { type DataSource, type EntityManager } from 'typeorm';
import { callersSession, type Session, sessionOf } from '../database/session';
import { query, sql } from '../database/sql';
import { transaction } from '../database/transaction';
import { PaymentEventsDbError } from '../errors';
import { assertNoSplit } from '../migrator/split-under-way';
import { Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { planRebuild, type Rebuild } from './plan-rebuild';
import { replaceHolds } from './replace-holds';
import { replaceRow } from './replace-row';
import { findSharedHolds, type SharedHold } from './shared-holds';
import { Verification, VerificationScope } from './verification';

/** Only the owner of the table may rebuild its rows. Nothing was changed. */
export class RebuildNotAllowedError extends PaymentEventsDbError {
  readonly code = 'REBUILD_NOT_ALLOWED';

  constructor(readonly owner: string) {
    super(`Only the owner of auth_request_state may rebuild a request from its events: connect as ${owner}.`);
  }
}

/** Which request to rebuild. */
class RebuildCommand {
  @Uuid()
  authRequestId: string;
}

const OWNER = sql`
  SELECT relowner::regrole::text AS owner, pg_has_role(current_user, relowner, 'USAGE') AS allowed
  FROM pg_class WHERE oid = to_regclass('auth_request_state')`;

/** Longer than deadlock_timeout (1 s), after which a vacuum that is in the way gives up its own lock. */
const WAIT_BRIEFLY = { lock_timeout: '2s' };
const LOCK = `LOCK TABLE auth_request_state IN EXCLUSIVE MODE`;

/** No migration changes the type of a column between the look at it and the statement that relies on it. */
const KEEP_EVENTS_AS_THEY_ARE = `LOCK TABLE payment_events IN ACCESS SHARE MODE`;

/**
 * Whether `auth_request_state` says what the events say, and how to correct it where it does not.
 *
 * @example
 * const readModel = new ReadModel(dataSource);
 * const verification = readModel.verify({ restaurantId });
 * for await (const difference of verification) console.log(difference);
 * console.log(`${verification.differing} of ${verification.checked} requests differ`);
 */
export class ReadModel {
  readonly #dataSource: DataSource;

  constructor(dataSource: DataSource) {
    this.#dataSource = dataSource;
  }

  /**
   * Compares rows with their events: status, last_event_sequence, amount, currency, payment token, the processor's and
   * the denial fields, and attempts; and its holds, each with what its row in `auth_holds` says of it. Reads only, and in
   * pages: any number of requests, while they change.
   *
   * Works at every step of the migrations, and compares what rows hold by then: attempts once the guard of the table is
   * there, whose migration fills them in; holds once their migration has filled in their table.
   *
   * A hold whose state no event says, as those of clients that knew no holds, counts as `held`, and where
   * its request does not need it as `voiding` too.
   *
   * What a split has moved to another database is left out, and counted as `leftBehind`: only its events are here.
   *
   * A difference is something to look into before it is mended. A row that is AUTHORIZED where the events say VOIDED,
   * EXPIRED or FAILED may hold money that nobody has released.
   *
   * @param scope default: every request
   *
   * @throws {InvalidCommandError} an id is not a UUID, or the scope has something else
   * @throws {AuthRequestNotFoundError} while iterating: the scope names a request that does not exist there
   * @throws {PendingMigrationsError} while iterating: the tables are not there yet
   */
  verify(scope?: VerificationScope, manager?: EntityManager): Verification {
    return new Verification(this.#dataSource, validateOptions({ VerificationScope }, scope), manager);
  }

  /**
   * Holds that several requests have: the same name of the processor and the same id of it, where money may still be held
   * under it. Both are kept, and no event is wrong: ask the processor which request it belongs to, before one is voided for
   * the other. Reads only, in pages; nothing where the table of holds is not there yet, and nothing of what a split has moved to
   * another database.
   *
   * @param scope one request, or those that a request of one restaurant has; default: all
   *
   * @example
   * for await (const { processorAuthId, holds } of readModel.sharedHolds()) console.log(processorAuthId, holds);
   *
   * @throws {InvalidCommandError} an id is not a UUID, or the scope has something else
   * @throws {PendingMigrationsError} while iterating: the tables are not there yet
   */
  sharedHolds(scope?: VerificationScope, manager?: EntityManager): AsyncIterable<SharedHold> {
    const checked = validateOptions({ VerificationScope }, scope);
    return findSharedHolds(this.#dataSource, sessionOf(this.#dataSource, manager), checked);
  }

  /**
   * What {@link rebuild} would change now. Reads only; any role that may read can ask.
   *
   * @throws {InvalidCommandError} the id is not a UUID
   * @throws {AuthRequestNotFoundError} it has neither a row nor events
   * @throws {UnfoldableStreamError} its events do not tell what it is
   * @throws {WrongShardError} its restaurant is in another database
   */
  async previewRebuild(authRequestId: string, manager?: EntityManager): Promise<Rebuild> {
    validateCommand({ RebuildCommand }, { authRequestId });
    return (await planRebuild(this.#dataSource, sessionOf(this.#dataSource, manager), authRequestId)).rebuild;
  }

  /**
   * Replaces the row of a request by what its events say; created_at, metadata and last_event_id stay as they are. A row
   * that is missing is made, with created_at of event 1. Its holds are replaced in the same way: sweeps and swept_at stay,
   * state_since where the state does, and so does a state that no event says. Writes nothing
   * where row and holds are right, so that a second call is harmless. No message is written: a hold that is `voiding`
   * gets one from the sweeper.
   *
   * A row is deleted and inserted, since its guard lets nobody take a request or a hold back to an earlier status. A writer that waited
   * for the deleted row would find none, so that writers must not wait for the row; each looks at the request first: EXCLUSIVE on auth_request_state makes
   * them wait for the table instead, from before they look at it (a statement takes its snapshot after its table locks).
   * Plain reads go on. The lock is held for two short statements, and waited for at most two seconds: during these, too,
   * writers wait. In a transaction of the caller's it is waited for under that one's lock_timeout and held to its end.
   *
   * Works at every step of the migrations. Times without a zone are written in the zone that taking over the database has
   * recorded for them.
   *
   * @throws {InvalidCommandError} the id is not a UUID
   * @throws {RebuildNotAllowedError} the role is not the owner of the table
   * @throws {AuthRequestNotFoundError} it has neither a row nor events
   * @throws {UnfoldableStreamError} its events do not tell what it is
   * @throws {ConstraintViolationError} its events give a row that a check refuses, such as AUTHORIZED without an id of
   *   the processor
   * @throws {DatabaseTimeoutError} retryable: a long transaction is writing
   * @throws {TransactionRequiredError} the manager given has no open transaction
   * @throws {SplitUnderWayError} restaurants move out of this database, or into it
   * @throws {WrongShardError} its restaurant is in another database
   * @throws {PendingMigrationsError} the tables are not there yet
   * @throws {LegacyTimeZoneError} times have no zone yet, and the database was not taken over: nothing says which it is
   */
  async rebuild(authRequestId: string, manager?: EntityManager): Promise<Rebuild> {
    validateCommand({ RebuildCommand }, { authRequestId });
    const session =
      manager === undefined ? sessionOf(this.#dataSource) : callersSession(this.#dataSource, manager, 'rebuild');
    await requireOwner(session);
    await assertNoSplit(session);
    const { rebuild } = await planRebuild(this.#dataSource, session, authRequestId);
    if (rebuild.outcome === 'unchanged') return rebuild;
    if (session.isCallers) return await this.#replace(session, authRequestId);
    return await transaction(this.#dataSource, WAIT_BRIEFLY, (own) => this.#replace(own, authRequestId));
  }

  async #replace(session: Session, authRequestId: string): Promise<Rebuild> {
    await session.query(LOCK);
    await session.query(KEEP_EVENTS_AS_THEY_ARE);
    // What publishes the table for a split waits for this lock.
    await assertNoSplit(session);
    // Whatever was committed before the locks were granted is seen from here on.
    const plan = await planRebuild(this.#dataSource, session, authRequestId);
    const { rebuild } = plan;
    if (rebuild.outcome === 'created' || rebuild.differences.length > 0) await replaceRow(session, plan);
    if (rebuild.holds) await replaceHolds(session, plan);
    return rebuild;
  }
}

/** Refuses early, before anything is locked, what the guard of the table would refuse. */
async function requireOwner(session: Session): Promise<void> {
  const [table] = await query<{ owner: string; allowed: boolean }>(session, OWNER);
  if (table && !table.allowed) throw new RebuildNotAllowedError(table.owner);
}
