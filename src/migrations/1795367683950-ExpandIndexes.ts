import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { createIndexOnline, dropIndexOnline, indexName } from './helpers/locking';

/**
 * Builds the indexes of the outbox and of versioned configurations. Expand ends here: legacy clients keep working up to and
 * including this migration.
 *
 * Of the outbox: pending messages in order; those with a time for their next attempt, by that time, so that a relay reads
 * none of those that wait; refused ones and dead letters, to count and list them; the unprocessed ones of an aggregate. A
 * message that is delivered at once is in the first and the last.
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
    for (const statement of OUTBOX_INDEXES) await createIndexOnline(queryRunner, statement);
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
    for (const statement of OUTBOX_INDEXES) await dropIndexOnline(queryRunner, indexName(statement));
  }
}

const OUTBOX_INDEXES = [
  `CREATE INDEX CONCURRENTLY idx_outbox_pending ON outbox (id)
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL`,
  `CREATE INDEX CONCURRENTLY idx_outbox_next_attempt ON outbox (next_attempt_at)
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NOT NULL`,
  `CREATE INDEX CONCURRENTLY idx_outbox_refused ON outbox (failed_at, id)
     WHERE processed_at IS NULL AND (attempts > 0 OR failed_at IS NOT NULL)`,
  `CREATE INDEX CONCURRENTLY idx_outbox_unprocessed_aggregate ON outbox (aggregate_id, id) WHERE processed_at IS NULL`,
];
