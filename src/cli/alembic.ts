import { type DataSource, MigrationExecutor } from 'typeorm';
import { MIGRATIONS_TABLE } from '../data-source';
import { PaymentEventsDbError } from '../errors';
import { knownMigrations, timestampOf } from './migration-history';

/** The Alembic revisions that our first migrations repeat, in the same order. */
const MIRRORED_REVISIONS = ['9a82c6d3b654', '09c2b295afcd'];

/** Alembic made the tables, and our history does not know of them yet. Nothing was changed. */
export class AlembicDatabaseError extends PaymentEventsDbError {
  readonly code = 'ALEMBIC_DATABASE';
}

/**
 * Stops before our first migration would fail on tables that Alembic has made.
 *
 * @throws AlembicDatabaseError with the way to go on, where `alembic_version` has a row and our history has none.
 */
export async function assertNotMadeByAlembic(dataSource: DataSource): Promise<void> {
  if ((await new MigrationExecutor(dataSource).getExecutedMigrations()).length > 0) return;
  const revision = await alembicRevision(dataSource);
  if (!revision) return;
  const mirrored = knownMigrations(dataSource).slice(0, MIRRORED_REVISIONS.indexOf(revision) + 1);
  throw new AlembicDatabaseError(mirrored.length > 0 ? wayToAdopt(revision, mirrored) : unknownRevision(revision));
}

async function alembicRevision(dataSource: DataSource): Promise<string | undefined> {
  const [found] = await dataSource.query<{ exists: boolean }[]>(
    `SELECT to_regclass('alembic_version') IS NOT NULL AS exists`,
  );
  if (!found?.exists) return undefined;
  const [row] = await dataSource.query<{ version_num: string }[]>(`SELECT version_num FROM alembic_version`);
  return row?.version_num;
}

function wayToAdopt(revision: string, mirrored: string[]): string {
  const inserts = mirrored.map(
    (name) => `  INSERT INTO ${MIGRATIONS_TABLE} ("timestamp", name) VALUES (${timestampOf(name)}, '${name}');`,
  );
  return [
    `Alembic made this database (revision ${revision}): its tables exist, but our history of migrations is empty.`,
    'To take it over with all its rows, record what it has already, then migrate:',
    `1. Verify that its schema is that of revision ${revision}, unchanged by hand, and that Alembic will not run again.`,
    `2. Make the history table, if it is not there: npm run migration:show`,
    '3. In the database:',
    ...inserts,
    '4. Stop the services that know only the old schema, then run this again.',
  ].join('\n');
}

function unknownRevision(revision: string): string {
  const last = MIRRORED_REVISIONS.at(-1);
  return (
    `Alembic made this database, at a revision that is not known here (${revision}). ` +
    `Bring it to ${last} with Alembic first, then run this again.`
  );
}
