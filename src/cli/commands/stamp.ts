import { Command } from 'commander';
import { readConfig } from '../../config';
import { type Stamp, stamp } from '../../migrator/stamp';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

/** `payment-events-db stamp`. */
export function stampCommand(): Command {
  const command = new Command('stamp')
    .description(
      'Records in the history that the database was migrated up to and including a migration, and no further. Runs ' +
        'none and does not look at the tables: compare them afterwards, with check. Corrects what status calls ' +
        'changed, and removes what it calls unknown.',
    )
    .argument('<name>', 'the last migration that the database has; its timestamp may be left out')
    .option('--dry-run', 'only print what would be done')
    .option('--json', 'print JSON');
  return overShards(command, async (name: string, { dryRun = false, json }: { dryRun?: boolean; json?: boolean }) => {
    await withDataSource(readConfig(), async (dataSource) => {
      const changes = await stamp(dataSource, name, { dryRun, say: console.error });
      if (json) return console.log(JSON.stringify({ dryRun, ...changes }));
      const lines = DONE.flatMap(([what, said]) => changes[what].map((migration) => `${said} ${migration}.`));
      for (const line of lines) console.log(dryRun ? `Would be: ${line}` : line);
      if (lines.length === 0) console.log('The history said so already.');
    });
  });
}

const DONE: [keyof Stamp, string][] = [
  ['recorded', 'Recorded as applied:'],
  ['mended', 'Recorded as the code has it now:'],
  ['ended', 'No longer called half applied:'],
  ['removed', 'No longer recorded as applied:'],
];
