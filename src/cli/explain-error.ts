import { isSqlState, READ_ONLY_TRANSACTION, sqlStateRule } from '../database/sql-states';
import { type DatabaseAddress } from '../database/database-address';
import { disarm } from '../database/disarm';
import { tlsProblem } from '../database/tls-problem';
import {
  ConfigurationError,
  DatabaseError,
  DatabaseUnavailableError,
  HoldNotFoundError,
  InvalidCommandError,
  PaymentEventsDbError,
} from '../errors';
import { PendingMigrationsError } from '../migrator/errors';
import { ExitCode } from './exit-codes';

/** What to tell the person, or the program, at the terminal. */
export interface Explanation {
  /** For programs: `code` of our errors, else an SQLSTATE or a code of Node; `USAGE` and `UNFORESEEN` where there is none. */
  readonly code: string;
  readonly text: string;
  readonly exitCode: ExitCode;
  /** What would help, for who has another way to do it than the text says. */
  readonly remedy?: Remedy;
}

export type Remedy = 'start_server' | 'create_database' | 'migrate' | 'start_over';

/**
 * Turns a failure into what to do about it. The one place where codes of PostgreSQL and of Node become advice.
 * Never says a password or a row's value: a server's DETAIL, a statement's parameters and a URL are left out.
 *
 * @param address what was tried, where it is known
 */
export function explainError(error: unknown, address?: DatabaseAddress): Explanation {
  const code = error instanceof PaymentEventsDbError ? error.code : (codeOf(error) ?? 'UNFORESEEN');
  return { code, ...explain(error, address) };
}

type Advice = Omit<Explanation, 'code'>;

function explain(error: unknown, address: DatabaseAddress | undefined): Advice {
  const code = sqlStateOf(error) ?? codeOf(error);
  const { kind, reason } = sqlStateRule(code ?? '');
  const where = address ? disarm(`${address.host}:${address.port}`) : 'the address in DATABASE_URL';
  const [database, user] = [address?.database, address?.user].map((name) => disarm(name ?? 'of DATABASE_URL'));

  if (error instanceof ConfigurationError || error instanceof InvalidCommandError) {
    return { text: error.message, exitCode: ExitCode.usage };
  }
  if (code === READ_ONLY_TRANSACTION) {
    return unreachable(
      `The server at ${where} only reads (25006): it is a standby, or default_transaction_read_only is on for user ` +
        `${user}, database ${database} or the server.`,
      'Connect to the primary. To see which of them it is: SELECT pg_is_in_recovery(); SHOW default_transaction_read_only',
    );
  }
  if (error instanceof DatabaseUnavailableError) return unreachable(error.message);
  if (kind === 'schema' && (error instanceof DatabaseError || code !== '0A000')) {
    return {
      text:
        `The database lacks something that this version needs (${code}): a migration has not run yet.\n` +
        'Run it first: npx payment-events-db migrate',
      exitCode: ExitCode.refused,
      remedy: 'migrate',
    };
  }
  if (error instanceof HoldNotFoundError) {
    // A processor would deliver its report again; a person has mistyped.
    return {
      text: `There is no such hold: ${disarm(error.processorAuthId)}. Its request and its id are in: npx payment-events-db holds`,
      exitCode: ExitCode.refused,
    };
  }
  if (error instanceof PaymentEventsDbError) {
    const isRefusal = !error.retryable && !(error instanceof DatabaseError);
    return {
      text: error.message,
      exitCode: isRefusal ? ExitCode.refused : ExitCode.failed,
      ...(error instanceof PendingMigrationsError && { remedy: 'migrate' }),
    };
  }

  const tls = tlsProblem(error, `the server at ${where}`);
  if (tls) return unreachable(...tls);
  if (isUnreachable(error, code)) {
    const problem = `No PostgreSQL server answers at ${where} (database ${database}, user ${user}): ${code ?? 'the connection broke'}.`;
    if (!address?.isLocal) {
      return unreachable(
        problem,
        'Check the host and port in DATABASE_URL (or PGHOST and PGPORT), the network and its firewalls.',
      );
    }
    const advice = unreachable(
      problem,
      'Start one there (for development: npx payment-events-db dev), or point DATABASE_URL to one that runs.',
    );
    return { ...advice, remedy: 'start_server' };
  }
  if (wantsTls(error, address)) {
    return unreachable(
      `The server at ${where} lets no unencrypted connection of user ${user} to database ${database} (${code}).`,
      'Encrypt it: sslmode=verify-full in DATABASE_URL, and sslrootcert=<file> where the certificate authority is your own; or ' +
        'PGSSLMODE and PGSSLROOTCERT. ' +
        'If that is refused too, its pg_hba.conf has no line for this user, database and address.',
    );
  }
  if (kind === 'unavailable') {
    return unreachable(`The server at ${where} cannot do it now (${code}). ${reason} Try again.`);
  }
  if (kind === 'conflict' || kind === 'timeout') {
    return failed(
      `Other sessions are using the tables, or a statement took too long (${code}).`,
      'Run this again; what was applied stays applied.',
    );
  }
  if (kind === 'alarm') return failed(`The server at ${where} says: ${messageOf(error)} (${code}).`, reason);
  switch (code ?? '') {
    case NO_PASSWORD:
      return unreachable(
        `The server at ${where} asks user ${user} for a password, and none is set.`,
        'Put it into DATABASE_URL (postgresql://user:password@…) or PGPASSWORD.',
      );
    case '28P01':
    case '28000':
      return unreachable(
        `The server at ${where} refuses the login of user ${user} (${code}).`,
        routineOf(error) === OF_PG_HBA
          ? `Its pg_hba.conf has no line that lets this user into database ${database} from here.`
          : 'Check user and password in DATABASE_URL, where special characters of a password are percent-encoded (@ as %40), or ' +
              'in PGUSER and PGPASSWORD.',
      );
    case '3D000':
    case '57P04':
      return {
        ...unreachable(
          `The database ${database} does not exist at ${where}.`,
          'Create it: npx payment-events-db create. Then migrate it: npx payment-events-db migrate',
        ),
        remedy: 'create_database',
      };
    case '08P01':
      return unreachable(
        `The server at ${where} does not accept what pg sends (08P01): ${messageOf(error)}.`,
        'A pooler such as PgBouncer refuses time-outs at connect: set PAYMENT_EVENTS_DB_TIMEOUTS_VIA=role. Migrations ' +
          'need a direct connection.',
      );
    case '42P05':
    case '26000':
      return failed(
        `A prepared statement exists already or is gone (${code}): a pooler gives one connection to several clients.`,
        'Connect directly to the server, or to PgBouncer 1.21 or later.',
      );
    case '42501':
      return failed(
        `User ${user} lacks a privilege: ${messageOf(error)}.`,
        'Migrations run as the owner of the database; creating one needs CREATEDB.',
      );
    case '42P07':
    case '42710':
      return {
        ...failed(
          `A migration is to create an object that exists already: ${messageOf(error)}.`,
          'The history of migrations does not fit the tables: something else made them. Find out what it was first.',
        ),
        remedy: 'start_over',
      };
    default:
      // Such as 55000: the database takes no connections.
      if (isFatal(error))
        return unreachable(`The server at ${where} accepts no connection: ${messageOf(error)} (${code}).`);
      return failed(...unforeseen(error, code));
  }
}

/** Ours: pg has no code for "the server asks for a password and the URL has none". */
const NO_PASSWORD = 'NO_PASSWORD';
/** Ours too: of pg's own time-outs at connect. */
const TIMEOUT = 'TIMEOUT';

/** pg's own connection time-outs, and what Node says of a network or a socket. */
function isUnreachable(error: unknown, code: string | undefined): boolean {
  if (code === TIMEOUT) return true;
  if (code === undefined) return messageOf(error).startsWith('Connection terminated');
  const { syscall } = error as NodeJS.ErrnoException;
  if (syscall === 'connect' || syscall === 'getaddrinfo') return true;
  return /^(ECONN|ENOTFOUND|EAI_|EHOST|ENET|ETIMEDOUT|EPIPE)/.test(code);
}

/** Where PostgreSQL refuses by pg_hba.conf: unlike the text of the message it is in no language. */
const OF_PG_HBA = 'ClientAuthentication';

/** pg_hba.conf may have lines for encrypted connections only; what hosts PostgreSQL may say so in words of its own. */
function wantsTls(error: unknown, address: DatabaseAddress | undefined): boolean {
  if (!address || address.tls || address.host.startsWith('/')) return false;
  if (!['28000', '28P01', '08P01', '08004', 'XX000'].includes(codeOf(error) ?? '')) return false;
  return routineOf(error) === OF_PG_HBA || /\b(ssl|tls|encrypt\w*|insecure)\b/i.test(messageOf(error));
}

const isFatal = (error: unknown) =>
  ['FATAL', 'PANIC'].includes((error as { severity?: string } | undefined)?.severity ?? '');

const routineOf = (error: unknown) => (error as { routine?: unknown }).routine;

function sqlStateOf(error: unknown): string | undefined {
  if (error instanceof DatabaseUnavailableError) return error.reason;
  return error instanceof DatabaseError ? error.sqlState : undefined;
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { code?: unknown };
  if (typeof code === 'string') return code;
  if (messageOf(error).includes('client password must be a string')) return NO_PASSWORD;
  return /timeout e(xpired|xceeded)|connection timeout/.test(messageOf(error)) ? TIMEOUT : undefined;
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

const unreachable = (...text: string[]): Advice => ({ text: text.join('\n'), exitCode: ExitCode.unreachable });
const failed = (...text: string[]): Advice => ({ text: text.join('\n'), exitCode: ExitCode.failed });
