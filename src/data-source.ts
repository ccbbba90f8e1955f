import 'reflect-metadata';
import { DataSource, type EntityManager, type Migration } from 'typeorm';
import { AskingClient, type Login } from './connection/asking-client';
import { connectionTarget } from './connection/connection-target';
import { PaymentEventsDataSourceSettings, type PostgresOptions } from './connection/data-source-settings';
import { endPool, masterOf, poolOf } from './database/connections';
import { guardQueryRunner, isOfConnection } from './database/guard-query-runner';
import { valueTypes } from './database/parsers';
import { assertOwnOptions, notBy } from './database/own-options';
import { assertPinned, DEFAULT_SCHEMA, schemaOf, verifying } from './database/pinned-schema';
import { type DriverSettings, settingsOf } from './database/settings';
import { pinSession } from './database/session-options';
import { ownCauseOf, translateError } from './database/translate-error';
import { entities } from './entities';
import { ConfigurationError, PaymentEventsDbError } from './errors';
import { migrations } from './migrations';
import { MIGRATIONS_TABLE } from './schema/objects';
import { readHistory } from './migrator/history';
import { migrate, revert } from './migrator/migrator';
import { RedactingLogger } from './database/redacting-logger';
import { LONGEST_TIMER_MS } from './validation/rules';
import { validateSettings } from './validation/validate-options';

/**
 * The options of the one DataSource of this database. Spread them to change one:
 *
 * ```ts
 * const dataSource = new PaymentEventsDataSource({ ...createDataSourceOptions({ url }), poolSize: 20 });
 * ```
 *
 * @throws ConfigurationError naming each setting that is wrong, that there is not, or that contradicts another
 */
export function createDataSourceOptions(given: PaymentEventsDataSourceSettings): PostgresOptions {
  refuseReplicas(given);
  const settings = validateSettings({ PaymentEventsDataSourceSettings }, given);
  const target = connectionTarget(settings, process.env);
  const timeouts = {
    statement_timeout: settings.statementTimeoutMs ?? 30_000,
    lock_timeout: settings.lockTimeoutMs ?? 5_000,
    idle_in_transaction_session_timeout: settings.idleInTransactionTimeoutMs ?? 30_000,
  };
  const { schema = DEFAULT_SCHEMA, connectTimeoutMs = 5_000 } = settings;
  const viaRole = settings.timeoutsVia === 'role';
  const { url, options } = viaRole ? { url: target.url, options: undefined } : pinSession(target.url, schema);
  return {
    type: 'postgres',
    url,
    // Where the URL says nothing of TLS: pg would look at PGSSLMODE once more, at each connection.
    ssl: false,
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
      Client: AskingClient,
      askPassword: target.askPassword,
      certificates: target.certificates,
      keepAlive: true,
      types: valueTypes,
      schema,
      ...(viaRole ? { verify: verifying(schema, connectTimeoutMs) } : { ...timeouts, options }),
      preparedStatements: settings.preparedStatements ?? 'named',
      // The server's own time-out comes first; this one is for answers that the network swallows. 0: no limit either.
      answerTimeoutMs: timeouts.statement_timeout && Math.min(timeouts.statement_timeout + 5_000, LONGEST_TIMER_MS),
      coalescedStatements: settings.coalescedStatements,
      cardNumbers: settings.cardNumbers,
      migrationWaitMs: settings.migrationWaitMs,
      migrationLockBudgetMs: settings.migrationLockBudgetMs,
      migrationHoldLifeDays: settings.migrationHoldLifeDays,
    } satisfies DriverSettings & Login & Record<string, unknown>,
  };
}

/** TypeORM would read from a replica what an operation has just written to the primary. */
function refuseReplicas(options: object): void {
  if ((options as { replication?: unknown } | undefined)?.replication === undefined) return;
  throw new ConfigurationError(
    'replication must be left out: operations read what they have just written, and a replica may not have it yet. Name the ' +
      'primary alone; read from a replica by ReplicaReads, or for reports that may be late by another DataSource of TypeORM.',
  );
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
  /**
   * @throws ConfigurationError there are entities or migrations of yours among the options, which belong into a second
   *   DataSource, or `synchronize`, `dropSchema` or `replication`
   */
  constructor(options: PostgresOptions) {
    refuseReplicas(options);
    assertOwnOptions(options, { entities, migrations, migrationsTableName: MIGRATIONS_TABLE });
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
   * @throws DatabaseUnavailableError where the function that gives the password fails, or a file of certificates is gone
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
      throw ownCauseOf(error) ?? error;
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

  /**
   * Only migrations change the tables.
   *
   * @throws ConfigurationError always
   */
  override synchronize(): Promise<void> {
    return Promise.reject(notBy('synchronize'));
  }

  /**
   * The tables are not dropped by one call.
   *
   * @throws ConfigurationError always
   */
  override dropDatabase(): Promise<void> {
    return Promise.reject(notBy('dropDatabase'));
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
