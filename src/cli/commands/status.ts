import { Command } from 'commander';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { assertSound, halfApplied, namesOf, readHistory } from '../../migrator/history';
import { HalfAppliedError } from '../../migrator/errors';
import { ExitCode } from '../exit-codes';
import { stateInWords } from '../state-in-words';
import { printTable } from '../print-table';
import { reportError } from '../report-error';
import { type Comparison, overShards } from '../shards/over-shards';
import { withDataSource } from '../with-data-source';

/** What it prints as JSON. */
interface Chain {
  readonly current: string | null;
  readonly pending: readonly string[];
  readonly unknown: readonly string[];
  readonly changed: readonly string[];
  readonly halfApplied: ReturnType<typeof halfApplied> | null;
}

/** `payment-events-db status`. */
export function statusCommand(): Command {
  const command = new Command('status')
    .description(
      'Prints which migrations the database has. A gate for deployments: exit code 0 when all have run, 2 when migrate ' +
        'has some to run or to finish, 1 when a revert did not end, or when the database has migrations that this version ' +
        'of the code does not have, or that were changed since.',
    )
    .option('--json', 'print JSON');
  return overShards(
    command,
    async ({ json }: { json?: boolean }) => {
      await withDataSource(readConfig(), async (dataSource) => {
        const history = await readHistory(dataSource);
        const begun = halfApplied(history);
        const pending = namesOf(history, 'pending');
        const current = history.findLast(({ state }) => state === 'applied' || state === 'changed')?.name ?? null;
        if (json) {
          const [unknown, changed] = [namesOf(history, 'unknown'), namesOf(history, 'changed')];
          console.log(JSON.stringify({ current, pending, unknown, changed, halfApplied: begun } satisfies Chain));
        } else {
          printTable(
            ['migration', 'state'],
            history.map(({ name, state }) => [name, stateInWords(state)]),
          );
        }
        if (pending.length > 0 || begun) process.exitCode = ExitCode.pending;
        if (begun) console.error(pc.red(new HalfAppliedError(begun).message));
        if (begun?.direction === 'down') process.exitCode = ExitCode.failed;
        try {
          assertSound(history);
        } catch (error) {
          // A finding, not a refusal: told to people in any case, since standard output has its names.
          console.error(pc.red((error as Error).message));
          process.exitCode = ExitCode.failed;
          if (json) reportError(error, { json, exitCode: ExitCode.failed });
        }
      });
    },
    { compare: compareChains },
  );
}

/** Of several databases each must have the same chain. */
function compareChains(lasts: ReadonlyMap<string, unknown>): Comparison {
  const chains = new Map<string, string[]>();
  for (const [shard, last] of lasts) {
    const chain = JSON.stringify(last);
    chains.set(chain, [...(chains.get(chain) ?? []), shard]);
  }
  const each = [...chains].map(([chain, shards]) => {
    const { current, pending } = JSON.parse(chain) as Chain;
    return `${shards.join(', ')}: ${current ?? 'none'}, ${pending.length} pending`;
  });
  return {
    headings: ['newest migration', 'pending'],
    cells: (last) => [(last as Chain).current, (last as Chain).pending.length],
    ...(chains.size > 1 && { difference: `The databases have not run the same migrations. ${each.join('; ')}.` }),
  };
}
