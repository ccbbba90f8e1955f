import { readFileSync, writeFileSync } from 'node:fs';
import { type Results } from '../results';
import { bars, type Cells, conditionsOf, hasBars, measurements } from './cells';

const [BEGIN, END] = ['<!-- measured: begin -->', '<!-- measured: end -->'];

/** Replaces what stands between the two marks of a document. */
export function writeMeasurements(path: string, results: Results): void {
  const text = readFileSync(path, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`${path} lacks ${BEGIN} and ${END}`);
  writeFileSync(path, `${text.slice(0, begin + BEGIN.length)}\n\n${asMarkdown(results)}\n\n${text.slice(end)}`);
}

export function asMarkdown({ comparisons, conditions, startedAt }: Results): string {
  return [
    conditionsOf(conditions, startedAt).join('\n'),
    '![Throughput](performance.svg)',
    ...comparisons.flatMap((comparison) => [`### ${comparison.title}`, table(measurements(comparison))]),
    ...(hasBars(comparisons) ? ['### Bars', table(bars(comparisons))] : []),
  ].join('\n\n');
}

function table(cells: Cells): string {
  const [head = [], ...rows] = cells;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');
}
