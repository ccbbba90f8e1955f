import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { comparisons } from './comparisons';
import { BENCH } from './paths';

export const HELP = `Usage: npm run bench -- [options]

Measures this package side by side with what one would use instead, on a PostgreSQL server of its own.
Ends with 1 when a required bar is missed.

  --only <names>         comma-separated: ${comparisons.map(({ name }) => name).join(', ')} (default: all)
  --rounds <n>           of which the median is taken (default 7)
  --seconds <n>          of each, a round (default 3)
  --connections <n>      operations under way at once (default 16)
  --earlier <n>          requests, and processed messages, that were there before (default 300000)
  --full                 5,000,000 of them: takes long, and about 15 GB of disk
  --no-check             report the bars, but end with 0 all the same
  --json                 print the results as JSON instead of tables
  --output <folder>      where results.json and chart.svg go (default bench/results)
  --docs                 also put tables and chart into docs/explanation/performance.md
  --help
`;

/** What is wrong with the command line. */
export class UsageError extends Error {}

export type Options = ReturnType<typeof readOptions>;

export function readOptions(args: string[]) {
  const values = parse(args);
  const names = values.only?.split(',') ?? comparisons.map(({ name }) => name);
  const unknown = names.find((name) => !comparisons.some((each) => each.name === name));
  if (unknown !== undefined) throw new UsageError(`--only: there is no comparison "${unknown}"`);
  return {
    help: values.help,
    json: values.json,
    docs: values.docs,
    check: !values['no-check'],
    comparisons: comparisons.filter(({ name }) => names.includes(name)),
    rounds: count('rounds', values.rounds),
    seconds: positive('seconds', values.seconds),
    connections: count('connections', values.connections),
    earlierRequests: values.full ? 5_000_000 : count('earlier', values.earlier),
    output: values.output,
  };
}

function parse(args: string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const value = <T extends string>(fallback: T) => ({ type: 'string', default: fallback }) as const;
  try {
    return parseArgs({
      args,
      options: {
        only: { type: 'string' },
        rounds: value('7'),
        seconds: value('3'),
        connections: value('16'),
        earlier: value('300000'),
        full: flag,
        'no-check': flag,
        json: flag,
        output: value(join(BENCH, 'results')),
        docs: flag,
        help: flag,
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function positive(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0 && number < Infinity)) throw new UsageError(`--${name} must be a number above 0`);
  return number;
}

function count(name: string, text: string): number {
  const number = positive(name, text);
  if (!Number.isSafeInteger(number)) throw new UsageError(`--${name} must be a whole number`);
  return number;
}
