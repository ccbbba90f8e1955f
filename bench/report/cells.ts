import { type BarResult, type ComparisonResult, type Conditions } from '../results';
import { type Spread } from '../statistics';

/** A table as texts: the first row is the head, the first column is the only one that is no number. */
export type Cells = readonly (readonly string[])[];

export const rate = (perSecond: number): string =>
  Number(perSecond.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 1 });

const range = ({ min, max }: Spread, format: (value: number) => string): string => `${format(min)} to ${format(max)}`;
const twoDigits = (value: number) => value.toFixed(2);

export function measurements({ unit, rows }: ComparisonResult): Cells {
  return [
    ['', `${unit} a second`, 'lowest to highest', 'ratio', 'lowest to highest', 'CPU of Node, µs each'],
    ...rows.map(({ title, perSecond, ratio, cpuMicrosPerOperation }) => [
      title,
      rate(perSecond.median),
      range(perSecond, rate),
      twoDigits(ratio.median),
      range(ratio, twoDigits),
      cpuMicrosPerOperation.median.toFixed(0),
    ]),
  ];
}

export const hasBars = (comparisons: readonly ComparisonResult[]): boolean =>
  comparisons.some(({ bars }) => bars.length > 0);

export function bars(comparisons: readonly ComparisonResult[]): Cells {
  return [
    ['bar', 'at least', 'measured', 'lowest to highest', ''],
    ...comparisons.flatMap(({ rows, bars }) => {
      const titles = new Map(rows.map(({ name, title }) => [name, title]));
      return bars.map((bar) => [
        `${titles.get(bar.of)} / ${titles.get(bar.against)}`,
        twoDigits(bar.atLeast),
        twoDigits(bar.ratio.median),
        range(bar.ratio, twoDigits),
        verdict(bar),
      ]);
    }),
  ];
}

function verdict({ kind, cleared }: BarResult): string {
  if (kind === 'reported') return cleared ? 'as expected' : 'below what was expected (reported only)';
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
    `${connections} connections, one Node process on the server's machine, medians of ${rounds} × ${secondsPerSample} s each, in turns.`,
  ];
}
