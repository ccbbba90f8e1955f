import { type Queryable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { GRANTED } from '../schema/objects';

const FIND = sql`
  SELECT format('%s belongs to %s, as whom migrations have to run; this is %s',
    pg_describe_object('pg_class'::regclass, oid, 0), pg_get_userbyid(relowner), current_user) AS missing
  FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY (${GRANTED.tables})
    AND NOT pg_has_role(relowner, 'USAGE')
  UNION ALL
  SELECT format('%s may not create objects in schema %I: GRANT CREATE ON SCHEMA %2$I TO %1$I', current_user,
    current_schema())
  WHERE NOT has_schema_privilege(current_schema(), 'CREATE')
  UNION ALL
  SELECT format('%s may not create temporary tables: GRANT TEMPORARY ON DATABASE %I TO %1$I', current_user,
    current_database())
  WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
  UNION ALL
  SELECT format('%s may not use PL/pgSQL: GRANT USAGE ON LANGUAGE plpgsql TO %1$I', current_user)
  WHERE NOT has_language_privilege('plpgsql', 'USAGE')`;

/** What the user of this session may not do and migrations have to, each with its remedy. Reads only. */
export async function findMissingRights(session: Queryable): Promise<string[]> {
  const rows = await query<{ missing: string }>(session, FIND);
  return rows.map(({ missing }) => missing);
}
