import pc from 'picocolors';
import { classInWords } from '../../fence/residue';
import { EXIT_CODES, ExitCode } from '../exit-codes';
import { printTable } from '../print-table';
import { type Comparison, type ShardRun } from './over-shards';
import { type Lines, named, passingSignals, type ShardProcess, startAt, worst } from './shard-process';

interface Options {
  readonly json: boolean;
  readonly compare?: (lasts: ReadonlyMap<string, unknown>) => Comparison;
}

interface Result {
  readonly run: ShardRun;
  /** Null: it was not begun, since all were told to end. */
  readonly exitCode: ExitCode | null;
  /** The last line on standard output. */
  readonly last?: string;
}

/**
 * Runs a command that ends at one database after the other, those after one that fails too, and sums up: in JSON
 * `{"kind":"summary","shards":[{"shard":"a","exitCode":0}],"exitCode":0}`. SIGTERM and SIGINT end the command
 * that runs, and nothing is begun after them.
 *
 * @returns the worst exit code
 */
export async function oneByOne(runs: readonly ShardRun[], { json, compare }: Options): Promise<ExitCode> {
  const isCompared = compare !== undefined && !json;
  let current: ShardProcess | undefined;
  let isTold = false;
  const results: Result[] = [];
  const onSignal = (signal: NodeJS.Signals) => {
    isTold = true;
    current?.kill(signal);
  };
  await passingSignals(onSignal, async () => {
    for (const run of runs) {
      if (isTold) {
        results.push({ run, exitCode: null });
        continue;
      }
      if (!json && !isCompared) console.log(pc.bold(`${run.shard.name} (${classInWords(run.shard)})`));
      const lines = linesOf(run.shard.name, { json, isCompared });
      current = startAt(isCompared ? { ...run, args: [...run.args, '--json'] } : run, lines);
      results.push({ run, exitCode: await current.ended, last: lines.last });
      if (!json && !isCompared) console.log('');
    }
  });
  const exitCode = worst(results.map((result) => result.exitCode ?? ExitCode.failed));
  const lasts = new Map(results.flatMap(({ run, last }) => (last ? [[run.shard.name, parsed(last)]] : [])));
  const comparison = compare?.(lasts);
  if (json) printJson(results, exitCode, comparison);
  else printForPeople(results, lasts, comparison);
  return exitCode;
}

/** How the lines of one database are printed. */
function linesOf(shard: string, { json, isCompared }: { json: boolean; isCompared: boolean }) {
  // What is wrong, some commands say to people and, as JSON, to programs.
  const said = new Set<string>();
  const lines: Lines & { last?: string } = {
    out: (line) => {
      lines.last = line;
      if (!isCompared) console.log(json ? named(shard, line) : line);
    },
    err: (line) => {
      if (!json && !isCompared) return console.error(line);
      if (json && line.startsWith('{')) return console.error(named(shard, line));
      const sentence = `${shard}: ${sentenceOf(line)}`;
      if (!said.has(sentence)) console.error(sentence);
      said.add(sentence);
    },
  };
  return lines;
}

function printJson(results: readonly Result[], exitCode: ExitCode, comparison: Comparison | undefined): void {
  const shards = results.map((result) => ({ shard: result.run.shard.name, exitCode: result.exitCode }));
  const difference = comparison && { difference: comparison.difference ?? null };
  console.log(JSON.stringify({ kind: 'summary', shards, ...difference, exitCode }));
}

function printForPeople(
  results: readonly Result[],
  lasts: ReadonlyMap<string, unknown>,
  comparison: Comparison | undefined,
): void {
  const { headings = [], cells = () => [], difference } = comparison ?? {};
  printTable(
    ['shard', 'restaurants', ...headings, 'ended'],
    results.map(({ run: { shard }, exitCode }) => {
      const last = lasts.get(shard.name);
      const compared = last === undefined ? headings.map(() => null) : cells(last);
      return [shard.name, classInWords(shard), ...compared, inWords(exitCode)];
    }),
  );
  if (difference) console.error(pc.red(difference));
}

const inWords = (exitCode: ExitCode | null) =>
  exitCode === null ? 'not begun' : `${exitCode} ${EXIT_CODES[exitCode] ?? 'ended by a signal'}`;

const parsed = (line: string): unknown => (line.startsWith('{') ? JSON.parse(line) : undefined);

/** What an error of a command that prints JSON says. */
function sentenceOf(line: string): string {
  const { error } = (parsed(line) ?? {}) as { error?: { message: string } };
  return error?.message ?? line;
}
