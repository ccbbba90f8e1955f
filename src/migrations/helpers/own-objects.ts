import { type QueryRunner } from 'typeorm';

/**
 * Names of indexes and functions belong to the schema and not to a table: DROP … IF EXISTS and CREATE OR REPLACE would
 * take another application's. So a migration looks first, and stops where a name stands for something that does not hang
 * on one of our tables. All that the steps to come look for is looked for before the first of them, too.
 */
const HEAD = '-- Only looks.\n';

/** Whether a statement of a migration is one of these. */
export const isLook = (sql: string) => sql.startsWith(HEAD);

/** Those of the legacy schema. A part of released statements, so it never changes. */
export const OUR_TABLES = `
      SELECT oid FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname IN (
        'payment_events', 'auth_request_state', 'outbox', 'auth_idempotency_keys', 'restaurant_payment_configs',
        'auth_processing_locks')`;

/** SQL that stops where the query gives the name of something. */
export const stopWhere = (found: string, remedy: string) => `${HEAD}DO $$
  DECLARE
    other text := (${found});
  BEGIN
    IF other IS NOT NULL THEN
      RAISE EXCEPTION '% is not of this package, and a migration needs the name. ${remedy}', other;
    END IF;
  END $$`;

/** Stops where an index that is to be built or dropped is a relation that does not hang on our tables. */
export const lookForIndex = (name: string): string =>
  stopWhere(
    `
      SELECT CASE WHEN indrelid IS NULL THEN 'Relation ' || class.oid::regclass
                  ELSE format('Index %s of table %s', class.oid::regclass, indrelid::regclass) END
      FROM pg_class AS class LEFT JOIN pg_index ON indexrelid = class.oid
      WHERE relnamespace = current_schema()::regnamespace AND relname = '${name}'
        AND (indrelid IN (${OUR_TABLES})) IS NOT TRUE`,
    'Rename it (ALTER INDEX or ALTER TABLE … RENAME TO), then run this again.',
  );

/** Stops where a sequence that is to be made, used or dropped is a relation that no column of our tables draws from. */
export const lookForSequence = (name: string): string =>
  stopWhere(
    `
      SELECT 'Relation ' || class.oid::regclass FROM pg_class AS class
      WHERE relnamespace = current_schema()::regnamespace AND relname = '${name}'
        AND class.oid NOT IN (
          SELECT refobjid FROM pg_depend JOIN pg_attrdef ON pg_attrdef.oid = objid
          WHERE classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass AND adrelid IN (${OUR_TABLES}))`,
    'Rename it (ALTER SEQUENCE or ALTER TABLE … RENAME TO): columns keep it. Then run this again.',
  );

/** Stops where a guard that is to be replaced or dropped is a function that no trigger of our tables calls. */
export const lookForFunction = (name: string): string =>
  stopWhere(
    `
      SELECT 'Function ' || oid::regprocedure FROM pg_proc
      WHERE pronamespace = current_schema()::regnamespace AND proname = '${name}' AND pronargs = 0
        AND oid NOT IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid IN (${OUR_TABLES}))`,
    'Rename it (ALTER FUNCTION … RENAME TO): triggers keep it. Then run this again.',
  );

/** Sends a look by itself, so that it is found among the statements of a migration. */
export async function lookFirst(queryRunner: QueryRunner, ...looks: string[]): Promise<void> {
  for (const look of looks) await queryRunner.query(look);
}
