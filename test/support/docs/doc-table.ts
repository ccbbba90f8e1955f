import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The rows of the table under a page's heading, without its head and without backticks: a text a cell. */
export function docTable(page: string, heading: string): string[][] {
  const [, section] = readFileSync(join(__dirname, '../../..', page), 'utf8').split(`\n## ${heading}\n`);
  const lines = section!.split('\n## ')[0]!.split('\n');
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}
