import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { type Drift } from '../schema/compare-catalogs';
import { rangeOf, readSequenceNumbers } from '../fence/sequence-range';
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

/**
 * Where the rows have used up the sequence. Of several databases each has a range of numbers to itself, 2^40 long, and rows
 * that come from another keep theirs: only those of the range that the sequence is in count.
 */
const lastOf = ({ sequence, table, column }: Numbering) => sql`
  SELECT used::text, last_value::text AS last, range_end::text AS end
  FROM ${raw(sequence)}
  CROSS JOIN LATERAL (SELECT (last_value >> 40) << 40, ((last_value >> 40) + 1) << 40) AS range (range_begin, range_end)
  CROSS JOIN LATERAL (
    SELECT max(${raw(column)}) FROM ${raw(table)} WHERE ${raw(column)} >= range_begin AND ${raw(column)} < range_end
  ) AS rows (used)
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
    const [found] = await query<{ used: string; last: string; end: string }>(session, lastOf(numbering));
    if (!found) continue;
    const used = `SELECT max(${column}) FROM ${table} WHERE ${column} < ${found.end}`;
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

/** Sequences that count in the range of another database than that of this number. */
export async function findForeignSequences(session: Queryable, number: number): Promise<Drift[]> {
  const [first] = rangeOf(number);
  return [...(await readSequenceNumbers(session))]
    .filter(([, found]) => found !== number)
    .map(([table, found]) => ({
      kind: 'different',
      object: `sequence ${table}_id_seq: range`,
      expected: `counts from ${first}, as database ${number}`,
      actual: `counts from ${rangeOf(found)[0]}, as database ${found}`,
      remedy: 'npx payment-events-db shard fence sets the range of the map',
    }));
}
