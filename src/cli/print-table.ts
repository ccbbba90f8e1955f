import pc from 'picocolors';

/**
 * Prints rows under their headings, in columns as wide as they need to be. Control characters are shown as JSON would
 * show them, which disarms what a terminal would obey.
 */
export function printTable(headings: readonly string[], rows: readonly (readonly unknown[])[]): void {
  const lines = rows.map((row) => row.map(show));
  const widths = headings.map((heading, column) => Math.max(heading.length, ...lines.map((line) => line[column]!.length)));
  const print = (line: readonly string[]) => line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd();
  console.log(pc.bold(print(headings)));
  for (const line of lines) console.log(print(line));
}

function show(value: unknown): string {
  if (value === null || value === undefined) return '–';
  if (value instanceof Date) return value.toISOString();
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  return String(value).replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => JSON.stringify(character).slice(1, -1));
}
