import { type Command } from 'commander';
import { parse } from 'yaml';
import { checkCommand } from '../../src/cli/commands/check';
import { migrateCommand } from '../../src/cli/commands/migrate';
import { planCommand } from '../../src/cli/commands/plan';
import { revertCommand } from '../../src/cli/commands/revert';
import { statusCommand } from '../../src/cli/commands/status';
import { verifyCommand } from '../../src/cli/commands/verify';
import { cliHere } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { commandsIn } from '../support/docs/doc-page';
import { useTestDatabase } from '../support/database/use-test-database';

const DEPLOY = 'docs/how-to/deploy-migrations.md';
const WAITING = 'docs/how-to/a-migration-waits-for-a-lock.md';

const COMMANDS: Record<string, () => Command> = {
  check: checkCommand,
  migrate: migrateCommand,
  plan: planCommand,
  revert: revertCommand,
  status: statusCommand,
  verify: verifyCommand,
};

/** The words after `npx payment-events-db` of each command of a page. */
const commandsOf = (page: string) =>
  commandsIn(codeBlocks(page, 'bash')).map((line) => line.replace('npx payment-events-db ', '').split(' '));

async function run(url: string, [name, ...args]: string[]) {
  return await cliHere(url, COMMANDS[name!]!(), args);
}

describe('deploy-migrations', () => {
  const empty = useTestDatabase({ empty: true });
  const database = useTestDatabase();

  test('the container of the job migrates, and status turns from 2 to 0', async () => {
    const blocks = parse(codeBlocks(DEPLOY, 'yaml')) as {
      services: { migrate: { command: string[] } };
      spec: { template: { spec: { containers: { command: string[]; env: { name: string }[] }[] } } };
    };
    // Both blocks: they have no key in common.
    expect(blocks.services.migrate.command).toEqual(['migrate']);
    const [container] = blocks.spec.template.spec.containers;
    expect(container!.command.slice(0, 2)).toEqual(['npx', 'payment-events-db']);
    expect(container!.env.map(({ name }) => name)).toEqual(['DATABASE_URL']);
    expect(await run(empty.url, ['status'])).toMatchObject({ exitCode: 2 });
    expect(await run(empty.url, container!.command.slice(2))).toMatchObject({ exitCode: 0 });
    expect(await run(empty.url, ['status'])).toMatchObject({ exitCode: 0 });
  });

  test('every command of the page does its work, one after the other', async () => {
    const commands = commandsOf(DEPLOY);
    expect(commands.length).toBeGreaterThan(7);
    for (const words of commands) {
      // What it would do is tried where there is nothing to lose; the last one has been reverted by then.
      const { exitCode, stderr } = await run(database.url, words);
      expect({ words, exitCode, stderr }).toEqual({ words, exitCode: 0, stderr: expect.anything() as string });
    }
  });
});

describe('a-migration-waits-for-a-lock', () => {
  const database = useTestDatabase();

  test('every statement of the page runs', async () => {
    const statements = codeBlocks(WAITING, 'sql')
      .split(/;\n/)
      .filter((sql) => sql.trim() !== '');
    expect(statements.length).toBeGreaterThan(5);
    // Session 0 is nobody's.
    for (const sql of statements) await database.query(sql.replace('4711', '0'));
  });

  test('so does every command', async () => {
    for (const words of commandsOf(WAITING)) {
      expect({ words, ...(await run(database.url, words)) }).toMatchObject({ words, exitCode: 0 });
    }
  });
});
