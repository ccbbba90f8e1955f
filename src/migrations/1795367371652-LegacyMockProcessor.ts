import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { whileLocked } from './helpers/locking';

/**
 * The schema of Alembic revision 09c2b295afcd: a restaurant may be configured for the `mock` processor.
 *
 * Locks: ACCESS EXCLUSIVE on restaurant_payment_configs while its few rows are checked. Clients keep working.
 * Re-runnable; without a transaction around it, so that a lock that cannot be taken at once is tried for again.
 * Down stops, naming the restaurants, where one is configured for `mock`: the older constraint has no place for it.
 */
export class LegacyMockProcessor1795367371652 implements MigrationInterface {
  name = 'LegacyMockProcessor1795367371652';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await whileLocked(
      queryRunner,
      `-- A row a restaurant: the scan under the lock is short.
       -- squawk-ignore-file constraint-missing-not-valid
       ALTER TABLE restaurant_payment_configs
         DROP CONSTRAINT IF EXISTS check_processor,
         ADD CONSTRAINT check_processor CHECK (processor_name IN ('stripe', 'chase', 'worldpay', 'mock'))`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await whileLocked(
      queryRunner,
      `LOCK TABLE restaurant_payment_configs IN SHARE ROW EXCLUSIVE MODE`,
      STOP_WHERE_MOCK_IS_CONFIGURED,
      `-- A row a restaurant: the scan under the lock is short.
       -- squawk-ignore-file constraint-missing-not-valid
       ALTER TABLE restaurant_payment_configs
         DROP CONSTRAINT IF EXISTS check_processor,
         ADD CONSTRAINT check_processor CHECK (processor_name IN ('stripe', 'chase', 'worldpay'))`,
    );
  }
}

const STOP_WHERE_MOCK_IS_CONFIGURED = `
  DO $$
  DECLARE
    restaurants text := (SELECT string_agg(DISTINCT restaurant_id::text, ', ') FROM restaurant_payment_configs
                         WHERE processor_name = 'mock');
  BEGIN
    IF restaurants IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: restaurants configured for the mock processor: %. '
        'Give them another processor or delete their configuration, then revert again.', restaurants;
    END IF;
  END $$`;
