import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { migrations } from '../../src/migrations';
import { Checkout } from '../support/processes/checkout';
import { commandsIn, DEVELOPMENT as PAGE, DocPage, README } from '../support/docs/doc-page';
import { currentTestRun } from '../../src/testing/test-run';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(300_000);

const ROOT = join(__dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const RUN_HERE = ['Five-minute tour', 'Write a migration'];

/** What this file cannot run, and what runs it instead. */
const RUN_ELSEWHERE: Record<string, string> = {
  'npm test': '.ci/run',
  'docker compose -f infrastructure/docker/docker-compose.yml up --detach --wait':
    'test/unit/docker-compose.spec.ts compares the file with the default URL; to run it takes Docker and port 5432',
  'npx typeorm-ts-node-commonjs migration:show -d ormconfig.ts': 'typeorm-cli.spec.ts',
  "NODE_OPTIONS='--import tsx' npx typeorm migration:show -d ormconfig.ts": 'typeorm-cli.spec.ts',
  'npm run build': 'package.spec.ts',
  'npx typeorm migration:show -d dist/ormconfig.js': 'typeorm-cli.spec.ts',
  'mkdir first-payment': 'tutorial.spec.ts',
};

const shellCommands = PAGE.blocks.filter(({ language }) => language === 'bash').flatMap(({ code }) => commandsIn(code));
const runnable = (section: string) =>
  PAGE.blocksOf(section, 'bash')
    .flatMap(commandsIn)
    .filter((command) => !(command in RUN_ELSEWHERE));

describe('the page on working on the repository', () => {
  test('has no command that nothing runs', () => {
    const run = RUN_HERE.flatMap(runnable);
    expect(shellCommands.filter((command) => !run.includes(command) && !(command in RUN_ELSEWHERE))).toEqual([]);
    expect(Object.keys(RUN_ELSEWHERE).filter((command) => !shellCommands.includes(command))).toEqual([]);
  });

  test('has no other code than what is run', () => {
    const others = PAGE.blocks.filter(({ language }) => language !== 'bash');
    expect(others.map(({ section }) => section)).toEqual(['Write a migration', 'Write a migration']);
  });

  test('names a test and a script of CI that exist', () => {
    const files = [...PAGE.text.matchAll(/npx jest (\S+\.ts)|bash (\.ci\/run)/g)].map(
      ([, test, script]) => test ?? script!,
    );
    expect(files.length).toBeGreaterThan(1);
    expect(files.filter((file) => !existsSync(join(ROOT, file)))).toEqual([]);
  });
});

describe.each(['docs/development.md', 'docs/how-to/connect.md'])('the troubleshooting of %s', (path) => {
  test('quotes messages that the code gives', () => {
    const sources = ['src/cli/explain-error.ts', 'src/migrator/alembic.ts', 'src/migrator/errors.ts']
      .concat('src/testing/errors.ts', 'src/testing/embedded-server.ts')
      .concat('src/connection/asking-client.ts', 'src/database/tls-problem.ts')
      .map(read)
      .join('\n');
    const said = new DocPage(path)
      .section('Troubleshooting')
      .split('\n')
      .flatMap((row) => /^\| (.*?) \|/.exec(row)?.[1] ?? []);
    const quoted = said.slice(1).flatMap((cell) => [...cell.matchAll(/`([^`…]+)`/g)].map(([, text]) => text!));
    expect(quoted.length).toBeGreaterThan(4);
    const written = sources.replace(/\$\{[^}]*\}/g, '5432');
    expect(quoted.filter((text) => !written.includes(text))).toEqual([]);
  });
});

describe('a newcomer who follows the README and this page', () => {
  let checkout: Checkout;
  beforeAll(async () => {
    checkout = await Checkout.create();
  });
  afterAll(() => checkout.remove());

  describe('from the start through the tour', () => {
    const database = useTestDatabase({ empty: true });

    test('sees every command succeed, and ends with a migrated and seeded database', async () => {
      // The other one runs all tests: .ci/run.
      const start = README.blocksOf('Start', 'bash')
        .flatMap(commandsIn)
        .filter((command) => command !== 'npm cit');
      expect(start).toHaveLength(1);
      for (const command of [...start, ...runnable('Five-minute tour')]) {
        const { exitCode, output } = await checkout.run(command, { env: { DATABASE_URL: database.url } });
        expect({ command, exitCode, output }).toMatchObject({ exitCode: 0 });
      }
      expect(await database.query('SELECT name FROM payment_events_db_migrations ORDER BY id')).toEqual(
        migrations.map(({ name }) => ({ name })),
      );
      expect(await database.query('SELECT processor_name FROM restaurant_payment_configs')).toEqual([
        { processor_name: 'stripe' },
      ]);
    });
  });

  describe('to write a migration', () => {
    const database = useTestDatabase();
    const [migration, column] = PAGE.blocksOf('Write a migration', 'ts');
    const [create, ...rest] = runnable('Write a migration');
    const env = () => ({ DATABASE_URL: database.url, TEST_DATABASE_URL: currentTestRun().serverUrl });

    test('gets one that goes up, down and up, compiles, and fits the entities and the catalog', async () => {
      expect(await checkout.run(create!, { env: env() })).toMatchObject({ exitCode: 0 });
      const folder = join(checkout.folder, 'src/migrations');
      const file = readdirSync(folder).find((name) => name.endsWith('-AddTerminal.ts'))!;
      await writeFile(join(folder, file), migration!);

      const index = join(folder, 'index.ts');
      await appendFile(index, `import { AddTerminal1795400000000 } from './${file.replace('.ts', '')}';\n`);
      await edit(index, /^\];$/m, '  AddTerminal1795400000000,\n];');
      await edit(join(checkout.folder, 'src/entities/auth-request-state.entity.ts'), /^\}$/m, `${column}}`);

      for (const command of [...rest, 'npx tsc -p tsconfig.build.json --noEmit']) {
        const { exitCode, output } = await checkout.run(command, { env: env() });
        expect({ command, exitCode, output }).toMatchObject({ exitCode: 0 });
      }
      const catalog = await readFile(join(checkout.folder, 'src/schema/catalogs/target.ts'), 'utf8');
      expect(catalog).toContain('idx_auth_request_state_terminal');
    });
  });
});

async function edit(file: string, from: RegExp, to: string): Promise<void> {
  const before = await readFile(file, 'utf8');
  expect(before).toMatch(from);
  await writeFile(
    file,
    before.replace(from, () => to),
  );
}
