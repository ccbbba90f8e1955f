import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';

const ROOT = join(__dirname, '..');
const ROOM = join(ROOT, 'src/nest/');

/**
 * Compiles src/nest a second time, as ES modules: Jest, when it runs ES modules, cannot `require` those of NestJS 12. They lie
 * beside the CommonJS form and import all that is not of src/nest from that of the rest, so that there is one class of each
 * entity and error in a process, however it is imported.
 */
function main(): void {
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.build.json'), (path) => ts.sys.readFile(path)) as {
    config: object;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const program = ts.createProgram([join(ROOM, 'index.ts')], {
    ...options,
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
  });
  for (const source of program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(ROOM))) {
    program.emit(source, (path, text) => ts.sys.writeFile(toEsm(path), withExtensions(text)));
  }
}

const toEsm = (path: string) =>
  path.replace(/(\.d)?\.(js|ts)$/, (_, declaration = '') => `${declaration}.m${path.endsWith('ts') ? 'ts' : 'js'}`);

/** Imports as Node takes them from an ES module: by the names of files. */
const withExtensions = (text: string) =>
  text.replace(/(?<=\b(?:from|import) ?\(?)(['"])(\.[^'"]*)\1/g, (_, quote: string, path: string) => {
    const source = join(ROOM, path);
    const isOfRoom = !relative(ROOM, source).startsWith('..');
    return quote + path + (isOfRoom ? '.mjs' : existsSync(`${source}.ts`) ? '.js' : '/index.js') + quote;
  });

main();
