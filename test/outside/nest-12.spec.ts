import { migrations } from '../../src/migrations';
import { CLIENTS, ENTRIES } from '../support/outside/entries';
import { NODE_VERSIONS, nodeFolders } from '../support/outside/node-versions';
import { OutsideProject } from '../support/outside/project';
import {
  CONFIGURATIONS,
  IMPORTS,
  installNest,
  MIGRATION_RUN,
  OPERATED,
  SERVICE,
  TESTED_SERVICE,
  VISIT,
  VISITED,
} from '../support/outside/programs';
import { MODES, NEST_OPTIONS, STRICTEST } from '../support/outside/typescript';
import { packedPackage } from '../support/processes/packed-package';
import { type Finished } from '../support/processes/shell';
import { useTestDatabase } from '../support/database/use-test-database';

const NEST = ['common', 'core', 'platform-express', 'testing'].map((name) => `@nestjs/${name}@12`);
const RUNNERS = ['vitest@4', 'unplugin-swc@2', '@swc/core@1', '@swc/jest@0.2', 'jest@30'];
const TOOLS = ['typescript@6', '@types/node@20', 'esbuild@0.28'];

/** Beside the configuration of the page: TypeScript that imports as Node does, with the extension `.js`. */
const CJS_JEST = `
  module.exports = { ...require('./jest.config.cjs'), moduleNameMapper: { '^(\\\\./payments)\\\\.js$': '$1.ts' } };`;
const ESM_JEST = `
  const { transform, ...config } = require('./jest.cjs.cjs');
  const [[, [swc, options]]] = Object.entries(transform);
  module.exports = {
    ...config,
    extensionsToTreatAsEsm: ['.ts'],
    transform: { '\\\\.ts$': [swc, { ...options, module: { type: 'es6' } }] },
    transformIgnorePatterns: ['/node_modules/'],
  };`;

/** NestJS 12 bundles as ES modules alone, and there esbuild gives CommonJS no `require`. */
const REQUIRE = `--banner:js="import { createRequire as r } from 'node:module'; const require = r(import.meta.url);"`;
/** What NestJS imports where it is installed. */
const LEFT_OUT = ['@nestjs/microservices', '@nestjs/websockets/*', 'class-transformer']
  .map((name) => `'--external:${name}'`)
  .join(' ');

const database = useTestDatabase();
const inDatabase = () => ({ env: { DATABASE_URL: database.url } });
let project: OutsideProject;
let installed: Finished;
beforeAll(async () => {
  project = await OutsideProject.create(await packedPackage(), { type: 'module' });
  installed = await project.install(
    `${installNest(12)} ${[...NEST, ...RUNNERS, ...TOOLS, ...CLIENTS, 'rxjs'].join(' ')}`,
  );
  await project.write({ 'tsconfig.json': JSON.stringify({ compilerOptions: NEST_OPTIONS }) });
});
afterAll(() => project.remove());

test('the package is installed beside NestJS 12 and every tool of this file without a word about it', () => {
  expect(installed).toMatchObject({ exitCode: 0 });
  expect(installed.output).not.toMatch(/ERESOLVE|\bpeer\b|payment-events-db/i);
});

describe('the test of a service of NestJS 12', () => {
  beforeAll(() =>
    project.write({ ...TESTED_SERVICE, ...CONFIGURATIONS, 'jest.cjs.cjs': CJS_JEST, 'jest.esm.cjs': ESM_JEST }),
  );

  test.each([
    ['in Vitest', 'NO_COLOR=1 npx vitest run'],
    ['in Jest with ES modules', 'node --experimental-vm-modules node_modules/jest/bin/jest.js --config jest.esm.cjs'],
    ['in Jest with CommonJS', 'npx jest --config jest.cjs.cjs'],
  ])('passes %s', async (_where, command) => {
    const { exitCode, output } = await project.run(command, inDatabase());
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringMatching(/Tests:? +2 passed/) as string });
  });
});

describe('the service of the page', () => {
  beforeAll(async () => {
    const files = { 'src/service.ts': SERVICE, 'src/visit.ts': VISIT };
    const compilerOptions = { ...NEST_OPTIONS, ...MODES.esm, outDir: 'dist', rootDir: 'src' };
    await project.write({ ...files, 'tsconfig.service.json': JSON.stringify({ compilerOptions, include: ['src'] }) });
    expect(await project.run('npx tsc -p tsconfig.service.json')).toEqual({ exitCode: 0, output: '' });
  });

  test.each(NODE_VERSIONS)('starts and answers on Node.js %s, without a warning', async (version) => {
    const node = (await nodeFolders())[version]!;
    const { output } = await project.run('node dist/visit.js', { ...inDatabase(), node });
    expect(JSON.parse(output)).toEqual(VISITED);
  });

  test.each(['', '--minify'])('starts and answers in a bundle of esbuild %s', async (flags) => {
    expect(await bundled('dist/visit.js', 'mjs', `--format=esm ${REQUIRE} ${LEFT_OUT} ${flags}`)).toEqual(VISITED);
  });
});

describe('a script in TypeScript', () => {
  beforeAll(async () => {
    const imports = ENTRIES.map(
      // What a runner of tests is given by its path is one function.
      (entry, index) => `import ${entry.endsWith('/global-setup') ? '' : '* as '}part${index} from '${entry}';
        export const names${index}: string[] = Object.keys(part${index});`,
    );
    await project.write({
      'strict/entries.mts': imports.join('\n'),
      'strict/operate.mts': IMPORTS,
      'strict/tsconfig.json': JSON.stringify({ compilerOptions: STRICTEST, files: ['entries.mts', 'operate.mts'] }),
    });
  });

  test('compiles under everything that is strict, with the declarations of all that it uses', async () => {
    expect(await project.run('npx tsc -p strict')).toEqual({ exitCode: 0, output: '' });
  });

  test('runs, authorizes a request and reads it', async () => {
    const { output } = await project.run('node strict/operate.mjs', inDatabase());
    expect(JSON.parse(output)).toEqual(OPERATED);
  });
});

describe('a project of ES modules in TypeScript', () => {
  const empty = useTestDatabase({ empty: true });

  test('migrates by the one line of the README', async () => {
    const { exitCode, output } = await project.run(MIGRATION_RUN, { env: { DATABASE_URL: empty.url } });
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
    expect(await empty.query('SELECT name FROM payment_events_db_migrations ORDER BY id')).toEqual(
      migrations.map(({ name }) => ({ name })),
    );
  });
});

describe.each(['', '--minify'])('a bundle of esbuild %s', (flags) => {
  test('authorizes a request and reads it, and its errors, messages and entities have their names', async () => {
    await project.write({ 'script.js': IMPORTS });
    expect(await bundled('script.js', 'cjs', flags)).toEqual(OPERATED);
  });
});

/** Bundles a program and runs that where no package can be reached. @returns what it prints in JSON */
async function bundled(program: string, extension: string, flags: string): Promise<unknown> {
  const alone = `${project.folder} alone`;
  const esbuild = `npx esbuild ${program} --bundle --platform=node --log-level=warning ${flags}`;
  expect(await project.run(`${esbuild} --outfile='${alone}/bundle.${extension}'`)).toEqual({ exitCode: 0, output: '' });
  const { output } = await project.run(`node '${alone}/bundle.${extension}'; rm -r '${alone}'`, inDatabase());
  return JSON.parse(output);
}
