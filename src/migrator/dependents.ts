import { type Change } from './changes';
import { literals } from '../database/literals';
import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';

/** What stands in the way of a migration. */
export interface Obstacle {
  /** The migration that would stop. */
  readonly migration: string;
  /** What is in its way, such as `view report`, and why. */
  readonly reason: string;
}

/** What one migration changes. */
export interface ChangingStep {
  readonly migration: string;
  readonly changes: readonly Change[];
}

const OUR_TRIGGERS = literals([
  'update_auth_request_state_updated_at',
  'guard_auth_request_state',
  'guard_new_auth_request_state',
  'guard_restaurant_payment_configs',
  'guard_new_restaurant_payment_configs',
  'guard_data_keys',
  'payment_events_append_only',
  'payment_events_no_truncate',
  'payment_events_no_gaps',
]);

/** For people: a view is its rule, and a generated column its default value. */
const DEPENDENT = `coalesce(
  (SELECT pg_describe_object('pg_class'::regclass, ev_class, 0) FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
   WHERE classid = 'pg_rewrite'::regclass AND pg_rewrite.oid = objid AND relkind <> 'r'),
  replace(pg_describe_object(classid, objid, objsubid), 'default value for ', 'generated '))`;

/**
 * pg_depend knows for each column which views, rules, policies, functions with a parsed body, triggers (WHEN, UPDATE OF),
 * publications (WHERE, lists of columns) and generated columns name it; what is not in the way is there as well, so each
 * kind is picked by its catalog. Not there are indexes whose expression or condition means something else for the new
 * type, and columns elsewhere that store whole rows.
 *
 * Columns of tables that inherit from ours change with them.
 */
const dependentsOf = (changes: readonly object[]) => sql`
  WITH RECURSIVE change AS (
    SELECT change.*, to_regclass(quote_ident("on")) AS relid
    FROM jsonb_to_recordset(${JSON.stringify(changes)}::jsonb) AS change (
      step integer, migration text, kind text, "on" text, name text, type text, columns integer)
  ), family (ancestor, member) AS (
    SELECT DISTINCT relid, relid::oid FROM change WHERE relid IS NOT NULL
    UNION
    SELECT ancestor, inhrelid FROM family JOIN pg_inherits ON inhparent = member
  ), target AS (
    SELECT step, migration, kind, "on" || '.' || name AS name, attrelid, attnum, attinhcount, member = ancestor AS is_ours
    FROM change
    JOIN family ON ancestor = relid
    JOIN pg_attribute ON attrelid = member AND attname = change.name AND attnum > 0 AND NOT attisdropped
    WHERE kind = 'drop' OR kind = 'retype' AND atttypid <> to_regtype(type)
  ), row_type (step, migration, kind, name, type) AS (
    SELECT DISTINCT step, migration, kind, "on", reltype
    FROM change JOIN family ON ancestor = relid JOIN pg_class ON pg_class.oid = member
    WHERE kind IN ('extend', 'discard')
       OR EXISTS (SELECT FROM target WHERE target.step = change.step AND attrelid = member AND target.kind = 'retype')
    UNION
    SELECT step, migration, kind, name,
      CASE classid WHEN 'pg_type'::regclass THEN objid ELSE (SELECT reltype FROM pg_class WHERE oid = objid) END
    FROM row_type
    JOIN pg_depend ON refclassid = 'pg_type'::regclass AND refobjid = type
    WHERE classid = 'pg_type'::regclass AND objid <> type
       OR classid = 'pg_class'::regclass AND objsubid > 0
         AND (SELECT relkind FROM pg_class WHERE oid = objid) IN ('c', 'v', 'f')
  ), found AS (
    SELECT step, migration, format('%s depends on %s', ${raw(DEPENDENT)}, name) AS reason
    FROM target
    JOIN pg_depend AS dependency
      ON refclassid = 'pg_class'::regclass AND refobjid = attrelid AND refobjsubid = attnum
    WHERE CASE classid
      WHEN 'pg_rewrite'::regclass THEN true
      WHEN 'pg_proc'::regclass THEN true
      WHEN 'pg_policy'::regclass THEN true
      WHEN 'pg_publication_rel'::regclass THEN true
      WHEN 'pg_trigger'::regclass THEN EXISTS (
        SELECT FROM pg_trigger WHERE pg_trigger.oid = objid AND NOT tgisinternal AND tgname NOT IN (${raw(OUR_TRIGGERS)}))
      WHEN 'pg_attrdef'::regclass THEN NOT EXISTS (
        SELECT FROM pg_attrdef WHERE pg_attrdef.oid = objid AND (adrelid, adnum) = (attrelid, target.attnum))
      WHEN 'pg_class'::regclass THEN EXISTS (
        SELECT FROM pg_attribute AS generated
        WHERE (generated.attrelid, generated.attnum) = (objid, objsubid) AND attgenerated <> '')
      WHEN 'pg_constraint'::regclass THEN target.kind = 'drop' AND EXISTS (
        SELECT FROM pg_constraint WHERE pg_constraint.oid = objid AND confrelid = attrelid AND conrelid <> attrelid)
      ELSE false END

    UNION
    SELECT step, migration, format('%s is inherited from %s', name, inhparent::regclass)
    FROM target JOIN pg_inherits ON inhrelid = attrelid
    WHERE is_ours AND attinhcount > 0

    UNION
    SELECT step, migration, CASE WHEN reloftype <> 0 THEN format('table %s is of type %s', "on", reloftype::regtype)
      ELSE format('table %s is a partition of %s', "on", (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = relid)) END
    FROM change JOIN pg_class ON pg_class.oid = relid
    WHERE kind = 'extend' AND (relispartition OR reloftype <> 0)

    UNION
    SELECT step, migration, format('index %s computes with %s', indexrelid::regclass, name)
    FROM target JOIN pg_index ON indrelid = attrelid
    WHERE kind = 'retype'
      AND regexp_replace(concat(indexprs, indpred), '\\{NULLTEST :arg \\{VAR [^}]*\\}', '', 'g')
        ~ ('\\{VAR :varno \\d+ :varattno ' || attnum || ' ')

    UNION
    SELECT step, migration, format('%s stores rows of %s', pg_describe_object(classid, objid, objsubid), name)
    FROM row_type
    JOIN pg_depend ON refclassid = 'pg_type'::regclass AND refobjid = type
      AND classid = 'pg_class'::regclass AND objsubid > 0
    JOIN pg_class ON pg_class.oid = objid AND relkind NOT IN ('c', 'v', 'f')

    UNION
    SELECT step, migration, format('%s depends on table %s', ${raw(DEPENDENT)}, "on")
    FROM change
    JOIN pg_depend AS dependency ON refclassid = 'pg_class'::regclass AND refobjid = relid AND deptype = 'n'
    WHERE kind = 'discard' AND CASE classid
      WHEN 'pg_rewrite'::regclass THEN EXISTS (SELECT FROM pg_rewrite WHERE pg_rewrite.oid = objid AND ev_class <> relid)
      WHEN 'pg_constraint'::regclass THEN EXISTS (
        SELECT FROM pg_constraint WHERE pg_constraint.oid = objid AND confrelid = relid
          AND conrelid IS DISTINCT FROM to_regclass('restaurant_payment_configs')) -- whose own go before the table does
      WHEN 'pg_class'::regclass THEN EXISTS (SELECT FROM pg_inherits WHERE inhrelid = objid AND inhparent = relid)
      WHEN 'pg_policy'::regclass THEN EXISTS (SELECT FROM pg_policy WHERE pg_policy.oid = objid AND polrelid <> relid)
      ELSE classid = 'pg_proc'::regclass END

    UNION
    SELECT step, migration, format('%s depends on the primary key of %s', ${raw(DEPENDENT)}, "on")
    FROM change
    JOIN pg_constraint AS key ON key.conrelid = relid AND key.conname = name AND cardinality(key.conkey) = columns
    JOIN pg_depend AS dependency ON deptype = 'n' AND classid <> 'pg_class'::regclass
      AND ((refclassid, refobjid) = ('pg_constraint'::regclass, key.oid)
        OR (refclassid, refobjid) = ('pg_class'::regclass, key.conindid))
    WHERE kind = 'rekey'
      -- Ours goes before the key does.
      AND NOT (classid = 'pg_constraint'::regclass AND EXISTS (
        SELECT FROM pg_constraint AS own WHERE own.oid = objid AND own.conname = 'restaurant_payment_configs_copy_of_fkey'))

    UNION
    SELECT step, migration, format('the replica identity of table %s is the index of its primary key', "on")
    FROM change
    JOIN pg_constraint AS key ON conrelid = relid AND conname = name AND cardinality(conkey) = columns
    JOIN pg_index ON indexrelid = conindid AND indisreplident
    WHERE kind = 'rekey'

    UNION
    SELECT step, migration, format('%s depends on function %s', ${raw(DEPENDENT)}, name)
    FROM change
    JOIN pg_depend AS dependency ON refclassid = 'pg_proc'::regclass AND refobjid = to_regprocedure(quote_ident(name) || '()')
      AND deptype = 'n'
    LEFT JOIN pg_trigger ON classid = 'pg_trigger'::regclass AND pg_trigger.oid = objid
      AND tgrelid = relid AND tgname IN (${raw(OUR_TRIGGERS)})
    WHERE kind = 'forget' AND tgname IS NULL
  )
  SELECT migration, reason FROM found ORDER BY step, reason`;

/** Objects of others that hang on what the steps will change, for which PostgreSQL would refuse it. Reads only. */
export async function findDependents(session: Queryable, steps: readonly ChangingStep[]): Promise<Obstacle[]> {
  const changes = steps.flatMap(({ migration, changes }, step) =>
    changes.map((change) => ({ step, migration, ...change })),
  );
  return await query<Obstacle>(session, dependentsOf(changes));
}
