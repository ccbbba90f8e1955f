import { IsIn, IsOptional } from 'class-validator';
import { type DataSource, MigrationExecutor, type MigrationInterface, type QueryRunner } from 'typeorm';
import { schemaOf } from '../database/pinned-schema';
import { Text } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { assertNotMadeByAlembic } from './alembic';
import { assertOursAlone } from './foreign-migrations';
import { MIGRATIONS_TABLE } from '../schema/objects';
import {
  assertSound,
  beginningStatement,
  completingStatements,
  ENDING_STATEMENT,
  forgettingStatement,
  fullName,
  halfApplied,
  isMarked,
  isRecorded,
  type MigrationRecord,
  nameOf,
  readHistory,
  recordingStatement,
  stepsOf,
} from './history';
import { LOCK_TIMEOUT_MS } from '../migrations/helpers/locking';
import { enterSchema, LOCK_OR_STOP } from './migration-lock';
import { toRevert, toRun } from './migrator';
import { assertNoObstacles } from './obstacles';
import { assertNothingInTheWay } from './names-taken';
import { PIN_SETTINGS } from '../database/pinned-settings';
import { plannedSql } from './planned-sql';
import { splitStatements } from './split-sql';

/** What would be run, one statement after the other, in one session and with the transactions that are among them. */
export interface MigrationPlan {
  readonly direction: 'up' | 'down';
  /** The schema, the migration lock, the history table where it is not complete, and that no other migration has run meanwhile. */
  readonly preparation: readonly string[];
  readonly migrations: readonly PlannedMigration[];
}

/** One migration of a plan. */
export interface PlannedMigration {
  readonly name: string;
  readonly statements: readonly string[];
}

/** What is to be planned: the way up or down, and how far. */
export class PlanOptions {
  /** The last migration to run, or to keep; its time may be left out. Default: run all; revert one. */
  @IsOptional()
  @Text(1, 255)
  to?: string;

  /** Default `up`. */
  @IsOptional()
  @IsIn(['up', 'down'])
  direction?: 'up' | 'down';
}

/**
 * The SQL that `migrate` or `revert` would send to this database as it is now, backfills and rows of the history
 * included. Run by hand, it makes the same database. It tries for no lock twice: a time-out ends it, and a new
 * plan goes on where it stopped. Reads, never writes.
 *
 * ```ts
 * const { migrations } = await planMigrations(dataSource, { to: 'ExpandIndexes' });
 * ```
 *
 * Where the network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @throws UnknownMigrationsError, ChangedMigrationsError, AlembicDatabaseError, NoSuchMigrationError, HalfAppliedError,
 *   ObjectsInTheWayError, MigrationObstaclesError, ConfigurationError
 */
export async function planMigrations(dataSource: DataSource, given?: PlanOptions): Promise<MigrationPlan> {
  const { direction = 'up', ...options } = validateSettings({ PlanOptions }, given);
  assertOursAlone(dataSource);
  const to = options.to && fullName(dataSource, options.to);
  const history = await readHistory(dataSource);
  await assertNotMadeByAlembic(history, dataSource);
  assertSound(history);
  const names = direction === 'up' ? toRun(history, to) : toRevert(history, await executedOf(dataSource), to);
  const completing = direction === 'up' || names.length > 0 ? await completingStatements(dataSource, dataSource) : [];
  const steps = stepsOf(dataSource, names, direction);
  await assertNothingInTheWay(dataSource, steps);
  await withSession(dataSource, (queryRunner) => assertNoObstacles(queryRunner, steps));
  const migrations: PlannedMigration[] = [];
  for (const { migration } of steps) {
    const record = history.find(({ name }) => name === nameOf(migration))!;
    migrations.push({ name: record.name, statements: await statementsOf(migration, direction, record) });
  }
  const preparation = [
    PIN_SETTINGS,
    enterSchema(schemaOf(dataSource)),
    LOCK_OR_STOP,
    ...completing.flatMap(transaction),
    stopWhereChanged(history),
  ];
  return { direction, preparation: migrations.length + completing.length > 0 ? preparation : [], migrations };
}

async function withSession(dataSource: DataSource, use: (queryRunner: QueryRunner) => Promise<void>): Promise<void> {
  const queryRunner = dataSource.createQueryRunner();
  await use(queryRunner).finally(() => queryRunner.release());
}

const executedOf = (dataSource: DataSource) => new MigrationExecutor(dataSource).getExecutedMigrations();

/** @param record of the migration, as things are before it: by default neither recorded nor half applied */
export async function statementsOf(
  migration: MigrationInterface,
  direction: 'up' | 'down',
  record: Pick<MigrationRecord, 'state' | 'begun'> = { state: 'pending' },
): Promise<string[]> {
  const texts = (await plannedSql(migration))[direction];
  const recording = direction === 'up' ? await recordingStatement(migration) : forgettingStatement(migration);
  if (!isMarked(migration)) {
    return transaction([`SET LOCAL lock_timeout = '${LOCK_TIMEOUT_MS}ms'`, ...texts, recording].join(';\n'));
  }
  const beginning = record.begun ? [] : [beginningStatement(migration, direction)];
  const isThere = direction === 'up' && isRecorded(record);
  const ending = isThere ? ENDING_STATEMENT : [ENDING_STATEMENT, recording].join(';\n');
  return [...beginning, ...texts, ending].flatMap(transaction);
}

/** PostgreSQL runs what is sent in one string as one transaction; what may not run in one is sent alone. */
function transaction(sql: string): string[] {
  const statements = splitStatements(sql);
  if (statements.length === 1 || statements.every(isSetting)) return statements;
  return ['BEGIN', ...statements, 'COMMIT'];
}

const isSetting = (statement: string) => /^(SET|RESET) (?!LOCAL )/.test(statement);

/** A plan is for one state of the database: nothing in it is to be run twice. */
function stopWhereChanged(history: readonly MigrationRecord[]): string {
  const recorded = history.filter(isRecorded).map(({ name }) => `'${name}'`);
  const begun = halfApplied(history);
  return `DO $$
BEGIN
  IF ARRAY(SELECT DISTINCT name::text COLLATE "C" FROM ${MIGRATIONS_TABLE} ORDER BY 1)
    <> ARRAY[${recorded.toSorted().join(', ')}]::text[]
    OR (SELECT begun ->> 'direction' || ' ' || (begun ->> 'name') FROM ${MIGRATIONS_TABLE} WHERE begun IS NOT NULL)
      IS DISTINCT FROM ${begun ? `'${begun.direction} ${begun.name}'` : 'NULL'}
  THEN
    RAISE EXCEPTION 'Migrations have run since this plan was made. Make it again.';
  END IF;
END $$`;
}
