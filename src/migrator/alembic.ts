import { type DataSource } from 'typeorm';
import { PaymentEventsDbError } from '../errors';
import { type Queryable } from './catalog';
import { readHistory } from './history';

/** The Alembic revisions that our first migrations repeat, in the same order. */
export const MIRRORED_REVISIONS = ['9a82c6d3b654', '09c2b295afcd'];

/** Alembic made the tables, and our history does not know of them yet. Nothing was changed. */
export class AlembicDatabaseError extends PaymentEventsDbError {
  readonly code = 'ALEMBIC_DATABASE';
}

/**
 * Stops before our first migration would fail on tables that Alembic has made.
 *
 * @throws AlembicDatabaseError with the way to go on, where `alembic_version` has a row and our history has none.
 */
export async function assertNotMadeByAlembic(dataSource: DataSource, session: Queryable): Promise<void> {
  if ((await readHistory(dataSource, session)).some(({ state }) => state !== 'pending')) return;
  const revision = await alembicRevision(session);
  if (revision) throw new AlembicDatabaseError(wayToAdopt(revision));
}

/** What `alembic_version` holds, if there is such a table with a row. */
export async function alembicRevision(session: Queryable): Promise<string | undefined> {
  const [found] = (await session.query(`SELECT to_regclass('alembic_version') IS NOT NULL AS exists`)) as {
    exists: boolean;
  }[];
  if (!found!.exists) return undefined;
  const [row] = (await session.query(`SELECT version_num FROM alembic_version`)) as { version_num: string }[];
  return row?.version_num;
}

function wayToAdopt(revision: string): string {
  return (
    `Alembic made this database (revision ${revision}): its tables exist, but our history of migrations is empty.\n` +
    'Take it over first, with all its rows: payment-events-db adopt --dry-run, then payment-events-db adopt.'
  );
}
