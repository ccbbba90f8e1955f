import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Bar, type Comparison, type Contestant } from './contestant';
import { type Sample } from './measure';
import { ROOT } from './paths';
import { ratios, type Spread, spread } from './statistics';

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
  readonly perSecond: Spread;
  /** Against the comparison's reference, round by round. */
  readonly ratio: Spread;
  readonly cpuMicrosPerOperation: Spread;
  /** Of each round, in their order. */
  readonly samples: readonly Sample[];
}

export interface BarResult extends Bar {
  readonly ratio: Spread;
  readonly cleared: boolean;
}

export function evaluate(
  { name, title, unit, reference, bars }: Comparison,
  contestants: readonly Contestant[],
  samples: ReadonlyMap<string, readonly Sample[]>,
): ComparisonResult {
  const perSecond = (of: string) => samples.get(of)?.map((sample) => sample.perSecond);
  const ratio = (of: string, against: string) => spread(ratios(perSecond(of) ?? [], perSecond(against) ?? []));
  return {
    name,
    title,
    unit,
    rows: contestants.map((contestant) => ({
      name: contestant.name,
      title: contestant.title,
      perSecond: spread(perSecond(contestant.name) ?? []),
      ratio: ratio(contestant.name, reference),
      cpuMicrosPerOperation: spread((samples.get(contestant.name) ?? []).map((each) => each.cpuMicrosPerOperation)),
      samples: samples.get(contestant.name) ?? [],
    })),
    bars: bars
      .filter((bar) => samples.has(bar.of) && samples.has(bar.against))
      .map((bar) => judge(bar, ratio(bar.of, bar.against))),
  };
}

export function judge(bar: Bar, ratio: Spread): BarResult {
  return { ...bar, ratio, cleared: ratio.median >= bar.atLeast };
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
