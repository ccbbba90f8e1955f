import { IsIn, IsOptional } from 'class-validator';
import { type DataSource, type Migration, type MigrationInterface, type QueryRunner } from 'typeorm';
import { Callable } from '../validation/option-rules';
import { Flag, Text } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { assertNotMadeByAlembic } from './alembic';
import { HalfAppliedError, MigrationBlockedError, NoSuchMigrationError, TransactionModeError } from './errors';
import { assertOursAlone } from './foreign-migrations';
import {
  assertSound,
  completeHistory,
  fullName,
  halfApplied,
  type MigrationRecord,
  nameOf,
  namesOf,
  readHistory,
  stepsOf,
  timestampOf,
} from './history';
import { isLockTimeout, lockBudgetOf, retryLockTimeouts } from '../migrations/helpers/locking';
import { withoutValues } from '../database/without-values';
import { type Say, toLogger, withMigrationLock } from './migration-lock';
import { assertNoObstacles } from './obstacles';
import { assertNothingInTheWay } from './names-taken';
import { tellNotices } from './notices';
import { RecordingExecutor } from './recording-executor';
import { assertNoSplit } from './split-under-way';
import { SessionWatch } from './session-watch';

/** How far to migrate or to revert, and how. */
export class MigrateOptions {
  /** The last migration to run, or to keep; its time may be left out. Default: run all; revert one. */
  @IsOptional()
  @Text(1, 255)
  to?: string;

  /** Each migration runs in a transaction, unless it says that it must not: `all` and `none` are refused. */
  @IsOptional()
  @IsIn(['all', 'none', 'each'])
  transaction?: 'all' | 'none' | 'each';

  /** Writes the history and runs nothing: whatever was half applied counts as ended. Default false. */
  @IsOptional()
  @Flag()
  fake?: boolean;

  /** Is told each migration that begins, when it waits, and what it has made of rows. Default: the DataSource's logger. */
  @IsOptional()
  @Callable()
  say?: Say;
}

/**
 * Runs what is pending, each migration under its own short locks, while no other session migrates the database. One that
 * is half applied is finished first, also where it was being reverted.
 *
 * A statement may take as long as the server is at work on it. Where the network swallows an answer, it ends with an
 * error `statementTimeoutMs` and ten seconds later.
 *
 * @returns what was run
 * @throws TransactionModeError, ForeignMigrationsError, UnknownMigrationsError, ChangedMigrationsError, AlembicDatabaseError,
 *   NoSuchMigrationError, HalfAppliedError, ObjectsInTheWayError, MigrationObstaclesError, MigrationInProgressError,
 *   SplitUnderWayError, ConfigurationError before anything is changed
 * @throws MigrationBlockedError; whatever the database says, without values of rows
 */
export async function migrate(dataSource: DataSource, options?: MigrateOptions): Promise<Migration[]> {
  let todo: string[] | undefined;
  return await asOnlyMigrator(dataSource, options, async ({ queryRunner, executor, to }) => {
    const history = await readHistory(dataSource, queryRunner);
    await assertNotMadeByAlembic(history, queryRunner);
    assertSound(history);
    const names = toRun(history, to);
    todo ??= names;
    await assertNothingInTheWay(queryRunner, stepsOf(dataSource, names, 'up'));
    if (!executor.fake) await assertNoObstacles(queryRunner, stepsOf(dataSource, names, 'up'));
    await completeHistory(dataSource, queryRunner);
    executor.to = to;
    executor.begun = halfApplied(history);
    if (executor.begun?.direction === 'down') await executor.end('up');
    await executor.executePendingMigrations();
    const executed = await executor.getExecutedMigrations();
    return executed.filter(({ name }) => todo!.includes(name)).toReversed();
  });
}

/**
 * What is to be run, in its order: whatever is half applied or pending, as far as `to`.
 *
 * @throws HalfAppliedError where one that is half applied comes after `to`: it can be neither left so nor finished
 */
export function toRun(history: readonly MigrationRecord[], to: string | undefined): string[] {
  const begun = halfApplied(history);
  if (begun && to && timestampOf(begun.name) > timestampOf(to)) throw new HalfAppliedError(begun, to);
  const names = [...(begun ? [begun.name] : []), ...namesOf(history, 'pending')];
  return names.filter((name) => !to || timestampOf(name) <= timestampOf(to));
}

/**
 * Reverts the last migration, or all that came after `to`. One that is half applied is the first of them, also where it
 * was being run.
 *
 * @returns their names, in the order in which they were reverted
 * @throws the same as {@link migrate}
 */
export async function revert(dataSource: DataSource, options?: MigrateOptions): Promise<string[]> {
  const reverted: string[] = [];
  return await asOnlyMigrator(dataSource, options, async ({ queryRunner, executor, to }) => {
    const history = await readHistory(dataSource, queryRunner);
    assertSound(history);
    const names = toRevert(history, await executor.getExecutedMigrations(), to);
    await assertNothingInTheWay(queryRunner, stepsOf(dataSource, names, 'down'));
    if (!executor.fake) await assertNoObstacles(queryRunner, stepsOf(dataSource, names, 'down'));
    if (names.length > 0) await completeHistory(dataSource, queryRunner);
    executor.begun = halfApplied(history);
    for (const name of names) {
      await (executor.begun?.direction === 'up' ? executor.end('down') : executor.undoLastMigration());
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
 * @throws HalfAppliedError where `to` itself is half applied
 */
export function toRevert(
  history: readonly MigrationRecord[],
  executed: readonly Migration[],
  to: string | undefined,
): string[] {
  const begun = halfApplied(history);
  if (begun && begun.name === to) throw new HalfAppliedError(begun, to);
  const names = [...new Set([...(begun ? [begun.name] : []), ...executed.map(({ name }) => name)])];
  if (to && !names.includes(to)) throw new NoSuchMigrationError(to, names);
  return names.slice(0, to ? names.indexOf(to) : 1);
}

/** What {@link asOnlyMigrator} hands to its work. */
interface Migrating {
  readonly queryRunner: QueryRunner;
  readonly executor: RecordingExecutor;
  readonly to: string | undefined;
}

/** Under the migration lock, on the session that has it; again when a migration of one transaction lacked a lock. */
async function asOnlyMigrator<T>(
  dataSource: DataSource,
  given: MigrateOptions | undefined,
  work: (migrating: Migrating) => Promise<T>,
): Promise<T> {
  const options = validateSettings({ MigrateOptions }, given);
  const { fake = false, say = toLogger(dataSource) } = options;
  const mode = options.transaction ?? dataSource.options.migrationsTransactionMode ?? 'each';
  if (mode !== 'each') throw new TransactionModeError(mode);
  assertOursAlone(dataSource);
  const to = options.to && fullName(dataSource, options.to);

  return await withMigrationLock(dataSource, say, async (queryRunner) => {
    const watch = await SessionWatch.start(queryRunner, say);
    const endNotices = await tellNotices(queryRunner, say);
    let current: MigrationInterface | undefined;
    let began = performance.now();
    const begin = (migration: MigrationInterface, direction: 'up' | 'down') => {
      if (migration === current) return;
      [current, began] = [migration, performance.now()];
      watch.begin(nameOf(migration));
      say(`${direction === 'up' ? 'Applying' : 'Reverting'} ${nameOf(migration)}`);
    };
    const executor = new RecordingExecutor(dataSource, queryRunner, { begin });
    executor.fake = fake;
    const elapsed = () => performance.now() - began;
    try {
      await assertNoSplit(queryRunner);
      const mayTryAgain = () => elapsed() < lockBudgetOf(queryRunner);
      return await retryLockTimeouts(mayTryAgain, () => work({ queryRunner, executor, to }));
    } catch (error) {
      if (current) say(`${nameOf(current)} failed.`);
      throw isLockTimeout(error) ? new MigrationBlockedError(watch.blockers, elapsed()) : withoutValues(error);
    } finally {
      endNotices();
      await watch.stop();
    }
  });
}
