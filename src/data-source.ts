import 'reflect-metadata';
import { IsIn, IsOptional, Matches } from 'class-validator';
import { DataSource, type DataSourceOptions, type EntityManager, type Logger, type Migration } from 'typeorm';
import { ClosingClient } from './database/closing-client';
import { endPool, masterOf, poolOf } from './database/connections';
import { guardQueryRunner, isOfConnection } from './database/guard-query-runner';
import { valueTypes } from './database/parsers';
import { assertPinned, DEFAULT_SCHEMA, SCHEMA_NAME, SCHEMA_NAMES, schemaOf, verifying } from './database/pinned-schema';
import { type DriverSettings, settingsOf } from './database/settings';
import { pinSession } from './database/session-options';
import { translateError } from './database/translate-error';
import { type DatabaseUrl as ReadUrl, NO_DATABASE_URL, readDatabaseUrl } from './database/database-url';
import { entities } from './entities';
import { ConfigurationError, PaymentEventsDbError } from './errors';
import { migrations } from './migrations';
import { MIGRATIONS_TABLE } from './schema/objects';
import { readHistory } from './migrator/history';
import { migrate, revert } from './migrator/migrator';
import { RedactingLogger } from './database/redacting-logger';
import { rule } from './validation/rule';
import { LONGEST_TIMER_MS, WholeNumber } from './validation/rules';
import { validateSettings } from './validation/validate-options';

/** What TypeORM takes for PostgreSQL. */
export type PostgresOptions = Extract<DataSourceOptions, { type: 'postgres' }>;

/** What {@link createDataSourceOptions} takes. Every time is in milliseconds, at most 2,147,483,647: about 25 days. */
export class PaymentEventsDataSourceSettings {
  /** `postgresql://user:password@host:port/database`. */
  @DatabaseUrl()
  url: string;

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

/** What else may be wrong with it, {@link createDataSourceOptions} says in words of its own. */
function DatabaseUrl(): PropertyDecorator {
  return rule({
    name: 'databaseUrl',
    holds: (value) => typeof value === 'string' && !isNone(readDatabaseUrl(value)),
    message: NO_DATABASE_URL,
  });
}

const isNone = (read: ReadUrl) => 'problem' in read && read.problem === NO_DATABASE_URL;

function TypeOrmLogger(): PropertyDecorator {
  const names = ['advanced-console', 'formatted-console', 'simple-console', 'file', 'debug'];
  return rule({
    name: 'typeOrmLogger',
    holds: (value) =>
      typeof value === 'string' ? names.includes(value) : typeof (value as Logger).logMigration === 'function',
    message: `must be a Logger of TypeORM, or one of ${names.join(', ')}`,
  });
}

/**
 * The options of the one DataSource of this database. Spread them to change one:
 *
 * ```ts
 * const dataSource = new PaymentEventsDataSource({ ...createDataSourceOptions({ url }), poolSize: 20 });
 * ```
 *
 * @throws ConfigurationError naming each setting that is wrong, or that there is not
 */
export function createDataSourceOptions(given: PaymentEventsDataSourceSettings): PostgresOptions {
  const settings = validateSettings(PaymentEventsDataSourceSettings, given);
  const read = readDatabaseUrl(settings.url);
  if ('problem' in read) throw new ConfigurationError(`PaymentEventsDataSourceSettings: url ${read.problem}.`);
  const timeouts = {
    statement_timeout: settings.statementTimeoutMs ?? 30_000,
    lock_timeout: settings.lockTimeoutMs ?? 5_000,
    idle_in_transaction_session_timeout: settings.idleInTransactionTimeoutMs ?? 30_000,
  };
  const { schema = DEFAULT_SCHEMA, connectTimeoutMs = 5_000 } = settings;
  const viaRole = settings.timeoutsVia === 'role';
  const { url, options } = viaRole ? { url: read.url, options: undefined } : pinSession(read.url, schema);
  return {
    type: 'postgres',
    url,
    schema,
    applicationName: settings.applicationName ?? 'payment-events-db',
    entities,
    migrations,
    migrationsTableName: MIGRATIONS_TABLE,
    migrationsTransactionMode: 'each',
    migrationsRun: false,
    synchronize: false,
    // gen_random_uuid() is built in; without these two every connect tries CREATE EXTENSION.
    installExtensions: false,
    uuidExtension: 'pgcrypto',
    poolSize: settings.poolSize ?? 10,
    connectTimeoutMS: connectTimeoutMs,
    logger: settings.logger ?? new RedactingLogger(),
    extra: {
      Client: ClosingClient,
      keepAlive: true,
      types: valueTypes,
      schema,
      ...(viaRole ? { verify: verifying(schema, connectTimeoutMs) } : { ...timeouts, options }),
      preparedStatements: settings.preparedStatements ?? 'named',
      // The server's own time-out comes first; this one is for answers that the network swallows. 0: no limit either.
      answerTimeoutMs: timeouts.statement_timeout && Math.min(timeouts.statement_timeout + 5_000, LONGEST_TIMER_MS),
      coalescedStatements: settings.coalescedStatements,
      migrationWaitMs: settings.migrationWaitMs,
      migrationLockBudgetMs: settings.migrationLockBudgetMs,
      migrationHoldLifeDays: settings.migrationHoldLifeDays,
    } satisfies DriverSettings & Record<string, unknown>,
  };
}

type IsolationLevel = Parameters<DataSource['transaction']>[0];
type Work<T> = (manager: EntityManager) => Promise<T>;

/**
 * The DataSource of `payment_events_db`: TypeORM's own, but for
 *
 * - statements, those of entity repositories included, and transactions: each ends within `statementTimeoutMs` and ten
 *   seconds also where the network swallows the answer; longer only as long as the server says that it is at work on it;
 * - transactions, which say how they ended: {@link transaction};
 * - migrations, which one process at a time runs: {@link migrate}, {@link revert}. The typeorm CLI, `migrationsRun` and
 *   Nest call the two methods below.
 */
export class PaymentEventsDataSource extends DataSource {
  constructor(options: PostgresOptions) {
    super(options);
    // Of the driver, which asks the server by one before there is a DataSource that is open.
    const { driver } = this;
    const createQueryRunner = driver.createQueryRunner.bind(driver);
    driver.createQueryRunner = (mode) => {
      const { answerTimeoutMs = 0 } = settingsOf(this);
      return guardQueryRunner(this, createQueryRunner(mode), answerTimeoutMs);
    };
  }

  /**
   * Connects, and makes sure that the connections are in the schema of the tables.
   *
   * @throws WrongSchemaError where the schema is not there, or its user may not use it
   * @throws ConfigurationError where TypeORM's options have another schema
   */
  override async initialize(): Promise<this> {
    const schema = schemaOf(this);
    try {
      await super.initialize();
    } catch (error) {
      // TypeORM forgets the pool that it has opened.
      const pool = masterOf(this);
      if (!this.isInitialized && pool) {
        await endPool(pool, () => pool.end());
        Object.assign(this.driver, { master: undefined });
      }
      throw error;
    }
    // From the first connection on, also for transactions that no operation has begun.
    poolOf(this);
    try {
      await assertPinned(this, schema);
    } catch (error) {
      await this.destroy();
      throw error;
    }
    return this;
  }

  /** Closes the connections, also where the network loses what is sent. */
  override async destroy(): Promise<void> {
    await endPool(masterOf(this), () => super.destroy());
  }

  override transaction<T>(work: (manager: EntityManager) => Promise<T>): Promise<T>;
  override transaction<T>(
    isolationLevel: 'READ UNCOMMITTED' | 'READ COMMITTED' | 'REPEATABLE READ' | 'SERIALIZABLE',
    work: (manager: EntityManager) => Promise<T>,
  ): Promise<T>;
  /**
   * Runs the work in a transaction, as TypeORM does. What the database reports and may pass when all of the work is run
   * again is an error with `retryable` true; any other comes as it was thrown, and so does what is the work's own.
   *
   * @throws OutcomeUnknownError the answer to COMMIT was lost
   * @throws TransactionAbortedError nothing was kept, since the work has caught an error of the database
   */
  override async transaction<T>(...args: [Work<T>] | [IsolationLevel, Work<T>]): Promise<T> {
    try {
      return await (args.length === 1 ? super.transaction(args[0]) : super.transaction(args[0], args[1]));
    } catch (error) {
      const translated = isOfConnection(error) ? translateError(error) : error;
      throw translated instanceof PaymentEventsDbError && translated.retryable ? translated : error;
    }
  }

  /**
   * What {@link migrate} does, in the form that the typeorm CLI calls.
   *
   * @throws what {@link migrate} throws
   */
  override async runMigrations(options?: Parameters<DataSource['runMigrations']>[0]): Promise<Migration[]> {
    return await migrate(this, options);
  }

  /** Unlike TypeORM's own it only looks: it makes no history where there is none. */
  override async showMigrations(): Promise<boolean> {
    const history = await readHistory(this);
    for (const [index, { name, state }] of history.entries()) {
      void this.logger.logSchemaBuild(`[${state === 'applied' ? `X] ${index + 1}` : ' ]'} ${name}${HINTS[state]}`);
    }
    return history.some(({ state }) => state === 'pending' || state === 'half_applied');
  }

  /**
   * What {@link revert} does to the last migration, in the form that the typeorm CLI calls.
   *
   * @throws what {@link revert} throws
   */
  override async undoLastMigration(options?: Parameters<DataSource['undoLastMigration']>[0]): Promise<void> {
    await revert(this, options);
  }
}

const HINTS = {
  applied: '',
  pending: '',
  half_applied: ' (half applied)',
  unknown: ' (unknown)',
  changed: ' (changed)',
};
