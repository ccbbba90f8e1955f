import { type Config } from '../../src/config';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { databaseAddress } from '../../src/database/database-address';
import { migrate } from '../../src/migrator/migrator';
import { DevelopmentSeeder } from '../../src/seeds';
import { describeDatabase } from './describe-database';
import { printDescription } from './print-description';
import { withDataSource } from '../../src/cli/with-data-source';

/**
 * Brings a database that exists to the newest schema, says each step, and prints what is there then.
 *
 * @throws what {@link migrate} throws
 */
export async function migrateDatabase(config: Config, { seed = false } = {}): Promise<void> {
  await withDataSource(config, async (dataSource) => {
    const applied = await migrate(dataSource, { say: console.log });
    console.log(applied.length > 0 ? `Applied ${applied.length} migrations.` : 'No migration was pending.');
    if (seed) await seedDatabase(dataSource);
    printDescription(databaseAddress(config.databaseUrl), await describeDatabase(dataSource));
  });
}

/** Adds the development seed and says what it did. */
export async function seedDatabase(dataSource: PaymentEventsDataSource, options?: { force?: boolean }): Promise<void> {
  const { inserted } = await new DevelopmentSeeder().run(dataSource, options);
  console.log(inserted > 0 ? 'Seeded the test restaurant.' : 'The test restaurant is there already.');
}
