import { type DataSource, type MigrationInterface, type QueryRunner } from 'typeorm';
import { VERSION } from '../version';
import { hasTable, type Queryable } from './catalog';
import { ChangedMigrationsError, NoSuchMigrationError, PendingMigrationsError, UnknownMigrationsError } from './errors';
import { checksumOf } from './planned-sql';

/** The name of the history table: ours by name, so that a service may keep its own `migrations` beside it. */
export const MIGRATIONS_TABLE = 'payment_events_db_migrations';

/**
 * One migration. `pending`: the database does not have it; `unknown`: the database has it and this code has not;
 * `changed`: what the database ran is not what this code has.
 */
export interface MigrationRecord {
  readonly name: string;
  readonly state: 'applied' | 'pending' | 'unknown' | 'changed';
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
}

/** The columns of ours are null in a table that TypeORM has made and we have not completed yet. */
const READ_HISTORY = `
  SELECT row.* FROM ${MIGRATIONS_TABLE} AS history
  CROSS JOIN LATERAL jsonb_to_record(to_jsonb(history)) AS row (
    id integer, name text, applied_at text, duration_ms integer, package_version text, applied_by text, checksum text)
  ORDER BY row.id`;

/**
 * Every migration of the code in its order, then those that only the database knows. Reads, never writes. Where the
 * network swallows an answer, it ends with an error `statementTimeoutMs` and ten seconds later.
 */
export async function readHistory(
  dataSource: DataSource,
  session: Queryable = dataSource,
): Promise<readonly MigrationRecord[]> {
  const rows = new Map((await readRows(session)).map((row) => [row.name, row]));
  const records: MigrationRecord[] = [];
  for (const migration of knownMigrations(dataSource)) {
    const row = rows.get(nameOf(migration));
    rows.delete(nameOf(migration));
    const isChanged = row?.checksum && row.checksum !== (await checksumOf(migration));
    records.push(toRecord(nameOf(migration), isChanged ? 'changed' : row ? 'applied' : 'pending', row));
  }
  return [...records, ...[...rows.values()].map((row) => toRecord(row.name, 'unknown', row))];
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

/**
 * @throws UnknownMigrationsError where the database has migrations that this code has not
 * @throws ChangedMigrationsError where it has run others than this code has
 */
export function assertSound(history: readonly MigrationRecord[]): void {
  const [unknown, changed] = [namesOf(history, 'unknown'), namesOf(history, 'changed')];
  if (unknown.length > 0) throw new UnknownMigrationsError(unknown);
  if (changed.length > 0) throw new ChangedMigrationsError(changed);
}

/** @throws PendingMigrationsError where the database lacks migrations of this code. */
export function assertNonePending(history: readonly MigrationRecord[]): void {
  const names = namesOf(history, 'pending');
  if (names.length > 0) throw new PendingMigrationsError(names);
}

/**
 * TypeORM's table with what it lacks: a name only once, when, how long, by which version, who, and the checksum of what
 * was run. Its own INSERT and SELECT work on it as before. One transaction; harmless again.
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
    ALTER COLUMN applied_at SET DEFAULT clock_timestamp(),
    ALTER COLUMN applied_by SET DEFAULT session_user,
    DROP CONSTRAINT IF EXISTS ${MIGRATIONS_TABLE}_name_key,
    ADD CONSTRAINT ${MIGRATIONS_TABLE}_name_key UNIQUE (name)`;

const IS_COMPLETE = `
  SELECT EXISTS (SELECT FROM pg_constraint WHERE conname = '${MIGRATIONS_TABLE}_name_key'
                 AND conrelid = to_regclass('${MIGRATIONS_TABLE}')) AS complete`;

/**
 * What the history still lacks: the table that {@link COMPLETE_HISTORY_TABLE} makes, and the checksum of each migration
 * that was applied without one, so that a change from now on is found.
 */
export async function completingStatements(dataSource: DataSource, session: Queryable): Promise<string[]> {
  const [table] = (await session.query(IS_COMPLETE)) as { complete: boolean }[];
  const statements = table!.complete ? [] : [COMPLETE_HISTORY_TABLE];
  const rows = await readRows(session);
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
