import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { BENCH, ROOT } from '../paths';
import { table, writeBetween } from '../report/markdown';
import { aligned } from '../report/text';
import { describeMachine } from '../results';
import { type Assumptions } from './assumptions';
import { asSvg } from './chart';
import { SERVER_SETTINGS } from './databases';
import { measureScale, type ScaleRounds } from './measure';
import { conditionsOf, sectionsOf } from './report';
import { agreements, type ScaleResults } from './results';

export interface ScaleOptions extends Omit<ScaleRounds, 'notice'> {
  readonly assumed: Assumptions;
  /** Results of before, to compute from without measuring. */
  readonly measured: string | undefined;
  /** Whether the page of the documentation is written, and the results that it is made of. */
  readonly page: boolean;
  readonly check: boolean;
  readonly json: boolean;
  /** A folder. */
  readonly output: string;
}

/** What the page is made of: kept with it, so that a test can hold one to the other. */
export const MEASURED = join(BENCH, 'scale', 'measured.json');
export const PAGE = join(ROOT, 'docs', 'explanation', 'scale.md');
export const CHART = join(ROOT, 'docs', 'explanation', 'scale.svg');

/** @returns the exit code: 1 where what was measured does not agree */
export async function runScale(options: ScaleOptions, notice: (text: string) => void): Promise<number> {
  const { assumed, measured, page, output, json, check } = options;
  const results = measured === undefined ? await measure(options, notice) : readResults(measured);
  const serialized = `${JSON.stringify(results, null, 2)}\n`;
  mkdirSync(output, { recursive: true });
  writeFileSync(join(output, 'scale.json'), serialized);
  writeFileSync(join(output, 'scale.svg'), asSvg(results, assumed));
  if (page) {
    writeFileSync(MEASURED, serialized);
    writeBetween(PAGE, 'scale', asMarkdown(results, assumed));
    writeFileSync(CHART, asSvg(results, assumed));
  }
  const agreed = agreements(results).every(({ agrees }) => agrees);
  process.stdout.write(`${json ? JSON.stringify(results) : asText(results, assumed)}\n\n`);
  notice(agreed ? VERDICTS.agreed : VERDICTS.disagreed);
  return agreed || !check ? 0 : 1;
}

const VERDICTS = {
  agreed: 'Four databases need for an operation what one needs, within a tenth.',
  disagreed: 'Four databases do not need for an operation what one needs, within a tenth: see FAIL above.',
} as const;

export const readResults = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as ScaleResults;

async function measure(options: ScaleOptions, notice: (text: string) => void): Promise<ScaleResults> {
  const start = new Date();
  const { rounds, requests, callers } = options;
  const { postgres, costs } = await measureScale({ rounds, requests, callers, notice });
  return {
    startedAt: start.toISOString(),
    seconds: Math.round((Date.now() - start.getTime()) / 1_000),
    conditions: { postgres, ...describeMachine(), serverSettings: SERVER_SETTINGS, rounds, requests, callers },
    costs,
  };
}

export const asMarkdown = (results: ScaleResults, assumed: Assumptions): string =>
  [
    conditionsOf(results).join('\n'),
    '![What an operation costs, and what so many databases carry](scale.svg)',
    ...sectionsOf(results, assumed).flatMap(([title, cells]) => [`### ${title}`, table(cells)]),
  ].join('\n\n');

const asText = (results: ScaleResults, assumed: Assumptions): string =>
  [
    ...conditionsOf(results),
    ...sectionsOf(results, assumed).flatMap(([title, cells]) => ['', title, aligned(cells)]),
  ].join('\n');
