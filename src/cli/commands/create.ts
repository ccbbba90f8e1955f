import { Command } from 'commander';
import { readConfig } from '../../config';
import { createDatabaseIfMissing, createSchemaIfMissing, MAINTENANCE_DATABASE } from '../../database/create-database';
import { databaseAddress } from '../../database/database-address';
import { disarm } from '../../database/disarm';
import { overShards } from '../shards/over-shards';

/** `payment-events-db create`. */
export function createCommand(): Command {
  const command = new Command('create')
    .description(
      'Makes the database of DATABASE_URL where it is missing, in UTF-8, and in it the schema that PAYMENT_EVENTS_DB_SCHEMA ' +
        'names. Needs CREATEDB for the first, and the owner of the database for the second. Two at once are harmless, ' +
        'and so is running it again. The tables are made by migrate.',
    )
    .option('--maintenance-db <name>', 'the database of the same server from which it is made', MAINTENANCE_DATABASE)
    .option('--json', 'print JSON');
  return overShards(command, async ({ maintenanceDb, json }: { maintenanceDb: string; json?: boolean }) => {
    const { databaseUrl, dataSource } = readConfig();
    const { database, host, port } = databaseAddress(databaseUrl);
    const made = [
      { kind: 'database', name: database, created: await createDatabaseIfMissing(databaseUrl, maintenanceDb) },
    ];
    const { schema } = dataSource;
    if (schema !== undefined) {
      made.push({ kind: 'schema', name: schema, created: await createSchemaIfMissing(databaseUrl, schema) });
    }
    if (json) {
      return console.log(
        JSON.stringify(Object.fromEntries(made.map(({ kind, name, created }) => [kind, { name, created }]))),
      );
    }
    for (const { kind, name, created } of made) {
      console.log(
        `The ${kind} ${disarm(name)} ${created ? 'was made' : 'is there already'}, at ${disarm(host)}:${port}.`,
      );
    }
  });
}
