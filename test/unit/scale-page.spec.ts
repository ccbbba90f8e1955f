import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_ASSUMPTIONS } from '../../bench/scale/assumptions';
import { asSvg } from '../../bench/scale/chart';
import { asMarkdown, CHART, MEASURED, readResults } from '../../bench/scale/run-scale';
import { agreements, TOLERANCE } from '../../bench/scale/results';
import { capacityOf, costOfRequest } from '../../bench/scale/capacity';
import { DocPage } from '../support/docs/doc-page';

const PAGE = new DocPage('docs/explanation/scale.md');
const results = readResults(MEASURED);

test('the figures of the page are those that were measured, and what follows from them', () => {
  const [, block] = /<!-- scale: begin -->\n\n(.*?)\n\n<!-- scale: end -->/s.exec(PAGE.text)!;
  expect(block).toBe(asMarkdown(results, DEFAULT_ASSUMPTIONS));
});

test('so is the chart', () => {
  expect(readFileSync(CHART, 'utf8')).toBe(asSvg(results, DEFAULT_ASSUMPTIONS));
});

test('four databases need for each operation what one needs, within a tenth, and so does a fence', () => {
  expect(agreements(results).filter(({ agrees }) => !agrees)).toEqual([]);
});

test('what the text says of medians and of single rounds is so', () => {
  expect(results.conditions.rounds).toBe(6);
  const cpu = agreements(results).filter(({ quantity }) => quantity === 'serverMicros');
  const isBeyond = (ratio: number) => Math.abs(ratio - 1) > TOLERANCE;
  const scattered = cpu.filter(({ ratio }) => isBeyond(ratio.min) || isBeyond(ratio.max));
  expect(scattered).toHaveLength(cpu.length);
  const said = PAGE.section('Measured, and computed from it');
  expect(said).toMatch(
    /ratio of two medians, each of the CPU of six rounds.*Single rounds scatter\s+far beyond a tenth/s,
  );
  expect(said).toMatch(/Four servers at once were beyond a tenth/);
});

test('what the text says of one machine is what the tables say', () => {
  const one = capacityOf(1, results.costs.four, DEFAULT_ASSUMPTIONS);
  const each = costOfRequest(results.costs.four, DEFAULT_ASSUMPTIONS);
  const said = PAGE.section('One machine first');
  const rounded = (value: number, digits: number) => Number(value.toPrecision(digits)).toLocaleString('en');
  expect(said).toContain(`${rounded(one.perSecond, 2)} requests a second`);
  expect(said).toContain(`${rounded((one.perSecond * 0.25 * 86_400) / 1e6, 2)} million a day`);
  expect(said).toContain(`${rounded(each.keptBytes / 1_000, 2)} kB`);
  expect(said).toContain(`${rounded(one.terabytesAYear, 2)} TB a year`);
});

test('every assumption is named with its value', () => {
  for (const [name, value] of Object.entries(DEFAULT_ASSUMPTIONS)) {
    expect(PAGE.text).toMatch(new RegExp(`^\\| \`${name}\` \\| ${value.toLocaleString('en')} \\| `, 'm'));
  }
});

test('the page is in the folder that its chart is in', () => {
  expect(CHART).toBe(join(__dirname, '../../docs/explanation/scale.svg'));
});
