import { PaymentEventsDbError } from '../errors';
import { hasTable, type Queryable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { alembicCatalogs } from '../schema/catalogs';
import { TIMES } from '../migrations/helpers/legacy-times';
import { type MigrationRecord } from './history';

/** A revision that one of our first migrations repeats. */
export type AlembicRevision = keyof typeof alembicCatalogs;

/** Those, in the order of the migrations. */
export const MIRRORED_REVISIONS = Object.keys(alembicCatalogs) as AlembicRevision[];

/** Alembic made the tables, and our history does not know of them yet. Nothing was changed. */
export class AlembicDatabaseError extends PaymentEventsDbError {
  readonly code = 'ALEMBIC_DATABASE';

  constructor(readonly revision: string) {
    super(
      `Alembic made this database (revision ${revision}): its tables exist, but our history of migrations is empty.\n` +
        'Take it over first, with all its rows: npx payment-events-db adopt --dry-run, then npx payment-events-db adopt.',
    );
  }
}

/** There is nothing to take over: `alembic_version` does not exist or is empty, or our tables do not. Nothing was changed. */
export class NotMadeByAlembicError extends PaymentEventsDbError {
  readonly code = 'NOT_MADE_BY_ALEMBIC';

  constructor() {
    super(
      'Alembic did not make this database: there is no row in alembic_version, or it is that of another application, ' +
        'since none of our tables is there. Check DATABASE_URL. To create the tables: npx payment-events-db migrate.',
    );
  }
}

/** Alembic made the database, and another revision of it than can be taken over. Nothing was changed. */
export class UnknownAlembicRevisionError extends PaymentEventsDbError {
  readonly code = 'UNKNOWN_ALEMBIC_REVISION';

  constructor(readonly revisions: readonly string[]) {
    super(
      `The revision of this database is not known here (${revisions.join(', ')}). ` +
        `Bring it to ${MIRRORED_REVISIONS.at(-1)} with Alembic first.`,
    );
  }
}

/**
 * Stops before our first migration would fail on tables that Alembic has made.
 *
 * @throws AlembicDatabaseError with the way to go on, where `alembic_version` has a row, our tables exist and our history
 *   is empty.
 */
export async function assertNotMadeByAlembic(history: readonly MigrationRecord[], session: Queryable): Promise<void> {
  if (history.some(({ state }) => state !== 'pending')) return;
  const revisions = await readRevisions(session);
  if (revisions.length > 0) throw new AlembicDatabaseError(revisions.join(', '));
}

/**
 * The revision that Alembic has brought the database to.
 *
 * @throws NotMadeByAlembicError, UnknownAlembicRevisionError
 */
export async function mirroredRevision(session: Queryable): Promise<AlembicRevision> {
  const revisions = await readRevisions(session);
  if (revisions.length === 0) throw new NotMadeByAlembicError();
  const revision = MIRRORED_REVISIONS.find((known) => known === revisions[0]);
  if (!revision || revisions.length > 1) throw new UnknownAlembicRevisionError(revisions);
  return revision;
}

/** Whatever its columns are called, where something else made a table of that name. */
const REVISIONS = sql`
  SELECT revision FROM alembic_version AS version
  CROSS JOIN LATERAL (SELECT to_jsonb(version) ->> 'version_num' AS revision) AS row
  WHERE revision IS NOT NULL ORDER BY revision`;

/**
 * What `alembic_version` holds: several revisions where branches were not merged. Nothing where none of our tables is
 * there, since then it is that of another application.
 */
async function readRevisions(session: Queryable): Promise<string[]> {
  if (!(await hasTable(session, 'alembic_version')) || !(await hasAnyOfOurTables(session))) return [];
  const rows = await query<{ revision: string }>(session, REVISIONS);
  return rows.map(({ revision }) => revision);
}

async function hasAnyOfOurTables(session: Queryable): Promise<boolean> {
  for (const table of TIMES.keys()) if (await hasTable(session, table)) return true;
  return false;
}
