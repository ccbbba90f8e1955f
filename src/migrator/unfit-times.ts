import { type Queryable } from '../database/queryable';
import { TIMES } from '../migrations/helpers/legacy-times';

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
      const [type] = (await session.query(IS_PLAIN, [table, column])) as object[];
      if (!type) continue;
      const [row] = (await session.query(countOf(table, column), [zone])) as { far: number; skipped: number }[];
      const { far, skipped } = row!;
      if (far > 0) unfit.push(`${far} rows of ${table} have a ${column} that is out of range once it is in UTC`);
      if (skipped > 0)
        unfit.push(`${skipped} rows of ${table} have a ${column} that the clocks of ${zone} never showed`);
    }
  }
  return unfit;
}

const IS_PLAIN = `
  SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND atttypid = 'timestamp'::regtype`;

/** Within a day of the ends the conversion itself is not tried. Expired locks are purged. */
const countOf = (table: string, column: string) => `
  SELECT count(*) FILTER (WHERE is_far)::integer AS far,
    count(*) FILTER (WHERE CASE WHEN is_far THEN false ELSE (time AT TIME ZONE $1) AT TIME ZONE $1 <> time END)::integer
      AS skipped
  FROM (
    SELECT ${column} AS time,
      isfinite(${column}) AND ${column} NOT BETWEEN '4713-01-02 BC' AND '294276-12-30' AS is_far
    FROM ${table} ${table === 'auth_processing_locks' ? `WHERE expires_at > now() AT TIME ZONE $1` : ''}
    ${table === 'auth_request_state' && column === 'updated_at' ? `WHERE updated_at <> created_at` : ''}
  ) AS times`;
