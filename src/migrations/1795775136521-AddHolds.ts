import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { BACKFILL_HOLDS, FORGET_READ_HOLD, READ_HOLD } from './helpers/backfill-holds';
import { online, whileLocked } from './helpers/locking';
import { lookFirst, stopWhere } from './helpers/own-objects';
import { FORGET_NESTED_PROTOBUF, READ_NESTED_PROTOBUF } from './helpers/read-nested-protobuf';
import { FORGET_PROTOBUF, READ_PROTOBUF_FIELD } from './helpers/read-protobuf';

/**
 * Makes a row of each authorization that a processor has reported, with where the money is: a hold. Until now the
 * database knew of it only until a message had left the outbox.
 *
 * A hold refers to the last event about it, so that no client can say where money is without an event that says so.
 * Its guard looks at the old and the new row alone: what ended stays ended, unless the processor tells what counts for
 * more (captured, voided, lapsed, in this order), and an amount stands once a worker has recorded it.
 *
 * Then it makes the holds of all earlier authorizations from their events. Of those that no request needs, the ones that a processor may
 * still hold (authorized in the last 31 days, or what `payment_events_db.hold_life_days` of the session says) become
 * `voiding`: the sweeper sends their messages, this sends none. Older ones stay `held`: they are listed, and voided where a
 * person says so. A notice says how many there are of each. A row that is there already stays as it is.
 *
 * The two columns of auth_request_state, which come last, say how often the sweeper has sent a request on its way again.
 *
 * Clients of the version before keep working, and write authorizations without a hold: one that is written after its
 * request's batch, until the last of these clients has gone, lacks its row. `verify` then tells of the missing hold, and `rebuild` makes it.
 *
 * Locks: SHARE ROW EXCLUSIVE on payment_events for the foreign key of an empty table (writes wait, reads do not), ACCESS
 * EXCLUSIVE on auth_request_state to add columns with constant defaults, which rewrites nothing: each for a catalog
 * update. The backfill locks the rows of one batch (1,000 requests) at a time and commits after each. Re-runnable. Down
 * drops the holds; up makes the same again, since events say all of a hold but how often it was swept, and the state of those that
 * no event has decided: their age decides again.
 */
export class AddHolds1795775136521 implements MigrationInterface {
  name = 'AddHolds1795775136521';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE, LOOK_FOR_FUNCTION);
    await whileLocked(queryRunner, CREATE_TABLE, ...CREATE_INDEXES, CREATE_GUARD, ...ENABLE_GUARD);
    // One by one: a batch commits, which it may not as one of several statements.
    for (const statement of [
      ...[READ_PROTOBUF_FIELD, READ_NESTED_PROTOBUF, READ_HOLD, BACKFILL_HOLDS],
      ...[FORGET_READ_HOLD, FORGET_NESTED_PROTOBUF, FORGET_PROTOBUF],
    ]) {
      await online(queryRunner, statement);
    }
    // Last: who compares rows with events looks at holds once these are there.
    await whileLocked(queryRunner, ADD_SWEEPS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE, LOOK_FOR_FUNCTION);
    await whileLocked(
      queryRunner,
      `-- squawk-ignore-file ban-drop-column, ban-drop-table
       ALTER TABLE auth_request_state DROP COLUMN IF EXISTS sweeps, DROP COLUMN IF EXISTS swept_at`,
    );
    await whileLocked(queryRunner, `DROP TABLE IF EXISTS auth_holds`, `DROP FUNCTION IF EXISTS guard_auth_holds()`);
  }
}

/** Ours has the guard; a half-made one is undone by its transaction. */
const LOOK_FOR_TABLE = stopWhere(
  `
      SELECT 'Relation ' || class.oid::regclass FROM pg_class AS class
      WHERE relnamespace = current_schema()::regnamespace
        AND relname IN ('auth_holds', 'auth_holds_pkey', 'idx_auth_holds_processor', 'idx_auth_holds_held', 'idx_auth_holds_open')
        AND class.oid NOT IN (
          SELECT tgrelid FROM pg_trigger WHERE tgname = 'guard_auth_holds'
          UNION ALL SELECT indexrelid FROM pg_index JOIN pg_trigger ON tgrelid = indrelid WHERE tgname = 'guard_auth_holds')
      LIMIT 1`,
  'Rename it (ALTER TABLE or ALTER INDEX … RENAME TO), then run this again.',
);

const LOOK_FOR_FUNCTION = stopWhere(
  `
      SELECT 'Function ' || oid::regprocedure FROM pg_proc
      WHERE pronamespace = current_schema()::regnamespace AND proname = 'guard_auth_holds' AND pronargs = 0
        AND oid NOT IN (
          SELECT tgfoid FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relname = 'auth_holds')`,
  'Rename it (ALTER FUNCTION … RENAME TO): triggers keep it. Then run this again.',
);

const CREATE_TABLE = `
  -- squawk-ignore-file prefer-text-field, prefer-bigint-over-int
  CREATE TABLE IF NOT EXISTS auth_holds (
    auth_request_id uuid NOT NULL,
    restaurant_id uuid NOT NULL,
    processor_name varchar(50) NOT NULL,
    processor_auth_id varchar(255) NOT NULL,
    amount_cents bigint NOT NULL,
    currency varchar(3) NOT NULL,
    config_version varchar(50),
    authorized_at timestamptz NOT NULL,
    hold_expires_at timestamptz,
    state varchar(20) NOT NULL,
    state_since timestamptz NOT NULL DEFAULT now(),
    is_needed boolean NOT NULL,
    is_answered boolean NOT NULL,
    ended_amount_cents bigint,
    ended_by varchar(255),
    closed_by varchar(255),
    void_failures integer NOT NULL DEFAULT 0,
    last_void_error varchar(100),
    next_void_at timestamptz,
    sweeps integer NOT NULL DEFAULT 0,
    swept_at timestamptz,
    first_event_sequence integer NOT NULL,
    last_event_sequence integer NOT NULL,
    CONSTRAINT auth_holds_pkey PRIMARY KEY (auth_request_id, processor_name, processor_auth_id),
    CONSTRAINT auth_holds_last_event_fkey FOREIGN KEY (auth_request_id, last_event_sequence)
      REFERENCES payment_events (aggregate_id, sequence_number),
    CONSTRAINT auth_holds_state CHECK (state::text = ANY ('{held,voiding,voided,void_failed,captured,lapsed}'::text[])),
    CONSTRAINT auth_holds_voiding_unneeded CHECK (NOT is_needed OR state::text <> ALL ('{voiding,void_failed}'::text[])),
    CONSTRAINT auth_holds_amount_not_negative CHECK (amount_cents >= 0)
  )`;

const CREATE_INDEXES = [
  `CREATE INDEX IF NOT EXISTS idx_auth_holds_processor ON auth_holds (processor_auth_id, processor_name)`,
  `CREATE INDEX IF NOT EXISTS idx_auth_holds_held ON auth_holds (hold_expires_at) WHERE state::text = 'held' AND is_needed`,
  `CREATE INDEX IF NOT EXISTS idx_auth_holds_open ON auth_holds (state_since)
     WHERE NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])`,
];

/** See that of auth_request_state for the search path and for replicas. */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_auth_holds() RETURNS trigger LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    IF (NEW.auth_request_id, NEW.restaurant_id, NEW.processor_name, NEW.processor_auth_id, NEW.first_event_sequence)
      IS DISTINCT FROM
       (OLD.auth_request_id, OLD.restaurant_id, OLD.processor_name, OLD.processor_auth_id, OLD.first_event_sequence)
      OR OLD.is_answered AND (NEW.amount_cents, NEW.currency, NEW.is_answered) IS DISTINCT FROM (OLD.amount_cents, OLD.currency, true)
      OR NEW.closed_by IS DISTINCT FROM OLD.closed_by AND OLD.closed_by IS NOT NULL AND NEW.state = OLD.state
        AND NEW.ended_amount_cents IS NOT DISTINCT FROM OLD.ended_amount_cents
    THEN
      RAISE EXCEPTION 'what a hold is does not change: request, processor, id, and its amount once a worker has recorded it' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_immutable';
    END IF;
    IF NEW.last_event_sequence < OLD.last_event_sequence
      OR NEW.last_event_sequence = OLD.last_event_sequence
        AND (NEW.state, NEW.is_needed, NEW.is_answered, NEW.amount_cents, NEW.ended_amount_cents, NEW.ended_by, NEW.closed_by)
          IS DISTINCT FROM
            (OLD.state, OLD.is_needed, OLD.is_answered, OLD.amount_cents, OLD.ended_amount_cents, OLD.ended_by, OLD.closed_by)
    THEN
      RAISE EXCEPTION 'a hold changes only with an event' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_need_event';
    END IF;
    IF NEW.is_needed AND NOT OLD.is_needed THEN
      RAISE EXCEPTION 'a hold that is not needed any more is not needed again' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_unneeded_for_good';
    END IF;
    IF NEW.state <> OLD.state THEN
      IF NEW.state <> ALL (CASE OLD.state
        WHEN 'held' THEN ARRAY['voiding', 'voided', 'captured', 'lapsed']
        WHEN 'voiding' THEN ARRAY['void_failed', 'voided', 'captured', 'lapsed']
        WHEN 'void_failed' THEN ARRAY['voiding', 'voided', 'captured', 'lapsed']
        WHEN 'lapsed' THEN ARRAY['voided', 'captured']
        WHEN 'voided' THEN ARRAY['captured']
        ELSE ARRAY[]::text[] END)
      THEN
        RAISE EXCEPTION 'a hold does not go from % to %', OLD.state, NEW.state USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_state_change';
      END IF;
      IF current_setting('session_replication_role') <> 'replica' THEN
        NEW.state_since := now();
      END IF;
    END IF;
    RETURN NEW;
  END $$`;

/** ALWAYS: also where session_replication_role is replica. */
const ENABLE_GUARD = [
  `CREATE OR REPLACE TRIGGER guard_auth_holds BEFORE UPDATE ON auth_holds
     FOR EACH ROW EXECUTE FUNCTION guard_auth_holds()`,
  `ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds`,
];

const ADD_SWEEPS = `
  ALTER TABLE auth_request_state
    ADD COLUMN IF NOT EXISTS sweeps integer NOT NULL DEFAULT 0, ADD COLUMN IF NOT EXISTS swept_at timestamptz`;
