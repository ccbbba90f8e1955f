import { PIN_TEXT } from '../../src/database/pinned-settings';
import { literals } from '../../src/database/literals';
import { type Queryable } from '../../src/database/queryable';
import { MIGRATIONS_TABLE, OBJECTS } from '../../src/schema/objects';

/** One object of the schema, as the catalog has it. */
export interface SchemaObject {
  readonly kind: 'table' | 'column' | 'constraint' | 'index' | 'trigger' | 'function' | 'sequence';
  /** That it is, or hangs on; of a function, one whose trigger calls it. */
  readonly table: string;
  readonly name: string;
  /** As COMMENT ON names it: `COLUMN outbox.id`. */
  readonly object: string;
  /** The storage settings of a table, the type of a column, the SQL of all else. */
  readonly definition: string;
  readonly comment: string | null;
}

export interface SchemaColumn extends SchemaObject {
  readonly kind: 'column';
  readonly isNullable: boolean;
  readonly default: string | null;
  /** What kinds of keys it belongs to. */
  readonly keys: readonly ('PK' | 'UK')[];
}

export const isColumn = (object: SchemaObject): object is SchemaColumn => object.kind === 'column';

/**
 * What the migrations have made, in the order of `OBJECTS.tables`, columns in the order of their table, all else by name.
 * Of the table of the history only itself, since the migrator makes it. An index that a constraint has made is explained
 * by that, and left out.
 */
export async function readSchema(database: Queryable): Promise<SchemaObject[]> {
  return ((await database.query(READ_SCHEMA)) as { object: SchemaObject }[]).map(({ object }) => object);
}

const READ_SCHEMA = `
  WITH pinned AS MATERIALIZED (${PIN_TEXT}), ours AS MATERIALIZED (
    SELECT oid, relname AS name, reloptions, array_position(ARRAY[${literals(OBJECTS.tables)}], relname::text) AS place
    FROM pinned CROSS JOIN pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname IN (${literals([...OBJECTS.tables, MIGRATIONS_TABLE])})
  ), known AS (
    SELECT * FROM ours WHERE place IS NOT NULL
  ), objects AS (
    SELECT place, 1 AS kind, 0 AS position, jsonb_build_object('kind', 'table', 'table', name, 'name', name,
      'object', 'TABLE ' || name,
      'definition', coalesce(array_to_string(ARRAY(SELECT unnest(reloptions) ORDER BY 1), ', '), ''),
      'comment', obj_description(oid, 'pg_class')) AS object
    FROM ours

    UNION ALL
    SELECT place, 2, attnum, jsonb_build_object('kind', 'column', 'table', name, 'name', attname,
      'object', format('COLUMN %s.%s', name, attname),
      'definition', format_type(atttypid, atttypmod),
      'isNullable', NOT attnotnull,
      'default', CASE WHEN attidentity <> '' THEN 'identity' ELSE pg_get_expr(adbin, adrelid, true) END,
      'keys', ARRAY(SELECT CASE contype WHEN 'p' THEN 'PK' ELSE 'UK' END FROM pg_constraint
                    WHERE conrelid = attrelid AND contype IN ('p', 'u') AND attnum = ANY (conkey) ORDER BY 1),
      'comment', col_description(attrelid, attnum))
    FROM known JOIN pg_attribute ON attrelid = known.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum

    UNION ALL
    SELECT place, 3, 0, jsonb_build_object('kind', 'constraint', 'table', name, 'name', conname,
      'object', format('CONSTRAINT %s ON %s', conname, name),
      'definition', pg_get_constraintdef(pg_constraint.oid, true),
      'comment', obj_description(pg_constraint.oid, 'pg_constraint'))
    FROM known JOIN pg_constraint ON conrelid = known.oid AND contype NOT IN ('n', 't')

    UNION ALL
    SELECT place, 4, 0, jsonb_build_object('kind', 'index', 'table', name, 'name', relname,
      'object', 'INDEX ' || relname,
      'definition', pg_get_indexdef(indexrelid, 0, true),
      'comment', obj_description(indexrelid, 'pg_class'))
    FROM known JOIN pg_index ON indrelid = known.oid JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indexrelid NOT IN (SELECT conindid FROM pg_constraint)

    UNION ALL
    SELECT place, 5, 0, jsonb_build_object('kind', 'trigger', 'table', name, 'name', tgname,
      'object', format('TRIGGER %s ON %s', tgname, name),
      'definition', pg_get_triggerdef(pg_trigger.oid, true),
      'comment', obj_description(pg_trigger.oid, 'pg_trigger'))
    FROM known JOIN pg_trigger ON tgrelid = known.oid AND NOT tgisinternal

    UNION ALL
    SELECT DISTINCT place, 6, 0, jsonb_build_object('kind', 'function', 'table', name, 'name', proname,
      'object', format('FUNCTION %s()', proname),
      'definition', prosrc,
      'comment', obj_description(pg_proc.oid, 'pg_proc'))
    FROM known JOIN pg_trigger ON tgrelid = known.oid AND NOT tgisinternal JOIN pg_proc ON pg_proc.oid = tgfoid

    UNION ALL
    SELECT DISTINCT place, 7, 0, jsonb_build_object('kind', 'sequence', 'table', name, 'name', relname,
      'object', 'SEQUENCE ' || relname,
      'definition', format_type(seqtypid, NULL),
      'comment', obj_description(seqrelid, 'pg_class'))
    FROM known
    JOIN pg_depend AS owned ON owned.refclassid = 'pg_class'::regclass
    JOIN pg_sequence ON owned.classid = 'pg_class'::regclass AND owned.objid = seqrelid AND owned.refobjid = known.oid
      OR owned.classid = 'pg_attrdef'::regclass AND owned.refobjid = seqrelid
        AND owned.objid IN (SELECT oid FROM pg_attrdef WHERE adrelid = known.oid)
    JOIN pg_class ON pg_class.oid = seqrelid
  )
  SELECT object FROM objects
  ORDER BY place NULLS LAST, kind, position, object ->> 'name' COLLATE "C"`;
