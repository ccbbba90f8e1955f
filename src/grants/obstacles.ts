import { type Queryable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { GRANTED } from '../schema/objects';
import { GrantsRefusedError } from './errors';

/**
 * GRANT by somebody else than the owner does nothing, and says so in a warning that nobody sees. A group that can do
 * more than what it is granted would hand that on to the services.
 */
const obstaclesTo = (roles: string[], objects: string[], functions: readonly string[]) => sql`
  SELECT format('Missing: %s. User %I may not create roles. As somebody who may: CREATE ROLE … NOLOGIN for each, or '
    'ALTER ROLE %2$I CREATEROLE.', string_agg(name, ', '), current_user) AS reason
  FROM unnest(${roles}::text[]) AS name
  WHERE to_regrole(name) IS NULL
    AND NOT EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolcreaterole OR rolsuper))
  HAVING count(*) > 0

  UNION ALL
  SELECT format('User %I is not the owner of %s: connect as %I, or have it changed by ALTER … OWNER TO.',
    current_user, string_agg(object, ', ' ORDER BY object COLLATE "C"), pg_get_userbyid(owner))
  FROM (
    SELECT datdba, 'database ' || datname FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT CASE nspowner WHEN 'pg_database_owner'::regrole THEN datdba ELSE nspowner END, 'schema ' || nspname
    FROM pg_namespace, pg_database WHERE nspname = current_schema() AND datname = current_database()
    UNION ALL
    SELECT relowner, relname FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'S') AND relname = ANY (${objects})
    UNION ALL
    SELECT proowner, proname || '()' FROM pg_proc
    WHERE pronamespace = current_schema()::regnamespace AND proname = ANY (${functions})
  ) AS owned (owner, object)
  WHERE NOT pg_has_role(owner, 'USAGE')
  GROUP BY owner

  UNION ALL
  SELECT format('Role %I is more than a group without a login: %s. Take that from it, or name others by a prefix.', rolname,
    concat_ws(', ', CASE WHEN rolcanlogin THEN 'LOGIN' END, CASE WHEN rolsuper THEN 'SUPERUSER' END,
      CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
      CASE WHEN rolreplication THEN 'REPLICATION' END, CASE WHEN rolbypassrls THEN 'BYPASSRLS' END,
      'member of ' || memberships))
  FROM pg_roles
  CROSS JOIN LATERAL (
    SELECT string_agg(quote_ident(pg_get_userbyid(roleid)), ', ') AS memberships FROM pg_auth_members WHERE member = pg_roles.oid
  ) AS member
  WHERE rolname = ANY (${roles}) AND (rolcanlogin OR rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    OR memberships IS NOT NULL)`;

/** @throws GrantsRefusedError saying all that is in the way of this user's granting to these roles */
export async function assertAllowed(session: Queryable, roles: string[]): Promise<void> {
  const objects = [...GRANTED.tables, ...GRANTED.sequences];
  const rows = await query<{ reason: string }>(session, obstaclesTo(roles, objects, GRANTED.functions));
  if (rows.length > 0) throw new GrantsRefusedError(rows.map(({ reason }) => reason));
}
