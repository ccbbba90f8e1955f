import { Command } from 'commander';
import { recreateDatabase } from '../src/database/create-database';
import { migrateDatabase } from './support/migrate-database';
import { readConfig } from '../src/config';
import { databaseAddress } from '../src/database/database-address';
import { assertDevelopmentDatabase } from '../src/seeds/development-only';
import { assertMayDelete } from './support/confirm-deletion';
import { ensureServer } from './support/ensure-server';
import { runScript } from './support/run-script';

void runScript(
  new Command('reset_payment_events_db.sh')
    .description(
      'Deletes the database of DATABASE_URL (default: the one at localhost:5432) with ALL its data, creates it again and ' +
        'migrates it. For local development only: refuses servers on other machines.',
    )
    .option('--yes', 'do not ask')
    .option('--seed', 'add the development seed as well')
    .action(async (options: { yes?: boolean; seed?: boolean }) => {
      const config = readConfig();
      const address = databaseAddress(config.databaseUrl);
      assertDevelopmentDatabase(address, config.nodeEnv);
      await assertMayDelete(address, options);
      await ensureServer();
      await recreateDatabase(config.databaseUrl);
      console.log(`Created the database ${address.database} again, empty.`);
      await migrateDatabase(config, options);
    }),
);
