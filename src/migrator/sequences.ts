import { type Queryable } from './catalog';
import { type Drift } from './compare-catalogs';
import { MIGRATIONS_TABLE } from './history';

/** A column that draws its values from a sequence: an identity, or one whose default says so. Names are quoted. */
interface Drawn {
  sequence: string;
  table: string;
  column: string;
  /** The tokens that attempts keep are there to be read too. */
  hasAttempts: boolean;
}

/** Of our tables, what this role may read. */
const DRAWN = `
  SELECT sequence.oid::regclass::text AS sequence, relation.oid::regclass::text AS table, quote_ident(attname) AS column,
    attname = 'fencing_token' AND 2 = (
      SELECT count(*) FROM pg_attribute AS kept
      WHERE attrelid = to_regclass('auth_request_state') AND attname IN ('attempt_token', 'attempt_version')
        AND has_column_privilege(attrelid, attnum, 'SELECT')) AS "hasAttempts"
  FROM pg_class AS relation
  JOIN pg_attribute ON attrelid = relation.oid AND attnum > 0 AND NOT attisdropped
  LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
  JOIN pg_depend ON refclassid = 'pg_class'::regclass AND (
    classid = 'pg_class'::regclass AND deptype = 'i' AND refobjid = attrelid AND refobjsubid = attnum
    OR classid = 'pg_attrdef'::regclass AND objid = pg_attrdef.oid)
  JOIN pg_class AS sequence
    ON sequence.relkind = 'S' AND sequence.oid = CASE classid WHEN 'pg_class'::regclass THEN objid ELSE refobjid END
  WHERE relation.relnamespace = current_schema()::regnamespace AND relation.relname IN (
      'payment_events', 'auth_request_state', 'outbox', 'auth_idempotency_keys', 'restaurant_payment_configs',
      'auth_processing_locks', '${MIGRATIONS_TABLE}')
    AND has_table_privilege(sequence.oid, 'SELECT') AND has_column_privilege(relation.oid, attnum, 'SELECT')
  ORDER BY sequence`;

/**
 * Sequences that would give out again what their table has already, as they do after logical replication, which copies
 * none, or after a restore of rows without them. Inserts then fail; and of two workers with the same fencing token
 * neither is kept out. Sequences and columns that the role may not read are left out.
 *
 * Rows and sequence are read in one statement: whatever the rows of its snapshot have was drawn before, so that writers
 * give no false alarm.
 */
export async function findStaleSequences(session: Queryable): Promise<Drift[]> {
  const stale: Drift[] = [];
  for (const drawn of (await session.query(DRAWN)) as Drawn[]) {
    const used = drawn.hasAttempts ? GREATEST_TOKEN : `SELECT max(${drawn.column}) FROM ${drawn.table}`;
    const [found] = (await session.query(`
      SELECT used::text, last_value::text AS last FROM (${used}) AS known (used) CROSS JOIN ${drawn.sequence}
      WHERE used > last_value OR used = last_value AND NOT is_called`)) as { used: string; last: string }[];
    if (!found) continue;
    stale.push({
      kind: 'different',
      object: `sequence ${drawn.sequence}: last value`,
      expected: `last value ${found.used} or more, which rows have already`,
      actual: `last value ${found.last}`,
      remedy: `SELECT setval('${drawn.sequence.replaceAll("'", "''")}', (${used}))`,
    });
  }
  return stale;
}

/**
 * A lock that is released leaves its token with the attempt. The requests of the newest events are enough, and found by
 * keys: tokens are drawn as events are appended. Attempts of legacy services, of the empty version, have none of ours.
 */
const GREATEST_TOKEN =
  'SELECT max(token) FROM (SELECT fencing_token FROM auth_processing_locks UNION ALL SELECT attempt_token ' +
  "FROM auth_request_state WHERE attempt_version <> '' AND auth_request_id IN " +
  '(SELECT aggregate_id FROM payment_events ORDER BY id DESC LIMIT 1000)) AS drawn (token)';
