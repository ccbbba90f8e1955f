import { Command } from 'commander';
import { readConfig } from '../../config';
import { databaseAddress } from '../../database/database-address';
import { assertNonePending, readHistory } from '../../migrator/history';
import { DEVELOPMENT_RESTAURANT_ID, DevelopmentSeeder } from '../../seeds';
import { assertDevelopmentDatabase } from '../../seeds/development-only';
import { useDatabaseOf, WHERE_ITS_RESTAURANT_IS } from '../shards/use-database-of';
import { withDataSource } from '../with-data-source';

/** `payment-events-db seed`. */
export function seedCommand(): Command {
  return new Command('seed')
    .description(
      'Adds what local development needs: one restaurant, with placeholders for the secrets of its processor. Refused where ' +
        'NODE_ENV is production, and for a server on another machine. What is there stays; running it again is harmless. ' +
        WHERE_ITS_RESTAURANT_IS,
    )
    .option('--force', 'also where NODE_ENV is production or the database is not on this machine')
    .option('--json', 'print JSON')
    .action(async ({ force, json }: { force?: boolean; json?: boolean }) => {
      await useDatabaseOf(DEVELOPMENT_RESTAURANT_ID);
      const config = readConfig();
      // Before anything is connected to.
      if (!force) assertDevelopmentDatabase(databaseAddress(config.databaseUrl), config.nodeEnv);
      await withDataSource(config, async (dataSource) => {
        assertNonePending(await readHistory(dataSource));
        const seeded = await new DevelopmentSeeder().run(dataSource, { force });
        console.log(json ? JSON.stringify(seeded) : seededInWords(seeded));
      });
    });
}

/** What a run of the seeder did, for people. */
export const seededInWords = ({ inserted }: { inserted: number }): string =>
  inserted > 0 ? 'Seeded the test restaurant.' : 'The test restaurant is there already.';
