import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { createIndexOnline, dropIndexOnline, indexName, online, whileLocked } from './helpers/locking';

/**
 * A configuration becomes one row a version: its key is (restaurant_id, config_version), and the unique index on active
 * rows lets a restaurant have at most one. created_at of older rows is the last time they were changed, which is as much
 * as they know.
 *
 * Drops the indexes that only cost: idx_aggregate_events repeats the unique constraint, so every append paid twice;
 * idx_status holds a changing column, which keeps every status update from being HOT; idx_active_configs is of no use
 * beside the unique one.
 *
 * Locks: ACCESS EXCLUSIVE on restaurant_payment_configs (a row a restaurant) for two catalog updates and one short scan;
 * the key's index is built before, concurrently, as all indexes are built and dropped here. Re-runnable: either way builds
 * its key again and drops what the other may have left, since what is there does not tell how far that came.
 *
 * Down stops, naming them, where a restaurant has more than one version.
 */
export class ContractKeysAndIndexes1795368131744 implements MigrationInterface {
  name = 'ContractKeysAndIndexes1795368131744';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await createIndexOnline(queryRunner, VERSION_KEY);
    await whileLocked(queryRunner, ...REQUIRE_CREATED_AT, swapKey(VERSION_KEY));
    await dropIndexOnline(queryRunner, indexName(RESTAURANT_KEY));
    await dropIndexOnline(queryRunner, 'idx_active_configs');
    await dropIndexOnline(queryRunner, 'idx_status');
    await dropIndexOnline(queryRunner, 'idx_aggregate_events');
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await online(queryRunner, STOP_WHERE_CONFIGURATIONS_HAVE_VERSIONS);
    for (const statement of LEGACY_INDEXES) await createIndexOnline(queryRunner, statement);
    await createIndexOnline(queryRunner, RESTAURANT_KEY);
    await whileLocked(
      queryRunner,
      swapKey(RESTAURANT_KEY),
      `-- The clients of the older schema do not write it.
       -- squawk-ignore-file ban-drop-not-null
       ALTER TABLE restaurant_payment_configs ALTER COLUMN created_at DROP NOT NULL`,
    );
    await createIndexOnline(queryRunner, VERSION_KEY);
  }
}

const VERSION_KEY = `CREATE UNIQUE INDEX CONCURRENTLY restaurant_payment_configs_version_key
    ON restaurant_payment_configs (restaurant_id, config_version)`;

const RESTAURANT_KEY = `CREATE UNIQUE INDEX CONCURRENTLY restaurant_payment_configs_restaurant_key
    ON restaurant_payment_configs (restaurant_id)`;

const REQUIRE_CREATED_AT = [
  `UPDATE restaurant_payment_configs SET created_at = updated_at WHERE created_at IS NULL`,
  `-- A row a restaurant: the scan under the lock is short.
   -- squawk-ignore-file adding-not-nullable-field
   ALTER TABLE restaurant_payment_configs ALTER COLUMN created_at SET NOT NULL`,
];

const LEGACY_INDEXES = [
  `CREATE INDEX CONCURRENTLY idx_aggregate_events ON payment_events (aggregate_id, sequence_number)`,
  `CREATE INDEX CONCURRENTLY idx_status ON auth_request_state (status) WHERE status IN ('PENDING', 'PROCESSING')`,
  `CREATE INDEX CONCURRENTLY idx_active_configs ON restaurant_payment_configs (is_active) WHERE is_active = true`,
];

/** Makes a unique index that was just built the primary key, which gives it the key's name. */
const swapKey = (index: string) => `
  -- The index is there: nothing is built under the lock.
  ALTER TABLE restaurant_payment_configs
    DROP CONSTRAINT restaurant_payment_configs_pkey,
    ADD CONSTRAINT restaurant_payment_configs_pkey PRIMARY KEY USING INDEX ${indexName(index)}`;

const STOP_WHERE_CONFIGURATIONS_HAVE_VERSIONS = `
  DO $$
  DECLARE
    restaurants text;
  BEGIN
    SELECT string_agg(format('%s (%s)', restaurant_id, versions), ', ') INTO restaurants FROM (
      SELECT restaurant_id, string_agg(config_version, ', ' ORDER BY created_at, config_version) AS versions
      FROM restaurant_payment_configs GROUP BY restaurant_id HAVING count(*) > 1 ORDER BY restaurant_id LIMIT 20
    ) AS lost;
    IF restaurants IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: the older schema has one configuration a restaurant, and these have more: %. '
        'Delete the versions that are not in use, then revert again.', restaurants;
    END IF;
  END $$`;
