/** The anchor that GitHub makes of a heading, as long as no other heading of the page has the same. */
export const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');

/** A table without the columns that say nothing. A cell may hold paragraphs. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const said = head.map((_name, column) => column === 0 || rows.some((row) => row[column] !== ''));
  const line = (cells: readonly string[]) => `| ${cells.filter((_cell, column) => said[column]).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map((row) => line(row.map(toCell)))].join('\n');
}

/** Within code, a table takes `\|` for a bar; elsewhere too. */
const toCell = (text: string) =>
  text
    .trim()
    .replace(/(?<!\\)\|/g, '\\|')
    .replace(/\n\n+/g, '<br>')
    .replace(/\s*\n\s*/g, ' ');

export const code = (text: string): string => `\`${text}\``;

export const codeBlock = (text: string, language = 'ts'): string => `\`\`\`${language}\n${text.trimEnd()}\n\`\`\``;

/** Large numbers as people read them. Those of a year, a port or a version have four digits at most. */
export const withSeparators = (text: string): string =>
  text.replace(/\b\d{5,}\b/g, (digits) => BigInt(digits).toLocaleString('en-US'));

/** A page: what is empty is left out. */
export const page = (...parts: readonly string[]): string => `${parts.filter(Boolean).join('\n\n')}\n`;

/** Says at the top of a page that editing it is of no use. */
export const madeBy = (script: string, source: string): string =>
  `<!-- Made by \`npm run ${script}\` from ${source}: change that, not this page. -->`;
