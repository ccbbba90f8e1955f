import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Bar, type Comparison, type Contestant, type Limit, type Side } from './contestant';
import { describeLoad, isOpen, type Load } from './measure/load';
import { type Sample } from './measure/sample';
import { ratios, type Spread, spread } from './measure/statistics';
import { ROOT } from './paths';

/** What a run came to; written as JSON. */
export interface Results {
  /** ISO 8601. */
  readonly startedAt: string;
  readonly seconds: number;
  readonly conditions: Conditions;
  readonly comparisons: readonly ComparisonResult[];
  /** Whether every required bar that could be checked was cleared. */
  readonly passed: boolean;
}

export interface Conditions {
  readonly postgres: string;
  readonly node: string;
  readonly typeorm: string;
  readonly pg: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
  /** How long one connection waits for one small commit: tells a disk from memory. */
  readonly commitMs: number;
  readonly serverSettings: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly callers: readonly number[];
  readonly rounds: number;
  readonly secondsPerSample: number;
}

export interface ComparisonResult {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly rows: readonly Row[];
  readonly bars: readonly BarResult[];
}

export interface Row {
  readonly name: string;
  readonly title: string;
  /** Under which load, in words. */
  readonly under: string;
  readonly load: Load;
  readonly isOurs: boolean;
  readonly perSecond: Spread;
  /** Against the comparison's reference, round by round. */
  readonly ratio: Spread;
  /** Milliseconds. Undefined where nobody has looked, as the next two, which are in microseconds an operation. */
  readonly p50: Spread | undefined;
  readonly p99: Spread | undefined;
  readonly clientMicros: Spread | undefined;
  readonly serverMicros: Spread | undefined;
  /** Of each round, in their order. */
  readonly samples: readonly Sample[];
}

export interface BarResult {
  readonly kind: Bar['kind'];
  readonly atLeast?: number;
  readonly atMost?: number;
  /** What is compared with what, in words. */
  readonly title: string;
  readonly ratio: Spread;
  readonly cleared: boolean;
}

export function evaluate(
  { name, title, unit, reference, ours, bars }: Comparison,
  contestants: readonly Contestant[],
  samples: readonly (readonly Sample[])[],
): ComparisonResult {
  const measured = contestants.map((contestant, index) => ({ ...contestant, samples: samples[index]! }));
  const one = bestOf(measured, reference)?.samples.map((sample) => sample.perSecond);
  return {
    name,
    title,
    unit,
    rows: measured.map((each) => {
      const known = (key: 'p50' | 'p99' | 'clientMicros' | 'serverMicros') => {
        const values = each.samples.map((sample) => sample[key]).filter((value) => value !== undefined);
        return values.length < each.samples.length ? undefined : spread(values);
      };
      const perSecond = each.samples.map((sample) => sample.perSecond);
      return {
        name: each.name,
        title: each.title,
        under: describeLoad(each.load),
        load: each.load,
        isOurs: ours.includes(each.name),
        perSecond: spread(perSecond),
        ratio: spread(ratios(perSecond, one ?? perSecond)),
        p50: known('p50'),
        p99: known('p99'),
        clientMicros: known('clientMicros'),
        serverMicros: known('serverMicros'),
        samples: each.samples,
      };
    }),
    bars: bars.map((bar) => judged(bar, measured)).filter((result) => result !== undefined),
  };
}

type MeasuredContestant = Contestant & { readonly samples: readonly Sample[] };

/** The one that is meant, under the load that it does best under. Undefined where it was not measured. */
function bestOf(measured: readonly MeasuredContestant[], { name, callers }: Side): MeasuredContestant | undefined {
  const median = ({ samples }: MeasuredContestant) => spread(samples.map((sample) => sample.perSecond)).median;
  return measured
    .filter((each) => each.name === name)
    .filter(({ load }) => callers === undefined || (!isOpen(load) && load.callers === callers))
    .sort((a, b) => median(b) - median(a))[0];
}

/** Undefined where a side of it was not measured. */
function judged(bar: Bar, measured: readonly MeasuredContestant[]): BarResult | undefined {
  const of = bestOf(measured, bar.of);
  const against = bar.against === 'offered' ? of : bestOf(measured, bar.against);
  if (!of || !against) return undefined;
  const quantity = 'atMost' in bar ? 'serverMicros' : 'perSecond';
  const values = (side: MeasuredContestant, key: 'serverMicros' | 'perSecond' | 'offered') =>
    side.samples.map((sample) => sample[key] ?? NaN);
  const compared = ratios(values(of, quantity), values(against, bar.against === 'offered' ? 'offered' : quantity));
  if (compared.some((ratio) => Number.isNaN(ratio))) return undefined;
  const inWords = ({ title, load }: MeasuredContestant) => `${title}, ${describeLoad(load)}`;
  return judge(
    bar,
    `${inWords(of)} / ${bar.against === 'offered' ? 'what was offered' : inWords(against)}`,
    spread(compared),
  );
}

export function judge(bar: Pick<Bar, 'kind'> & Limit, title: string, ratio: Spread): BarResult {
  const limit = 'atMost' in bar ? { atMost: bar.atMost } : { atLeast: bar.atLeast };
  const { atLeast = -Infinity, atMost = Infinity }: Partial<Record<'atLeast' | 'atMost', number>> = limit;
  return { kind: bar.kind, ...limit, title, ratio, cleared: ratio.median >= atLeast && ratio.median <= atMost };
}

export const passed = (comparisons: readonly Pick<ComparisonResult, 'bars'>[]): boolean =>
  comparisons.every(({ bars }) => bars.every(({ kind, cleared }) => kind === 'reported' || cleared));

/** What the process and the machine say of themselves. */
export function describeMachine(): Pick<Conditions, 'node' | 'typeorm' | 'pg' | 'platform' | 'cpu' | 'cores'> {
  const processors = cpus();
  return {
    node: process.versions.node,
    typeorm: installed('typeorm'),
    pg: installed('pg'),
    platform: `${process.platform} ${process.arch}`,
    cpu: processors[0]?.model.trim() || 'unknown',
    cores: processors.length,
  };
}

/** The version that the operations use, whatever the bench has beside it. */
function installed(name: string): string {
  const file = join(ROOT, 'node_modules', name, 'package.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version;
}
