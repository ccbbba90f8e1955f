import { seededInWords } from '../../src/cli/commands/seed';
import { type Config } from '../../src/config';
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
    if (seed) console.log(seededInWords(await new DevelopmentSeeder().run(dataSource)));
    printDescription(databaseAddress(config.databaseUrl), await describeDatabase(dataSource));
  });
}
