import { types } from 'node:util';
import {
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  DatabaseUnavailableError,
  PaymentEventsDbError,
  PermissionDeniedError,
  StalePlanError,
  TransactionConflictError,
} from '../errors';

/** What `pg` tells of an error that the server reported; `message`, `detail` and `where` may quote rows and parameters. */
interface ServerError {
  code: string;
  severity?: string;
  constraint?: string;
  table?: string;
}

const UNAVAILABLE = new Set([
  '53300', // too_many_connections
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
  '25P03', // idle_in_transaction_session_timeout
]);
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_AGAIN)/;
/** What `pg`, its pool and, of a transaction whose connection went, TypeORM say without giving a code. */
const CONNECTION_TEXTS =
  /^(Connection terminated|timeout expired|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error|Client was closed|Cannot use a pool after calling end|Query runner already released)/i;

/** A name of ours and nothing else: no other text of the server's is let through. */
const DENIED_OBJECT = /^permission denied for ((?:table|sequence|function|schema|database) \w+)$/;

/**
 * The one place that turns what PostgreSQL, `pg` or the network reports into an error of this package. Nothing of the
 * original is kept but its SQLSTATE and the names of constraint and table, since its texts may quote rows and
 * parameters: payment tokens, idempotency keys. An error that is not the database's passes through as it is.
 */
export function translateError(error: unknown): unknown {
  if (error instanceof PaymentEventsDbError || !types.isNativeError(error)) return error;
  // TypeORM wraps what the driver threw and keeps the parameters beside it.
  const original = ((error as { driverError?: unknown }).driverError ?? error) as Error & Partial<ServerError>;
  const code = original.code ?? '';
  if (UNAVAILABLE.has(code) || code.startsWith('08') || NETWORK.test(code)) return new DatabaseUnavailableError(code);
  if (CONNECTION_TEXTS.test(original.message)) return new DatabaseUnavailableError('connection lost');
  if (!/^[0-9A-Z]{5}$/.test(code) || original.severity === undefined) return error;
  if (code === '40001' || code === '40P01') return new TransactionConflictError(code);
  if (code === '55P03' || code === '57014') return new DatabaseTimeoutError(code);
  if (isStalePlan(original)) return new StalePlanError();
  if (code === '42501') return new PermissionDeniedError(DENIED_OBJECT.exec(original.message)?.[1]);
  if (code.startsWith('23') && original.constraint) {
    return new ConstraintViolationError(original.constraint, original.table, code);
  }
  return new DatabaseError(code, original.severity);
}

/** Whether the server itself reported it, so that the connection is fit for use. FATAL and PANIC end the connection. */
export function isServerError(error: unknown): boolean {
  return (error as ServerError).severity === 'ERROR';
}

/** "cached plan must not change result type": a migration changed a table that a prepared statement reads. */
export function isStalePlan(error: unknown): boolean {
  const { code, routine } = error as { code?: string; routine?: string };
  return code === '0A000' && routine === 'RevalidateCachedQuery';
}
