import { OutsideProject } from '../support/outside/project';
import { NODE_VERSIONS, nodeFolders } from '../support/outside/node-versions';
import { IMPORTS, INSTALL, MIGRATION_RUN, OPERATED, REQUIRES } from '../support/outside/programs';
import { packedPackage } from '../support/processes/packed-package';
import { type Finished } from '../support/processes/shell';
import { useTestDatabase } from '../support/database/use-test-database';

let nodes: Record<string, string>;
let project: OutsideProject;
let installed: Finished;
beforeAll(async () => {
  nodes = await nodeFolders();
  project = await OutsideProject.create(await packedPackage());
  installed = await project.install(INSTALL);
});
afterAll(() => project.remove());

test('three lines of Node.js are promised', () => {
  expect(NODE_VERSIONS.map((version) => Number.parseInt(version))).toEqual([20, 22, 24]);
});

test('the line of the README installs the package without one warning', () => {
  expect(installed).toMatchObject({ exitCode: 0 });
  expect(installed.output).not.toMatch(/warn/i);
});

describe('two copies of the package in one process', () => {
  const database = useTestDatabase();

  test('work beside each other, and an error of either has its name and code', async () => {
    await project.write({
      'copies.cjs': `
        require('reflect-metadata');
        const copies = [require('payment-events-db'), require('payment-events-db-copy')];
        async function main() {
          const found = [];
          for (const { AuthRequests, createDataSourceOptions, PaymentEvent, PaymentEventsDataSource, readConfig } of copies) {
            const options = createDataSourceOptions(readConfig().dataSource);
            const dataSource = await new PaymentEventsDataSource(options).initialize();
            const error = await new AuthRequests(dataSource).authorize({}).catch((error) => error);
            found.push({ events: await dataSource.getRepository(PaymentEvent).count(), name: error.name, code: error.code });
            await dataSource.destroy();
          }
          console.log(JSON.stringify({ found, areTwo: copies[0] !== copies[1] }));
        }
        main();`,
    });
    await project.run('cp -R node_modules/payment-events-db node_modules/payment-events-db-copy');
    const { output } = await project.run('node copies.cjs', { env: { DATABASE_URL: database.url } });
    await project.run('rm -R node_modules/payment-events-db-copy');
    const one = { events: 0, name: 'InvalidCommandError', code: 'INVALID_COMMAND' };
    expect(JSON.parse(output)).toEqual({ found: [one, one], areTwo: true });
  });
});

describe.each(NODE_VERSIONS)('on Node.js %s', (version) => {
  const database = useTestDatabase({ empty: true });
  const run = (command: string) => project.run(command, { env: { DATABASE_URL: database.url }, node: nodes[version]! });

  test('is what the commands run by', async () => {
    expect(await run('node --version')).toEqual({ exitCode: 0, output: `v${version}\n` });
  });

  test('npm finds no dependency that needs another', async () => {
    const { exitCode, output } = await run('npm install --dry-run --engine-strict --offline --no-audit --no-fund');
    expect({ exitCode, output }).toMatchObject({ exitCode: 0 });
    expect(output).not.toMatch(/EBADENGINE|warn/i);
  });

  test("TypeORM's command migrates, and the command line sees that it is done", async () => {
    expect(await run(MIGRATION_RUN)).toMatchObject({ exitCode: 0 });
    expect(await run('npx payment-events-db status')).toMatchObject({ exitCode: 0 });
  });

  test.each([
    ['require', 'operate.cjs', REQUIRES],
    ['import', 'operate.mjs', IMPORTS],
  ])('%s: a script authorizes a request and reads it, without a warning', async (_how, file, program) => {
    await project.write({ [file]: program });
    const { output } = await run(`node ${file}`);
    expect(JSON.parse(output)).toEqual(OPERATED);
  });
});
