import { OutsideProject } from '../support/outside/project';
import { installNest, SERVER, SERVICE, TESTED_SERVICE } from '../support/outside/programs';
import { MODES, NEST_OPTIONS } from '../support/outside/typescript';
import { promisesOverHttp, SERVICE_ENVIRONMENT } from '../support/nest/service-promises';
import { packedPackage } from '../support/processes/packed-package';
import { type Finished } from '../support/processes/shell';
import { useTestDatabase } from '../support/database/use-test-database';

const BEFORE = ['common', 'core', 'platform-express', 'platform-fastify', 'testing'].map(
  (name) => `@nestjs/${name}@11`,
);
const TOOLS = ['typescript@6', '@types/node@20', 'jest@30', '@types/jest@30', 'ts-jest@29'];

const database = useTestDatabase();
let project: OutsideProject;
let installed: Finished;
beforeAll(async () => {
  project = await OutsideProject.create(await packedPackage());
  const before = await project.install(`npm install ${BEFORE.join(' ')} rxjs reflect-metadata ${TOOLS.join(' ')}`);
  expect(before).toMatchObject({ exitCode: 0 });
  installed = await project.install(installNest(11));
});
afterAll(() => project.remove());

test('the package is installed beside NestJS 11 as its page says, without a word about peers', async () => {
  expect(installed).toMatchObject({ exitCode: 0 });
  expect(installed.output).not.toMatch(/ERESOLVE|\bpeer\b|payment-events-db/i);
  const { output } = await project.run('npm ls --depth 0 --parseable --long');
  expect(output).toMatch(/@nestjs\/core@11\./);
  expect(output).toMatch(/payment-events-db@/);
});

test('the service of the page compiles under the settings that NestJS 11 has made so far', async () => {
  const compilerOptions = { ...NEST_OPTIONS, ...MODES.cjs };
  await project.write({
    'service.ts': SERVICE,
    'main.ts': SERVER,
    'tsconfig.json': JSON.stringify({ compilerOptions, files: ['main.ts'] }),
  });
  expect(await project.run('npx tsc -p .')).toEqual({ exitCode: 0, output: '' });
});

test('its test passes in Jest with ts-jest, as CommonJS', async () => {
  const tsconfig = { ...NEST_OPTIONS, ...MODES.cjs, types: ['node', 'jest'] };
  const config = {
    testMatch: ['**/payments.test.ts'],
    moduleNameMapper: { '^(\\./.*)\\.js$': '$1' },
    transform: { '\\.ts$': ['ts-jest', { tsconfig }] },
  };
  await project.write({ ...TESTED_SERVICE, 'jest.config.json': JSON.stringify(config) });
  const { exitCode, output } = await project.run('npx jest', { env: { DATABASE_URL: database.url } });
  expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('2 passed, 2 total') as string });
});

describe.each(['express', 'fastify'] as const)('the API of the how-to, on NestJS 11 with %s', (adapter) => {
  let service: Awaited<ReturnType<OutsideProject['start']>>;
  beforeAll(async () => {
    service = await project.start(['main.js', adapter], { ...SERVICE_ENVIRONMENT, DATABASE_URL: database.url });
  });

  promisesOverHttp(database, () => service.url);

  test('SIGTERM ends it, and leaves no connection behind', async () => {
    // Nest sends itself the signal again when everything is closed.
    expect(await service.stop()).toBe('SIGTERM');
    expect(
      await database.query(
        `SELECT FROM pg_stat_activity WHERE application_name = 'payments service' AND datname = current_database()`,
      ),
    ).toEqual([]);
  });
});
