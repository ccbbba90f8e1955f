import { Command } from 'commander';
import { readConfig } from '../../config';
import { isRecorded, readHistory } from '../../migrator/history';
import { printTable } from '../print-table';
import { toJson } from '../to-json';
import { overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

/** `payment-events-db history`. */
export function historyCommand(): Command {
  const command = new Command('history')
    .description(
      'Prints for each migration that the database has when it was applied, how long that took, by which version of ' +
        'this package and by which user. A dash: not recorded, such as the time that a stamped migration took.',
    )
    .option('--json', 'print one JSON object a line');
  return overShards(command, async ({ json }: { json?: boolean }) => {
    await withDataSource(readConfig(), async (dataSource) => {
      const applied = (await readHistory(dataSource)).filter(isRecorded);
      if (json) return applied.forEach((migration) => console.log(toJson(migration)));
      printTable(
        ['migration', 'applied at', 'took', 'by version', 'by user'],
        applied.map(({ name, appliedAt, durationMs, packageVersion, appliedBy }) => [
          name,
          appliedAt,
          durationMs === null ? null : `${(durationMs / 1_000).toFixed(2)} s`,
          packageVersion,
          appliedBy,
        ]),
      );
    });
  });
}
