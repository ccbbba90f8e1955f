import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CodeBlock {
  language: string;
  /** The heading it stands under. */
  section: string;
  code: string;
}

/** A page of the documentation, divided by its headings of the second level. */
export class DocPage {
  readonly text: string;
  /** Every fenced block, in its order. */
  readonly blocks: readonly CodeBlock[];

  /** @param path in the repository, such as `docs/development.md` */
  constructor(readonly path: string) {
    this.text = readFileSync(join(__dirname, '../../..', path), 'utf8');
    this.blocks = this.text.split(/^## /m).flatMap((text) => {
      const section = text.split('\n', 1)[0]!;
      return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, language, code]) => ({
        language: language!,
        section,
        code: code!,
      }));
    });
  }

  /** What stands under a heading. */
  section(heading: string): string {
    const [, text] = this.text.split(`\n## ${heading}\n`);
    if (text === undefined) throw new Error(`${this.path} has no section "${heading}".`);
    return text.split('\n## ')[0]!;
  }

  /** The blocks of one section in one language. */
  blocksOf(section: string, language: string): string[] {
    return this.blocks
      .filter((block) => block.section === section && block.language === language)
      .map(({ code }) => code);
  }
}

export const README = new DocPage('README.md');
/** What is for those who work in a clone of the repository. */
export const DEVELOPMENT = new DocPage('docs/development.md');

/** The commands of a shell block: a line each, comments cut off. */
export const commandsIn = (code: string): string[] =>
  code
    .split('\n')
    .map((line) => line.replace(/\s+#.*/, '').trim())
    .filter(Boolean);
