import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { whileLocked } from './helpers/locking';
import { lookFirst, lookForFunction } from './helpers/own-objects';

/**
 * Makes a configuration version immutable but for is_active: an attempt that names a version can be explained years
 * later. A change is a new version. updated_at, when it was switched on or off, is set by the database.
 *
 * Locks: SHARE ROW EXCLUSIVE on restaurant_payment_configs for a catalog update (writes wait, reads do not); ACCESS
 * EXCLUSIVE on the way down. Re-runnable.
 */
export class GuardConfigVersions1795368551890 implements MigrationInterface {
  name = 'GuardConfigVersions1795368551890';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_restaurant_payment_configs'));
    await whileLocked(
      queryRunner,
      CREATE_GUARD,
      `CREATE OR REPLACE TRIGGER guard_restaurant_payment_configs BEFORE UPDATE ON restaurant_payment_configs
         FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs()`,
      `ALTER TABLE restaurant_payment_configs ENABLE ALWAYS TRIGGER guard_restaurant_payment_configs`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_restaurant_payment_configs'));
    await whileLocked(
      queryRunner,
      `DROP TRIGGER IF EXISTS guard_restaurant_payment_configs ON restaurant_payment_configs`,
      `DROP FUNCTION IF EXISTS guard_restaurant_payment_configs()`,
    );
  }
}

/** Rows that a logical subscriber or a restore of data gets keep their updated_at. */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_restaurant_payment_configs() RETURNS trigger LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    IF current_setting('session_replication_role') <> 'replica' THEN
      NEW.updated_at := now();
    END IF;
    IF to_jsonb(NEW) - '{is_active,updated_at}'::text[] <> to_jsonb(OLD) - '{is_active,updated_at}'::text[] THEN
      RAISE EXCEPTION 'a configuration version does not change but for is_active' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_version_immutable',
        HINT = 'Insert a new config_version, and switch the old one off in the same transaction.';
    END IF;
    RETURN NEW;
  END $$`;
