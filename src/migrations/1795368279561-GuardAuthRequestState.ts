import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from '../migrator/locking';

/**
 * Guards the read model: a request begins PENDING, changes status only as its life allows, never loses an event and
 * never becomes another request. The guard sets updated_at as well, so the legacy trigger goes.
 *
 * Before that, legacy rows are told what their events say: how often they were retried, and whether someone asked the
 * processor and nobody recorded the answer. Without the latter, money held for a voided legacy request would stay held.
 * updated_at is not touched by it, since the legacy trigger is gone and the guard not there yet.
 * Nor do the checks hold it up, which come after: a legacy row may break one, and an update would be held against it.
 *
 * Locks on auth_request_state, each for a catalog update: ACCESS EXCLUSIVE to drop a trigger, SHARE ROW EXCLUSIVE (writes
 * wait, reads do not) to create one. The backfill locks the rows of one batch (1,000) at a time and commits after each.
 * Re-runnable. Down brings the legacy trigger back; the backfilled values stay.
 */
export class GuardAuthRequestState1795368279561 implements MigrationInterface {
  name = 'GuardAuthRequestState1795368279561';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await whileLocked(queryRunner, `DROP TRIGGER IF EXISTS update_auth_request_state_updated_at ON auth_request_state`);
    await whileLocked(queryRunner, `DROP FUNCTION IF EXISTS update_updated_at_column()`);
    await online(queryRunner, BACKFILL_ATTEMPTS);
    await whileLocked(queryRunner, CREATE_GUARD, ...ENABLE_GUARD);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await whileLocked(
      queryRunner,
      `DROP TRIGGER IF EXISTS guard_auth_request_state ON auth_request_state`,
      `DROP TRIGGER IF EXISTS guard_new_auth_request_state ON auth_request_state`,
      `DROP FUNCTION IF EXISTS guard_auth_request_state()`,
      CREATE_LEGACY_TRIGGER,
    );
  }
}

/**
 * Looks only at requests that may still be worked on or settled, and only raises what is there: where this runs for a
 * second time, an attempt whose failure left its outcome unknown is open, though its events alone do not say so. The
 * failure that ended a FAILED request was no reason for a retry.
 *
 * A batch is locked before its events are read: whoever appends one holds the lock of the request's row, so that no
 * attempt starts or ends in between.
 */
const BACKFILL_ATTEMPTS = `
  DO $$
  DECLARE
    ids uuid[];
  BEGIN
    FOR ids IN
      SELECT array_agg(auth_request_id)
      FROM (SELECT auth_request_id, row_number() OVER (ORDER BY auth_request_id) / 1000 AS batch
            FROM auth_request_state WHERE status IN ('PENDING', 'PROCESSING', 'VOIDED', 'EXPIRED', 'FAILED')) AS request
      GROUP BY batch
    LOOP
      PERFORM 1 FROM auth_request_state WHERE auth_request_id = ANY (ids) ORDER BY auth_request_id FOR UPDATE;
      UPDATE auth_request_state AS state
      SET attempt_open = state.attempt_open OR attempts.open,
          retry_count = greatest(state.retry_count, attempts.failed - (state.status = 'FAILED')::integer)
      FROM (
        SELECT aggregate_id,
               count(*) FILTER (WHERE event_type = 'AuthAttemptFailed')::integer AS failed,
               (array_agg(event_type ORDER BY sequence_number DESC))[1] = 'AuthAttemptStarted' AS open
        FROM payment_events
        WHERE aggregate_id = ANY (ids)
          AND event_type IN ('AuthAttemptStarted', 'AuthAttemptFailed', 'AuthResponseReceived')
        GROUP BY aggregate_id
      ) AS attempts
      WHERE state.auth_request_id = attempts.aggregate_id
        AND (attempts.open AND NOT state.attempt_open
             OR attempts.failed - (state.status = 'FAILED')::integer > state.retry_count);
      COMMIT;
    END LOOP;
  END $$`;

/** The search path is pinned: without that, a temporary table named pg_class makes an owner of anybody. */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_auth_request_state() RETURNS trigger LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    NEW.updated_at := now();
    IF TG_OP = 'INSERT' THEN
      IF NEW.status <> 'PENDING'
        AND NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
      THEN
        RAISE EXCEPTION 'a request begins PENDING, not %', NEW.status USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_begins_pending',
          HINT = 'Only the owner of the table may insert other rows, to rebuild them from their events.';
      END IF;
      RETURN NEW;
    END IF;
    IF NEW.status <> OLD.status AND NEW.status <> ALL (CASE OLD.status
      WHEN 'PENDING' THEN ARRAY['PROCESSING', 'FAILED', 'VOIDED', 'EXPIRED']
      WHEN 'PROCESSING' THEN ARRAY['AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED']
      WHEN 'AUTHORIZED' THEN ARRAY['VOIDED']
      WHEN 'VOIDED' THEN ARRAY['EXPIRED']
      ELSE ARRAY[]::text[] END)
    THEN
      RAISE EXCEPTION 'a request does not go from % to %', OLD.status, NEW.status USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_status_change';
    END IF;
    IF NEW.last_event_sequence < OLD.last_event_sequence THEN
      RAISE EXCEPTION 'last_event_sequence never falls' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_sequence_never_falls';
    END IF;
    IF (NEW.auth_request_id, NEW.restaurant_id, NEW.payment_token, NEW.amount_cents, NEW.currency, NEW.created_at)
      IS DISTINCT FROM
       (OLD.auth_request_id, OLD.restaurant_id, OLD.payment_token, OLD.amount_cents, OLD.currency, OLD.created_at)
    THEN
      RAISE EXCEPTION 'what was asked for does not change: id, restaurant, token, amount, currency, created_at' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_request_immutable';
    END IF;
    RETURN NEW;
  END $$`;

/**
 * A new request that begins as it should needs no function: calling it took an eighth of the statement that accepts one.
 * ALWAYS: also where session_replication_role is replica.
 */
const ENABLE_GUARD = [
  `CREATE OR REPLACE TRIGGER guard_auth_request_state BEFORE UPDATE ON auth_request_state
     FOR EACH ROW EXECUTE FUNCTION guard_auth_request_state()`,
  `CREATE OR REPLACE TRIGGER guard_new_auth_request_state BEFORE INSERT ON auth_request_state
     FOR EACH ROW WHEN (NEW.status <> 'PENDING' OR NEW.updated_at IS DISTINCT FROM now())
     EXECUTE FUNCTION guard_auth_request_state()`,
  `ALTER TABLE auth_request_state
     ENABLE ALWAYS TRIGGER guard_auth_request_state,
     ENABLE ALWAYS TRIGGER guard_new_auth_request_state`,
];

const CREATE_LEGACY_TRIGGER = `
  CREATE OR REPLACE FUNCTION update_updated_at_column() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    NEW.updated_at = NOW();
    RETURN NEW;
  END;
  $$;
  CREATE OR REPLACE TRIGGER update_auth_request_state_updated_at BEFORE UPDATE ON auth_request_state
    FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`;
