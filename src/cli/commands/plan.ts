import { Command } from 'commander';
import { readConfig } from '../../config';
import { planMigrations } from '../../migrator/plan';
import { printPlan } from '../print-plan';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

/** `payment-events-db plan`. */
export function planCommand(): Command {
  const command = new Command('plan')
    .description(
      'Prints the SQL that migrate would run, backfills and the rows of the history included, for a reviewer, or to be ' +
        'run by hand with psql. Changes nothing.',
    )
    .option('--to <name>', 'the last migration to run; its timestamp may be left out')
    .option('--json', 'print JSON, with a statement a string');
  return overShards(command, async ({ to, json }: { to?: string; json?: boolean }) => {
    await withDataSource(readConfig(), async (dataSource) => {
      printPlan(await planMigrations(dataSource, { to }), { json });
    });
  });
}
