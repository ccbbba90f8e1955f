import { Command } from 'commander';
import { assertNonePending, readHistory } from '../src/migrator/history';
import { seedDatabase } from './support/migrate-database';
import { withDataSource } from '../src/cli/with-data-source';
import { readConfig } from '../src/config';
import { type PaymentEventsDataSource } from '../src/data-source';
import { databaseAddress } from '../src/database/database-address';
import { assertDevelopmentDatabase } from '../src/seeds/development-only';
import { runScript } from './support/run-script';

void runScript(
  new Command('npm run seed --')
    .description('Adds what local development needs to the database of DATABASE_URL. Running it again is harmless.')
    .option('--force', 'also where NODE_ENV is production or the database is not on this machine')
    .action(async (options: { force?: boolean }) => {
      const config = readConfig();
      if (!options.force) assertDevelopmentDatabase(databaseAddress(config.databaseUrl), config.nodeEnv);
      const seed = async (dataSource: PaymentEventsDataSource) => {
        assertNonePending(await readHistory(dataSource));
        await seedDatabase(dataSource, options);
      };
      await withDataSource(config, seed, { isSilent: true });
    }),
);
