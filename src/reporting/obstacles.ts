import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { GrantsRefusedError } from '../grants/errors';
import { assertAllowed } from '../grants/obstacles';
import { assertNonePending, readHistory } from '../migrator/history';
import { REPORTING_SCHEMA } from '../schema/objects';
import { type ShardMap } from '../shards/shard-map';
import { type OpenShard } from './databases';
import { ReportingRefusedError } from './errors';
import { isOurSchema, reportingRole, SERVER_PREFIX, VERSION_OF_MAP } from './names';
import { REPORTING_VIEWS } from './views';

/** Views of the tables of another schema, for whose reports the names are in use here. */
const VIEWS_OF_OTHERS = sql`
  SELECT DISTINCT format('The views for reports here read schema %I: of two payment databases in one database of '
    'PostgreSQL one can have reports.', tables.relnamespace::regnamespace::text) AS reason
  FROM pg_class AS views
  JOIN pg_namespace ON pg_namespace.oid = views.relnamespace
  JOIN pg_rewrite ON ev_class = views.oid
  JOIN pg_depend ON classid = 'pg_rewrite'::regclass AND objid = pg_rewrite.oid AND refclassid = 'pg_class'::regclass
  JOIN pg_class AS tables ON tables.oid = refobjid AND tables.oid <> views.oid
  WHERE ${raw(isOurSchema('nspname'))} AND tables.relnamespace <> current_schema()::regnamespace`;

/** @throws PendingMigrationsError, ReportingRefusedError saying all that is in the way at this database */
export async function assertFitForViews(
  { entry, dataSource }: OpenShard,
  reporting: Queryable,
  rolePrefix?: string,
): Promise<void> {
  assertNonePending(await readHistory(dataSource));
  const reasons = (await query<{ reason: string }>(dataSource, VIEWS_OF_OTHERS)).map(({ reason }) => reason);
  const [own, encoding] = [await encodingOf(dataSource), await encodingOf(reporting)];
  if (own !== encoding) {
    reasons.push(
      `Its encoding is ${own}, and that of the reporting database ${encoding}: text would be sorted in two orders, and counted ` +
        `wrong. Make a new reporting database, with ENCODING '${own}' TEMPLATE template0.`,
    );
  }
  try {
    await assertAllowed(dataSource, [reportingRole(rolePrefix)]);
  } catch (error) {
    if (!(error instanceof GrantsRefusedError)) throw error;
    reasons.push(...error.reasons);
  }
  refuse(reasons.map((reason) => `Database ${entry.name}: ${reason}`));
}

/** COLLATE "C" sorts by the bytes of the encoding. */
async function encodingOf(session: Queryable): Promise<string> {
  const [row] = await query<{ encoding: string }>(session, sql`SELECT current_setting('server_encoding') AS encoding`);
  return row!.encoding;
}

const obstaclesTo = (role: string) => sql`
  SELECT 'postgres_fdw is not installed on the server: it comes with the contrib modules of PostgreSQL.' AS reason
  WHERE NOT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw')

  UNION ALL
  SELECT format('User %I may not use postgres_fdw. As a superuser: GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO %1$I.', current_user)
  FROM pg_foreign_data_wrapper
  WHERE fdwname = 'postgres_fdw' AND NOT has_foreign_data_wrapper_privilege(pg_foreign_data_wrapper.oid, 'USAGE')

  UNION ALL
  SELECT format('User %I is not the owner of database %I: connect as %I.', current_user, datname, pg_get_userbyid(datdba))
  FROM pg_database WHERE datname = current_database() AND NOT pg_has_role(datdba, 'USAGE')

  UNION ALL
  SELECT format('User %I may not make temporary tables, by which a password stays out of logs: GRANT TEMPORARY ON DATABASE %I TO %1$I.',
    current_user, current_database())
  WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')

  UNION ALL
  SELECT format('Missing: %s. User %I may not create roles. As somebody who may: CREATE ROLE %1$s NOLOGIN.', ${role}::text, current_user)
  WHERE to_regrole(${role}) IS NULL
    AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper))

  UNION ALL
  SELECT format('Role %I is more than a group without a login: take that from it, or name another by a prefix.', rolname)
  FROM pg_roles
  WHERE rolname = ${role} AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    OR EXISTS (SELECT FROM pg_auth_members WHERE member = pg_roles.oid))`;

/** @throws ReportingRefusedError saying all that is in the way at the reporting database */
export async function assertFitForReports(
  reporting: Queryable,
  { version, shards }: ShardMap,
  rolePrefix?: string,
): Promise<void> {
  const rows = await query<{ reason: string }>(reporting, obstaclesTo(reportingRole(rolePrefix)));
  const reasons = [...rows.map(({ reason }) => reason), ...(await lackOfLocks(reporting, shards.length))];
  const made = await madeBy(reporting);
  if (made !== undefined && made > version) {
    reasons.push(`It was made by version ${made} of the map, and this is version ${version}: read the newer one.`);
  }
  refuse(reasons.map((reason) => `Reporting database: ${reason}`));
}

/** @throws ReportingRefusedError the reporting database has not the room to drop what it has of ours in one transaction */
export async function assertMayBeDropped(reporting: Queryable): Promise<void> {
  refuse((await lackOfLocks(reporting, 0)).map((reason) => `Reporting database: ${reason}`));
}

/**
 * Locks of a transaction, which keeps all it takes: for the tables themselves and the rest; for the parts that a database gets,
 * two for each; for those that go three, with the types of their rows, and for the server and its mapping.
 */
const LOCKS = {
  base: 200,
  made: 2 * REPORTING_VIEWS.length,
  dropped: 3 * REPORTING_VIEWS.length + 2,
};

/**
 * PostgreSQL promises room for max_locks_per_transaction locks for each session that there may be. Beyond that the statements
 * of other sessions fail as well, so nothing is begun.
 */
async function lackOfLocks(reporting: Queryable, made: number): Promise<string[]> {
  const [row] = await query<{ dropped: number; sessions: number; has: number }>(
    reporting,
    sql`
    SELECT (SELECT count(*) FROM pg_foreign_server WHERE starts_with(srvname, ${SERVER_PREFIX}))::int AS dropped,
      current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int AS sessions,
      current_setting('max_locks_per_transaction')::int AS has`,
  );
  const { dropped, sessions, has } = row!;
  if (dropped + made === 0) return [];
  const needed = Math.ceil((LOCKS.base + dropped * LOCKS.dropped + made * LOCKS.made) / sessions);
  if (needed <= has) return [];
  return [
    `max_locks_per_transaction of the server must be ${needed} or more for ${Math.max(dropped, made)} databases, whose tables ` +
      `change in one transaction: it is ${has}. ALTER SYSTEM SET max_locks_per_transaction = ${needed}, and restart the server.`,
  ];
}

/** The version of the map that the reporting database was last made by. */
export async function madeBy(reporting: Queryable): Promise<number | undefined> {
  const [found] = await query<{ comment: string | null }>(
    reporting,
    sql`SELECT obj_description(oid, 'pg_namespace') AS comment FROM pg_namespace WHERE nspname = ${REPORTING_SCHEMA}`,
  );
  const comment = found?.comment;
  return comment?.startsWith(VERSION_OF_MAP) ? Number(comment.slice(VERSION_OF_MAP.length)) : undefined;
}

function refuse(reasons: readonly string[]): void {
  if (reasons.length > 0) throw new ReportingRefusedError(reasons);
}
