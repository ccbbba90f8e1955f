import { PIN_TEXT } from './pinned-settings';

/** Anything that runs a statement and gives its rows: a DataSource, a query runner, an entity manager. */
export interface Queryable {
  query(sql: string, parameters?: unknown[]): Promise<unknown>;
}

/** Whether there is a table of that name where the session looks for tables. */
export async function hasTable(session: Queryable, name: string): Promise<boolean> {
  const [found] = (await session.query('SELECT to_regclass($1) IS NOT NULL AS exists', [name])) as {
    exists: boolean;
  }[];
  return found!.exists;
}

/**
 * What the database itself says of this package's tables and all that hangs on them, as lines of text: one object a
 * line, functions with their body. The same schema gives the same text on PostgreSQL 15 to 18, whatever way it came
 * about and whatever it is called, so two schemas are compared with a plain diff.
 *
 * TypeORM's own comparison does not look at a check's condition, NOT VALID, a partial index's condition, INVALID
 * indexes, identity, triggers and whether they are enabled, functions, storage settings, unlogged tables, row security
 * or grants. This does. It also has what hangs on the tables from outside: views, foreign keys, children. Of roles it
 * has those that were granted something, and an owner only where that is not the owner of payment_events.
 *
 * It leaves out what each deployment decides for itself and a migration never touches: tablespaces, publications,
 * statistics, comments, privileges on the schema and the database.
 */
export async function readCatalog(database: Queryable): Promise<string> {
  const lines = (await database.query(READ_CATALOG)) as { line: string }[];
  return lines.map(({ line }) => line + '\n').join('');
}

/**
 * Not-null constraints are read off the columns: as objects they exist from PostgreSQL 18 only. Constraint triggers and
 * the like, which PostgreSQL makes itself, are left out. Settings are pinned before the first object is looked at, since
 * all of them come from a join with that. Names are sorted in the C collation, so that a server's locale
 * changes nothing.
 */
const READ_CATALOG = `
  WITH pinned AS MATERIALIZED (${PIN_TEXT}), ours AS MATERIALIZED (
    SELECT oid, relname AS name, relowner, relacl, reloptions, relpersistence, relkind, relreplident, relrowsecurity,
      relforcerowsecurity
    FROM pinned CROSS JOIN pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname IN (
      'payment_events', 'auth_request_state', 'outbox', 'auth_idempotency_keys', 'restaurant_payment_configs',
      'auth_processing_locks')
  ), functions AS MATERIALIZED (
    SELECT oid, proname AS name, proowner
    FROM pinned CROSS JOIN pg_proc
    WHERE oid IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM ours) AND NOT tgisinternal)
       OR pronamespace = current_schema()::regnamespace AND proname IN (
         'guard_auth_request_state', 'guard_restaurant_payment_configs',
         'refuse_payment_events_change', 'refuse_payment_events_gap')
  ), sequences AS MATERIALIZED (
    SELECT pg_class.oid, relname AS name, relowner, relacl, relpersistence
    FROM pinned CROSS JOIN pg_class
    WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace AND (
      relname = 'auth_processing_fencing_tokens'
      OR oid IN (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass
                 AND refclassid = 'pg_class'::regclass AND refobjid IN (SELECT oid FROM ours) AND deptype IN ('a', 'i')))
  ), owner AS (
    SELECT relowner AS id FROM ours WHERE name = 'payment_events'
  ), lines AS (
    SELECT name, 1 AS kind, '' AS part, concat_ws(' ', 'table', name,
      CASE relkind WHEN 'p' THEN 'partitioned' END,
      CASE relpersistence WHEN 'u' THEN 'unlogged' END,
      CASE WHEN reloptions IS NOT NULL
        THEN 'with (' || array_to_string(ARRAY(SELECT unnest(reloptions) ORDER BY 1), ', ') || ')' END,
      CASE WHEN relrowsecurity THEN 'row security' END,
      CASE WHEN relforcerowsecurity THEN 'forced' END,
      CASE relreplident WHEN 'n' THEN 'replica identity nothing' WHEN 'f' THEN 'replica identity full' END,
      CASE WHEN relowner <> (SELECT id FROM owner) THEN 'owned by ' || pg_get_userbyid(relowner) END) AS line
    FROM ours

    UNION ALL
    SELECT name, 2, to_char(attnum, '00000'), concat_ws(' ', '  column', attname, format_type(atttypid, atttypmod),
      CASE WHEN attcollation NOT IN (0, (SELECT typcollation FROM pg_type WHERE pg_type.oid = atttypid))
        THEN 'collate ' || (SELECT collname FROM pg_collation WHERE pg_collation.oid = attcollation) END,
      CASE WHEN attnotnull THEN 'not null' END,
      CASE WHEN EXISTS (SELECT FROM pg_constraint WHERE conrelid = attrelid AND contype = 'n' AND conkey = ARRAY[attnum]
                        AND NOT convalidated) THEN 'not valid' END,
      'default ' || pg_get_expr(adbin, adrelid),
      CASE attidentity WHEN 'a' THEN 'generated always as identity' WHEN 'd' THEN 'generated by default as identity' END,
      CASE attgenerated WHEN 's' THEN 'stored' WHEN 'v' THEN 'virtual' END,
      CASE WHEN attstorage <> (SELECT typstorage FROM pg_type WHERE pg_type.oid = atttypid)
        THEN 'storage ' || attstorage::text END)
    FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum

    UNION ALL
    SELECT name, 3, conname, concat_ws(' ', '  constraint', conname, pg_get_constraintdef(pg_constraint.oid))
    FROM ours JOIN pg_constraint ON conrelid = ours.oid AND contype NOT IN ('n', 't')

    UNION ALL
    SELECT name, 4, relname, concat_ws(' ', '  index', pg_get_indexdef(indexrelid, 0, true),
      CASE WHEN NOT indisvalid THEN 'INVALID' END, CASE WHEN NOT indisready THEN 'NOT READY' END,
      CASE WHEN indisreplident THEN 'replica identity' END)
    FROM ours JOIN pg_index ON indrelid = ours.oid JOIN pg_class ON pg_class.oid = indexrelid

    UNION ALL
    SELECT name, 5, tgname, concat_ws(' ', '  trigger', pg_get_triggerdef(pg_trigger.oid, true),
      CASE tgenabled WHEN 'O' THEN 'enabled' WHEN 'A' THEN 'enabled always' WHEN 'R' THEN 'enabled on replica'
        ELSE 'DISABLED' END)
    FROM ours JOIN pg_trigger ON tgrelid = ours.oid AND NOT tgisinternal

    UNION ALL
    SELECT name, 6, polname, concat_ws(' ', '  policy', polname, polcmd::text, pg_get_expr(polqual, polrelid),
      pg_get_expr(polwithcheck, polrelid))
    FROM ours JOIN pg_policy ON polrelid = ours.oid

    UNION ALL
    SELECT name, 7, rulename, concat_ws(' ', '  rule', pg_get_ruledef(pg_rewrite.oid))
    FROM ours JOIN pg_rewrite ON ev_class = ours.oid

    UNION ALL
    SELECT DISTINCT name, 7, reader, '  read by ' || reader
    FROM ours
    JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = ours.oid AND classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite ON pg_rewrite.oid = objid AND ev_class <> ours.oid
    CROSS JOIN LATERAL (SELECT ev_class::regclass::text AS reader) AS relation

    UNION ALL
    SELECT name, 7, conname, concat_ws(' ', '  referenced by', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))
    FROM ours JOIN pg_constraint ON confrelid = ours.oid AND conrelid NOT IN (SELECT oid FROM ours)

    UNION ALL
    SELECT name, 7, relation, relation
    FROM ours JOIN pg_inherits ON ours.oid IN (inhparent, inhrelid)
    CROSS JOIN LATERAL (SELECT CASE inhparent WHEN ours.oid THEN '  parent of ' || inhrelid::regclass
                               ELSE '  child of ' || inhparent::regclass END AS relation) AS family

    UNION ALL
    SELECT sequences.name, 11, '', concat_ws(' ', 'sequence', sequences.name, format_type(seqtypid, NULL), 'start', seqstart,
      'increment', seqincrement, 'range', seqmin, 'to', seqmax, CASE WHEN seqcycle THEN 'cycle' END,
      CASE WHEN seqcache <> 1 THEN 'cache ' || seqcache END, CASE relpersistence WHEN 'u' THEN 'unlogged' END,
      CASE WHEN relowner <> (SELECT id FROM owner) THEN 'owned by ' || pg_get_userbyid(relowner) END)
    FROM sequences JOIN pg_sequence ON seqrelid = sequences.oid

    UNION ALL
    SELECT name, 12, oid::text, concat_ws(' ', 'function', name,
      CASE WHEN proowner <> (SELECT id FROM owner) THEN 'owned by ' || pg_get_userbyid(proowner) END)
      || E'\\n' || replace(replace(pg_get_functiondef(oid),
        'CREATE OR REPLACE FUNCTION ' || quote_ident(current_schema()) || '.', 'CREATE OR REPLACE FUNCTION '),
        format(' SET search_path TO %L, %L', current_schema(), 'pg_temp'), ' SET search_path FROM CURRENT')
    FROM functions

    UNION ALL
    SELECT name, CASE relkind WHEN 'S' THEN 11 ELSE 8 END, role.grantee || privilege_type, concat_ws(' ', '  grant', privilege_type,
      'to', role.grantee, CASE WHEN is_grantable THEN 'with grant option' END)
    FROM (
      SELECT name, relkind, relowner, relacl FROM ours
      UNION ALL SELECT name, 'S', relowner, relacl FROM sequences
    ) AS relations
    CROSS JOIN LATERAL aclexplode(relacl) AS acl
    CROSS JOIN LATERAL (SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END) AS role (grantee)
    WHERE acl.grantee <> relowner

    UNION ALL
    SELECT name, 9, attname || role.grantee || privilege_type, concat_ws(' ', '  grant', privilege_type, 'on column', attname,
      'to', role.grantee, CASE WHEN is_grantable THEN 'with grant option' END)
    FROM ours JOIN pg_attribute ON attrelid = ours.oid
    CROSS JOIN LATERAL aclexplode(attacl) AS acl
    CROSS JOIN LATERAL (SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END) AS role (grantee)
    WHERE acl.grantee <> relowner
  )
  SELECT line FROM lines
  ORDER BY CASE WHEN kind < 10 THEN 0 ELSE kind END, name COLLATE "C", kind, part COLLATE "C"`;
