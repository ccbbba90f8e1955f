import { type Queryable } from '../../../src/database/queryable';

/** Who has what on the database, its schema and all that is in it, but for the owners: a line a privilege. */
export async function readAccessLists(database: Queryable): Promise<string[]> {
  return ((await database.query(READ_ACCESS_LISTS)) as { line: string }[]).map(({ line }) => line);
}

const READ_ACCESS_LISTS = `
  SELECT line FROM (
  SELECT concat_ws(' ', object, privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee)::text END,
    CASE WHEN is_grantable THEN 'with grant option' END, 'by', pg_get_userbyid(grantor)) AS line
  FROM (
    SELECT 'database', datdba, coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
    UNION ALL
    SELECT 'schema', nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname = 'public'
    UNION ALL
    SELECT relname, relowner, relacl FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT relname || '.' || attname, relowner, attacl FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace
    UNION ALL
    SELECT proname, proowner, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
  ) AS objects (object, owner, acl)
  CROSS JOIN LATERAL aclexplode(acl) AS entry
  WHERE grantee <> owner
  ) AS lines
  ORDER BY line COLLATE "C"`;
