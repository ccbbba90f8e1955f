import { type DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { VERSION } from './version';
import { hasTable, type Queryable } from '../database/queryable';
import {
  ChangedMigrationsError,
  HalfAppliedError,
  NoSuchMigrationError,
  PendingMigrationsError,
  UnknownMigrationsError,
} from './errors';
import { MIGRATIONS_TABLE } from '../schema/objects';
import { type Step } from './names-taken';
import { checksumOf } from './planned-sql';

/** A migration that was begun and did not end, as the history keeps it until it does. */
export interface Begun {
  readonly name: string;
  /** `up`: it was run and is not recorded yet. `down`: it was reverted and is recorded still. */
  readonly direction: 'up' | 'down';
  /** When, as PostgreSQL writes a time into JSON: ISO 8601. */
  readonly at: string;
  /** The user of the database. */
  readonly by: string;
  /** Of this package. */
  readonly version: string;
}

/**
 * One migration. `pending`: the database does not have it; `half_applied`: a run or a revert of it did not end; `unknown`:
 * the database has it and this code has not; `changed`: what the database ran is not what this code has.
 */
export interface MigrationRecord {
  readonly name: string;
  readonly state: 'applied' | 'half_applied' | 'pending' | 'unknown' | 'changed';
  /** Of one that is half applied. */
  readonly begun?: Begun;
  /** Null where it was applied by something that keeps no record of it, such as TypeORM alone. */
  readonly appliedAt: Date | null;
  readonly durationMs: number | null;
  /** Of this package. */
  readonly packageVersion: string | null;
  /** The user of the database. */
  readonly appliedBy: string | null;
}

interface HistoryRow {
  name: string;
  applied_at: string | null;
  duration_ms: number | null;
  package_version: string | null;
  applied_by: string | null;
  checksum: string | null;
  begun: Begun | null;
}

/** The columns of ours are null in a table that TypeORM has made and we have not completed yet. */
const READ_HISTORY = `
  SELECT row.* FROM ${MIGRATIONS_TABLE} AS history
  CROSS JOIN LATERAL jsonb_to_record(to_jsonb(history)) AS row (
    id integer, name text, applied_at text, duration_ms integer, package_version text, applied_by text, checksum text,
    begun jsonb)
  ORDER BY row.id`;

/**
 * Every migration of the code in its order, then those that only the database knows. Reads, never writes. Where the
 * network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 *
 * @param session what reads it. Default: any connection of the DataSource
 */
export async function readHistory(
  dataSource: DataSource,
  session: Queryable = dataSource,
): Promise<readonly MigrationRecord[]> {
  const rows = new Map((await readRows(session)).map((row) => [row.name, row]));
  const begun = halfDone(rows);
  const records: MigrationRecord[] = [];
  for (const migration of knownMigrations(dataSource)) {
    const name = nameOf(migration);
    const row = rows.get(name);
    rows.delete(name);
    const isChanged = row?.checksum && row.checksum !== (await checksumOf(migration));
    if (begun?.name === name && !isChanged) records.push({ ...toRecord(name, 'half_applied', row), begun });
    else records.push(toRecord(name, isChanged ? 'changed' : row ? 'applied' : 'pending', row));
  }
  const unknown = new Set(rows.keys());
  if (begun && !records.some(({ name }) => name === begun.name)) unknown.add(begun.name);
  return [...records, ...[...unknown].map((name) => toRecord(name, 'unknown', rows.get(name)))];
}

/**
 * What the mark in a row says, unless that has come to its end by something that keeps no marks, such as TypeORM alone:
 * what was run is recorded when it ends, and what was reverted no longer is.
 */
function halfDone(rows: ReadonlyMap<string, HistoryRow>): Begun | undefined {
  const begun = [...rows.values()].find((row) => row.begun)?.begun;
  return begun && rows.has(begun.name) === (begun.direction === 'down') ? begun : undefined;
}

async function readRows(session: Queryable): Promise<HistoryRow[]> {
  return (await hasTable(session, MIGRATIONS_TABLE)) ? ((await session.query(READ_HISTORY)) as HistoryRow[]) : [];
}

const toRecord = (name: string, state: MigrationRecord['state'], row: HistoryRow | undefined): MigrationRecord => ({
  name,
  state,
  appliedAt: row?.applied_at ? new Date(row.applied_at) : null,
  durationMs: row?.duration_ms ?? null,
  packageVersion: row?.package_version ?? null,
  appliedBy: row?.applied_by ?? null,
});

/** The code's migrations, oldest first. A name ends in its time, 13 digits of milliseconds. */
export function knownMigrations(dataSource: DataSource): MigrationInterface[] {
  return dataSource.migrations.toSorted((a, b) => timestampOf(nameOf(a)) - timestampOf(nameOf(b)));
}

/** Migrations of the code by their names, in the order of these, each to go the same way. */
export function stepsOf(dataSource: DataSource, names: readonly string[], direction: Step['direction']): Step[] {
  const known = new Map(knownMigrations(dataSource).map((migration) => [nameOf(migration), migration]));
  return names.map((name) => ({ migration: known.get(name)!, direction }));
}

export const nameOf = (migration: MigrationInterface): string => migration.name ?? migration.constructor.name;

export const timestampOf = (name: string): number => Number(name.slice(-13));

/**
 * The name of a migration of the code, which may be given without its time: `ExpandIndexes`.
 *
 * @throws NoSuchMigrationError also where two migrations differ by their time alone
 */
export function fullName(dataSource: DataSource, name: string): string {
  const names = knownMigrations(dataSource).map(nameOf);
  const [found, another] = names.filter((known) => known === name || known.slice(0, -13) === name);
  if (!found || another) throw new NoSuchMigrationError(name, names);
  return found;
}

export const namesOf = (history: readonly MigrationRecord[], state: MigrationRecord['state']): string[] =>
  history.filter((migration) => migration.state === state).map(({ name }) => name);

/** The one that is half applied. There is never more than one. */
export const halfApplied = (history: readonly MigrationRecord[]): Begun | undefined =>
  history.find(({ state }) => state === 'half_applied')?.begun;

/** Whether the history has a row of it. */
export const isRecorded = ({ state, begun }: Pick<MigrationRecord, 'state' | 'begun'>): boolean =>
  begun ? begun.direction === 'down' : state !== 'pending';

/**
 * @throws UnknownMigrationsError where the database has migrations that this code has not
 * @throws ChangedMigrationsError where it has run others than this code has
 */
export function assertSound(history: readonly MigrationRecord[]): void {
  const [unknown, changed] = [namesOf(history, 'unknown'), namesOf(history, 'changed')];
  if (unknown.length > 0) throw new UnknownMigrationsError(unknown);
  if (changed.length > 0) throw new ChangedMigrationsError(changed);
}

/**
 * For a service to begin with: it works with no other schema than the one that its migrations make.
 *
 * @example
 * assertNonePending(await readHistory(dataSource));
 *
 * @throws PendingMigrationsError where the database lacks migrations of this code
 * @throws HalfAppliedError where one of them did not come to its end
 */
export function assertNonePending(history: readonly MigrationRecord[]): void {
  const begun = halfApplied(history);
  if (begun) throw new HalfAppliedError(begun);
  const names = namesOf(history, 'pending');
  if (names.length > 0) throw new PendingMigrationsError(names);
}

/**
 * TypeORM's table with what it lacks: a name only once, when, how long, by which version, who, the checksum of what was
 * run, and in its first row what has begun and not ended. Its own INSERT and SELECT work on it as before. One transaction; harmless again.
 */
export const COMPLETE_HISTORY_TABLE = `
  CREATE TABLE IF NOT EXISTS ${MIGRATIONS_TABLE} (
    id serial CONSTRAINT ${MIGRATIONS_TABLE}_pkey PRIMARY KEY,
    "timestamp" bigint NOT NULL,
    name varchar NOT NULL
  );
  DELETE FROM ${MIGRATIONS_TABLE} AS later USING ${MIGRATIONS_TABLE} AS earlier
    WHERE later.name = earlier.name AND later.id > earlier.id;
  ALTER TABLE ${MIGRATIONS_TABLE}
    ADD COLUMN IF NOT EXISTS applied_at timestamptz,
    ADD COLUMN IF NOT EXISTS duration_ms integer,
    ADD COLUMN IF NOT EXISTS package_version text,
    ADD COLUMN IF NOT EXISTS applied_by text,
    ADD COLUMN IF NOT EXISTS checksum text,
    ADD COLUMN IF NOT EXISTS begun jsonb,
    ALTER COLUMN applied_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN applied_by SET DEFAULT session_user,
    DROP CONSTRAINT IF EXISTS ${MIGRATIONS_TABLE}_name_key,
    ADD CONSTRAINT ${MIGRATIONS_TABLE}_name_key UNIQUE (name)`;

const IS_COMPLETE = `
  SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = '${MIGRATIONS_TABLE}_name_key'
                 AND conrelid = to_regclass('${MIGRATIONS_TABLE}'))
    AND EXISTS (SELECT FROM pg_attribute WHERE attname = 'begun' AND NOT attisdropped
                AND attrelid = to_regclass('${MIGRATIONS_TABLE}')) AS complete`;

/**
 * What the history still lacks: the table that {@link COMPLETE_HISTORY_TABLE} makes, the checksum of each migration that
 * was applied without one, so that a change from now on is found, and that a mark is of the past: see {@link halfDone}.
 */
export async function completingStatements(dataSource: DataSource, session: Queryable): Promise<string[]> {
  const [table] = (await session.query(IS_COMPLETE)) as { complete: boolean }[];
  const statements = table!.complete ? [] : [COMPLETE_HISTORY_TABLE];
  const rows = await readRows(session);
  const isHalfDone = halfDone(new Map(rows.map((row) => [row.name, row]))) !== undefined;
  if (rows.some(({ begun }) => begun) && !isHalfDone) statements.push(ENDING_STATEMENT);
  for (const migration of knownMigrations(dataSource)) {
    if (!rows.some(({ name, checksum }) => name === nameOf(migration) && !checksum)) continue;
    statements.push(
      `UPDATE ${MIGRATIONS_TABLE} SET checksum = '${await checksumOf(migration)}'
  WHERE name = '${nameOf(migration)}' AND checksum IS NULL`,
    );
  }
  return statements;
}

/** Does it. */
export async function completeHistory(dataSource: DataSource, queryRunner: QueryRunner): Promise<void> {
  for (const statement of await completingStatements(dataSource, queryRunner)) await queryRunner.query(statement);
}

/** The INSERT that records a migration, with its values in it, as a plan prints it. */
export async function recordingStatement(migration: MigrationInterface, durationMs?: number): Promise<string> {
  const name = nameOf(migration);
  return `INSERT INTO ${MIGRATIONS_TABLE} ("timestamp", name, duration_ms, package_version, checksum)
  VALUES (${timestampOf(name)}, '${name}', ${durationMs ?? 'NULL'}, '${VERSION}', '${await checksumOf(migration)}')`;
}

/** The DELETE of that row. */
export const forgettingStatement = (migration: MigrationInterface): string =>
  `DELETE FROM ${MIGRATIONS_TABLE} WHERE name = '${nameOf(migration)}'`;

/**
 * Marks a migration as begun, in the first row of the history. Committed before its first statement, and only where no
 * transaction is around it: what that leaves half done when it is cut off is known by this mark alone. One that has a
 * transaction leaves nothing. Only the holder of the migration lock writes here.
 */
export const beginningStatement = (migration: MigrationInterface, direction: 'up' | 'down'): string =>
  `UPDATE ${MIGRATIONS_TABLE} SET begun = jsonb_build_object('name', '${nameOf(migration)}',
    'direction', '${direction}', 'at', clock_timestamp(), 'by', session_user, 'version', '${VERSION}')
  WHERE id = (SELECT min(id) FROM ${MIGRATIONS_TABLE})`;

/** Takes the mark away, in one transaction with what records how it ended. */
export const ENDING_STATEMENT = `UPDATE ${MIGRATIONS_TABLE} SET begun = NULL WHERE begun IS NOT NULL`;

/** Whether it is marked while it runs. */
export const isMarked = (migration: MigrationInterface): boolean => migration.transaction === false;
