import { readFileSync, writeFileSync } from 'node:fs';
import { type Results } from '../results';
import { bars, type Cells, conditionsOf, hasBars, isText, measurements } from './cells';

/** Replaces what stands between the two marks of a machine in a document. */
export const writeMeasurements = (path: string, machine: number, results: Results): void =>
  writeBetween(path, `machine ${machine}`, asMarkdown(results, machine));

/** Replaces what stands between two marks in a document. */
export function writeBetween(path: string, mark: string, content: string): void {
  const [opening, closing] = [`<!-- ${mark}: begin -->`, `<!-- ${mark}: end -->`];
  const text = readFileSync(path, 'utf8');
  const [begin, end] = [text.indexOf(opening), text.indexOf(closing)];
  if (begin === -1 || end < begin) throw new Error(`${path} lacks ${opening} and ${closing}`);
  writeFileSync(path, `${text.slice(0, begin)}${opening}\n\n${content}\n\n${text.slice(end)}`);
}

export function asMarkdown({ comparisons, conditions, startedAt }: Results, machine: number): string {
  return [
    conditionsOf(conditions, startedAt).join('\n'),
    `![What machine ${machine} has measured](${chartOf(machine)})`,
    ...comparisons.flatMap((comparison) => [`#### ${comparison.title}`, table(measurements(comparison))]),
    ...(hasBars(comparisons) ? ['#### Bars', table(bars(comparisons))] : []),
  ].join('\n\n');
}

/** The file of a machine's chart, beside the document. */
export const chartOf = (machine: number): string => `performance-${machine}.svg`;

export function table(cells: Cells): string {
  const [head = [], ...rows] = cells;
  const rule = head.map((_, column) => (isText(head, column) ? '---' : '---:'));
  return [head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
