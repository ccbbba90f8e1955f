import { type DataSource, type QueryRunner } from 'typeorm';
import { untilDecided } from '../database/repeat';
import { translateError } from '../database/translate-error';
import { ConfigurationError, TransactionConflictError } from '../errors';
import { assertFenceMayChange } from '../migrator/split-under-way';
import { whileLocked } from '../migrations/helpers/locking';
import { addFence, dropFence, FENCED_TABLES, type FencedTable, fenceOf, printedFence } from './fence-sql';
import { type FenceOfTable, isAClass, readFences } from './read-fence';
import { classInWords, contains, isClass, isSameClass, LARGEST_MODULUS, type ResidueClass } from './residue';

/** How a fence may be set. */
export interface SetFenceOptions {
  /** Lets the database take more restaurants than before, as the undoing of a split does. Default false. */
  readonly widen?: boolean;
}

/**
 * Has the database refuse the restaurants of other databases, with a `WrongShardError`, whatever writes them. All its
 * tables get the fence in one transaction under short locks; a narrower one replaces a fence without a moment
 * between. What writes when it is called ends first, so that no later commit has a restaurant of another class. Rows of
 * other restaurants that are there already stay. Needs the owner of the tables. Calling it again changes nothing.
 *
 * ```ts
 * await setFence(dataSource, { modulus: 4, remainder: 1 });
 * ```
 *
 * @returns whether something was changed
 * @throws ConfigurationError there is no such class; the database has other restaurants already, or fewer and `widen` is
 *   not set. Nothing was changed
 * @throws SplitUnderWayError restaurants move out of this database, or into it: the split sets its fence. Nothing was changed
 * @throws DatabaseTimeoutError writers kept a table locked for `migrationLockBudgetMs`. Nothing was changed
 */
export async function setFence(
  dataSource: DataSource,
  shard: ResidueClass,
  options?: SetFenceOptions,
): Promise<boolean> {
  const change = changeTo(shard, options);
  return await onASession(dataSource, (queryRunner) => make(queryRunner, change, assertFenceMayChange));
}

/** As `setFence`, on a session that has locks which are to be kept as long as its statement may run. */
export async function setFenceBy(
  queryRunner: QueryRunner,
  shard: ResidueClass,
  options?: SetFenceOptions,
): Promise<boolean> {
  return await make(queryRunner, changeTo(shard, options));
}

/**
 * Has the database take every restaurant again. Needs the owner of the tables. Calling it again changes nothing.
 *
 * @returns whether something was changed
 * @throws SplitUnderWayError restaurants move out of this database, or into it: the split sets its fence. Nothing was changed
 * @throws DatabaseTimeoutError writers kept a table locked for `migrationLockBudgetMs`. Nothing was changed
 */
export async function removeFence(dataSource: DataSource): Promise<boolean> {
  return await onASession(dataSource, (queryRunner) => make(queryRunner, NO_FENCE, assertFenceMayChange));
}

/** As `removeFence`, on a session that has locks which are to be kept as long as its statement may run. */
export async function removeFenceBy(queryRunner: QueryRunner): Promise<boolean> {
  return await make(queryRunner, NO_FENCE);
}

type Fences = Awaited<ReturnType<typeof readFences>>;

interface Change {
  readonly statements: readonly string[];
  /** @throws ConfigurationError it may not be made */
  readonly isDone: (fences: Fences) => boolean;
}

const NO_FENCE: Change = {
  statements: FENCED_TABLES.map(dropFence),
  isDone: (fences) => [...fences.values()].every((fence) => fence === undefined),
};

function changeTo({ modulus, remainder }: ResidueClass, { widen = false }: SetFenceOptions = {}): Change {
  const shard = { modulus, remainder };
  if (!isClass(shard)) {
    throw new ConfigurationError(
      `There is no such class: the modulus must be a power of two up to ${LARGEST_MODULUS}, the remainder smaller than it.`,
    );
  }
  return {
    statements: FENCED_TABLES.flatMap((table) => [dropFence(table), addFence(table, shard)]),
    isDone: (fences) => {
      const before = [...fences.values()];
      for (const fence of before) if (isAClass(fence)) assertMayReplace(fence, shard, widen);
      return before.every((fence) => isAClass(fence) && isSameClass(fence, shard));
    },
  };
}

function assertMayReplace(before: ResidueClass, after: ResidueClass, widen: boolean): void {
  if (contains(before, after)) return;
  const classes = `this database has class ${classInWords(before)}, and was to have ${classInWords(after)}`;
  if (!contains(after, before)) {
    throw new ConfigurationError(`The fence was not set: ${classes}, which are other restaurants. Look at the map.`);
  }
  if (!widen) {
    throw new ConfigurationError(
      `The fence was not set: ${classes}, which are more. Make sure that no other database has them, then widen it.`,
    );
  }
}

async function onASession<T>(dataSource: DataSource, work: (queryRunner: QueryRunner) => Promise<T>): Promise<T> {
  const queryRunner = dataSource.createQueryRunner();
  try {
    return await work(queryRunner);
  } finally {
    await queryRunner.release();
  }
}

/**
 * Changes the fences as one transaction, unless they are as they should be. What was decided on is compared once more
 * under the locks, since another may have set a fence in between. `assertMay` looks after that was read: a split that is not seen
 * by it sets the fence later, and is noticed by that.
 */
async function make(
  queryRunner: QueryRunner,
  { statements, isDone }: Change,
  assertMay?: (queryRunner: QueryRunner) => Promise<void>,
): Promise<boolean> {
  try {
    return await untilDecided(async () => {
      const fences = await readFences(queryRunner);
      if (isDone(fences)) return false;
      await assertMay?.(queryRunner);
      return await changed(queryRunner, [LOCK, stopUnlessStill(fences), ...statements]);
    });
  } catch (error) {
    throw translateError(error);
  }
}

/** All at first, in the order of the writers: ALTER TABLE would lock one table after the other. */
const LOCK = `LOCK TABLE ${FENCED_TABLES.join(', ')} IN ACCESS EXCLUSIVE MODE`;

/** Undefined where a writer that locks in another order, or another fence, was first. */
async function changed(queryRunner: QueryRunner, statements: readonly string[]): Promise<true | undefined> {
  try {
    await whileLocked(queryRunner, ...statements);
    return true;
  } catch (error) {
    if (translateError(error) instanceof TransactionConflictError) return undefined;
    throw error;
  }
}

/** Ends the transaction as one that another was faster than. Under READ COMMITTED it sees what is committed once the tables are locked. */
function stopUnlessStill(fences: Fences): string {
  const same = ([table, fence]: [FencedTable, FenceOfTable]) => {
    const found = `(SELECT pg_get_constraintdef(oid) FROM pg_constraint
      WHERE conrelid = '${table}'::regclass AND conname = '${fenceOf(table)}')`;
    if (isAClass(fence)) return `${found} = $fence$${printedFence(fence)}$fence$`;
    return `${found} IS ${fence ? 'NOT ' : ''}NULL`;
  };
  return `DO $$
    BEGIN
      IF (${[...fences].map(same).join(' AND ')}) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'Another session has set a fence.';
      END IF;
    END $$`;
}
