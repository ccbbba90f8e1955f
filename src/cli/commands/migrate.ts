import { Command } from 'commander';
import { readConfig } from '../../config';
import { migrate } from '../../migrator/migrator';
import { planMigrations } from '../../migrator/plan';
import { printPlan } from '../print-plan';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

/** What `migrate` and `revert` take. */
export interface MigrateCommandOptions {
  to?: string;
  dryRun?: boolean;
  json?: boolean;
}

/** `payment-events-db migrate`. */
export function migrateCommand(): Command {
  const command = new Command('migrate')
    .description(
      'Runs the pending migrations, one process at a time, each under short locks. Services may keep running ' +
        'unless a migration says otherwise. Running it again is harmless, and continues where it stopped.',
    )
    .option('--to <name>', 'the last migration to run; its timestamp may be left out')
    .option('--dry-run', 'only print the SQL, as plan does')
    .option('--json', 'print JSON');
  return overShards(command, async ({ to, dryRun, json }: MigrateCommandOptions) => {
    await withDataSource(readConfig(), async (dataSource) => {
      if (dryRun) return printPlan(await planMigrations(dataSource, { to }), { json });
      const applied = (await migrate(dataSource, { to, say: console.error })).map(({ name }) => name);
      if (json) return console.log(JSON.stringify({ applied }));
      for (const name of applied) console.log(`Applied ${name}.`);
      if (applied.length === 0) console.log('No migration was to be run.');
    });
  });
}
