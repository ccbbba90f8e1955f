import { type Command } from 'commander';
import { checkCommand } from '../../src/cli/commands/check';
import { grantsCommand } from '../../src/cli/commands/grants';
import { PermissionDeniedError } from '../../src/errors';
import { Outbox } from '../../src/outbox/outbox';
import { cliHere } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { quietDataSource } from '../support/database/quiet-data-source';
import { commandsIn } from '../support/docs/doc-page';
import { refusal } from '../support/database/refusal';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
beforeAll(() => roles.handOver());

const PAGE = 'docs/how-to/least-privilege.md';
const LOGINS =
  /\b(authorization_api\w*|auth_processor_worker|outbox_relay|payment_sweeper|config_manager|secret_keeper|ada)\b/g;

/** The page's code with names that no other test has. */
const code = (language: string) =>
  codeBlocks(PAGE, language).replaceAll('payment_events_', `${roles.prefix}_`).replace(LOGINS, `${roles.prefix}_$1`);

const COMMANDS: Record<string, () => Command> = { grants: grantsCommand, check: checkCommand };
async function runCommand(command: string) {
  const [npx, tool, name, ...words] = command.split(' ');
  expect([npx, tool]).toEqual(['npx', 'payment-events-db']);
  const args = words
    .join(' ')
    .replace(/ ?> grants\.sql$/, '')
    .split(' ')
    .filter(Boolean);
  const run = await cliHere(roles.url('owner'), COMMANDS[name!]!(), [...args, '--role-prefix', roles.prefix]);
  expect(run).toMatchObject({ stderr: '', exitCode: 0 });
  return run.stdout;
}

async function as<T>(login: string, password: string, use: (outbox: Outbox) => Promise<T>): Promise<T> {
  const url = new URL(database.url);
  [url.username, url.password] = [`${roles.prefix}_${login}`, password];
  const dataSource = await quietDataSource({ url: url.href });
  try {
    return await use(new Outbox(dataSource));
  } finally {
    await dataSource.destroy();
  }
}

test('the page "Give each service only what it needs" does what it says, as an owner who is no superuser', async () => {
  const owner = await roles.as('owner');
  const [grants, dryRun, again, check, ignoring, ...noMore] = commandsIn(code('bash'));
  const [api, worker, relay, sweeper, configs, secrets, ada, second, count, drop, lend, takeBack, ...none] = code('sql')
    .split(/(?<=;)\n/)
    .map((statement) => statement.trim())
    .filter(Boolean);
  expect([noMore, none]).toEqual([[], []]);

  expect(await runCommand(grants!)).toContain(roles.group('readonly'));
  await owner.query(await runCommand(dryRun!));
  for (const login of [api, worker, relay, sweeper, configs, secrets, ada]) await owner.query(login!);
  await runCommand(again!);
  for (const command of [check, ignoring]) {
    expect(await runCommand(command!)).toBe('The schema is that of the newest migration.\n');
  }

  const onCall = (use: (outbox: Outbox) => Promise<unknown>) => as('ada', 'a fourth', use);
  await onCall((outbox) => outbox.stats());
  await expect(onCall((outbox) => outbox.requeueAll())).rejects.toThrow(PermissionDeniedError);
  await owner.query(lend!);
  await onCall((outbox) => outbox.requeueAll());
  await owner.query(takeBack!);
  await expect(onCall((outbox) => outbox.requeueAll())).rejects.toThrow(PermissionDeniedError);
  await as('outbox_relay', 'a third', (outbox) => outbox.requeueAll());

  await owner.query(second!);
  expect(await owner.query(count!)).toEqual([{ count: '0' }]);
  await owner.query(drop!);
  const noOne = () => Promise.reject(new Error('It could log in.'));
  expect(await refusal(as('authorization_api', 'a long random one', noOne))).toMatchObject({ code: '28P01' });
  await expect(as('authorization_api_2', 'a new long random one', (outbox) => outbox.requeueAll())).rejects.toThrow(
    PermissionDeniedError,
  );
});
