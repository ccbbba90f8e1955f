import { createRequire, isBuiltin } from 'node:module';
import { mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import manifest from '../../package.json';
import * as configErrors from '../../src/configs/errors';
import * as errors from '../../src/errors';
import { useTestDatabase } from '../support/database/use-test-database';
import { Checkout } from '../support/processes/checkout';
import { DocPage } from '../support/docs/doc-page';
import { InstalledPackage } from '../support/docs/installed-package';
import { checksumsHere, checksumsIn } from '../support/migrations/checksums';
import { type PackedPackage, packedPackage } from '../support/processes/packed-package';
import { shell } from '../support/processes/shell';

jest.setTimeout(300_000);

const ROOT = join(__dirname, '../..');
const SUBPATHS = Object.keys(manifest.exports).filter((name) => name !== './package.json');
const GLOBAL_SETUP = './testing/global-setup';
/** What has one form, for \`require\` and \`import\`. */
const ONE_FORM = SUBPATHS.filter((subpath) => subpath !== './nest' && subpath !== GLOBAL_SETUP);
const nameOf = (subpath: string) => join(manifest.name, subpath);

let packed: PackedPackage;
let installed: InstalledPackage;

const run = (command: string) => installed.run(command);

beforeAll(async () => {
  packed = await packedPackage();
  installed = await InstalledPackage.create(packed);
});
afterAll(() => installed.remove());

test('a clone has the command line once it was built, and when it is built again', async () => {
  const checkout = await Checkout.create();
  await checkout.takeBuild(packed);
  const help = 'npx payment-events-db --help';
  const { output, exitCode } = await checkout.run(`${help} && npm run --silent build && ${help}`);
  await checkout.remove();
  expect({ exitCode, usages: output.match(/^Usage: payment-events-db /gm)?.length }).toEqual({
    exitCode: 0,
    usages: 2,
  });
});

describe('the packed package', () => {
  test('holds the compiled code, the message definitions, the documentation and nothing of our tests', () => {
    const folders = new Set(packed.files.map((path) => path.split('/', 1)[0]!));
    expect([...folders].sort()).toEqual([
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'SECURITY.md',
      'dist',
      'docs',
      'infrastructure',
      'package.json',
      'proto',
    ]);
    expect(packed.files).toContain('dist/ormconfig.js');
    expect(
      packed.files.filter((path) => /\.(spec|fixture)\.|(^|\/)(test|fixtures)\/|\.env|\.tsbuildinfo/.test(path)),
    ).toEqual([]);
  });

  test('takes at most 850 kB, with the documentation and without source maps', async () => {
    expect((await stat(packed.tarball)).size).toBeLessThanOrEqual(850_000);
    expect(packed.files.filter((path) => path.endsWith('.map'))).toEqual([]);
    expect(packed.files).toEqual(expect.arrayContaining(['docs/README.md', 'docs/how-to/process-a-request.md']));
  });

  test('declares every package that its code imports, and depends on no other', async () => {
    const imported = new Set<string>();
    for (const path of packed.files.filter((file) => /\.m?js$/.test(file))) {
      const code = await readFile(join(installed.folder, 'node_modules', manifest.name, path), 'utf8');
      for (const [, name] of code.matchAll(
        /(?:(?:require(?:\.resolve)?|import)\(|^import .* from )['"]([^'".][^'"]*)['"]/gm,
      )) {
        if (!isBuiltin(name!)) imported.add(/^(@[^/]+\/)?[^/]+/.exec(name!)![0]);
      }
    }
    const { dependencies, peerDependencies } = manifest;
    expect([...imported].filter((name) => !(name in { ...dependencies, ...peerDependencies }))).toEqual([]);
    expect(Object.keys(dependencies).filter((name) => !imported.has(name))).toEqual([]);
  });

  test.each(ONE_FORM)('exports the same from %s to require and to import', async (subpath) => {
    await writeFile(
      join(installed.folder, 'same.mjs'),
      `import { createRequire } from 'node:module';
       import * as imported from '${nameOf(subpath)}';
       const required = createRequire(import.meta.url)('${nameOf(subpath)}');
       const names = Object.keys(required);
       console.log(JSON.stringify({ names, missing: names.filter((name) => imported[name] !== required[name]) }));`,
    );
    const { exitCode, output } = await run('node same.mjs');
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
    const { names, missing } = JSON.parse(output) as { names: string[]; missing: string[] };
    expect(names.length).toBeGreaterThan(0);
    expect(missing).toEqual([]);
  });

  test('exports one function from ./testing/global-setup, as Jest requires and Vitest imports it', async () => {
    await writeFile(
      join(installed.folder, 'setup.mjs'),
      `import { createRequire } from 'node:module';
       import imported from '${nameOf(GLOBAL_SETUP)}';
       console.log(typeof imported, imported === createRequire(import.meta.url)('${nameOf(GLOBAL_SETUP)}'));`,
    );
    expect(await run('node setup.mjs')).toEqual({ exitCode: 0, output: 'function true\n' });
  });

  test('exports the same names from ./nest in both its forms, each made of the one form of the rest', async () => {
    await writeFile(
      join(installed.folder, 'both.mjs'),
      `import { createRequire } from 'node:module';
       import * as imported from '${nameOf('./nest')}';
       import { entities } from '${manifest.name}';
       const required = createRequire(import.meta.url)('${nameOf('./nest')}');
       const sorted = (one) => JSON.stringify(Object.keys(one).filter((name) => name !== 'module.exports').sort());
       const providersOf = (one) => one.PaymentEventsDbModule.forRoot().providers.map(({ provide }) => provide);
       const shared = providersOf(imported).filter((provide) => providersOf(required).includes(provide));
       const repositories = JSON.stringify(required.PaymentEventsDbModule.forRoot().imports[2].providers.map(({ provide }) => provide));
       console.log(JSON.stringify({
         names: sorted(imported) === sorted(required) && Object.keys(required).length,
         shared: shared.map(({ name }) => name).sort(),
         repositories: entities.every(({ name }) => repositories.includes(name)),
       }));`,
    );
    const { output } = await run('node both.mjs');
    expect(JSON.parse(output.replace(/^\(.*$|^.*WARN.*$/gm, ''))).toEqual({
      names: 10,
      shared: [
        ...[
          'AuthRequests',
          'EventStore',
          'Holds',
          'IdempotencyKeys',
          'Outbox',
          'OutboxRelay',
          'PaymentEventsDataSource',
        ],
        ...['ProcessingLocks', 'ReadModel', 'RestaurantPaymentConfigs', 'Sweeper'],
      ],
      repositories: true,
    });
  });

  test('exports every error that it throws', async () => {
    const { exitCode, output } = await run(`node -p "JSON.stringify(Object.keys(require('${manifest.name}')))"`);
    expect(exitCode).toBe(0);
    expect(JSON.parse(output)).toEqual(expect.arrayContaining(Object.keys({ ...errors, ...configErrors })));
  });

  test('has migrations of the same checksums as their sources, whatever the build leaves out', async () => {
    const built = join(installed.folder, 'node_modules', manifest.name, 'dist/src');
    expect(await checksumsIn(built)).toEqual(await checksumsHere());
  });

  test('lets nobody import what it does not name', async () => {
    const { output } = await run(`node -e "require('${manifest.name}/dist/src/config.js')"`);
    expect(output).toContain('ERR_PACKAGE_PATH_NOT_EXPORTED');
  });

  test('has a command that says what it can do', async () => {
    const { exitCode, output } = await run(
      `node 'node_modules/${manifest.name}/${manifest.bin['payment-events-db']}' --help`,
    );
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('Usage: ') as string });
  });

  test('is called by typeorm from where a service has installed it', async () => {
    const datasource = `node_modules/${manifest.name}/dist/ormconfig.js`;
    const { output } = await installed.run(`node node_modules/typeorm/cli.js migration:show -d ${datasource}`, {
      DATABASE_URL: 'postgresql://jo:secret@127.0.0.1:1/nowhere',
    });
    // It was loaded and has tried to connect.
    expect(output).toContain('ECONNREFUSED');
  });
});

describe('a project that has run init', () => {
  const database = useTestDatabase({ empty: true });
  const npxFindsTypeorm = () =>
    symlink(join(ROOT, 'node_modules/typeorm/cli.js'), join(installed.folder, 'node_modules/.bin/typeorm'));
  beforeAll(npxFindsTypeorm);

  test.each([
    ['commonjs', 'JavaScript', {}],
    ['module', 'JavaScript', {}],
    ['commonjs', 'TypeScript', { 'tsconfig.json': '{}' }],
    ['module', 'TypeScript', { 'tsconfig.json': '{}' }],
  ])('migrates by the command that init names: %s, %s', async (type, language, files) => {
    const folder = join(installed.folder, `${type} ${language}`);
    await mkdir(folder);
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type }));
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
    await mkdir(join(folder, 'node_modules'));
    await symlink(join(ROOT, 'node_modules/tsx'), join(folder, 'node_modules/tsx'));
    const at = (command: string) => shell(command, { cwd: folder, env: { DATABASE_URL: database.url } });

    const { output, exitCode } = await at('npx payment-events-db init');
    expect({ output, exitCode }).toMatchObject({ exitCode: 0 });
    const [command] = /.*npx typeorm migration:run .*/.exec(output)!;
    expect(await at(command.trim())).toMatchObject({ exitCode: 0 });
    expect(await at('npx payment-events-db status')).toMatchObject({ exitCode: 0 });
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  });
});

describe('a TypeScript service', () => {
  const PROGRAM = `
    ${SUBPATHS.map((subpath) => `import '${nameOf(subpath)}';`).join('\n')}
    import 'reflect-metadata';
    import { createDataSourceOptions, type Config, entities, migrations, OutboxMessage, PaymentEventsDataSource, readConfig } from 'payment-events-db';
    import { createTestDatabase, startTestServer, type TestServer } from 'payment-events-db/testing';

    export async function main(): Promise<bigint | undefined> {
      const config: Config = readConfig({ DATABASE_URL: 'postgresql://a:b@localhost/c' });
      const server: TestServer = await startTestServer();
      const { url } = await createTestDatabase(server.url);
      const options = createDataSourceOptions({ ...config.dataSource, url });
      const dataSource = await new PaymentEventsDataSource({ ...options, entities, migrations }).initialize();
      const message = await dataSource.getRepository(OutboxMessage).findOneBy({});
      // @ts-expect-error An unknown setting is a mistake: types are there, not any.
      createDataSourceOptions({ url, poolsize: 3 });
      return message?.id;
    }
  `;

  // With the declarations of all packages, and as strict as can be: test/outside/nest-12.spec.ts.
  test.each([
    { module: 'nodenext', moduleResolution: 'nodenext', extension: 'mts' },
    { module: 'node16', moduleResolution: 'node16', extension: 'cts' },
    { module: 'esnext', moduleResolution: 'bundler', extension: 'ts' },
    { module: 'commonjs', moduleResolution: 'node10', extension: 'ts', ignoreDeprecations: '6.0' },
  ])('compiles as $extension under module resolution $moduleResolution', async ({ extension, ...options }) => {
    expect(await typecheck({ [`service.${extension}`]: PROGRAM }, options)).toBe('');
  });

  test('compiles the NestJS services of the how-to, as ES modules and as CommonJS', async () => {
    const services = new DocPage('docs/how-to/use-in-nestjs.md').blocks.filter(({ language }) => language === 'ts');
    expect(services).toHaveLength(2);
    const files = services.flatMap(({ code }, index) => [
      [`${index}.mts`, code] as const,
      [`${index}.cts`, code] as const,
    ]);
    const options = { module: 'node20', experimentalDecorators: true, emitDecoratorMetadata: true };
    expect(await typecheck(Object.fromEntries(files), options)).toBe('');
  });

  async function typecheck(programs: Record<string, string>, compilerOptions: object): Promise<string> {
    for (const [file, program] of Object.entries(programs)) await writeFile(join(installed.folder, file), program);
    const options = {
      target: 'ES2023',
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: ['node'],
      ...compilerOptions,
    };
    await writeFile(
      join(installed.folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions: options, files: Object.keys(programs) }),
    );
    return (await run(`node '${resolve('typescript/bin/tsc')}' -p .`)).output;
  }
});

describe('the linters of packages', () => {
  test('publint finds nothing', async () => {
    const { exitCode, output } = await run(`'${bin('publint')}' run '${packed.tarball}' --strict`);
    expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('All good!') as string });
  });

  test('attw finds that types and code agree for require, import, bundlers, and what reads no exports map', async () => {
    const { exitCode, output } = await run(`'${bin('attw')}' '${packed.tarball}' --no-definitely-typed`);
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
  });
});

describe('package-lock.json', () => {
  test('names no registry, so that npm ci works with any', async () => {
    const lock = await readFile(join(ROOT, 'package-lock.json'), 'utf8');
    expect(lock).not.toContain('"resolved"');
  });
});

const { resolve } = createRequire(__filename);
const bin = (name: string) => join(ROOT, 'node_modules/.bin', name);
