import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { TIMES } from '../migrations/helpers/legacy-times';

const isPlain = (table: string, column: string) => sql`
  SELECT FROM pg_attribute
  WHERE attrelid = to_regclass(${table}) AND attname = ${column} AND atttypid = 'timestamp'::regtype`;

/** Within a day of the ends the conversion itself is not tried. Expired locks are purged. */
const countOf = (table: string, column: string, zone: string) => sql`
  SELECT count(*) FILTER (WHERE is_far)::integer AS far,
    count(*) FILTER (WHERE CASE WHEN is_far THEN false ELSE (time AT TIME ZONE old) AT TIME ZONE old <> time END)::integer
      AS skipped
  FROM (
    SELECT old, ${raw(column)} AS time,
      isfinite(${raw(column)}) AND ${raw(column)} NOT BETWEEN '4713-01-02 BC' AND '294276-12-30' AS is_far
    FROM ${raw(table)} CROSS JOIN (SELECT ${zone}::text AS old) AS zone
    ${raw(table === 'auth_processing_locks' ? 'WHERE expires_at > now() AT TIME ZONE old' : '')}
    ${raw(table === 'auth_request_state' && column === 'updated_at' ? 'WHERE updated_at <> created_at' : '')}
  ) AS times`;

/**
 * Old times that cannot be converted from their zone and back: those that lie outside of what PostgreSQL holds once they
 * are in UTC, and those at which the clocks of that zone were put forward, which it never showed. Reads only.
 *
 * @param inUtc columns of auth_request_state that are in UTC all the same
 */
export async function findUnfitTimes(session: Queryable, zone: string, inUtc: readonly string[]): Promise<string[]> {
  if (zone === 'UTC') return [];
  const unfit: string[] = [];
  for (const [table, columns] of TIMES) {
    for (const column of columns.filter((name) => table !== 'auth_request_state' || !inUtc.includes(name))) {
      if ((await query(session, isPlain(table, column))).length === 0) continue;
      const [row] = await query<{ far: number; skipped: number }>(session, countOf(table, column, zone));
      const { far, skipped } = row!;
      if (far > 0) unfit.push(`${far} rows of ${table} have a ${column} that is out of range once it is in UTC`);
      if (skipped > 0)
        unfit.push(`${skipped} rows of ${table} have a ${column} that the clocks of ${zone} never showed`);
    }
  }
  return unfit;
}
