import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import manifest from '../package.json';

const ROOT = join(__dirname, '..');
const DIST = join(ROOT, 'dist');

const built = (names: RegExp) =>
  readdirSync(DIST, { recursive: true, encoding: 'utf8' })
    .filter((path) => names.test(path))
    .map((path) => join(DIST, path));

/**
 * Takes out of what was built what nobody who installs it reads: the comments of the code, which its declarations have as
 * well, and the declarations that no entry leads to.
 */
function main(): void {
  for (const path of built(/\.m?js$/)) writeFileSync(path, withoutComments(path));
  const read = new Set(readDeclarations());
  for (const path of built(/\.d\.m?ts$/)) if (!read.has(path)) rmSync(path);
}

function withoutComments(path: string): string {
  const compilerOptions = { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.Preserve, removeComments: true };
  return ts.transpileModule(readFileSync(path, 'utf8'), { fileName: path, compilerOptions }).outputText;
}

/** Those that the entries are and refer to, however far. */
function readDeclarations(): string[] {
  const entries = JSON.stringify(manifest.exports).match(/[^"]+\.d\.m?ts/g) ?? [];
  const options = { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, noLib: true };
  const program = ts.createProgram(
    [...entries, 'dist/ormconfig.d.ts'].map((path) => join(ROOT, path)),
    options,
  );
  return program
    .getSourceFiles()
    .map(({ fileName }) => fileName)
    .filter((path) => relative(ROOT, path).startsWith('dist'));
}

main();
