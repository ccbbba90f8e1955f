import { Command } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { assertSound, namesOf, readHistory } from '../../migrator/history';
import { ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { reportError } from '../report-error';
import { withDataSource } from '../with-data-source';

/** `payment-events-db status`. */
export function statusCommand(): Command {
  return new Command('status')
    .description(
      'Says which migrations the database has. A gate for deployments: exit code 0 when all have run, 2 when some are ' +
        'pending, 1 when the database has others than this version of the code, or some that were changed since.',
    )
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      await withDataSource(readConfig(), async (dataSource) => {
        const history = await readHistory(dataSource);
        const pending = namesOf(history, 'pending');
        const current = history.findLast(({ state }) => state === 'applied' || state === 'changed')?.name ?? null;
        if (json) {
          const [unknown, changed] = [namesOf(history, 'unknown'), namesOf(history, 'changed')];
          console.log(JSON.stringify({ current, pending, unknown, changed }));
        } else {
          printTable(
            ['migration', 'state'],
            history.map(({ name, state }) => [name, state]),
          );
        }
        if (pending.length > 0) process.exitCode = ExitCode.pending;
        try {
          assertSound(history);
        } catch (error) {
          // A finding, not a refusal: told to people in any case, since standard output has its names.
          console.error(pc.red((error as Error).message));
          process.exitCode = ExitCode.failed;
          if (json) reportError(error, { json, exitCode: ExitCode.failed });
        }
      });
    });
}
