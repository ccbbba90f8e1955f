import { type QueryRunner } from 'typeorm';
import { whileLocked } from './locking';

/**
 * The text that an object gets which had none of ours. Where it had one: the new text, or null for none, and the one
 * before.
 */
export type CommentChange = string | readonly [text: string | null, before: string];

/** By the table that the objects are, or hang on, and by the name that COMMENT ON gives them: `COLUMN outbox.id`. */
export type CommentChanges = Readonly<Record<string, Readonly<Record<string, CommentChange>>>>;

/**
 * Gives objects their comments. One whose comment is not what it was before keeps it: an owner has written or removed it.
 * An object that is not there is passed over, since a comment must not stop a migration, and so is one of that name that
 * does not hang on the table.
 *
 * Takes SHARE UPDATE EXCLUSIVE on the tables, all in one transaction, for some milliseconds: it stops no reads or writes,
 * and waits for VACUUM, CREATE INDEX CONCURRENTLY and the like. Re-runnable.
 */
export async function putComments(queryRunner: QueryRunner, changes: CommentChanges): Promise<void> {
  await whileLocked(queryRunner, ...statementsOf(changes, ([text, before]) => [before, text]));
}

/** Gives them the comments that they had before {@link putComments}, by the same rules. */
export async function takeBackComments(queryRunner: QueryRunner, changes: CommentChanges): Promise<void> {
  await whileLocked(queryRunner, ...statementsOf(changes, ([text, before]) => [text, before]));
}

type Texts = readonly [one: string | null, other: string | null];

const statementsOf = (changes: CommentChanges, fromTo: (texts: Texts) => Texts) =>
  Object.entries(changes).map(([table, ofTable]) => {
    const rows = Object.entries(ofTable).map(([object, change]) => {
      const texts = fromTo(typeof change === 'string' ? [change, null] : change);
      return `(${[object, ...texts].map(literal).join(', ')})`;
    });
    return changeComments(table, rows);
  });

const changeComments = (table: string, rows: readonly string[]) => `
  DO $comments$
  DECLARE
    change record;
  BEGIN
    FOR change IN
      SELECT object, after FROM (VALUES
        ${rows.join(',\n        ')}
      ) AS change (object, before, after)
      JOIN (${objectsOf(table)}
      ) AS there (object, classoid, objoid, objsubid) USING (object)
      LEFT JOIN pg_description AS present USING (classoid, objoid, objsubid)
      WHERE present.description IS NOT DISTINCT FROM before
    LOOP
      EXECUTE format('COMMENT ON %s IS %L', change.object, change.after);
    END LOOP;
  END $comments$`;

const literal = (text: string | null) => (text === null ? 'NULL' : `'${text.replaceAll("'", "''")}'`);

/** A table and what hangs on it, as COMMENT ON names it, with its place in pg_description. */
const objectsOf = (table: string) => `
        SELECT 'TABLE ${table}', 'pg_class'::regclass::oid, to_regclass('${table}')::oid, 0
        UNION ALL
        SELECT 'COLUMN ${table}.' || attname, 'pg_class'::regclass, attrelid, attnum FROM pg_attribute
        WHERE attrelid = to_regclass('${table}') AND attnum > 0 AND NOT attisdropped
        UNION ALL
        SELECT format('CONSTRAINT %s ON ${table}', conname), 'pg_constraint'::regclass, oid, 0 FROM pg_constraint
        WHERE conrelid = to_regclass('${table}')
        UNION ALL
        SELECT 'INDEX ' || relname, 'pg_class'::regclass, indexrelid, 0
        FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = to_regclass('${table}')
        UNION ALL
        SELECT format('TRIGGER %s ON ${table}', tgname), 'pg_trigger'::regclass, oid, 0 FROM pg_trigger
        WHERE tgrelid = to_regclass('${table}')
        UNION ALL
        SELECT format('FUNCTION %s()', proname), 'pg_proc'::regclass, oid, 0 FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND pronargs = 0
          AND oid IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid = to_regclass('${table}'))
        UNION ALL
        SELECT 'SEQUENCE ' || relname, 'pg_class'::regclass, oid, 0 FROM pg_class
        WHERE relkind = 'S' AND relnamespace = current_schema()::regnamespace AND oid IN (
          SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
            AND refobjid = to_regclass('${table}')
          UNION ALL
          SELECT refobjid FROM pg_depend JOIN pg_attrdef ON pg_attrdef.oid = objid
          WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass AND adrelid = to_regclass('${table}'))`;
