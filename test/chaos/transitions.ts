/**
 * Writes down every change of a request's status, as the database makes it: no matter which operation wrote it. No
 * part of the schema.
 */
export const WATCH_TRANSITIONS = `
  CREATE TABLE chaos_transitions (id bigint GENERATED ALWAYS AS IDENTITY, auth_request_id uuid, before text, after text);
  CREATE FUNCTION chaos_watch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos_transitions (auth_request_id, before, after) VALUES (NEW.auth_request_id, OLD.status, NEW.status);
    RETURN NULL;
  END $$;
  CREATE TRIGGER chaos_watch AFTER UPDATE ON auth_request_state FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION chaos_watch();`;

/** Afterwards nothing is left of it. */
export const UNWATCH_TRANSITIONS = `
  DROP TRIGGER chaos_watch ON auth_request_state;
  DROP FUNCTION chaos_watch;
  DROP TABLE chaos_transitions;`;

/** What a life may look like. */
const ALLOWED = [
  ...['PENDING PROCESSING', 'PENDING VOIDED', 'PENDING EXPIRED', 'PENDING FAILED'],
  ...['PROCESSING AUTHORIZED', 'PROCESSING DENIED', 'PROCESSING FAILED', 'PROCESSING VOIDED', 'PROCESSING EXPIRED'],
  'AUTHORIZED VOIDED',
];

/** The changes that must not be, such as a closed request that was opened again. */
export async function forbiddenTransitions(query: <Row>(sql: string, params?: unknown[]) => Promise<Row[]>) {
  return await query(
    `SELECT auth_request_id, before, after FROM chaos_transitions WHERE before || ' ' || after <> ALL ($1)`,
    [ALLOWED],
  );
}
