import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { transformSync } from '@swc/core';
import { currentTestRun, type TestRun } from '../../../src/testing/test-run';
import { folderOf } from './once-a-run';

const ROOT = join(__dirname, '../../..');
/** What processes of the tests run: `src` is the program, and fixtures and members of the chaos use what is in `support`. */
const FOLDERS = ['src', 'test/fixtures', 'test/support', 'test/chaos'];

const compiledOf = (run: TestRun) => join(folderOf(run), 'compiled');

/**
 * The JavaScript of a file of `src` or of one of these folders of `test`, as it was when the run began. A process of it starts in
 * half the time, and half the CPU, that one of TypeScript takes.
 *
 * @param path its path in the repository, such as `src/cli/main.ts`; a folder stands for its index
 */
export const compiled = (path: string): string => join(compiledOf(currentTestRun()), path.replace(/\.ts$/, '.js'));

/** Compiles them, for the whole run. */
export function compile(run: TestRun): void {
  const target = compiledOf(run);
  for (const folder of FOLDERS) {
    for (const entry of readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const source = join(entry.parentPath, entry.name);
      const copy = join(target, source.slice(ROOT.length));
      mkdirSync(dirname(copy), { recursive: true });
      if (source.endsWith('.ts'))
        writeFileSync(copy.replace(/\.ts$/, '.js'), javascriptOf(readFileSync(source, 'utf8')));
      else copyFileSync(source, copy);
    }
  }
  // The one file of the package that is not compiled from one of its own: see scripts/build-esm.ts.
  writeFileSync(join(target, 'src/nest/index.mjs'), "export * from './index.js';\n");
  for (const name of ['infrastructure', 'node_modules', 'package.json'])
    symlinkSync(join(ROOT, name), join(target, name));
  // Where the names that the package exports lead to.
  symlinkSync('.', join(target, 'dist'));
}

/** As the compiler of the build does it, which leaves `import()` to Node. Nothing is checked. */
export const javascriptOf = (typescript: string, module: 'commonjs' | 'es6' = 'commonjs'): string =>
  transformSync(typescript, {
    swcrc: false,
    jsc: {
      target: 'es2023',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
    },
    // The names that ES modules can import, where Node finds them.
    module: { type: module, ignoreDynamic: true, exportInteropAnnotation: true },
  }).code;
