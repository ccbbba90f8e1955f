/** What a caller can do about an SQLSTATE, and so which error of this package it becomes. */
export type SqlStateKind =
  | 'unavailable'
  | 'conflict'
  | 'timeout'
  | 'stale-plan'
  | 'outcome-unknown'
  | 'aborted'
  | 'permission'
  | 'configuration'
  | 'schema'
  | 'use'
  | 'alarm';

/** One row of the table. */
export interface SqlStateRule {
  /** Of five characters; of two: every code of that class that has no row of its own. */
  readonly codes: readonly string[];
  readonly kind: SqlStateKind;
  /** The session is over, or useless: its connection must not go back to the pool. FATAL and PANIC say so by themselves. */
  readonly unfit?: true;
  /** Why it is of that kind, and what to do. */
  readonly reason: string;
}

/** The server takes no writes: a standby, or default_transaction_read_only. */
export const READ_ONLY_TRANSACTION = '25006';

/**
 * The one table of SQLSTATEs. All code that judges an error of the server looks here, and docs/reference/errors.md shows it
 * (PostgreSQL manual, "PostgreSQL Error Codes").
 */
export const SQL_STATES: readonly SqlStateRule[] = [
  {
    codes: ['08000', '08001', '08003', '08006'],
    kind: 'unavailable',
    unfit: true,
    reason: 'The connection failed or is gone.',
  },
  {
    codes: [READ_ONLY_TRANSACTION],
    kind: 'unavailable',
    unfit: true,
    reason:
      'The server takes no writes: it is a standby or was the primary until now, or default_transaction_read_only is on. ' +
      'A new connection may reach the primary, so that this one, idle ones and older ones are closed.',
  },
  {
    codes: ['25P03', '25P04'],
    kind: 'unavailable',
    unfit: true,
    reason: 'The server ended the session of a transaction that was idle or lasted too long.',
  },
  {
    codes: ['57P01', '57P02', '57P03', '57P05'],
    kind: 'unavailable',
    unfit: true,
    reason: 'The server is shutting down, starting up or recovering, or it ended the session.',
  },
  {
    codes: ['53000', '53100', '53200', '53300', '58030'],
    kind: 'unavailable',
    reason: 'The server is short of connections, memory or disk, or its disk failed.',
  },
  {
    codes: ['40001', '40P01', '72000'],
    kind: 'conflict',
    reason: 'The server undid the transaction in favour of another one.',
  },
  {
    codes: ['55P03', '55006', '57014'],
    kind: 'timeout',
    reason: 'Something was in use for too long, or the statement ran too long or was cancelled.',
  },
  {
    codes: ['26000'],
    kind: 'stale-plan',
    reason: 'The session does not have the prepared statement any more: it is prepared again.',
  },
  {
    codes: ['08007', '40003'],
    kind: 'outcome-unknown',
    reason: 'The server cannot tell whether it committed.',
  },
  {
    codes: ['25P02'],
    kind: 'aborted',
    reason: 'An earlier statement of the transaction failed: nothing of it is kept.',
  },
  {
    codes: ['42501'],
    kind: 'permission',
    reason: 'The user that the service logs in as may not do that.',
  },
  {
    codes: ['28000', '28P01'],
    kind: 'configuration',
    reason: 'The server refuses the login: check user and password, and pg_hba.conf.',
  },
  {
    codes: ['3D000', '57P04'],
    kind: 'configuration',
    reason: 'The database does not exist: check DATABASE_URL, or create and migrate it.',
  },
  {
    codes: ['08004', '08P01'],
    kind: 'configuration',
    reason: 'The server or a pooler does not accept what was sent. Through PgBouncer: timeoutsVia "role".',
  },
  {
    codes: ['42P05'],
    kind: 'configuration',
    reason: 'A pooler shares its prepared statements: preparedStatements "unnamed".',
  },
  {
    codes: ['55000'],
    kind: 'configuration',
    reason: 'The database takes no connections (ALLOW_CONNECTIONS), or an object is not in the state that this needs.',
  },
  {
    codes: ['42P01', '42703', '42883', '0A000'],
    kind: 'schema',
    reason: 'The schema is not the one that this version was made for: are migrations pending?',
  },
  {
    codes: ['21', '22', '23', '25P01', '2F', '38', '39', '44', '53400', '54', 'P0'],
    kind: 'use',
    reason: 'A value, a row or a call that the database refuses, every time.',
  },
  {
    codes: ['58P01', '58P02', 'XX000', 'XX001', 'XX002'],
    kind: 'alarm',
    reason: 'A fault of the server or its files: tell its operator.',
  },
];

const ANY_OTHER: SqlStateRule = {
  codes: [],
  kind: 'use',
  reason: 'See the list of error codes of PostgreSQL.',
};

const byCode = new Map(SQL_STATES.flatMap((rule) => rule.codes.map((code) => [code, rule] as const)));

/** The row of an SQLSTATE: its own, else that of its class, else "any other": not retryable. */
export function sqlStateRule(code: string): SqlStateRule {
  return byCode.get(code) ?? byCode.get(code.slice(0, 2)) ?? ANY_OTHER;
}

/** Whether a code is of five characters as SQLSTATEs are; names of network errors are longer. */
export const isSqlState = (code: unknown): code is string => typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code);
