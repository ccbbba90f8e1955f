import pc from 'picocolors';

type Cell = string | number | bigint | Date | null | undefined;

/**
 * Prints rows under their headings, in columns as wide as they need to be. Control characters are shown as JSON would
 * show them, which disarms what a terminal would obey.
 */
export function printTable(headings: readonly string[], rows: readonly (readonly Cell[])[]): void {
  const lines = rows.map((row) => row.map(show));
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

function show(value: Cell): string {
  if (value === null || value === undefined) return '–';
  if (value instanceof Date) return value.toISOString();
  return String(value).replace(/\p{Cc}/gu, (character) => JSON.stringify(character).slice(1, -1));
}
