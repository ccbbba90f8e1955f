import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { createIndexOnline, dropIndexOnline } from '../migrator/locking';

/**
 * Builds the indexes of the relay (pending messages in order; the unprocessed ones of an aggregate) and of versioned
 * configurations. Expand ends here: legacy clients keep working up to and including this migration.
 *
 * Locks: SHARE UPDATE EXCLUSIVE, which stops no reads or writes, for as long as a build takes; a build waits for
 * transactions that are older than itself. Re-runnable: what a failed build left behind is dropped first.
 *
 * The unique index on active configurations cannot fail on legacy rows: their key is the restaurant alone.
 */
export class ExpandIndexes1795367683950 implements MigrationInterface {
  name = 'ExpandIndexes1795367683950';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await createIndexOnline(
      queryRunner,
      `CREATE INDEX CONCURRENTLY idx_outbox_pending ON outbox (id) WHERE processed_at IS NULL AND failed_at IS NULL`,
    );
    await createIndexOnline(
      queryRunner,
      `CREATE INDEX CONCURRENTLY idx_outbox_unprocessed_aggregate ON outbox (aggregate_id, id)
         WHERE processed_at IS NULL`,
    );
    await createIndexOnline(
      queryRunner,
      `CREATE UNIQUE INDEX CONCURRENTLY restaurant_payment_configs_version_key
         ON restaurant_payment_configs (restaurant_id, config_version)`,
    );
    await createIndexOnline(
      queryRunner,
      `CREATE UNIQUE INDEX CONCURRENTLY restaurant_payment_configs_one_active
         ON restaurant_payment_configs (restaurant_id) WHERE is_active`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await dropIndexOnline(queryRunner, 'restaurant_payment_configs_one_active');
    await dropIndexOnline(queryRunner, 'restaurant_payment_configs_version_key');
    await dropIndexOnline(queryRunner, 'idx_outbox_unprocessed_aggregate');
    await dropIndexOnline(queryRunner, 'idx_outbox_pending');
  }
}
