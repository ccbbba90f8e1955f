import { IsIn, IsOptional } from 'class-validator';
import { type DataSource, type Migration, type MigrationInterface, type QueryRunner } from 'typeorm';
import { Callable } from '../validation/option-rules';
import { Flag, Text } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { assertNotMadeByAlembic } from './alembic';
import { MigrationBlockedError, NoSuchMigrationError, TransactionModeError } from './errors';
import { assertSound, completeHistory, fullName, nameOf, namesOf, readHistory } from './history';
import { isLockTimeout, lockBudgetOf, retryLockTimeouts } from './locking';
import { type Say, toLogger, withMigrationLock } from './migration-lock';
import { RecordingExecutor } from './recording-executor';
import { SessionWatch } from './session-watch';
import { withoutValues } from './without-values';

export class MigrateOptions {
  /** The last migration to run, or to keep; its time may be left out. Default: run all; revert one. */
  @IsOptional()
  @Text(1, 255)
  to?: string;

  /** `none`: also those run without a transaction that do not ask for it. Default `each`; `all` is refused. */
  @IsOptional()
  @IsIn(['all', 'none', 'each'])
  transaction?: 'all' | 'none' | 'each';

  /** Writes the history and runs nothing. Default false. */
  @IsOptional()
  @Flag()
  fake?: boolean;

  /** Hears of each migration that begins, and of waiting. Default: the DataSource's logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/**
 * Runs what is pending, each migration under its own short locks, while no other session migrates the database.
 *
 * A statement may take as long as the server is at work on it. Where the network swallows an answer, it ends with an
 * error `statementTimeoutMs` and ten seconds later.
 *
 * @returns what was run
 * @throws TransactionModeError, UnknownMigrationsError, ChangedMigrationsError, AlembicDatabaseError,
 *   NoSuchMigrationError, MigrationInProgressError, ConfigurationError before anything is changed
 * @throws MigrationBlockedError; whatever the database says, without values of rows
 */
export async function migrate(dataSource: DataSource, options?: MigrateOptions): Promise<Migration[]> {
  let pending: string[] | undefined;
  return await asOnlyMigrator(dataSource, options, async ({ queryRunner, executor, to }) => {
    executor.to = to;
    const history = await readHistory(dataSource, queryRunner);
    await assertNotMadeByAlembic(history, queryRunner);
    assertSound(history);
    pending ??= namesOf(history, 'pending');
    await completeHistory(dataSource, queryRunner);
    await executor.executePendingMigrations();
    const executed = await executor.getExecutedMigrations();
    return executed.filter(({ name }) => pending!.includes(name)).toReversed();
  });
}

/**
 * Reverts the last migration, or all that came after `to`.
 *
 * @returns their names, in the order in which they were reverted
 * @throws the same as {@link migrate}
 */
export async function revert(dataSource: DataSource, options?: MigrateOptions): Promise<string[]> {
  const reverted: string[] = [];
  return await asOnlyMigrator(dataSource, options, async ({ queryRunner, executor, mode, to }) => {
    assertSound(await readHistory(dataSource, queryRunner));
    for (const name of toRevert(await executor.getExecutedMigrations(), to)) {
      const migration = dataSource.migrations.find((known) => nameOf(known) === name);
      executor.transaction = migration?.transaction === false ? 'none' : mode;
      await executor.undoLastMigration();
      reverted.push(name);
    }
    return reverted;
  });
}

/**
 * The last migration, or all that came after `to`, newest first.
 *
 * @param executed newest first
 * @throws NoSuchMigrationError where `to` is not among them
 */
export function toRevert(executed: readonly Migration[], to: string | undefined): string[] {
  const names = [...new Set(executed.map(({ name }) => name))];
  if (to && !names.includes(to)) throw new NoSuchMigrationError(to, names);
  return names.slice(0, to ? names.indexOf(to) : 1);
}

/** What {@link asOnlyMigrator} hands to its work. */
interface Migrating {
  readonly queryRunner: QueryRunner;
  readonly executor: RecordingExecutor;
  readonly mode: 'none' | 'each';
  readonly to: string | undefined;
}

/** Under the migration lock, on the session that has it; again when a migration of one transaction lacked a lock. */
async function asOnlyMigrator<T>(
  dataSource: DataSource,
  given: MigrateOptions | undefined,
  work: (migrating: Migrating) => Promise<T>,
): Promise<T> {
  const options = validateSettings(MigrateOptions, given);
  const { fake = false, say = toLogger(dataSource) } = options;
  const mode = options.transaction ?? dataSource.options.migrationsTransactionMode ?? 'each';
  if (mode === 'all') throw new TransactionModeError();
  const to = options.to && fullName(dataSource, options.to);

  return await withMigrationLock(dataSource, say, async (queryRunner) => {
    const watch = await SessionWatch.start(queryRunner, say);
    let current: MigrationInterface | undefined;
    let began = performance.now();
    const begin = (migration: MigrationInterface, direction: 'up' | 'down') => {
      if (migration === current) return;
      [current, began] = [migration, performance.now()];
      watch.begin(nameOf(migration));
      say(`${direction === 'up' ? 'Applying' : 'Reverting'} ${nameOf(migration)}`);
    };
    const executor = new RecordingExecutor(dataSource, queryRunner, { inTransaction: mode === 'each', begin });
    executor.fake = fake;
    const elapsed = () => performance.now() - began;
    try {
      const mayTryAgain = () => elapsed() < lockBudgetOf(queryRunner);
      return await retryLockTimeouts(mayTryAgain, () => work({ queryRunner, executor, mode, to }));
    } catch (error) {
      if (current) say(`${nameOf(current)} failed.`);
      throw isLockTimeout(error) ? new MigrationBlockedError(watch.blockers, elapsed()) : withoutValues(error);
    } finally {
      await watch.stop();
    }
  });
}
