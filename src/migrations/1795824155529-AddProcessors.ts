import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';
import { lookFirst, stopWhere } from './helpers/own-objects';

/**
 * Makes processors data: a row of `processors` says which secrets a processor has and which settings it knows, and a
 * foreign key takes the place of the check of four names. A team adds a processor of its own by one INSERT; the schema
 * stays the same for it.
 *
 * A row is checked to be of use to the guard of configurations: a closed list of settings, none of which is a secret.
 *
 * Clients of the version before keep working: the four names that they know are there.
 *
 * Locks: ACCESS EXCLUSIVE on restaurant_payment_configs for a catalog update, since NOT VALID spares the scan; VALIDATE
 * takes SHARE UPDATE EXCLUSIVE, which stops no reads or writes. Re-runnable.
 * Down brings the check back. It stops, naming them, where there are processors of another name, and where restaurants
 * are configured for one. What was changed in the four rows is forgotten.
 */
export class AddProcessors1795824155529 implements MigrationInterface {
  name = 'AddProcessors1795824155529';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE);
    await whileLocked(queryRunner, CREATE_TABLE, INSERT_PROCESSORS);
    await whileLocked(queryRunner, REFER_TO_PROCESSORS);
    await online(
      queryRunner,
      `ALTER TABLE restaurant_payment_configs VALIDATE CONSTRAINT restaurant_payment_configs_processor_fkey`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, LOOK_FOR_TABLE);
    await whileLocked(
      queryRunner,
      `LOCK TABLE restaurant_payment_configs IN ACCESS EXCLUSIVE MODE`,
      STOP_WHERE_OTHERS_ARE_CONFIGURED,
      STOP_WHERE_OTHERS_WOULD_BE_LOST,
      CHECK_NAMES,
      `COMMENT ON CONSTRAINT check_processor ON restaurant_payment_configs IS 'No client exists for any other processor.'`,
    );
    await online(queryRunner, `ALTER TABLE restaurant_payment_configs VALIDATE CONSTRAINT check_processor`);
    await whileLocked(
      queryRunner,
      // Again: nothing but this keeps another from coming in meanwhile.
      STOP_WHERE_OTHERS_WOULD_BE_LOST,
      `-- squawk-ignore-file ban-drop-table
       DROP TABLE IF EXISTS processors`,
    );
  }
}

/** Ours has its checks. */
const LOOK_FOR_TABLE = stopWhere(
  `
      SELECT 'Relation ' || class.oid::regclass FROM pg_class AS class
      WHERE relnamespace = current_schema()::regnamespace AND relname IN ('processors', 'processors_pkey')
        AND class.oid NOT IN (
          SELECT conrelid FROM pg_constraint WHERE conname = 'processors_settings_closed'
          UNION ALL SELECT indexrelid FROM pg_index JOIN pg_constraint ON conrelid = indrelid
          WHERE conname = 'processors_settings_closed')
      LIMIT 1`,
  'Rename it (ALTER TABLE or ALTER INDEX … RENAME TO), then run this again.',
);

const CREATE_TABLE = `
  -- A name is as long as that of a configuration.
  -- squawk-ignore-file prefer-text-field
  CREATE TABLE IF NOT EXISTS processors (
    processor_name varchar(50) NOT NULL,
    secret_fields text[] NOT NULL,
    required_secret_fields text[] NOT NULL DEFAULT '{}',
    settings_schema jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT processors_pkey PRIMARY KEY (processor_name),
    CONSTRAINT processors_name_format CHECK (processor_name ~ '^[a-z][a-z0-9_]{0,49}$'),
    CONSTRAINT processors_secrets_named CHECK (array_position(secret_fields, NULL) IS NULL),
    CONSTRAINT processors_required_known CHECK (required_secret_fields <@ secret_fields),
    CONSTRAINT processors_settings_closed
      CHECK (settings_schema @> '{"type": "object", "additionalProperties": false, "properties": {}}'),
    CONSTRAINT processors_settings_not_secret CHECK (NOT (settings_schema -> 'properties') ?| secret_fields)
  )`;

/** As src/configs/processors had them when this was written. Of one time, so that all databases have the same rows. */
const INSERT_PROCESSORS = `
  INSERT INTO processors (processor_name, secret_fields, required_secret_fields, settings_schema, created_at)
  SELECT processor_name, secret_fields::text[], required_secret_fields::text[], settings_schema::jsonb, '2026-11-28 00:00Z'
  FROM (VALUES
    ('stripe', '{api_key,stripe_api_key,webhook_secret}', '{api_key}', '{
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "account": {"type": "string", "pattern": "^acct_[A-Za-z0-9]+$", "maxLength": 255},
        "api_version": {"type": "string", "minLength": 1, "maxLength": 50},
        "base_url":
          {"type": "string", "pattern": "^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/|$)", "maxLength": 2048},
        "statement_descriptor": {"type": "string", "minLength": 1, "maxLength": 22},
        "timeout_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 600}
      }}'),
    ('chase', '{api_key,password,username}', '{}', '{
      "type": "object",
      "additionalProperties": false,
      "required": ["merchant_id"],
      "properties": {
        "base_url":
          {"type": "string", "pattern": "^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/|$)", "maxLength": 2048},
        "merchant_id": {"type": "string", "minLength": 1, "maxLength": 50},
        "terminal": {
          "type": "object",
          "additionalProperties": false,
          "required": ["id"],
          "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": 50},
            "mode": {"type": "string", "minLength": 1, "maxLength": 50}
          }
        },
        "timeout_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 600}
      }}'),
    ('worldpay', '{api_key,password,username}', '{}', '{
      "type": "object",
      "additionalProperties": false,
      "required": ["merchant_code"],
      "properties": {
        "base_url":
          {"type": "string", "pattern": "^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/|$)", "maxLength": 2048},
        "descriptor": {"type": "string", "minLength": 1, "maxLength": 50},
        "installation_id": {"type": "string", "minLength": 1, "maxLength": 50},
        "merchant_code": {"type": "string", "minLength": 1, "maxLength": 50},
        "timeout_seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 600}
      }}'),
    ('mock', '{api_key}', '{}', '{
      "type": "object",
      "additionalProperties": false,
      "properties": {
        "base_url":
          {"type": "string", "pattern": "^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1)(:[0-9]+)?)(/|$)", "maxLength": 2048},
        "delay_ms": {"type": "integer", "minimum": 0, "maximum": 600000},
        "statement_descriptor": {"type": "string", "minLength": 1, "maxLength": 22}
      }}')
  ) AS known (processor_name, secret_fields, required_secret_fields, settings_schema)
  ON CONFLICT (processor_name) DO NOTHING`;

/** One statement, so that names are never unchecked. */
const REFER_TO_PROCESSORS = `
  ALTER TABLE restaurant_payment_configs
    DROP CONSTRAINT IF EXISTS check_processor,
    DROP CONSTRAINT IF EXISTS restaurant_payment_configs_processor_fkey,
    ADD CONSTRAINT restaurant_payment_configs_processor_fkey
      FOREIGN KEY (processor_name) REFERENCES processors (processor_name) NOT VALID`;

const CHECK_NAMES = `
  ALTER TABLE restaurant_payment_configs
    DROP CONSTRAINT IF EXISTS restaurant_payment_configs_processor_fkey,
    DROP CONSTRAINT IF EXISTS check_processor,
    ADD CONSTRAINT check_processor CHECK (processor_name IN ('stripe', 'chase', 'worldpay', 'mock')) NOT VALID`;

const STOP_WHERE_OTHERS_ARE_CONFIGURED = `
  DO $$
  DECLARE
    restaurants text := (SELECT string_agg(DISTINCT format('%s (%s)', restaurant_id, processor_name), ', ')
                         FROM restaurant_payment_configs WHERE processor_name NOT IN ('stripe', 'chase', 'worldpay', 'mock'));
  BEGIN
    IF restaurants IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: the older schema knows stripe, chase, worldpay and mock alone, and these restaurants '
        'are configured for another processor: %. Delete those versions if nobody needs them, then revert again.', restaurants;
    END IF;
  END $$`;

const STOP_WHERE_OTHERS_WOULD_BE_LOST = `
  DO $$
  DECLARE
    others text;
  BEGIN
    IF to_regclass('processors') IS NOT NULL THEN
      LOCK TABLE processors IN SHARE ROW EXCLUSIVE MODE;
      SELECT string_agg(processor_name, ', ' ORDER BY processor_name) INTO others FROM processors
        WHERE processor_name NOT IN ('stripe', 'chase', 'worldpay', 'mock');
    END IF;
    IF others IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: the older schema has no place for these rows of processors: %. '
        'Delete them if nobody needs them, then revert again.', others;
    END IF;
  END $$`;
