import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { migrations } from '../../src/migrations';
import { Checkout } from '../support/processes/checkout';
import { commandsIn, DEVELOPMENT } from '../support/docs/doc-page';
import { packedPackage } from '../support/processes/packed-package';
import { useTestDatabase } from '../support/database/use-test-database';

// A command that starts a loader takes seconds where other work keeps the processor busy.

const names = migrations.map(({ name }) => name);
const SHOW = / migration:show -d (\S+)/;

/** Every way the page has of calling typeorm; `command` gives the command line for another of its commands. */
const forms = DEVELOPMENT.blocksOf('The typeorm command', 'bash')
  .flatMap(commandsIn)
  .filter((line) => SHOW.test(line))
  .map((line) => ({ line, command: (name: string) => line.replace(SHOW, ` ${name} -d $1`) }));

let checkout: Checkout;
beforeAll(async () => {
  checkout = await Checkout.create();
  await checkout.takeBuild(await packedPackage());
});
afterAll(() => checkout.remove());

test('the page names a form for ts-node, for tsx and for compiled code', () => {
  const loaders = [
    /^npx typeorm-ts-node-commonjs .*ormconfig\.ts$/,
    /--import tsx.*ormconfig\.ts$/,
    /^npx typeorm .*\.js$/,
  ];
  expect(forms.map(({ line }) => loaders.findIndex((loader) => loader.test(line)))).toEqual([0, 1, 2]);
});

describe.each(forms)('$line', ({ command }) => {
  const database = useTestDatabase({ empty: true });
  const run = (name: string) => checkout.run(command(name), { env: { DATABASE_URL: database.url } });

  test('applies, and shows that it has', async () => {
    expect(await run('migration:run')).toMatchObject({ exitCode: 0 });
    const shown = await run('migration:show');
    expect(shown).toMatchObject({ exitCode: 0 });
    for (const name of names) expect(shown.output).toMatch(new RegExp(`\\[X\\] \\d+ ${name}`));
  });
});

describe('npm run', () => {
  const database = useTestDatabase({ empty: true });
  const run = (name: string) => checkout.run(`npm run ${name}`, { env: { DATABASE_URL: database.url } });

  test('shows, applies, compares, reverts and applies again', async () => {
    const before = await run('migration:show');
    expect(before).toMatchObject({ exitCode: 0 });
    for (const name of names) expect(before.output).toContain(`[ ] ${name}`);

    const applied = await run('migration:run');
    expect(applied).toMatchObject({ exitCode: 0 });
    for (const name of names) expect(applied.output).toContain(`${name} has been executed successfully`);

    const compared = await run('migration:check');
    expect(compared.output).toContain('No changes in database schema were found');
    expect(compared.exitCode).toBe(0);

    const reverted = await run('migration:revert');
    expect(reverted.output).toContain(`${names.at(-1)} has been reverted successfully`);
    expect(reverted.exitCode).toBe(0);
    const shown = await run('migration:show');
    for (const name of names.slice(0, -1)) expect(shown.output).toMatch(new RegExp(`\\[X\\] \\d+ ${name}`));
    expect(shown.output).toContain(`[ ] ${names.at(-1)}`);

    expect(await run('migration:run')).toMatchObject({ exitCode: 0 });
    expect(await database.query('SELECT name FROM payment_events_db_migrations ORDER BY id')).toEqual(
      names.map((name) => ({ name })),
    );
  });
});

describe('the npm scripts', () => {
  const database = useTestDatabase();
  const run = (command: string, env?: NodeJS.ProcessEnv) =>
    checkout.run(command, { env: { DATABASE_URL: database.url, ...env } });
  const files = () => readdirSync(join(checkout.folder, 'src/migrations'));

  test('migration:check fails on a database that is not what the entities say', async () => {
    await database.query('ALTER TABLE outbox ADD COLUMN by_hand text');
    const { exitCode, output } = await run('npm run migration:check');
    await database.query('ALTER TABLE outbox DROP COLUMN by_hand');
    expect(output).toContain('by_hand');
    expect(exitCode).toBe(1);
  });

  test('migration:create makes a file for the name, in its place', async () => {
    expect(await run('npm run migration:create -- AddRefunds')).toMatchObject({ exitCode: 0 });
    expect(files()).toContainEqual(expect.stringMatching(/^\d{13}-AddRefunds\.ts$/));
  });

  test('migration:generate drafts what the entities have and the database lacks', async () => {
    await database.query('DROP INDEX idx_payment_token');
    expect(await run('npm run migration:generate -- RenewIndex')).toMatchObject({ exitCode: 0 });
    expect(files()).toContainEqual(expect.stringMatching(/^\d{13}-RenewIndex\.ts$/));
  });

  test('a DATABASE_URL that is none is named, and its password not printed', async () => {
    const { exitCode, output } = await run('npm run migration:run', { DATABASE_URL: 'postgresql://jo:hunter2@' });
    expect(output).toContain('DATABASE_URL must look like');
    expect(output).not.toContain('hunter2');
    expect(exitCode).toBe(1);
  });
});
