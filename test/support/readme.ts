import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const README = readFileSync(join(__dirname, '../../README.md'), 'utf8');

export interface CodeBlock {
  language: string;
  /** The heading it stands under. */
  section: string;
  code: string;
}

/** Every fenced block of the README, in its order. */
export const codeBlocks: CodeBlock[] = README.split(/^## /m).flatMap((text) => {
  const section = text.split('\n', 1)[0]!;
  return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, code]) => ({
    language: language!,
    section,
    code: code!,
  }));
});

/** The blocks of one section in one language. */
export function blocksOf(section: string, language: string): string[] {
  return codeBlocks.filter((block) => block.section === section && block.language === language).map(({ code }) => code);
}

/** The commands of a shell block: a line each, comments cut off. */
export const commandsIn = (code: string): string[] =>
  code
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, '').trim())
    .filter(Boolean);
