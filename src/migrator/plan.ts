import { IsIn, IsOptional } from 'class-validator';
import { type DataSource, MigrationExecutor, type MigrationInterface } from 'typeorm';
import { Text } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { assertNotMadeByAlembic } from './alembic';
import {
  assertSound,
  completingStatements,
  fullName,
  knownMigrations,
  MIGRATIONS_TABLE,
  type MigrationRecord,
  nameOf,
  namesOf,
  readHistory,
  recordingStatement,
  timestampOf,
} from './history';
import { LOCK_TIMEOUT_MS } from './locking';
import { LOCK_OR_STOP } from './migration-lock';
import { toRevert } from './migrator';
import { plannedSql } from './planned-sql';
import { splitStatements } from './split-sql';

/** What would be run, one statement after the other, in one session and with the transactions that are among them. */
export interface MigrationPlan {
  readonly direction: 'up' | 'down';
  /** The migration lock, the history table where it is not complete, and that no other migration has run meanwhile. */
  readonly preparation: readonly string[];
  readonly migrations: readonly PlannedMigration[];
}

export interface PlannedMigration {
  readonly name: string;
  readonly statements: readonly string[];
}

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
 * included. Whoever runs it by hand gets the same database. It tries for no lock twice: a time-out ends it, and a new
 * plan goes on where it stopped. Reads, never writes.
 *
 * ```ts
 * const { migrations } = await planMigrations(dataSource, { to: 'ExpandIndexes' });
 * ```
 *
 * Where the network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @throws UnknownMigrationsError, ChangedMigrationsError, AlembicDatabaseError, NoSuchMigrationError, ConfigurationError
 */
export async function planMigrations(dataSource: DataSource, given?: PlanOptions): Promise<MigrationPlan> {
  const { direction = 'up', ...options } = validateSettings(PlanOptions, given);
  const to = options.to && fullName(dataSource, options.to);
  const history = await readHistory(dataSource);
  await assertNotMadeByAlembic(history, dataSource);
  assertSound(history);
  const completing = direction === 'up' ? await completingStatements(dataSource, dataSource) : [];
  const todo = direction === 'up' ? pendingOf(dataSource, history, to) : await lastOf(dataSource, to);
  const migrations: PlannedMigration[] = [];
  for (const migration of todo) {
    migrations.push({ name: nameOf(migration), statements: await statementsOf(migration, direction) });
  }
  const preparation = [LOCK_OR_STOP, ...completing.flatMap(transaction), stopWhereChanged(history)];
  return { direction, preparation: migrations.length + completing.length > 0 ? preparation : [], migrations };
}

function pendingOf(dataSource: DataSource, history: readonly MigrationRecord[], to: string | undefined) {
  const pending = namesOf(history, 'pending').filter((name) => !to || timestampOf(name) <= timestampOf(to));
  return knownMigrations(dataSource).filter((migration) => pending.includes(nameOf(migration)));
}

async function lastOf(dataSource: DataSource, to: string | undefined): Promise<MigrationInterface[]> {
  const executed = await new MigrationExecutor(dataSource).getExecutedMigrations();
  return toRevert(executed, to).map((name) => dataSource.migrations.find((migration) => nameOf(migration) === name)!);
}

export async function statementsOf(migration: MigrationInterface, direction: 'up' | 'down'): Promise<string[]> {
  const texts = (await plannedSql(migration))[direction];
  const record =
    direction === 'up'
      ? await recordingStatement(migration)
      : `DELETE FROM ${MIGRATIONS_TABLE} WHERE name = '${nameOf(migration)}'`;
  if (migration.transaction === false) return [...texts, record].flatMap(transaction);
  return transaction([`SET LOCAL lock_timeout = '${LOCK_TIMEOUT_MS}ms'`, ...texts, record].join(';\n'));
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
  const applied = history.filter(({ state }) => state !== 'pending').map(({ name }) => `'${name}'`);
  return `DO $$
BEGIN
  IF ARRAY(SELECT DISTINCT name::text COLLATE "C" FROM ${MIGRATIONS_TABLE} ORDER BY 1)
    <> ARRAY[${applied.toSorted().join(', ')}]::text[]
  THEN
    RAISE EXCEPTION 'Migrations have run since this plan was made. Make it anew.';
  END IF;
END $$`;
}
