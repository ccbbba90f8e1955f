import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Command } from 'commander';
import { historyCommand } from '../../src/cli/commands/history';
import { migrateCommand } from '../../src/cli/commands/migrate';
import { planCommand } from '../../src/cli/commands/plan';
import { revertCommand } from '../../src/cli/commands/revert';
import { stampCommand } from '../../src/cli/commands/stamp';
import { statusCommand } from '../../src/cli/commands/status';
import { migrations } from '../../src/migrations';
import { LOCK_OR_STOP } from '../../src/migrator/migration-lock';
import { type MigrationPlan } from '../../src/migrator/plan';
import { VERSION } from '../../src/migrator/version';
import { cliHere, cliProcess } from '../support/processes/cli';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

const NAMES = migrations.map(({ name }) => name);
const LAST = NAMES.at(-1)!;
const EXPANDED = NAMES.slice(0, 4);
const TIME = '20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z';

const database = useTestDatabase({ empty: true });
const cli = (...args: string[]) => cliProcess(database.url, args);
/** For what a process of its own would not show any better. */
const here = (command: string, ...args: string[]) => cliHere(database.url, COMMANDS[command]!(), args);
const COMMANDS: Record<string, () => Command> = {
  history: historyCommand,
  migrate: migrateCommand,
  plan: planCommand,
  revert: revertCommand,
  stamp: stampCommand,
  status: statusCommand,
};
const lines = (text: string) => text.trimEnd().split('\n');
const printed = (...text: string[]) => ({ stdout: `${text.join('\n')}\n`, stderr: '', exitCode: 0 });

test('on an empty database status ends with 2, and like history and plan it changes nothing', async () => {
  const [status, history] = await Promise.all([cli('status'), cli('history')]);
  expect(status).toMatchObject({ stderr: '', exitCode: 2 });
  expect(lines(status.stdout)).toEqual([
    expect.stringMatching(/^migration +state$/),
    ...NAMES.map((name) => expect.stringMatching(new RegExp(`^${name} +pending$`)) as string),
  ]);
  expect(history).toEqual(printed('migration  applied at  took  by version  by user'));
  expect(await here('status', '--json')).toEqual({
    ...printed(JSON.stringify({ current: null, pending: NAMES, unknown: [], changed: [] })),
    exitCode: 2,
  });
  expect(await here('history', '--json')).toEqual({ ...printed(), stdout: '' });
  const { stdout } = await here('plan', '--to', 'ExpandIndexes', '--json');
  const plan = JSON.parse(stdout) as MigrationPlan;
  expect(plan.migrations.map(({ name }) => name)).toEqual(EXPANDED);
  expect(plan.migrations[0]!.statements.at(0)).toBe('BEGIN');
  expect(JSON.parse((await here('migrate', '--to', EXPANDED[3]!, '--dry-run', '--json')).stdout)).toEqual(plan);
  expect(await database.query(`SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace`)).toEqual([]);
});

test('migrate says on standard error how far it is and on standard output what it has run', async () => {
  const json = await cli('migrate', '--to', 'ExpandIndexes', '--json');
  expect(json.exitCode).toBe(0);
  expect(JSON.parse(json.stdout)).toEqual({ applied: EXPANDED });
  expect(lines(json.stderr).filter((line) => line.startsWith('Applying'))).toEqual(
    EXPANDED.map((name) => `Applying ${name}`),
  );
  expect(JSON.parse((await here('status', '--json')).stdout)).toEqual({
    ...{ current: EXPANDED[3], pending: NAMES.slice(4), unknown: [], changed: [] },
  });

  const rest = await here('migrate');
  expect(lines(rest.stdout)).toEqual(NAMES.slice(4).map((name) => `Applied ${name}.`));
  expect(rest).toMatchObject({ stderr: expect.stringContaining(`Applying ${LAST}`) as string, exitCode: 0 });
  expect(await here('migrate')).toEqual(printed('No migration was to be run.'));
  expect(await here('plan')).toEqual(printed('-- No migration is to be run.'));
});

test('history tells when each was applied, how long that took, by which version and by whom', async () => {
  const [status, history] = await Promise.all([cli('status'), cli('history')]);
  expect(status).toMatchObject({ stderr: '', exitCode: 0 });
  expect(status.stdout.match(/ applied$/gm)).toHaveLength(NAMES.length);
  const user = new URL(database.url).username;
  const version = VERSION.replaceAll('.', '\\.');
  expect(history).toMatchObject({ stderr: '', exitCode: 0 });
  expect(lines(history.stdout)).toEqual([
    expect.stringMatching(/^migration +applied at +took +by version +by user$/),
    ...NAMES.map((name) => expect.stringMatching(`^${name} +${TIME} +\\d+\\.\\d\\d s +${version} +${user}$`) as string),
  ]);
  const json = lines((await here('history', '--json')).stdout).map((line) => JSON.parse(line) as object);
  expect(json).toEqual(
    NAMES.map((name) => ({
      ...{ name, state: 'applied', packageVersion: VERSION, appliedBy: user },
      appliedAt: expect.stringMatching(`^${TIME}$`) as string,
      durationMs: expect.any(Number) as number,
    })),
  );
});

test('revert takes back the last one, or all that came after another, newest first', async () => {
  const dryRun = await here('revert', '--dry-run');
  expect(dryRun.stdout).toContain(`-- Revert ${LAST}\n`);
  expect(dryRun.stdout).toContain(`DELETE FROM payment_events_db_migrations WHERE name = '${LAST}';`);
  const planned = await here('revert', '--to', 'ExpandIndexes', '--dry-run', '--json');
  const after = NAMES.slice(4).reverse();
  expect((JSON.parse(planned.stdout) as MigrationPlan).migrations.map(({ name }) => name)).toEqual(after);
  expect((await here('status')).exitCode).toBe(0);

  const one = await here('revert');
  expect(one).toMatchObject({ stdout: `Reverted ${LAST}.\n`, stderr: `Reverting ${LAST}\n`, exitCode: 0 });
  const many = await cli('revert', '--to', 'ExpandIndexes', '--json');
  expect(many.exitCode).toBe(0);
  expect(JSON.parse(many.stdout)).toEqual({ reverted: after.slice(1) });
  expect(await here('revert', '--to', 'ExpandIndexes')).toEqual(printed('No migration was to be reverted.'));
  expect(await here('revert', '--to', LAST)).toMatchObject({
    stderr: expect.stringContaining(`There is no migration ${LAST}.`) as string,
    exitCode: 4,
  });
});

test('goes on to its end when nobody reads it any more', async () => {
  const toNobody = '"$0" "$1" plan | true';
  const ended = promisify(execFile)(
    'bash',
    ['-o', 'pipefail', '-c', toNobody, process.execPath, compiled('src/cli/main.ts')],
    {
      env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', DATABASE_URL: database.url },
    },
  );
  expect(await ended).toMatchObject({ stderr: expect.stringMatching(/^Schema public of .+\n$/) as string });
});

test('history has the same columns where the stock command has migrated', async () => {
  const typeorm = [join('node_modules', 'typeorm', 'cli.js'), 'migration:run', '-d', 'ormconfig.ts'];
  await promisify(execFile)(process.execPath, ['--import', 'tsx', ...typeorm], {
    env: { ...process.env, DATABASE_URL: database.url },
  });
  const history = lines((await here('history', '--json')).stdout).map((line) => JSON.parse(line) as object);
  expect(history).toHaveLength(NAMES.length);
  for (const row of history) {
    expect(row).toMatchObject({ durationMs: expect.any(Number) as number, packageVersion: VERSION });
  }
});

describe('where the history and the code do not agree', () => {
  const REFUND = 'AddRefunds1795500000000';

  test('status ends with 1 and names what differs, migrate refuses with 4, and stamp corrects it', async () => {
    await database.query(`
      UPDATE payment_events_db_migrations SET checksum = 'of another' WHERE name = '${NAMES[4]}';
      DELETE FROM payment_events_db_migrations WHERE name = '${LAST}';`);
    const status = await here('status');
    expect(status.stdout).toMatch(new RegExp(`^${NAMES[4]} +changed$`, 'm'));
    expect(status.stdout).toMatch(new RegExp(`^${LAST} +pending$`, 'm'));
    expect(status.stderr).toContain(`These migrations were changed after this database had run them:\n  ${NAMES[4]}\n`);
    expect(status.exitCode).toBe(1);
    for (const command of ['migrate', 'revert', 'plan']) {
      expect(await here(command)).toEqual({ stdout: '', stderr: status.stderr, exitCode: 4 });
    }

    await database.query(`
      INSERT INTO payment_events_db_migrations ("timestamp", name) VALUES (1795500000000, '${REFUND}')`);
    const unknown = await here('status', '--json');
    expect(JSON.parse(unknown.stdout)).toEqual({
      ...{ current: NAMES.at(-2), pending: [LAST], unknown: [REFUND], changed: [NAMES[4]] },
    });
    expect(unknown.stderr).toContain(`migrations that this version of the code does not know:\n  ${REFUND}\n`);
    expect(unknown.exitCode).toBe(1);
    expect((await here('migrate')).exitCode).toBe(4);

    const changes = [
      `Recorded as applied: ${LAST}.`,
      `Recorded as the code has it now: ${NAMES[4]}.`,
      `No longer recorded as applied: ${REFUND}.`,
    ];
    expect(await here('stamp', LAST, '--dry-run')).toEqual(printed(...changes.map((change) => `Would be: ${change}`)));
    expect((await here('status')).exitCode).toBe(1);
    expect(await cli('stamp', LAST.slice(0, -13))).toEqual(printed(...changes));
    expect((await here('status')).exitCode).toBe(0);
    expect(await here('stamp', LAST)).toEqual(printed('The history said so already.'));
    expect(await here('stamp', LAST, '--json')).toEqual(
      printed(JSON.stringify({ dryRun: false, recorded: [], mended: [], ended: [], removed: [] })),
    );
  });
});

test('while another session migrates, each waits as long as the environment says and then ends with 1', async () => {
  process.env.PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS = '100';
  const holder = await database.connect();
  const [session] = (await holder.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows;
  await holder.query(LOCK_OR_STOP);
  try {
    for (const args of [['migrate'], ['revert'], ['stamp', LAST]] as [string, ...string[]][]) {
      expect(await here(...args)).toEqual({
        stdout: '',
        stderr: expect.stringContaining(`did not end within 0.1 s: process ${session!.pid} (test, `) as string,
        exitCode: 1,
      });
    }
  } finally {
    await holder.end();
    delete process.env.PAYMENT_EVENTS_DB_MIGRATION_WAIT_MS;
  }
  expect((await here('status')).exitCode).toBe(0);
});

test('a name that is none is refused with 4 and the names that are, a wrong command line with 64 and the help', async () => {
  for (const args of [
    ['migrate', '--to', 'AddRefunds'],
    ['plan', '--to', 'AddRefunds'],
    ['revert', '--to', 'AddRefunds'],
    ['stamp', 'AddRefunds'],
  ] as [string, ...string[]][]) {
    const { stdout, stderr, exitCode } = await here(...args);
    expect({ args, stdout, exitCode }).toEqual({ args, stdout: '', exitCode: 4 });
    expect(stderr).toBe(
      `There is no migration AddRefunds. The names are:\n${NAMES.map((name) => `  ${name}\n`).join('')}`,
    );
  }
  for (const args of [['migrate', '--to'], ['stamp'], ['status', '--nonsense'], ['history', LAST]] as [
    string,
    ...string[],
  ][]) {
    const { stderr, exitCode } = await here(...args);
    expect(stderr).toContain(`Usage: payment-events-db ${args[0]}`);
    expect(stderr).toContain('2 migrations pending');
    expect(exitCode).toBe(64);
  }
});
