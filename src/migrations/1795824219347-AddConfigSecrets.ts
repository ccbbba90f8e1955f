import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';
import { lookFirst, stopWhere } from './helpers/own-objects';

/**
 * Makes room for the secrets of a configuration, sealed: encrypted under a data key that the database has in wrapped form
 * alone. A data key is shared by many versions, so that a change of the key that wraps them touches no version.
 *
 * A version also says who has switched it off, and of which version it is a copy, where somebody has gone back.
 *
 * Clients of the version before keep working: every column is nullable, and nothing is asked of them.
 *
 * Locks: ACCESS EXCLUSIVE on restaurant_payment_configs for a catalog update, since NOT VALID spares the scan; VALIDATE
 * takes SHARE UPDATE EXCLUSIVE, which stops no reads or writes. Re-runnable.
 * Down drops the columns and the data keys, and with them who switched a version off and of which it is a copy. It stops where a version is sealed: SQL cannot unseal it, and without its data
 * key nobody can.
 */
export class AddConfigSecrets1795824219347 implements MigrationInterface {
  name = 'AddConfigSecrets1795824219347';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE, LOOK_FOR_FUNCTION);
    await whileLocked(queryRunner, CREATE_TABLE, CREATE_GUARD, ...ENABLE_GUARD);
    await whileLocked(queryRunner, ADD_COLUMNS);
    await whileLocked(queryRunner, ADD_CONSTRAINTS);
    for (const name of CONSTRAINTS) {
      await online(queryRunner, `ALTER TABLE restaurant_payment_configs VALIDATE CONSTRAINT ${name}`);
    }
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE, LOOK_FOR_FUNCTION);
    await whileLocked(
      queryRunner,
      `LOCK TABLE restaurant_payment_configs IN ACCESS EXCLUSIVE MODE`,
      STOP_WHERE_SECRETS_WOULD_BE_LOST,
      DROP_COLUMNS,
      `DROP TABLE IF EXISTS data_keys`,
      `DROP FUNCTION IF EXISTS guard_data_keys()`,
    );
  }
}

/** Ours has its check. */
const LOOK_FOR_TABLE = stopWhere(
  `
      SELECT 'Relation ' || class.oid::regclass FROM pg_class AS class
      WHERE relnamespace = current_schema()::regnamespace AND relname IN ('data_keys', 'data_keys_pkey')
        AND class.oid NOT IN (
          SELECT conrelid FROM pg_constraint WHERE conname = 'data_keys_wrapped_length'
          UNION ALL SELECT indexrelid FROM pg_index JOIN pg_constraint ON conrelid = indrelid
          WHERE conname = 'data_keys_wrapped_length')
      LIMIT 1`,
  'Rename it (ALTER TABLE or ALTER INDEX … RENAME TO), then run this again.',
);

const LOOK_FOR_FUNCTION = stopWhere(
  `
      SELECT 'Function ' || oid::regprocedure FROM pg_proc
      WHERE pronamespace = current_schema()::regnamespace AND proname = 'guard_data_keys' AND pronargs = 0
        AND oid NOT IN (SELECT tgfoid FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid WHERE relname = 'data_keys')`,
  'Rename it (ALTER FUNCTION … RENAME TO): triggers keep it. Then run this again.',
);

const CREATE_TABLE = `
  -- Names of keys have a limit that every key service keeps.
  -- squawk-ignore-file prefer-text-field
  CREATE TABLE IF NOT EXISTS data_keys (
    data_key_id uuid NOT NULL,
    key_encryption_key_id varchar(2048) NOT NULL,
    wrapped bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    rewrapped_at timestamptz,
    CONSTRAINT data_keys_pkey PRIMARY KEY (data_key_id),
    CONSTRAINT data_keys_key_encryption_key_named CHECK (key_encryption_key_id <> ''),
    CONSTRAINT data_keys_wrapped_length CHECK (octet_length(wrapped) BETWEEN 1 AND 10000)
  )`;

/** What a ciphertext names stays what it was; only by which key it is wrapped may change. */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_data_keys() RETURNS trigger LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
  BEGIN
    IF (NEW.data_key_id, NEW.created_at) IS DISTINCT FROM (OLD.data_key_id, OLD.created_at) THEN
      RAISE EXCEPTION 'a data key keeps its id and its time: only how it is wrapped changes' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'data_keys_immutable',
        HINT = 'Insert a new data key.';
    END IF;
    RETURN NEW;
  END $$`;

/** ALWAYS: also where session_replication_role is replica. */
const ENABLE_GUARD = [
  `CREATE OR REPLACE TRIGGER guard_data_keys BEFORE UPDATE ON data_keys FOR EACH ROW EXECUTE FUNCTION guard_data_keys()`,
  `ALTER TABLE data_keys ENABLE ALWAYS TRIGGER guard_data_keys`,
];

const ADD_COLUMNS = `
  -- Names have limits as those of created_by and config_version.
  -- squawk-ignore-file prefer-text-field
  ALTER TABLE restaurant_payment_configs
    ADD COLUMN IF NOT EXISTS sealed_secrets bytea,
    ADD COLUMN IF NOT EXISTS sealed_fields text[],
    ADD COLUMN IF NOT EXISTS data_key_id uuid,
    ADD COLUMN IF NOT EXISTS switched_off_by varchar(255),
    ADD COLUMN IF NOT EXISTS copy_of varchar(50)`;

const ADD_CONSTRAINTS = `
  ALTER TABLE restaurant_payment_configs
    DROP CONSTRAINT IF EXISTS restaurant_payment_configs_sealed_whole,
    DROP CONSTRAINT IF EXISTS restaurant_payment_configs_data_key_fkey,
    DROP CONSTRAINT IF EXISTS restaurant_payment_configs_copy_of_fkey,
    ADD CONSTRAINT restaurant_payment_configs_sealed_whole
      CHECK (num_nulls(sealed_secrets, sealed_fields, data_key_id) = ANY ('{0,3}')) NOT VALID,
    ADD CONSTRAINT restaurant_payment_configs_data_key_fkey
      FOREIGN KEY (data_key_id) REFERENCES data_keys (data_key_id) NOT VALID,
    ADD CONSTRAINT restaurant_payment_configs_copy_of_fkey
      FOREIGN KEY (restaurant_id, copy_of) REFERENCES restaurant_payment_configs (restaurant_id, config_version) NOT VALID`;

const CONSTRAINTS = [
  'restaurant_payment_configs_sealed_whole',
  'restaurant_payment_configs_data_key_fkey',
  'restaurant_payment_configs_copy_of_fkey',
];

/** Through to_jsonb, since a run that was cut off may have dropped the column. */
const STOP_WHERE_SECRETS_WOULD_BE_LOST = `
  DO $$
  DECLARE
    sealed bigint := (SELECT count(*) FROM restaurant_payment_configs AS config
                      WHERE to_jsonb(config) ->> 'sealed_secrets' IS NOT NULL);
  BEGIN
    IF sealed > 0 THEN
      RAISE EXCEPTION 'Cannot go back: the secrets of % configuration versions are sealed. SQL cannot unseal them, and the '
        'older schema has no place for them. Delete those versions if nobody needs them, then revert again.', sealed;
    END IF;
  END $$`;

/** Their constraints go with them. */
const DROP_COLUMNS = `
  -- squawk-ignore-file ban-drop-column, ban-drop-table
  ALTER TABLE restaurant_payment_configs
    DROP COLUMN IF EXISTS copy_of,
    DROP COLUMN IF EXISTS switched_off_by,
    DROP COLUMN IF EXISTS data_key_id,
    DROP COLUMN IF EXISTS sealed_fields,
    DROP COLUMN IF EXISTS sealed_secrets`;
