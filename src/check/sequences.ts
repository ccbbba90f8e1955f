import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { type Drift } from '../schema/compare-catalogs';
import { GRANTED } from '../schema/objects';

/** A column that numbers the rows of its table, and the sequence that it owns for that. Names are quoted, with their schema. */
interface Numbering {
  name: string;
  sequence: string;
  table: string;
  column: string;
}

/** Of our tables, what this role may read. Fencing tokens are none: they are drawn at random, by most. */
const NUMBERINGS = sql`
  SELECT sequence.relname AS name, format('%I.%I', current_schema(), sequence.relname) AS sequence,
    format('%I.%I', current_schema(), relation.relname) AS table, quote_ident(attname) AS column
  FROM pg_class AS relation
  JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = relation.oid
    AND classid = 'pg_class'::regclass AND deptype IN ('i', 'a')
  JOIN pg_class AS sequence
    ON sequence.oid = objid AND sequence.relkind = 'S' AND sequence.relnamespace = relation.relnamespace
  JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
  WHERE relation.relnamespace = current_schema()::regnamespace AND relation.relname = ANY (${GRANTED.tables})
    AND has_table_privilege(sequence.oid, 'SELECT') AND has_column_privilege(relation.oid, attnum, 'SELECT')
  ORDER BY name`;

/** Where the rows have used up the sequence. */
const lastOf = (used: string, sequence: string) => sql`
  SELECT used::text, last_value::text AS last FROM (${raw(used)}) AS rows (used) CROSS JOIN ${raw(sequence)}
  WHERE used > last_value OR used = last_value AND NOT is_called`;

/**
 * Sequences that would give out again what their table has already, as they do after logical replication, which copies
 * none, or after a restore of rows without them: inserts then fail. What the role may not read is left out.
 *
 * Rows and sequence are read in one statement: whatever the rows of its snapshot have was drawn before, so that writers
 * give no false alarm.
 */
export async function findStaleSequences(session: Queryable): Promise<Drift[]> {
  const stale: Drift[] = [];
  for (const numbering of await query<Numbering>(session, NUMBERINGS)) {
    const { name, sequence, table, column } = numbering;
    const used = `SELECT max(${column}) FROM ${table}`;
    const [found] = await query<{ used: string; last: string }>(session, lastOf(used, sequence));
    if (!found) continue;
    stale.push({
      kind: 'different',
      object: `sequence ${name}: last value`,
      expected: `last value ${found.used} or more, which rows have already`,
      actual: `last value ${found.last}`,
      remedy: `SELECT setval('${sequence.replaceAll("'", "''")}', (${used}))`,
    });
  }
  return stale;
}
