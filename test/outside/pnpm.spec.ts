import { CLIENTS, ENTRIES } from '../support/outside/entries';
import { OutsideProject } from '../support/outside/project';
import {
  IMPORTS,
  installNest,
  MIGRATION_RUN,
  OPERATED,
  REQUIRES,
  SERVICE,
  VISIT,
  VISITED,
} from '../support/outside/programs';
import { MODES, NEST_OPTIONS } from '../support/outside/typescript';
import { packedPackage } from '../support/processes/packed-package';
import { type Finished } from '../support/processes/shell';
import { useTestDatabase } from '../support/database/use-test-database';

// pnpm gives a package what it has declared, and nothing that happens to lie beside it.

const OTHERS = '@nestjs/common@12 @nestjs/core@12 @nestjs/platform-express@12 rxjs typescript@6 @types/node@20';

const database = useTestDatabase();
const empty = useTestDatabase({ empty: true });
const inDatabase = () => ({ env: { DATABASE_URL: database.url } });
let tool: OutsideProject;
let project: OutsideProject;
let installed: Finished;
beforeAll(async () => {
  const packed = await packedPackage();
  tool = await OutsideProject.create(packed);
  expect(await tool.install('npm install pnpm@10')).toMatchObject({ exitCode: 0 });
  project = await OutsideProject.create(packed);
  installed = await project.install(
    `${installNest(12).replace('npm install', pnpm('add --ignore-scripts'))} ${OTHERS} ${CLIENTS.join(' ')}`,
  );
});
afterAll(async () => {
  await project.remove();
  await tool.remove();
});

/** What it stores and remembers goes into the folder of the tool. */
const pnpm = (command: string) =>
  `'${tool.folder}/node_modules/.bin/pnpm' ${command} --store-dir '${tool.folder}/store' --config.cache-dir='${tool.folder}/cache' --config.state-dir='${tool.folder}/state'`;

test('pnpm installs the package without a warning about it or its peers', () => {
  expect(installed).toMatchObject({ exitCode: 0 });
  expect(installed.output).not.toMatch(/\bWARN\b|\bpeer/i);
});

test.each([
  ['require', 'operate.cjs', REQUIRES],
  ['import', 'operate.mjs', IMPORTS],
])('%s: a script authorizes a request and reads it', async (_how, file, program) => {
  await project.write({ [file]: program });
  const { output } = await project.run(`node ${file}`, inDatabase());
  expect(JSON.parse(output)).toEqual(OPERATED);
});

test('every entry is loaded by require and by import', async () => {
  await project.write({
    'entries.cjs': ENTRIES.map((entry) => `require('${entry}');`).join('\n'),
    'entries.mjs': ENTRIES.map((entry) => `import '${entry}';`).join('\n'),
  });
  expect(await project.run('node entries.cjs && node entries.mjs')).toEqual({ exitCode: 0, output: '' });
});

test('the service of NestJS compiles, starts and answers', async () => {
  const compilerOptions = { ...NEST_OPTIONS, ...MODES.cjs };
  await project.write({
    'service.ts': SERVICE,
    'visit.ts': VISIT,
    'tsconfig.json': JSON.stringify({ compilerOptions, files: ['visit.ts'] }),
  });
  const { output } = await project.run('node_modules/.bin/tsc -p . && node visit.js', inDatabase());
  expect(JSON.parse(output)).toEqual(VISITED);
});

test("the command line and TypeORM's migrate and see that it is done", async () => {
  const env = { DATABASE_URL: empty.url };
  const migrated = await project.run(MIGRATION_RUN.replace('npx ', 'node_modules/.bin/'), { env });
  expect(migrated).toMatchObject({ exitCode: 0 });
  expect(await project.run('node_modules/.bin/payment-events-db status', { env })).toMatchObject({ exitCode: 0 });
});
