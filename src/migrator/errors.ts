import { PaymentEventsDbError } from '../errors';
import { type Session } from './blocking-sessions';
import { type Begun } from './history';

const lines = (texts: readonly string[]) => texts.map((text) => `  ${text}`).join('\n');

const named = ({ pid, applicationName, user, since, state }: Session) =>
  `process ${pid} (${applicationName || 'no application name'}, user ${user}), ${state} since ${since.toISOString()}`;

/** Another session migrates this database, and did not end within the time to wait. Nothing was changed. */
export class MigrationInProgressError extends PaymentEventsDbError {
  readonly code = 'MIGRATION_IN_PROGRESS';
  override readonly retryable = true;

  constructor(holder: Session | undefined, waitedMs: number) {
    super(
      `Another session migrates this database, and did not end within ${waitedMs / 1_000} s: ` +
        `${holder ? named(holder) : 'it has just ended'}.\n` +
        'Let it finish and run this again. Ending it frees the lock and is safe: SELECT pg_terminate_backend(pid).',
    );
  }
}

/** A migration could not take a lock that it needs, although it tried again and again. What was applied stays applied. */
export class MigrationBlockedError extends PaymentEventsDbError {
  readonly code = 'MIGRATION_BLOCKED';
  override readonly retryable = true;

  constructor(
    /** The sessions that were in the way when it gave up, oldest transaction first. */
    readonly blockers: readonly Session[],
    waitedMs: number,
  ) {
    const who =
      blockers.length > 0
        ? `It is held or waited for by:\n${lines(blockers.map(named))}`
        : 'No session holds it any more.';
    super(
      `A lock that the migration needs could not be taken within ${Math.round(waitedMs / 1_000)} s. ${who}\n` +
        'Let them finish or end them, and run this again: it goes on where it stopped.',
    );
  }
}

/** Migrations were to run all in one transaction, or without any. Nothing was changed. */
export class TransactionModeError extends PaymentEventsDbError {
  readonly code = 'TRANSACTION_MODE';

  constructor(mode: 'all' | 'none') {
    super(
      `Migrations cannot run ${WHY_NOT[mode]}. Use the mode "each", or npx payment-events-db migrate. ` +
        'A migration that must not run in a transaction sets transaction = false.',
    );
  }
}

const WHY_NOT = {
  all:
    'all in one transaction: it would hold every lock until the last is done, and CREATE INDEX CONCURRENTLY cannot run ' +
    'inside one',
  none: 'without transactions: a migration that needs one, and was interrupted, could be neither finished nor reverted',
};

/** Indexes or functions of others have names that the migrations need. Nothing was changed. */
export class ObjectsInTheWayError extends PaymentEventsDbError {
  readonly code = 'OBJECTS_IN_THE_WAY';

  constructor(
    /** Each with what to do about it. */
    readonly objects: readonly string[],
  ) {
    super(`These are in the way, and nothing was changed:\n${lines(objects)}`);
  }
}

/** A migration was begun and did not end, and what was asked for needs one that has. Nothing was changed. */
export class HalfAppliedError extends PaymentEventsDbError {
  readonly code = 'HALF_APPLIED';

  /** @param aim what cannot be reached for it */
  constructor(
    readonly begun: Begun,
    aim?: string,
  ) {
    const { name, direction, at, by, version } = begun;
    const [what, finish, turn] = direction === 'up' ? UP : DOWN;
    super(
      `${name} is half applied: ${what} began at ${at} (user ${by}, version ${version}) and has not ended.` +
        `${aim ? ` ${aim} cannot be reached from there.` : ''}\n` +
        `Finish it: npx payment-events-db ${finish}. Or undo it: npx payment-events-db ${turn}.`,
    );
  }
}

const UP = ['its run', 'migrate', 'revert'] as const;
const DOWN = ['its revert', 'revert', 'migrate'] as const;

/** The database was migrated by other code than this. Nothing was changed. */
export class UnknownMigrationsError extends PaymentEventsDbError {
  readonly code = 'UNKNOWN_MIGRATIONS';

  constructor(readonly names: readonly string[]) {
    super(
      `The database has migrations that this version of the code does not know:\n${lines(names)}\n` +
        'A newer or another version of this package has migrated it. Use that version, or revert them with it: ' +
        'npx payment-events-db revert. If they are yours, move them to a history of your own, and run them from a second ' +
        'DataSource that has it as its migrationsTableName: the how-to on own tables has the statement.',
    );
  }
}

/** Migrations that the database has run are not the ones that this code has. Nothing was changed. */
export class ChangedMigrationsError extends PaymentEventsDbError {
  readonly code = 'CHANGED_MIGRATIONS';

  constructor(readonly names: readonly string[]) {
    super(
      `These migrations were changed after this database had run them:\n${lines(names)}\n` +
        'A released migration never changes: restore it, and make the change by a new one. Where the database was ' +
        'brought to the same schema by hand, record that: npx payment-events-db stamp <migration>.',
    );
  }
}

/** What was asked for needs migrations that the database does not have yet. Nothing was changed. */
export class PendingMigrationsError extends PaymentEventsDbError {
  readonly code = 'PENDING_MIGRATIONS';

  constructor(readonly names: readonly string[]) {
    super(`The database lacks these migrations:\n${lines(names)}\nRun them first: npx payment-events-db migrate`);
  }
}

/** There is no migration of that name. Nothing was changed. */
export class NoSuchMigrationError extends PaymentEventsDbError {
  readonly code = 'NO_SUCH_MIGRATION';

  constructor(name: string, names: readonly string[]) {
    super(`There is no migration ${name}. The names are:\n${lines(names)}`);
  }
}

/** Restaurants move out of this database, or into it, and its tables must stay as they are meanwhile. Nothing was changed. */
export class SplitUnderWayError extends PaymentEventsDbError {
  readonly code = 'SPLIT_UNDER_WAY';

  constructor() {
    super(
      'A split is under way between this database and another. Finish it or undo it first: ' +
        'npx payment-events-db shard split status says what is next.',
    );
  }
}
