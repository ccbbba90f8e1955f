import { type Results } from '../results';
import { bars, type Cells, conditionsOf, hasBars, isText, measurements } from './cells';

const [CLEARED, MISSED] = ['Every required bar is cleared.', 'A required bar is missed.'];

/** For a terminal. */
export function asText({ comparisons, conditions, startedAt, passed }: Results): string {
  return [
    ...conditionsOf(conditions, startedAt),
    ...comparisons.flatMap((comparison) => ['', comparison.title, aligned(measurements(comparison))]),
    ...(hasBars(comparisons) ? ['', aligned(bars(comparisons)), '', passed ? CLEARED : MISSED] : []),
  ].join('\n');
}

export function aligned(cells: Cells): string {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row.map((cell, i) => (isText(cells[0] ?? [], i) ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))),
    )
    .map((row) => `  ${row.join('   ')}`.trimEnd())
    .join('\n');
}
