import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { whileLocked } from './helpers/locking';
import { lookFirst, lookForFunction } from './helpers/own-objects';

/**
 * Makes the event store append-only, for everybody: no UPDATE, DELETE or TRUNCATE, by the owner, a superuser or under
 * session_replication_role = replica (ENABLE ALWAYS). What it cannot stop is DDL by the owner, such as disabling it.
 * An event other than the first needs its predecessor, of the same restaurant: a stream is numbered 1, 2, 3 … without
 * gaps and belongs to one restaurant. That guard is an ordinary one: a logical replica copies rows in no order.
 *
 * Last in the chain, since it forbids the backfill of events.
 *
 * Locks: SHARE ROW EXCLUSIVE on payment_events for a catalog update (writes wait, reads do not); ACCESS EXCLUSIVE on the
 * way down. Re-runnable.
 */
export class GuardPaymentEvents1795368694337 implements MigrationInterface {
  name = 'GuardPaymentEvents1795368694337';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, ...FUNCTIONS.map(lookForFunction));
    await whileLocked(queryRunner, FORBID_CHANGES, FORBID_GAPS, ...ENABLE_GUARDS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, ...FUNCTIONS.map(lookForFunction));
    await whileLocked(
      queryRunner,
      `DROP TRIGGER IF EXISTS payment_events_no_gaps ON payment_events`,
      `DROP TRIGGER IF EXISTS payment_events_no_truncate ON payment_events`,
      `DROP TRIGGER IF EXISTS payment_events_append_only ON payment_events`,
      `DROP FUNCTION IF EXISTS refuse_payment_events_gap()`,
      `DROP FUNCTION IF EXISTS refuse_payment_events_change()`,
    );
  }
}

const FUNCTIONS = ['refuse_payment_events_change', 'refuse_payment_events_gap'];

const FORBID_CHANGES = `
  CREATE OR REPLACE FUNCTION refuse_payment_events_change() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    RAISE EXCEPTION 'payment_events is append-only: % refused', TG_OP USING
      ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME,
      HINT = 'Append a new event that corrects the old one.';
  END $$`;

/**
 * A BEFORE ROW trigger sees the rows that the same statement has inserted before (PostgreSQL manual, "Visibility of Data
 * Changes"), so that one INSERT may append many. The search path is pinned to the schema and then pg_temp, which is what
 * the user that migrates has: neither a temporary table named payment_events nor one in another schema answers in its place.
 */
const FORBID_GAPS = `
  CREATE OR REPLACE FUNCTION refuse_payment_events_gap() RETURNS trigger LANGUAGE plpgsql
  SET search_path FROM CURRENT AS $$
  DECLARE
    owner uuid;
  BEGIN
    SELECT restaurant_id INTO owner FROM payment_events
      WHERE aggregate_id = NEW.aggregate_id AND sequence_number = NEW.sequence_number - 1;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'event % of a stream needs event % before it', NEW.sequence_number, NEW.sequence_number - 1 USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
    END IF;
    IF owner <> NEW.restaurant_id THEN
      RAISE EXCEPTION 'a stream belongs to one restaurant' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'payment_events_one_restaurant';
    END IF;
    RETURN NEW;
  END $$`;

const ENABLE_GUARDS = [
  `CREATE OR REPLACE TRIGGER payment_events_append_only BEFORE UPDATE OR DELETE ON payment_events
     FOR EACH ROW EXECUTE FUNCTION refuse_payment_events_change()`,
  `CREATE OR REPLACE TRIGGER payment_events_no_truncate BEFORE TRUNCATE ON payment_events
     FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_events_change()`,
  `CREATE OR REPLACE TRIGGER payment_events_no_gaps BEFORE INSERT ON payment_events
     FOR EACH ROW WHEN (NEW.sequence_number > 1) EXECUTE FUNCTION refuse_payment_events_gap()`,
  `ALTER TABLE payment_events
     ENABLE ALWAYS TRIGGER payment_events_append_only,
     ENABLE ALWAYS TRIGGER payment_events_no_truncate`,
];
