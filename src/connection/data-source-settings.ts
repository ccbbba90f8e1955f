import { IsIn, IsOptional, Matches } from 'class-validator';
import { type DataSourceOptions, type Logger } from 'typeorm';
import { SCHEMA_NAME, SCHEMA_NAMES } from '../database/pinned-schema';
import { rule } from '../validation/rule';
import { LONGEST_TIMER_MS, WholeNumber } from '../validation/rules';
import { DatabaseName, DatabaseUrl, Host, Password, RoleName } from './connection-rules';
import { Ssl, type TlsSettings } from './tls-settings';

/** What TypeORM takes for PostgreSQL. */
export type PostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>;

/** What {@link createDataSourceOptions} takes. Every time is in milliseconds, at most 2,147,483,647: about 25 days. */
export class PaymentEventsDataSourceSettings {
  /** `postgresql://user:password@host:port/database`. Either this, or `host` and `database`. */
  @IsOptional()
  @DatabaseUrl()
  url?: string;

  /** One name, an IP address, or the folder of a Unix socket. Must be the primary. */
  @IsOptional()
  @Host()
  host?: string;

  /** The port of that host. Default 5,432. */
  @IsOptional()
  @WholeNumber(1, 65_535)
  port?: number;

  /** The database at that host. */
  @IsOptional()
  @DatabaseName()
  database?: string;

  /** Who logs in, at that host. Default: `PGUSER` of the environment, then the user of the operating system. */
  @IsOptional()
  @RoleName()
  user?: string;

  /**
   * Text, or a function that is asked again for each new connection: for tokens that end. What it throws is told by its name
   * alone, and tried again like a server that does not answer; it has `connectTimeoutMs`. With `host`, or beside a `url` that
   * has none. Default: `PGPASSWORD` of the environment.
   */
  @IsOptional()
  @Password()
  password?: string | (() => string | Promise<string>);

  /**
   * `verify-full` encrypts, and checks the certificate of the server and its name; so does an object of {@link TlsSettings}, by
   * the authority that it names. `no-verify` encrypts alone, `false` does not. With `host`, or beside a `url` that says nothing of TLS.
   * Default: what `PGSSLMODE` says; else `verify-full` where `NODE_ENV` is `production` and the server on another machine, elsewhere `false`.
   */
  @IsOptional()
  @Ssl()
  ssl?: 'verify-full' | 'no-verify' | false | TlsSettings;

  /**
   * The schema that holds the tables, for all processes the same. Default `public`. Names without a schema mean this one
   * alone: connections begin with `search_path = <schema>, pg_temp`. Letters a-z, digits and underscores.
   */
  @IsOptional()
  @Matches(SCHEMA_NAMES, { message: `$property ${SCHEMA_NAME}` })
  schema?: string;

  /** Shown in `pg_stat_activity`: 1 to 63 printable ASCII characters. Default `payment-events-db`. */
  @IsOptional()
  @Matches(/^[\x20-\x7e]{1,63}$/, { message: '$property must be 1 to 63 printable ASCII characters' })
  applicationName?: string;

  /** Connections this process may hold: 1 to 1,000. Each costs the server memory; two cores are busy at about 16. Default 10. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  poolSize?: number;

  /** How long to wait for a connection, new or of the pool, before an error: at least 1. Default 5,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  connectTimeoutMs?: number;

  /** Longest run of one statement. Default 30,000; 0 for no limit. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  statementTimeoutMs?: number;

  /** Longest wait for a lock. Default 5,000; 0 for no limit. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  lockTimeoutMs?: number;

  /** Longest silence inside an open transaction before the server ends it. Default 30,000; 0 for no limit. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  idleInTransactionTimeoutMs?: number;

  /**
   * Who sets the three time-outs above and the search path. `startup` (default) sends them when connecting. PgBouncer
   * refuses that: say `role` and set them once with `ALTER ROLE … SET statement_timeout = …`. Whether it has the search
   * path is looked at once a connection.
   */
  @IsOptional()
  @IsIn(['startup', 'role'])
  timeoutsVia?: 'startup' | 'role';

  /**
   * `named` (default) prepares each statement of the operations once a connection, which doubles their throughput.
   * `unnamed` is for PgBouncer before 1.21 in transaction mode.
   */
  @IsOptional()
  @IsIn(['named', 'unnamed'])
  preparedStatements?: 'named' | 'unnamed';

  /**
   * Of `authorize` at most so many statements are in flight; what is asked for meanwhile waits for one of them to end, and
   * travels together in the next. One that waits for a lock leaves its place to another, up to `poolSize` in all: keep it below
   * that. More than `poolSize` count as that; 1 to 8 are about as fast. Default 4; 0: every call has a statement of its own.
   */
  @IsOptional()
  @WholeNumber(0, 1_000)
  coalescedStatements?: number;

  /**
   * What to do about what looks like a card number in the free fields of `authorize` and `enqueue`. `report` (default) logs and
   * counts it, and records it as it is; `mask` records its first six digits and its last four; `refuse` refuses the command.
   * Settings that are activated are never masked: a merchant may have such a number. About 3 % of random numbers of 16 digits look like one. What workers, webhooks and people report is always masked.
   */
  @IsOptional()
  @IsIn(['report', 'mask', 'refuse'])
  cardNumbers?: 'report' | 'mask' | 'refuse';

  /** How long to wait for another process that migrates the database, before an error: 0 or more. Default 600,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  migrationWaitMs?: number;

  /** How long a migration tries again and again for a lock that traffic holds, before an error: 0 or more. Default 120,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  migrationLockBudgetMs?: number;

  /**
   * How long processors hold money of which they say no end, in days: 0 to 36,500. Of what was authorized earlier, the migration that makes
   * holds has the younger ones that nobody needs voided, and lists the older ones for a person. Default 31.
   */
  @IsOptional()
  @WholeNumber(0, 36_500)
  migrationHoldLifeDays?: number;

  /** Where TypeORM's messages go. Default: warnings and errors on standard error, without any values. */
  @IsOptional()
  @TypeOrmLogger()
  logger?: PostgresOptions['logger'];
}

function TypeOrmLogger(): PropertyDecorator {
  const names = ['advanced-console', 'formatted-console', 'simple-console', 'file', 'debug'];
  return rule({
    name: 'typeOrmLogger',
    holds: (value) =>
      typeof value === 'string' ? names.includes(value) : typeof (value as Logger).logMigration === 'function',
    message: `must be a Logger of TypeORM, or one of ${names.join(', ')}`,
  });
}
