import { type Queryable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { type Drift } from '../schema/compare-catalogs';

/**
 * The role that pgaudit goes by. Nobody can act as it: what it was granted says what is logged, and opens nothing. A membership for
 * ADMIN alone, which PostgreSQL 16 gives to the creator of a role, is no use of it; 15 has no such columns.
 */
const AUDITOR = sql`
  SELECT rolname AS name FROM pg_roles
  WHERE rolname = current_setting('pgaudit.role', true) AND NOT rolcanlogin AND NOT rolsuper AND NOT EXISTS (
    SELECT FROM pg_auth_members AS membership
    WHERE roleid = pg_roles.oid AND (coalesce((to_jsonb(membership) ->> 'inherit_option')::boolean, true)
      OR coalesce((to_jsonb(membership) ->> 'set_option')::boolean, true)))`;

/** Leaves out what the auditor was granted, for as long as nobody can act as it. */
export async function withoutAuditor(session: Queryable, drift: Drift[]): Promise<Drift[]> {
  const [auditor] = await query<{ name: string }>(session, AUDITOR);
  if (!auditor) return drift;
  return drift.filter(
    ({ kind, object }) =>
      !(kind === 'unexpected' && object.includes(': grant ') && object.endsWith(` to ${auditor.name}`)),
  );
}
