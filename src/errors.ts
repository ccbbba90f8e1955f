/**
 * The base of every error this package throws on purpose.
 *
 * `code` is stable and meant for programs, `message` says what to do next and is safe to log: it never holds the
 * values of a row, a token, a key or a password. `retryable` says whether the same call may succeed when made again.
 */
export abstract class PaymentEventsDbError extends Error {
  abstract readonly code: string;
  readonly retryable: boolean = false;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
  }

  /** `LockLostError` of the code `LOCK_LOST`: the class itself may have another name after a minifier. */
  override get name(): string {
    // While the stack is taken the code is not there yet.
    const code = (this.code as string | undefined) ?? 'PAYMENT_EVENTS_DB';
    const words = code.replace(/_ERROR$/, '').toLowerCase();
    return `${words.replace(/(?:^|_)([a-z0-9])/g, (_, first: string) => first.toUpperCase())}Error`;
  }

  /** For logs in JSON, which else leave the message out and fail at a bigint. Never has the `cause`. */
  toJSON(): object {
    const own = Object.entries(this as Record<string, unknown>)
      .filter(([key]) => key !== 'cause')
      .map(([key, value]) => [key, typeof value === 'bigint' ? value.toString() : value] as const);
    return { name: this.name, message: this.message, ...Object.fromEntries(own) };
  }
}

/** A setting is missing or malformed. The message names the setting and what it should look like, never its value. */
export class ConfigurationError extends PaymentEventsDbError {
  readonly code = 'CONFIGURATION';
}

/** The session is not in the schema that the tables are to be in, or not for sure. Nothing was changed. */
export class WrongSchemaError extends PaymentEventsDbError {
  readonly code = 'WRONG_SCHEMA';
}

/**
 * A database, a schema or a file could not be made; the message says why, and what makes it. Nothing of it is there in
 * half, and what was there stays as it was.
 */
export class CannotCreateError extends PaymentEventsDbError {
  readonly code = 'CANNOT_CREATE';
}

/** An event has a type that this version of the package does not have. Upgrade the package before you read it. */
export class UnknownEventTypeError extends PaymentEventsDbError {
  readonly code = 'UNKNOWN_EVENT_TYPE';

  constructor(
    readonly eventType: string,
    readonly eventId: string,
  ) {
    super(
      `Event ${eventId} is of type ${eventType}, which this version of payment-events-db does not know. ` +
        'Upgrade to the version that its writer uses.',
    );
  }
}

/** The stored bytes of an event are not a message of its type, or hold a value that this version cannot express. */
export class UndecodableEventError extends PaymentEventsDbError {
  readonly code = 'UNDECODABLE_EVENT';

  constructor(
    readonly eventType: string,
    readonly eventId: string,
  ) {
    super(
      `Event ${eventId} cannot be read as ${eventType}: event_data is malformed or was written by another version. ` +
        'Find its writer; the row itself never changes.',
    );
  }
}

/** An outbox payload is of no type that this package has, or is not a message of its type. Sending it again is useless. */
export class UndecodableOutboxMessageError extends PaymentEventsDbError {
  readonly code = 'UNDECODABLE_OUTBOX_MESSAGE';

  constructor(readonly messageType: string) {
    super(
      `The payload cannot be read as an outbox message of type ${messageType}: the type is not known to this version ` +
        'of payment-events-db, or the payload is malformed. Discard it and find its writer.',
    );
  }
}

/** A field of an event or outbox message holds what its type cannot carry. Nothing was written. */
export class UnencodableMessageError extends PaymentEventsDbError {
  readonly code = 'UNENCODABLE_MESSAGE';

  constructor(
    readonly messageName: string,
    readonly field: string,
  ) {
    super(
      `${messageName}.${field} cannot be encoded. Amounts are safe integers, times valid dates, texts well-formed ` +
        'strings, statuses and types their defined names.',
    );
  }
}

/** A command is malformed. `problems` names each property and what it should be, never its value. Nothing was sent. */
export class InvalidCommandError extends PaymentEventsDbError {
  readonly code = 'INVALID_COMMAND';

  constructor(
    readonly command: string,
    readonly problems: readonly string[],
  ) {
    super(`${command}: ${problems.join('; ')}.`);
  }
}

/** There is no such request of that restaurant. */
export class AuthRequestNotFoundError extends PaymentEventsDbError {
  readonly code = 'AUTH_REQUEST_NOT_FOUND';

  constructor(readonly authRequestId: string) {
    super(`There is no authorization request ${authRequestId} of that restaurant.`);
  }
}

/** The idempotency key was used for another request or operation (HTTP 422). Send a new key with a new request. */
export class IdempotencyKeyReuseError extends PaymentEventsDbError {
  readonly code = 'IDEMPOTENCY_KEY_REUSE';

  constructor(readonly authRequestId: string) {
    super(
      `The idempotency key belongs to another request or operation, on ${authRequestId}. ` +
        'Use a new key for a new request, and the same body for the same key.',
    );
  }
}

/** The request cannot be voided: by its status, or since its money has been captured. The idempotency key is not used up. */
export class NotVoidableError extends PaymentEventsDbError {
  readonly code = 'NOT_VOIDABLE';

  constructor(
    readonly authRequestId: string,
    readonly status: string,
    /** `captured`: the money has been taken, and only a refund gives it back. */
    readonly because: 'status' | 'captured' = 'status',
  ) {
    super(
      because === 'captured'
        ? `The hold of authorization request ${authRequestId} was captured: refund it at the processor, a void is too late.`
        : `Authorization request ${authRequestId} is ${status}: only PENDING, PROCESSING and AUTHORIZED can be voided.`,
    );
  }
}

/** The request is in a status that the operation does not start from. Nothing was written. */
export class AuthRequestStatusError extends PaymentEventsDbError {
  readonly code = 'AUTH_REQUEST_STATUS';

  constructor(
    readonly authRequestId: string,
    readonly status: string,
    readonly operation: string,
  ) {
    super(`${operation} does not apply to authorization request ${authRequestId}, which is ${status}.`);
  }
}

/** Nobody has told of that hold yet. Its authorization may still be on its way: the same report again may find it. */
export class HoldNotFoundError extends PaymentEventsDbError {
  readonly code = 'HOLD_NOT_FOUND';
  override readonly retryable = true;

  constructor(
    readonly processorName: string,
    readonly processorAuthId: string,
  ) {
    super(
      `No hold ${processorAuthId} of ${processorName} is known. Let the processor deliver its report again, or say which ` +
        'authorization request it belongs to.',
    );
  }
}

/** Several requests have that hold. */
export class AmbiguousHoldError extends PaymentEventsDbError {
  readonly code = 'AMBIGUOUS_HOLD';

  constructor(
    readonly processorName: string,
    readonly processorAuthId: string,
  ) {
    super(
      `Several authorization requests have hold ${processorAuthId} of ${processorName}. Say which is meant: restaurantId or ` +
        'authRequestId.',
    );
  }
}

/** The hold is in a state that the operation does not start from. Nothing was written. */
export class HoldStateError extends PaymentEventsDbError {
  readonly code = 'HOLD_STATE';

  constructor(
    readonly authRequestId: string,
    readonly processorAuthId: string,
    readonly state: string,
    readonly operation: string,
  ) {
    super(
      `${operation} does not apply to hold ${processorAuthId} of authorization request ${authRequestId}, which is ${state}.`,
    );
  }
}

/** The processor authorized another currency than was asked for, or more. Nothing was written: settle it by hand. */
export class AuthorizationMismatchError extends PaymentEventsDbError {
  readonly code = 'AUTHORIZATION_MISMATCH';

  constructor(readonly authRequestId: string) {
    super(
      `The authorization for ${authRequestId} is in another currency than was asked for, or of a larger amount. ` +
        'It was not recorded: hand it to Holds.report, so that it is kept, and record a failure for good, which has it voided.',
    );
  }
}

/** The same authorization, by the processor's own id, is recorded with another amount. Nothing was written. */
export class AuthorizationConflictError extends PaymentEventsDbError {
  readonly code = 'AUTHORIZATION_CONFLICT';

  constructor(readonly authRequestId: string) {
    super(
      `The authorization for ${authRequestId} is recorded already, with another amount. ` +
        'Look at the processor for the amount that it holds, and settle it by hand.',
    );
  }
}

/** The worker does not hold the lease any more: it expired, was released or was taken over. Nothing was written. */
export class LockLostError extends PaymentEventsDbError {
  readonly code = 'LOCK_LOST';

  constructor(readonly authRequestId: string) {
    super(
      `The lease on authorization request ${authRequestId} is lost. Stop working on it; ` +
        'the request is delivered again or has another worker.',
    );
  }
}

/** Another worker holds the lease. Try again when it may have expired. */
export class LockHeldError extends PaymentEventsDbError {
  readonly code = 'LOCK_HELD';
  override readonly retryable = true;

  constructor(readonly authRequestId: string) {
    super(`Another worker holds the lease on authorization request ${authRequestId}.`);
  }
}

/** Work under a lease took longer than it may. It was told by its signal; its lease expires by itself. */
export class LockTimeoutError extends PaymentEventsDbError {
  readonly code = 'LOCK_TIMEOUT';

  constructor(
    readonly authRequestId: string,
    readonly longestMs: number,
  ) {
    super(
      `The work on authorization request ${authRequestId} took longer than ${longestMs} ms. What it began may be open: ` +
        'settle it. Allow more time (longestMs), or let the work stop when its signal aborts.',
    );
  }
}

/** Someone else has appended to the stream. Read it again, decide again, append again. */
export class ConcurrencyConflictError extends PaymentEventsDbError {
  readonly code = 'CONCURRENCY_CONFLICT';

  /** @param actual the stream's last sequence number; unknown where the caller's own transaction has been aborted */
  constructor(
    readonly aggregateId: string,
    readonly expected: number,
    readonly actual: number | undefined,
  ) {
    super(
      `The stream ${aggregateId} was expected to end at ${expected}` +
        (actual === undefined ? ' and does not.' : ` and ends at ${actual}.`) +
        ' Read it again, decide again, append again.',
    );
  }
}

/** An event id is taken by another event, or stands elsewhere in the stream. An event id is used once. */
export class EventIdConflictError extends PaymentEventsDbError {
  readonly code = 'EVENT_ID_CONFLICT';

  constructor(readonly eventId: string) {
    super(`Event id ${eventId} belongs to another event. Use a new id for a new event.`);
  }
}

/** There is no such message in the outbox, or it is past the point where that can be done. See `listFailed`. */
export class OutboxMessageNotFoundError extends PaymentEventsDbError {
  readonly code = 'OUTBOX_MESSAGE_NOT_FOUND';

  constructor(readonly id: bigint) {
    super(`Outbox message ${id} does not exist, was delivered, or has not failed.`);
  }
}

/**
 * The method must be given the EntityManager of an open transaction of its own DataSource, so that what it writes commits
 * with the rest. Nothing was sent.
 */
export class TransactionRequiredError extends PaymentEventsDbError {
  readonly code = 'TRANSACTION_REQUIRED';

  /** @param given what it was given instead */
  constructor(method: string, given?: string) {
    super(
      `${method} needs the manager of an open transaction${given ? `, and was given ${given}` : ''}: ` +
        'dataSource.transaction((manager) => …), or queryRunner.manager after startTransaction().',
    );
  }
}

/** The DataSource has not been opened, or it has been closed. Nothing was sent. */
export class DataSourceNotOpenError extends PaymentEventsDbError {
  readonly code = 'DATA_SOURCE_NOT_OPEN';

  constructor() {
    super('The DataSource is not open: await dataSource.initialize() before, and destroy() after everything else.');
  }
}

/**
 * A statement of the transaction had failed, and its error was not let through: PostgreSQL has undone all of the
 * transaction. Let errors of the database leave the work; what may fail by itself goes into a transaction of its own.
 */
export class TransactionAbortedError extends PaymentEventsDbError {
  readonly code = 'TRANSACTION_ABORTED';

  constructor() {
    super(
      'Nothing of the transaction was kept: one of its statements had failed, and its error was caught. Let such an ' +
        'error through, or run what may fail in a nested transaction (a savepoint).',
    );
  }
}

/**
 * The connection broke after COMMIT was sent and before its answer came: all of the transaction took place, or nothing
 * of it. Not retryable as it is: only what carries a key may be repeated. See docs/reference/errors.md.
 */
export class OutcomeUnknownError extends PaymentEventsDbError {
  readonly code = 'OUTCOME_UNKNOWN';

  constructor() {
    super(
      'Whether the transaction was committed is not known: the answer to COMMIT was lost. Check whether it took ' +
        'place before you run it again; a transaction whose every write carries a key may be run again as it is.',
    );
  }
}

/**
 * The database refused a row. `constraint` is the name of the check, key or guard, `sqlState` the SQLSTATE; the row
 * itself is not told.
 */
export class ConstraintViolationError extends PaymentEventsDbError {
  readonly code = 'CONSTRAINT_VIOLATION';

  constructor(
    readonly constraint: string,
    readonly table: string | undefined,
    readonly sqlState: string,
  ) {
    super(`The database refused a row${table ? ` of ${table}` : ''}: ${constraint}.`);
  }
}

/**
 * The database has other restaurants than this one: the map of shards in use is an old one, or a DataSource was used for
 * a restaurant that is not its own. Nothing was written. Reload the map and make the call at the database that it names:
 * `Shards.run` does so.
 */
export class WrongShardError extends PaymentEventsDbError {
  readonly code = 'WRONG_SHARD';

  constructor(
    message = 'The restaurant is in another database. Nothing was written: reload the map of shards.',
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The database undid the transaction in favour of another one: a deadlock or a serialization failure. Do it again. */
export class TransactionConflictError extends PaymentEventsDbError {
  readonly code = 'TRANSACTION_CONFLICT';
  override readonly retryable = true;

  constructor(readonly sqlState: string) {
    super('The transaction conflicted with another one and was undone. Run it again from its beginning.');
  }
}

/** A time-out fired: waiting for a lock, or running. The database undid the statement. Do it again. */
export class DatabaseTimeoutError extends PaymentEventsDbError {
  readonly code = 'DATABASE_TIMEOUT';
  override readonly retryable = true;

  constructor(readonly sqlState: string) {
    super(`${TIMEOUTS[sqlState] ?? 'Something took too long.'} Try again.`);
  }
}

const TIMEOUTS: Readonly<Record<string, string>> = {
  '55P03': 'A lock could not be taken within lock_timeout.',
  '55006': 'Another session is using the object.',
  '57014': 'The statement was cancelled, by statement_timeout or by a person.',
};

/**
 * The database cannot be reached or takes no writes, or the connection broke. Whether an operation by itself took place
 * is not known: try again with the same idempotency key, or under the same lease. A transaction of the caller's did not.
 */
export class DatabaseUnavailableError extends PaymentEventsDbError {
  readonly code = 'DATABASE_UNAVAILABLE';
  override readonly retryable = true;

  /**
   * @param reason an SQLSTATE, or the name of a network error such as `ECONNREFUSED`; `password` or `certificate` where a new
   *   connection could not get its own
   */
  constructor(
    readonly reason: string,
    message = reason === '25006'
      ? 'The server takes no writes (25006): it is a standby, or default_transaction_read_only is on. Try again.'
      : `The database cannot be reached or the connection broke (${reason}). Try again.`,
  ) {
    super(message);
  }
}

/** More calls of this process wait for the database than it answers in time. Nothing was written. */
export class OverloadedError extends PaymentEventsDbError {
  readonly code = 'OVERLOADED';
  override readonly retryable = true;

  constructor() {
    super(
      'More calls of this process wait for the database than it answers in time. Nothing was written: try again later.',
    );
  }
}

/**
 * The user that the connection logged in as may not do that. `object` is the table or the like, where the server says it
 * in English.
 */
export class PermissionDeniedError extends PaymentEventsDbError {
  readonly code = 'PERMISSION_DENIED';

  constructor(readonly object: string | undefined) {
    super(
      `The database user may not do that${object ? `: permission denied for ${object}` : ''}. Log in as a member of ` +
        'the role that has this operation. If it is one, the owner runs: npx payment-events-db grants.',
    );
  }
}

/** A statement must be prepared again, and the caller's transaction has been aborted by it. Run that transaction again. */
export class StalePlanError extends PaymentEventsDbError {
  readonly code = 'STALE_PLAN';
  override readonly retryable = true;

  constructor() {
    super('A prepared statement has become stale or was lost. Run the transaction again from its beginning.');
  }
}

/** The database reported something that this package has no better name for: the message says what it may be. */
export class DatabaseError extends PaymentEventsDbError {
  readonly code = 'DATABASE_ERROR';

  /** @param advice what is known of that SQLSTATE */
  constructor(
    readonly sqlState: string,
    readonly severity: string | undefined,
    advice = 'See the list of error codes of PostgreSQL.',
  ) {
    super(`The database reported SQLSTATE ${sqlState}. ${advice} Its own log has the text, which may quote values.`);
  }
}
