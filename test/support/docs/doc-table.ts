import { DocPage } from './doc-page';

/** The rows of the table under a page's heading, without its head and without backticks: a text a cell. */
export function docTable(page: string, heading: string): string[][] {
  const lines = new DocPage(page).section(heading).split('\n');
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim()),
  );
}
