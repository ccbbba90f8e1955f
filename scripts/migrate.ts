import { Command } from 'commander';
import { createDatabaseIfMissing } from '../src/database/create-database';
import { migrateDatabase } from './support/migrate-database';
import { readConfig } from '../src/config';
import { databaseAddress } from '../src/database/database-address';
import { assertDevelopmentDatabase } from '../src/seeds/development-only';
import { ensureServer } from './support/ensure-server';
import { runScript } from './support/run-script';

void runScript(
  new Command('migrate_payment_events_db.sh')
    .description(
      'Brings the database of DATABASE_URL to the newest schema, creating it if it does not exist, and prints what is ' +
        'there then. Without DATABASE_URL it is the one at localhost:5432, where a server is started if none runs. ' +
        'Running it again is harmless.',
    )
    .option('--seed', 'add the development seed as well')
    .action(async (options: { seed?: boolean }) => {
      const config = readConfig();
      const address = databaseAddress(config.databaseUrl);
      if (options.seed) assertDevelopmentDatabase(address, config.nodeEnv);
      await ensureServer();
      if (await createDatabaseIfMissing(config.databaseUrl)) console.log(`Created the database ${address.database}.`);
      await migrateDatabase(config, options);
    }),
);
