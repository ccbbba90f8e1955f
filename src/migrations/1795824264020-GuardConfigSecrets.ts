import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { whileLocked } from './helpers/locking';
import { lookFirst, lookForFunction } from './helpers/own-objects';

/**
 * Keeps secrets out of the settings of a configuration, and a version as it is.
 *
 * A new version is refused where a secret is among its settings, at any depth, or where a setting is not known to its
 * processor. A check would print the row into the server's log and into the error's detail: this guard comes before every
 * other rule of the table, meets each of them, and says nothing of what the row holds. Of its keys it names those alone
 * that `processors` says are secrets, since an unknown key may itself be one. It is an ordinary one: a logical subscriber
 * and a restore of data take the versions of legacy services.
 *
 * What PostgreSQL refuses before there is a row, such as text that is no JSON or no UUID, it quotes. A duplicate names the
 * restaurant and the version, and nothing else.
 *
 * A version that is there changes in two ways. It is switched off, by somebody who is named, and never on again: a way
 * back is a new version, so that the rows tell which version was in use when. Or its secrets are sealed: taken out of the
 * settings, all at once, and nothing beside. Whether a role may do either is said by its privileges on columns.
 *
 * From here on the services of before, which write secrets as plain text, cannot write a version: `migrate --to
 * AddConfigSecrets` stops before it. What they wrote stays, and is read as before, until it is sealed.
 *
 * Locks: SHARE ROW EXCLUSIVE on restaurant_payment_configs for a catalog update (writes wait, reads do not); ACCESS
 * EXCLUSIVE on the way down. Re-runnable. Down brings back the guard of GuardConfigVersions; every row stays.
 */
export class GuardConfigSecrets1795824264020 implements MigrationInterface {
  name = 'GuardConfigSecrets1795824264020';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_restaurant_payment_configs'));
    await whileLocked(
      queryRunner,
      CREATE_GUARD,
      `CREATE OR REPLACE TRIGGER guard_new_restaurant_payment_configs BEFORE INSERT ON restaurant_payment_configs
         FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs()`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_restaurant_payment_configs'));
    await whileLocked(
      queryRunner,
      `DROP TRIGGER IF EXISTS guard_new_restaurant_payment_configs ON restaurant_payment_configs`,
      GUARD_OF_BEFORE,
    );
  }
}

/**
 * The search path is pinned to the schema and then pg_temp, which is what the user that migrates has: no temporary table
 * named processors answers in place of ours.
 *
 * Under read committed each of its queries sees what is committed when it runs, and what its own transaction has written:
 * a processor or a data key that goes away in between is refused by the foreign keys, whose messages name the key alone.
 */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_restaurant_payment_configs() RETURNS trigger LANGUAGE plpgsql
  SET search_path FROM CURRENT AS $$
  DECLARE
    allowed record;
    is_switched_off boolean := false;
    is_sealed_now boolean := false;
    missing text;
    secrets text[];
    settings jsonb;
    revealed text;
    unknown bigint;
  BEGIN
    IF TG_OP = 'UPDATE' THEN
      is_switched_off := OLD.is_active AND NEW.is_active IS NOT DISTINCT FROM false;
      is_sealed_now := OLD.sealed_secrets IS NULL AND NEW.sealed_secrets IS NOT NULL;
      IF current_setting('session_replication_role') <> 'replica' OR NEW.updated_at IS NULL THEN
        NEW.updated_at := CASE WHEN is_switched_off THEN clock_timestamp() ELSE OLD.updated_at END;
      END IF;
      allowed := OLD;
      allowed.updated_at := NEW.updated_at;
      IF is_switched_off THEN
        allowed.is_active := false;
        allowed.switched_off_by := NEW.switched_off_by;
      ELSIF is_sealed_now AND jsonb_typeof(OLD.processor_config) = 'object' THEN
        allowed.sealed_secrets := NEW.sealed_secrets;
        allowed.sealed_fields := NEW.sealed_fields;
        allowed.data_key_id := NEW.data_key_id;
        allowed.processor_config := OLD.processor_config - NEW.sealed_fields;
      END IF;
      IF NEW IS DISTINCT FROM allowed THEN
        RAISE EXCEPTION 'a configuration version does not change but for being switched off, or its secrets being sealed' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_version_immutable',
          HINT = 'Insert a new config_version, and switch the old one off in the same transaction.';
      END IF;
      IF is_switched_off AND coalesce(NEW.switched_off_by, '') = '' THEN
        RAISE EXCEPTION 'a version that is switched off says by whom' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_switched_off',
          HINT = 'Set switched_off_by in the same UPDATE.';
      END IF;
      IF NOT is_sealed_now THEN
        RETURN NEW;
      END IF;
    ELSE
      missing := CASE
        WHEN NEW.restaurant_id IS NULL THEN 'restaurant_id'
        WHEN NEW.config_version IS NULL THEN 'config_version'
        WHEN NEW.processor_name IS NULL THEN 'processor_name'
        WHEN NEW.processor_config IS NULL THEN 'processor_config'
        WHEN NEW.is_active IS NULL THEN 'is_active'
        WHEN NEW.updated_at IS NULL THEN 'updated_at'
        WHEN NEW.created_at IS NULL THEN 'created_at' END;
      IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'a configuration version needs a value for %', missing USING
          ERRCODE = 'not_null_violation', TABLE = TG_TABLE_NAME, COLUMN = missing;
      END IF;
      -- After the lock of the version that was active, if the same statement has switched it off.
      NEW.created_at := clock_timestamp();
      NEW.updated_at := NEW.created_at;
    END IF;

    SELECT secret_fields, settings_schema -> 'properties' INTO secrets, settings
      FROM processors WHERE processor_name = NEW.processor_name;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'processors has no row of that processor_name' USING
        ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_processor_fkey',
        HINT = 'Correct the name, or insert the processor into processors first.';
    END IF;
    IF num_nulls(NEW.sealed_secrets, NEW.sealed_fields, NEW.data_key_id) NOT IN (0, 3) THEN
      RAISE EXCEPTION 'sealed_secrets, sealed_fields and data_key_id belong together' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_whole';
    END IF;
    IF NEW.data_key_id IS NOT NULL THEN
      IF substring(NEW.sealed_secrets FROM 2 FOR 16) <> uuid_send(NEW.data_key_id) THEN
        RAISE EXCEPTION 'the header of sealed_secrets names another data key than data_key_id' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_header';
      END IF;
      IF NOT EXISTS (SELECT FROM data_keys WHERE data_keys.data_key_id = NEW.data_key_id) THEN
        RAISE EXCEPTION 'data_keys has no row of that data_key_id' USING
          ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_data_key_fkey',
          HINT = 'Insert the data key first.';
      END IF;
      IF NOT NEW.sealed_fields <@ secrets
        OR cardinality(NEW.sealed_fields) <> (SELECT count(DISTINCT field) FROM unnest(NEW.sealed_fields) AS field)
        OR is_sealed_now AND NOT (OLD.processor_config ?& NEW.sealed_fields AND NOT NEW.processor_config ?| secrets)
      THEN
        RAISE EXCEPTION 'sealed_fields names secret fields of the processor, each once, and all that a version has when it is sealed' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_fields',
          HINT = format('The secret fields of this processor are: %s.', array_to_string(secrets, ', '));
      END IF;
    END IF;
    IF TG_OP = 'UPDATE' THEN
      RETURN NEW;
    END IF;

    IF jsonb_typeof(NEW.processor_config) <> 'object' THEN
      RAISE EXCEPTION 'processor_config is an object of settings' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_object';
    END IF;
    -- A secret of any processor, since one may stand in the settings of another; unless this one has a setting of that name.
    SELECT string_agg(DISTINCT field, ', ' ORDER BY field) INTO revealed
      FROM jsonb_path_query(NEW.processor_config, 'strict $.**') AS part, processors CROSS JOIN unnest(secret_fields) AS field
      WHERE jsonb_typeof(part) = 'object' AND part ? field AND NOT settings ? field;
    IF revealed IS NOT NULL THEN
      RAISE EXCEPTION 'a secret is among the settings: %', revealed USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_not_secret',
        HINT = 'Secrets are sealed and go into sealed_secrets. One that was sent in plain text should be changed at the processor.';
    END IF;
    SELECT count(*) INTO unknown FROM jsonb_object_keys(NEW.processor_config) AS key WHERE NOT settings ? key;
    IF unknown > 0 THEN
      RAISE EXCEPTION 'the processor does not know % of the settings', unknown USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_known',
        HINT = 'Those that it knows are in settings_schema of its row of processors.';
    END IF;
    IF NEW.is_active AND NEW.switched_off_by IS NOT NULL THEN
      RAISE EXCEPTION 'a version that is on was switched off by nobody' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_switched_off';
    END IF;
    IF NEW.copy_of IS NOT NULL AND NOT EXISTS (
      SELECT FROM restaurant_payment_configs AS source
      WHERE source.restaurant_id = NEW.restaurant_id AND source.config_version = NEW.copy_of)
    THEN
      RAISE EXCEPTION 'the restaurant has no version copy_of' USING
        ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_copy_of_fkey';
    END IF;
    RETURN NEW;
  END $$`;

/** As GuardConfigVersions has it. */
const GUARD_OF_BEFORE = `
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
