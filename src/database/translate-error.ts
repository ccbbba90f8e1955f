import { types } from 'node:util';
import {
  ConfigurationError,
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  DatabaseUnavailableError,
  OutcomeUnknownError,
  PaymentEventsDbError,
  PermissionDeniedError,
  StalePlanError,
  TransactionAbortedError,
  TransactionConflictError,
  WrongShardError,
} from '../errors';
import { isSqlState, sqlStateRule, READ_ONLY_TRANSACTION } from './sql-states';
import { tlsProblem } from './tls-problem';

/** What `pg` tells of an error that the server reported; `message`, `detail` and `where` may quote rows and parameters. */
interface ServerError extends Error {
  code: string;
  severity: string;
  constraint?: string;
  table?: string;
  routine?: string;
}

const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_AGAIN)/;
/** What `pg`, its pool and, of a transaction whose connection went, TypeORM say without giving a code. */
const CONNECTION_TEXTS =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Query runner already released)/i;

/** What PgBouncer says under 08P01 of troubles that pass; its other 08P01 are mistakes of a configuration. */
const POOLER_TROUBLE =
  /query_wait_timeout|client_login_timeout|server_login_retry|max_client_conn|no more connections allowed|shutting down|server conn(ection)? crashed|cannot connect to server|admin forced disconnect/i;

/** The checks that keep the restaurants of other databases out: see `fence`. */
const FENCE =
  /^((payment_events|auth_idempotency_keys|restaurant_payment_configs)_shard|payment_events_split_receives)$/;

/** A name of ours and nothing else: no other text of the server's is let through. */
const DENIED_OBJECT = /^permission denied for ((?:table|sequence|function|schema|database) \w+)$/;

/**
 * The one place that turns what a connection to the database has thrown into an error of this package; its caller
 * knows that it came from there, since a processor's ECONNRESET looks the same. Nothing of the original is kept but its
 * SQLSTATE and the names of constraint and table: its texts may quote rows and parameters. What is neither of the server,
 * of TLS nor of the network passes through as it is.
 */
export function translateError(error: unknown): unknown {
  if (error instanceof PaymentEventsDbError || !types.isNativeError(error)) return error;
  const original = originalOf(error);
  if (original instanceof PaymentEventsDbError) return original;
  const own = ownCauseOf(original);
  if (own) return own;
  if (isFromServer(original)) return translateServerError(original);
  const { code } = original as { code?: unknown };
  if (typeof code === 'string' && NETWORK.test(code)) return new DatabaseUnavailableError(code);
  const tls = tlsProblem(original);
  if (tls) return new ConfigurationError(tls.join(' '));
  if (original.message.includes('client password must be a string')) {
    return new ConfigurationError(
      'The server asks for a password, and none is given: see password of the settings, or PGPASSWORD.',
    );
  }
  return CONNECTION_TEXTS.test(original.message) ? new DatabaseUnavailableError('connection lost') : error;
}

function translateServerError(error: ServerError): PaymentEventsDbError {
  const { code } = error;
  if (isStalePlan(error)) return new StalePlanError();
  if (code === '08P01' && POOLER_TROUBLE.test(error.message)) return new DatabaseUnavailableError(code);
  if (code.startsWith('23') && error.constraint) {
    if (FENCE.test(error.constraint)) return new WrongShardError();
    return new ConstraintViolationError(error.constraint, error.table, code);
  }
  const { kind, reason } = sqlStateRule(code);
  switch (kind) {
    case 'unavailable':
      return new DatabaseUnavailableError(code);
    case 'conflict':
      return new TransactionConflictError(code);
    case 'timeout':
      return new DatabaseTimeoutError(code);
    case 'stale-plan':
      return new StalePlanError();
    case 'outcome-unknown':
      return new OutcomeUnknownError();
    case 'aborted':
      return new TransactionAbortedError();
    case 'permission':
      return new PermissionDeniedError(DENIED_OBJECT.exec(error.message)?.[1]);
    case 'configuration':
    case 'schema':
    case 'use':
    case 'alarm':
      return new DatabaseError(code, error.severity, reason);
  }
}

/** What a connection has said itself, where its pool has put "connection timeout" in front of it. */
export function ownCauseOf(error: unknown): PaymentEventsDbError | undefined {
  const { cause } = (error ?? {}) as { cause?: unknown };
  return cause instanceof PaymentEventsDbError ? cause : undefined;
}

/** TypeORM wraps what the driver threw and keeps the parameters beside it. */
export const originalOf = (error: Error): Error => (error as { driverError?: Error }).driverError ?? error;

const isFromServer = (error: Error): error is ServerError =>
  isSqlState((error as Partial<ServerError>).code) && (error as Partial<ServerError>).severity !== undefined;

/**
 * Whether the connection may be used again: the server itself has reported the error and goes on. By the table as well as
 * by its severity, which a server says in its own language.
 */
export function isFitAfter(error: unknown): boolean {
  if (!types.isNativeError(error)) return false;
  const original = originalOf(error);
  if (!isFromServer(original) || ['FATAL', 'PANIC'].includes(original.severity)) return false;
  return !sqlStateRule(original.code).unfit;
}

/** Whether the server said that it takes no writes. */
export const isReadOnly = (error: unknown): boolean =>
  types.isNativeError(error) && (originalOf(error) as Partial<ServerError>).code === READ_ONLY_TRANSACTION;

/**
 * Whether a prepared statement must be prepared again: a migration changed a table that it reads ("cached plan must not
 * change result type"), or the session does not have it any more.
 */
export function isStalePlan(error: unknown): boolean {
  const { code, routine } = error as Partial<ServerError>;
  return (code === '0A000' && routine === 'RevalidateCachedQuery') || isForgottenPlan(error);
}

/** Whether the session does not have a prepared statement that this client has prepared on it: DISCARD ALL, a pooler. */
export const isForgottenPlan = (error: unknown): boolean => (error as Partial<ServerError>).code === '26000';
