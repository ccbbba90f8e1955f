import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { scripts } from '../../package.json';
import { createProgram } from '../../src/cli/program';
import { migrations } from '../../src/migrations';
import { Checkout } from '../support/checkout';
import { blocksOf, codeBlocks, commandsIn, README } from '../support/readme';
import { currentTestRun } from '../support/test-run';
import { useTestDatabase } from '../support/use-test-database';

jest.setTimeout(300_000);

const ROOT = join(__dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

const RUN_HERE = ['Start', 'Five-minute tour', 'Write a migration'];

/** What this file cannot run, and what runs it instead. */
const RUN_ELSEWHERE: Record<string, string> = {
  'npm cit': '.ci/run: this is a part of it',
  'npm test': '.ci/run',
  'docker compose -f infrastructure/docker/docker-compose.yml up --detach --wait':
    'test/unit/docker-compose.spec.ts compares the file with the default URL; to run it takes Docker and port 5432',
  'npx typeorm-ts-node-commonjs migration:show -d ormconfig.ts': 'typeorm-cli.spec.ts',
  "NODE_OPTIONS='--import tsx' npx typeorm migration:show -d ormconfig.ts": 'typeorm-cli.spec.ts',
  'npm run build': 'typeorm-cli.spec.ts',
  'npx typeorm migration:show -d dist/ormconfig.js': 'typeorm-cli.spec.ts',
  'npm install payment-events-db @nestjs/typeorm typeorm pg reflect-metadata': 'package.spec.ts, from a file',
};

const shellCommands = codeBlocks.filter(({ language }) => language === 'bash').flatMap(({ code }) => commandsIn(code));
const runnable = (section: string) =>
  blocksOf(section, 'bash')
    .flatMap(commandsIn)
    .filter((command) => !(command in RUN_ELSEWHERE));

describe('the README', () => {
  test('has no command that nothing runs', () => {
    const run = RUN_HERE.flatMap(runnable);
    expect(shellCommands.filter((command) => !run.includes(command) && !(command in RUN_ELSEWHERE))).toEqual([]);
    expect(Object.keys(RUN_ELSEWHERE).filter((command) => !shellCommands.includes(command))).toEqual([]);
  });

  test('has no other code than what is run or compared', () => {
    expect(codeBlocks.filter(({ language }) => language !== 'bash').map(({ section }) => section)).toEqual([
      'Write a migration',
      'Write a migration',
      'Use it in a NestJS service',
    ]);
  });

  test('shows the very service that nest.spec.ts runs', () => {
    const [shown] = blocksOf('Use it in a NestJS service', 'ts');
    expect(shown).toBe(read('test/fixtures/readme/app.module.ts').replace("'../../../src'", "'payment-events-db'"));
  });

  test('mentions only npm scripts, files and links that exist', () => {
    const npmScripts = [...README.matchAll(/npm run ([\w:]+)/g)].map(([, name]) => name!);
    expect(npmScripts.filter((name) => !(name in scripts))).toEqual([]);
    const files = [...README.matchAll(/\]\(([^)]+)\)|(\.\/scripts\/\S+\.sh)|npx jest (\S+\.ts)|bash (\.ci\/run)/g)];
    const missing = files.map((match) => match.slice(1).find(Boolean)!).filter((file) => !existsSync(join(ROOT, file)));
    expect(missing).toEqual([]);
  });

  test('has the table of variables that the code has', () => {
    // Prettier pads the cells of a table in Markdown.
    const rows = (text: string) => text.match(/\| `[A-Z_]+` +\|.*\|/g)?.map((row) => row.replace(/ +\|/g, ' |'));
    const defaultUrl = /DEFAULT_DATABASE_URL = '(.*)'/.exec(read('src/config.ts'))![1]!;
    expect(rows(README)).toEqual(
      rows(read('src/config.ts'))!.map((row) => row.replace('{@link DEFAULT_DATABASE_URL}', `\`${defaultUrl}\``)),
    );
  });

  test('has the table of commands that there are', () => {
    const table = README.split('## The command line')[1]!.split('\n## ')[0]!;
    const listed = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
    expect(listed.toSorted()).toEqual(
      createProgram()
        .commands.map((command) => command.name())
        .toSorted(),
    );
  });

  test('quotes messages that the code gives', () => {
    const sources = ['src/cli/explain-error.ts', 'src/migrator/alembic.ts', 'src/migrator/errors.ts']
      .concat('src/testing/errors.ts', 'src/testing/embedded-server.ts')
      .map(read)
      .join('\n');
    const table = README.split('## Troubleshooting')[1]!.split('\n## ')[0]!;
    const said = table.split('\n').flatMap((row) => /^\| (.*?) \|/.exec(row)?.[1] ?? []);
    const quoted = said.slice(1).flatMap((cell) => [...cell.matchAll(/`([^`…]+)`/g)].map(([, text]) => text!));
    expect(quoted.length).toBeGreaterThan(7);
    const written = sources.replace(/\$\{[^}]*\}/g, '5432');
    expect(quoted.filter((text) => !written.includes(text))).toEqual([]);
  });
});

describe('who follows the README', () => {
  let checkout: Checkout;
  beforeAll(async () => {
    checkout = await Checkout.create();
  });
  afterAll(() => checkout.remove());

  describe('from the start through the tour', () => {
    const database = useTestDatabase({ empty: true });

    test('sees every command succeed, and ends with a migrated and seeded database', async () => {
      for (const command of [...runnable('Start'), ...runnable('Five-minute tour')]) {
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
    const [migration, column] = blocksOf('Write a migration', 'ts');
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
