import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { comparisons } from './comparisons';
import { type Comparison } from './contestant';
import { BENCH } from './paths';
import { type Assumptions, readAssumptions } from './scale/assumptions';
import { type ScaleOptions } from './scale/run-scale';

const onlyInFull = comparisons.filter((each) => each.onlyInFull).map(({ name }) => name);

const PRESETS = {
  none: { callers: '16,256', rounds: '5', seconds: '1.5', earlier: '300000' },
  full: { callers: '4,16,64,256,1024', rounds: '7', seconds: '1.5', earlier: '5000000' },
  quick: { callers: '16,256', rounds: '2', seconds: '0.1', earlier: '2000' },
} as const;

export const HELP = `Usage: npm run bench -- [options]

Measures this package side by side with what one would use instead, on a PostgreSQL server of its own.
Ends with 1 when a required bar is missed.

  --only <names>         comma-separated: ${comparisons.map(({ name }) => name).join(', ')}
                         (default: all but ${onlyInFull.join(', ')})
  --callers <numbers>    comma-separated: how many at once accept requests (default 16,256)
  --rounds <n>           of which the median is taken (default 5)
  --seconds <n>          of each, a round (default 1.5)
  --connections <n>      of each of our pools, and callers where their number is not varied (default 16)
  --earlier <n>          requests, and processed messages, that were there before (default 300000)
  --full                 all comparisons, 4,16,64,256,1024 callers, 7 rounds, 5,000,000 earlier requests:
                         about three quarters of an hour, and 20 GB of disk
  --quick                2 rounds of a tenth of a second after 2,000 requests: shows that all of it runs
  --no-check             report the bars, but end with 0 all the same
  --json                 print the results as JSON instead of tables
  --output <folder>      where results.json and chart.svg go (default bench/results)
  --docs <machine>       also put tables and chart into docs/explanation/performance.md, as those of machine 1 or 2
  --scale                instead: what operations cost on one database and on four, and what up to 1,024 carry.
                         Ends with 1 where four need more than one by a tenth. 6 rounds: a quarter of an hour
  --requests <n>         of each database in a round, with --scale (default 1000); --callers is 4 then
  --measured <file>      with --scale: compute from results of before, measure nothing
  --assume <list>        with --scale: what is assumed, such as cores=32,busy=0.6 (default: see the page)
  --page                 with --scale: also write docs/explanation/scale.md and what it is made of
  --help
`;

/** What is wrong with the command line. */
export class UsageError extends Error {}

export type Options = ReturnType<typeof readOptions>;

export function readOptions(args: string[]) {
  const values = parse(args);
  const given = { ...PRESETS[values.full ? 'full' : values.quick ? 'quick' : 'none'], ...values };
  return {
    help: values.help,
    json: values.json,
    docs: machine(values.docs),
    check: !values['no-check'],
    comparisons: chosen(values.only, values.full),
    callers: given.callers.split(',').map((text) => count('callers', text)),
    rounds: count('rounds', given.rounds),
    warmUps: values.quick ? 1 : 6,
    seconds: positive('seconds', given.seconds),
    connections: count('connections', values.connections),
    earlierRequests: count('earlier', given.earlier),
    output: values.output,
    scale: values.scale ? scaleOptions(values) : undefined,
  };
}

function scaleOptions(values: ReturnType<typeof parse>): ScaleOptions {
  const { quick, measured, page, json, output } = values;
  return {
    rounds: count('rounds', values.rounds ?? (quick ? '1' : '6')),
    requests: count('requests', values.requests ?? (quick ? '20' : '1000')),
    callers: count('callers', values.callers ?? '4'),
    assumed: assumptions(values.assume),
    measured,
    page,
    check: !values['no-check'],
    json,
    output,
  };
}

function assumptions(text: string): Assumptions {
  try {
    return readAssumptions(text);
  } catch (error) {
    throw new UsageError(`--assume: ${(error as Error).message}`);
  }
}

function chosen(only: string | undefined, full: boolean): Comparison[] {
  if (only === undefined) return comparisons.filter(({ onlyInFull = false }) => full || !onlyInFull);
  const names = only.split(',');
  const unknown = names.find((name) => !comparisons.some((each) => each.name === name));
  if (unknown !== undefined) throw new UsageError(`--only: there is no comparison "${unknown}"`);
  return comparisons.filter(({ name }) => names.includes(name));
}

function machine(text: string | undefined): 1 | 2 | undefined {
  if (text === undefined) return undefined;
  if (text !== '1' && text !== '2') throw new UsageError('--docs must be 1 or 2');
  return Number(text) as 1 | 2;
}

function parse(args: string[]) {
  const flag = { type: 'boolean', default: false } as const;
  const text = { type: 'string' } as const;
  try {
    return parseArgs({
      args,
      options: {
        only: text,
        callers: text,
        rounds: text,
        seconds: text,
        connections: { type: 'string', default: '16' },
        earlier: text,
        full: flag,
        quick: flag,
        'no-check': flag,
        json: flag,
        output: { type: 'string', default: join(BENCH, 'results') },
        docs: text,
        scale: flag,
        requests: text,
        measured: text,
        assume: { type: 'string', default: '' },
        page: flag,
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
