import { type BarResult, type ComparisonResult, type Conditions } from '../results';
import { MOST_CONNECTIONS } from '../lab/lab';
import { type Spread } from '../measure/statistics';

/** A table as texts: the first row is the head. A column without a head holds text, and so does the first; others numbers. */
export type Cells = readonly (readonly string[])[];

export const isText = (head: readonly string[], column: number): boolean => column === 0 || head[column] === '';

export const rate = (perSecond: number): string =>
  Number(perSecond.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 1 });

const range = ({ min, max }: Spread, format: (value: number) => string): string => `${format(min)} to ${format(max)}`;
const twoDigits = (value: number) => value.toFixed(2);
const median = (spread: Spread | undefined, format: (value: number) => string) =>
  spread ? format(spread.median) : '–';
const short = (value: number) => (value < 10 ? value.toPrecision(2) : value.toFixed(0));

export function measurements({ unit, rows }: ComparisonResult): Cells {
  return [
    [
      '',
      '',
      `${unit} a second`,
      'lowest to highest',
      'ratio',
      'p50, ms',
      'p99, ms',
      'CPU of Node, µs',
      'CPU of server, µs',
    ],
    ...rows.map(({ title, under, perSecond, ratio, p50, p99, clientMicros, serverMicros }) => [
      title,
      under,
      rate(perSecond.median),
      range(perSecond, rate),
      twoDigits(ratio.median),
      median(p50, short),
      median(p99, short),
      median(clientMicros, short),
      median(serverMicros, short),
    ]),
  ];
}

export const hasBars = (comparisons: readonly ComparisonResult[]): boolean =>
  comparisons.some(({ bars }) => bars.length > 0);

export function bars(comparisons: readonly ComparisonResult[]): Cells {
  return [
    ['bar', 'limit', 'measured', 'lowest to highest', ''],
    ...comparisons.flatMap(({ bars }) =>
      bars.map((bar) => [
        bar.title,
        limitOf(bar),
        twoDigits(bar.ratio.median),
        range(bar.ratio, twoDigits),
        verdict(bar),
      ]),
    ),
  ];
}

const limitOf = ({ atLeast, atMost }: BarResult) =>
  atLeast === undefined ? `CPU of server, at most ${twoDigits(atMost!)}` : `at least ${twoDigits(atLeast)}`;

function verdict({ kind, cleared }: BarResult): string {
  if (kind === 'reported') return cleared ? 'as expected' : 'not as expected (reported only)';
  return cleared ? 'pass' : 'FAIL';
}

/** When, where and with what. */
export function conditionsOf(conditions: Conditions, startedAt: string): string[] {
  const { postgres, node, pg, typeorm, platform, cpu, cores, commitMs, serverSettings } = conditions;
  const { connections, rounds, secondsPerSample } = conditions;
  const settings = Object.entries(serverSettings).map(([name, value]) => `${name} = ${value}`);
  return [
    `${startedAt.slice(0, 10)}: PostgreSQL ${postgres}, Node ${node}, pg ${pg}, TypeORM ${typeorm}, ${platform}, ${cores} × ${cpu}.`,
    `fsync on, ${commitMs.toFixed(2)} ms for one commit on one connection; ${settings.join(', ')}.`,
    `One Node process on the server's machine, with ${connections} connections (others: as many as callers, up to ${MOST_CONNECTIONS}); medians of ${rounds} rounds of ${secondsPerSample} s each, in turns.`,
  ];
}
