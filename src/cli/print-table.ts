import pc from 'picocolors';
import { disarm } from '../database/disarm';

type Cell = string | number | bigint | Date | null | undefined;

/**
 * Prints rows under their headings, in columns as wide as they need to be. What a terminal would obey is disarmed.
 */
export function printTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const lines = rows.map((row) => row.map(inCell));
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...lines.map((line) => line[column]!.length)),
  );
  const print = (line: readonly string[]) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd();
  console.log(pc.bold(print(headings)));
  for (const line of lines) console.log(print(line));
}

/** A value as a table shows it. */
export function inCell(value: Cell): string {
  if (value === null || value === undefined) return '–';
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'beyond dates' : value.toISOString();
  // What pg makes of an infinite time.
  if (value === Infinity || value === -Infinity) return value > 0 ? 'infinity' : '-infinity';
  return disarm(String(value));
}
