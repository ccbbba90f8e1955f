import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { withClient } from '../../src/testing/with-client';
import { DocPage } from '../support/docs/doc-page';
import { InstalledPackage } from '../support/docs/installed-package';
import { packedPackage } from '../support/processes/packed-package';
import { failureOf } from '../support/processes/within';

jest.setTimeout(300_000);

const ROOT = join(__dirname, '../..');
const page = new DocPage('docs/how-to/test-your-service.md');
const [jestSpec] = page.blocksOf('In Jest', 'ts');
const [vitestConfig, vitestSpec] = page.blocksOf('In Vitest', 'ts');
/** What goes on in the file of either runner. */
const rest = [...page.blocksOf('The broker', 'ts'), ...page.blocksOf('The sweeper', 'ts')];

const resolve = (name: string) => createRequire(__filename).resolve(name);
const TYPESCRIPT = ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' } }];
/** Tells which server the run has had. */
const TELL = `
test('tells its server', () => require('node:fs').writeFileSync('server.url', currentTestRun().serverUrl));`;

let project: InstalledPackage;

beforeAll(async () => {
  project = await InstalledPackage.create(await packedPackage());
  for (const name of ['vitest', '@swc/jest', '@types/jest']) {
    const link = join(project.folder, 'node_modules', name);
    await mkdir(join(link, '..'), { recursive: true });
    await symlink(join(ROOT, 'node_modules', name), link);
  }
  await write('jest/database.spec.ts', [jestSpec, ...rest].join('\n'));
  await write('jest/url.spec.ts', `import { currentTestRun } from 'payment-events-db/testing';${TELL}`);
  await write('jest/own.config.js', page.blocksOf('In Jest', 'js')[0]!);
  await write(
    'jest/jest.config.js',
    `module.exports = { ...require('./own.config.js'), transform: { '\\\\.ts$': ${JSON.stringify(TYPESCRIPT)} } };`,
  );
  await write('vitest/database.spec.ts', [vitestSpec, ...rest].join('\n'));
  await write(
    'vitest/url.spec.ts',
    `import { test } from 'vitest';
     import { currentTestRun } from 'payment-events-db/testing';
     import { createRequire } from 'node:module';
     const require = createRequire(import.meta.url);${TELL}`,
  );
  await write('vitest/vitest.config.mts', vitestConfig!);
});
afterAll(() => project.remove());

async function write(path: string, text: string): Promise<void> {
  await mkdir(join(project.folder, path, '..'), { recursive: true });
  await writeFile(join(project.folder, path), text);
}

const RUNNERS = {
  jest: `node '${resolve('jest/bin/jest')}'`,
  vitest: `node '${join(ROOT, 'node_modules/vitest/vitest.mjs')}' run`,
};

describe.each(Object.entries(RUNNERS))('the blocks of the how-to for %s', (runner, command) => {
  it('are a database in three lines: every test passes, and the server goes with the runner', async () => {
    // Of a server of its own: none that is given, and none of the run around this one.
    const env = { TEST_DATABASE_URL: '', PAYMENT_EVENTS_DB_TEST_RUN: '', FORCE_COLOR: '0', CI: '' };
    const { exitCode, output } = await project.run(`cd ${runner} && ${command}`, env);
    expect({ exitCode, output: stripVTControlCharacters(output) }).toEqual({
      exitCode: 0,
      output: expect.stringMatching(/Tests:? +4 passed/) as string,
    });
    const url = await readFile(join(project.folder, runner, 'server.url'), 'utf8');
    expect(await isGone(url)).toBe(true);
  });

  it('compile under strict settings', async () => {
    const compilerOptions = {
      ...{ target: 'ES2023', lib: ['ES2023', 'ES2024.String', 'DOM'], strict: true, noEmit: true },
      ...{ module: 'esnext', moduleResolution: 'bundler', skipLibCheck: true },
      types: runner === 'jest' ? ['node', 'jest'] : ['node'],
    };
    await write(`${runner}/tsconfig.json`, JSON.stringify({ compilerOptions, files: ['database.spec.ts'] }));
    expect(await project.run(`node '${resolve('typescript/bin/tsc')}' -p ${runner}`)).toEqual({
      exitCode: 0,
      output: '',
    });
  });
});

/** Whether a server goes within some time. */
async function isGone(url: string): Promise<boolean> {
  for (let tries = 0; tries < 400; tries++) {
    const failure = await failureOf(withClient(url, () => Promise.reject(new Error('there')))).catch(String);
    if ((failure as { code?: string }).code === 'ECONNREFUSED') return true;
    await delay(50);
  }
  return false;
}
