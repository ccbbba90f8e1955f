import { Command } from 'commander';
import { readConfig } from '../../config';
import { revert } from '../../migrator/migrator';
import { planMigrations } from '../../migrator/plan';
import { printPlan } from '../print-plan';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';
import { type MigrateCommandOptions } from './migrate';

/** `payment-events-db revert`. */
export function revertCommand(): Command {
  const command = new Command('revert')
    .description(
      'Reverts the last migration, or all after a given one. The comment of each migration says what reverting it ' +
        'cannot keep; look with --dry-run first.',
    )
    .option('--to <name>', 'the last migration to keep; its timestamp may be left out')
    .option('--dry-run', 'only print the SQL')
    .option('--json', 'print JSON');
  return overShards(command, async ({ to, dryRun, json }: MigrateCommandOptions) => {
    await withDataSource(readConfig(), async (dataSource) => {
      if (dryRun) return printPlan(await planMigrations(dataSource, { to, direction: 'down' }), { json });
      const reverted = await revert(dataSource, { to, say: console.error });
      if (json) return console.log(JSON.stringify({ reverted }));
      for (const name of reverted) console.log(`Reverted ${name}.`);
      if (reverted.length === 0) console.log('No migration was to be reverted.');
    });
  });
}
