import { OUR_TABLES, stopWhere } from './own-objects';

/**
 * Stops where update_updated_at_column(), which many applications have, does something else than Alembic's does. One that
 * does the same is shared.
 */
export const LOOK_FOR_UPDATED_AT = stopWhere(
  `
      SELECT 'Function ' || oid::regprocedure FROM pg_proc
      WHERE pronamespace = current_schema()::regnamespace AND proname = 'update_updated_at_column' AND pronargs = 0
        AND (prorettype <> 'trigger'::regtype
          OR lower(regexp_replace(prosrc, '\\s', '', 'g')) <> 'beginnew.updated_at=now();returnnew;end;')
        AND oid NOT IN (SELECT tgfoid FROM pg_trigger WHERE tgrelid IN (${OUR_TABLES}))`,
  'Rename it (ALTER FUNCTION … RENAME TO): triggers keep it. Then run this again.',
);

/** The trigger of Alembic's revision, and its function where it is not there. */
export const CREATE_UPDATED_AT_TRIGGER = `
  DO $$
  BEGIN
    IF to_regprocedure('update_updated_at_column()') IS NULL THEN
      CREATE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $body$
  BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
  END;
  $body$;
    END IF;
  END $$;
  CREATE OR REPLACE TRIGGER update_auth_request_state_updated_at BEFORE UPDATE ON auth_request_state
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`;

/** Drops that trigger, and its function unless others use it or it is somebody else's. */
export const DROP_UPDATED_AT_TRIGGER = `
  DO $$
  DECLARE
    body CONSTANT regprocedure := (
      SELECT tgfoid FROM pg_trigger
      WHERE tgrelid = 'auth_request_state'::regclass AND tgname = 'update_auth_request_state_updated_at');
  BEGIN
    DROP TRIGGER IF EXISTS update_auth_request_state_updated_at ON auth_request_state;
    IF body IS NOT NULL THEN
      EXECUTE 'DROP FUNCTION ' || body;
    END IF;
  EXCEPTION WHEN dependent_objects_still_exist OR insufficient_privilege THEN
    DROP TRIGGER IF EXISTS update_auth_request_state_updated_at ON auth_request_state;
  END $$`;
