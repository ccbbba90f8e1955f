import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as manifest from '../../../package.json';
import { compiled, javascriptOf } from '../jest/compiled';
import { runToEnd } from '../processes/run-to-end';

const { exports } = manifest;
const root = resolve(__dirname, '../../..');

/** Each name under which the package is imported, and the source that it stands for. */
const published = Object.fromEntries(
  Object.entries(exports).flatMap(([name, target]) =>
    typeof target === 'string'
      ? []
      : [
          [
            name.replace('.', 'payment-events-db'),
            [join(root, target.types.replace('dist/', '').replace('.d.ts', '.ts'))],
          ],
        ],
  ),
);

/** The code blocks of a page in one language, joined in their order. */
export function codeBlocks(page: string, language: string): string {
  const blocks = readFileSync(join(root, page), 'utf8').matchAll(
    new RegExp('^```' + language + '\\n([\\s\\S]*?)^```$', 'gm'),
  );
  return [...blocks].map(([, code]) => code).join('\n');
}

/** What a page's `console.log(…); // …` lines promise to print, each as the text after the comment sign. */
export const promisedOutput = (code: string): string[] =>
  [...code.matchAll(/^\s*console\.log\(.*\); \/\/ (.*)$/gm)].map(([, text]) => text!);

/** A folder in which a page's TypeScript is checked and run as a consumer's, against this checkout's code. */
export class DocProject {
  readonly #outside = mkdtempSync(join(tmpdir(), 'docs-'));
  readonly folder = join(this.#outside, 'project');

  constructor(programs: Record<string, string>) {
    mkdirSync(this.folder);
    symlinkSync(join(root, 'node_modules'), join(this.folder, 'node_modules'));
    // Where Node looks next for what is not among them.
    mkdirSync(join(this.#outside, 'node_modules'));
    symlinkSync(compiled('.'), join(this.#outside, 'node_modules', manifest.name));
    for (const [name, code] of Object.entries(programs)) {
      writeFileSync(join(this.folder, `${name}.mts`), code);
      writeFileSync(join(this.folder, `${name}.mjs`), javascriptOf(code, 'es6'));
    }
    const compilerOptions = {
      target: 'ES2023',
      module: 'node20',
      lib: ['ES2023', 'ES2024.String', 'DOM'],
      types: ['node'],
      strict: true,
      strictPropertyInitialization: false,
      skipLibCheck: true,
      noEmit: true,
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
      paths: { ...published, 'payment-events-db/*': [join(root, 'src/*')] },
    };
    writeFileSync(
      join(this.folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['*.mts', join(root, 'src')] }),
    );
  }

  /** @returns what `tsc` complains about */
  async typecheck(): Promise<string> {
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    return await run([tsc, '-p', this.folder], this.folder, {}).catch((error: Error) => error.message);
  }

  /** @returns what the program prints, line by line */
  async run(name: string, env: Record<string, string>): Promise<string[]> {
    return (await run([`${name}.mjs`], this.folder, env)).trimEnd().split('\n');
  }

  remove(): void {
    rmSync(this.#outside, { recursive: true });
  }
}

const run = (args: readonly string[], cwd: string, env: Record<string, string>): Promise<string> =>
  runToEnd(process.execPath, args, { cwd, env: { ...process.env, ...env } });
