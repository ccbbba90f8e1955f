import { isSqlState, sqlStateRule } from '../database/sql-states';
import { type DatabaseAddress } from '../database-address';
import {
  ConfigurationError,
  DatabaseError,
  DatabaseUnavailableError,
  InvalidCommandError,
  PaymentEventsDbError,
} from '../errors';
import { ExitCode } from './exit-codes';

/** What to tell the person at the terminal. */
export interface Explanation {
  readonly text: string;
  readonly exitCode: ExitCode;
}

/**
 * Turns a failure into what to do about it. The one place where codes of PostgreSQL and of Node become advice.
 * Never says a password or a row's value: a server's DETAIL, a statement's parameters and a URL are left out.
 *
 * @param address what was tried, where it is known
 */
export function explainError(error: unknown, address?: DatabaseAddress): Explanation {
  if (error instanceof ConfigurationError || error instanceof InvalidCommandError) {
    return { text: error.message, exitCode: ExitCode.usage };
  }
  if (error instanceof DatabaseUnavailableError) return unreachable(error.message);
  if (error instanceof DatabaseError && sqlStateRule(error.sqlState).kind === 'schema') {
    return {
      text:
        `The database lacks something that this version needs (${error.sqlState}): a migration has not run yet.\n` +
        'Run ./scripts/migrate_payment_events_db.sh first.',
      exitCode: ExitCode.refused,
    };
  }
  if (error instanceof PaymentEventsDbError) {
    const isRefusal = !error.retryable && !(error instanceof DatabaseError);
    return { text: error.message, exitCode: isRefusal ? ExitCode.refused : ExitCode.failed };
  }
  const code = codeOf(error);
  const where = address ? `${address.host}:${address.port}` : 'the address in DATABASE_URL';
  const database = address?.database ?? 'of DATABASE_URL';
  const user = address?.user ?? 'of DATABASE_URL';

  if (isUnreachable(error, code)) {
    return unreachable(
      `No PostgreSQL server answers at ${where} (database ${database}, user ${user}): ${code ?? 'time-out'}.`,
      ...(address?.isLocal ? START_ONE : ['Check the host and port in DATABASE_URL, the network and its firewalls.']),
    );
  }
  const { kind, reason } = sqlStateRule(code ?? '');
  if (kind === 'unavailable')
    return unreachable(`The server at ${where} cannot do it now (${code}). ${reason} Try again.`);
  if (kind === 'conflict' || kind === 'timeout') {
    return failed(
      `Other sessions are using the tables, or a statement took too long (${code}).`,
      'Run this again; what was applied stays applied.',
    );
  }
  switch (code ?? '') {
    case '28P01':
    case '28000':
    case NO_PASSWORD:
      return unreachable(
        `The server at ${where} refuses the login of user ${user} (${code}).`,
        'Check user and password in DATABASE_URL; special characters of a password are percent-encoded (@ as %40).',
      );
    case '3D000':
      return unreachable(
        `The database ${database} does not exist at ${where}.`,
        'Create and migrate it: ./scripts/migrate_payment_events_db.sh',
      );
    case '42501':
      return failed(
        `User ${user} lacks a privilege: ${messageOf(error)}.`,
        'Migrations run as the owner of the database; creating one needs CREATEDB.',
      );
    case '42P07':
    case '42710':
      return failed(
        `An object is there already that a migration is to create: ${messageOf(error)}.`,
        "The history of migrations does not fit the tables: something else made them. On a developer's own database " +
          'start over with ./scripts/reset_payment_events_db.sh; on any other find out first what made them.',
      );
    default:
      return failed(...unforeseen(error, code));
  }
}

const START_ONE = [
  'Start one with either of:',
  '  npm run db:start',
  '  docker compose -f infrastructure/docker/docker-compose.yml up --detach --wait',
  'or point DATABASE_URL to one that runs.',
];

/** Ours: pg has no code for "the server asks for a password and the URL has none". */
const NO_PASSWORD = 'no password given';

/** What Node says of a network or a socket, and pg's own connection time-outs. */
function isUnreachable(error: unknown, code: string | undefined): boolean {
  if (!code) return /timeout expired|connection timeout|Connection terminated/.test(messageOf(error));
  if (code === 'ENOENT' || code === 'EACCES') return (error as NodeJS.ErrnoException).syscall === 'connect';
  return /^(ECONN|ENOTFOUND|EAI_|EHOST|ENET|ETIMEDOUT|EPIPE)/.test(code);
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code === 'string') return code;
  return messageOf(error).includes('client password must be a string') ? NO_PASSWORD : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function unforeseen(error: unknown, code: string | undefined): string[] {
  // The message of a data exception (class 22) quotes the value.
  if (code?.startsWith('22')) return [`The database refused a value (${code}); its log says which.`];
  if (isSqlState(code)) return [`The database says: ${messageOf(error)} (${code}).`];
  return [error instanceof Error ? (error.stack ?? error.message) : String(error)];
}

const unreachable = (...text: string[]): Explanation => ({ text: text.join('\n'), exitCode: ExitCode.unreachable });
const failed = (...text: string[]): Explanation => ({ text: text.join('\n'), exitCode: ExitCode.failed });
