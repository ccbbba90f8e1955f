import { type DataSource } from 'typeorm';
import { sweepCommand } from '../../src/cli/commands/sweep';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { createProgram } from '../../src/cli/program';
import { DEFAULTS } from '../../src/sweeper/sweeper-options';
import { SWEEPER_LEASE_ID, Sweeper } from '../../src/sweeper/sweeper';
import { SweepProcess } from '../fixtures/sweeper/sweep-process';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { codeBlocks } from '../support/docs/doc-code';
import { commandsIn } from '../support/docs/doc-page';
import { cliHere, programHere } from '../support/processes/cli';
import { until } from '../support/relay/relayed';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';
import { aLostHold, aLostRequest, forgetAll, HOUR, letPass, MINUTE, queued } from '../support/sweeper/sweeping';

const database = useTestDatabase();
const roles = useRoles(database);
let dataSource: DataSource;
beforeAll(async () => {
  await roles.setUp();
  dataSource = await database.dataSource();
});
beforeEach(() => forgetAll(database));
afterEach(() => SweepProcess.killAll());

const here = (args: string[], url = database.url) => cliHere(url, sweepCommand(), args);
const PAGE = 'docs/how-to/run-a-sweeper.md';

test('--once says what each task came to, and --dry-run what it would come to', async () => {
  await aLostRequest(dataSource);
  const { processorAuthId, authRequestId } = await aLostHold(dataSource);
  const soon = await aLostHold(dataSource, { state: 'held' });
  await database.query('UPDATE auth_holds SET sweeps = 10 WHERE processor_auth_id = $1', [processorAuthId]);
  await letPass(database, 10 * HOUR);
  await database.query(`UPDATE auth_holds SET hold_expires_at = '2999-01-01T00:00:00Z' WHERE processor_auth_id = $1`, [
    soon.processorAuthId,
  ]);
  const args = ['--lapsing-within-ms', String(100 * 365 * 24 * HOUR), '--stuck-after-ms', String(HOUR)];
  const dry = await here(['--dry-run', ...args]);
  expect(dry).toMatchObject({ stderr: '', exitCode: 0 });
  expect(dry.stdout.split('\n')).toEqual([
    'Voids to send again: 0',
    'Stuck requests to send again: 2',
    'Unsettled requests to send again: 0',
    'Need a person: 0',
    'Requests to expire: 0',
    'Idempotency keys to purge: 0',
    'Leases to purge: 0',
    'Messages to purge: 0',
    `Would give up the void of stripe ${processorAuthId} (request ${authRequestId}): NOT_VOIDED_IN_TIME`,
    '',
  ]);
  const once = await here(['--once', ...args]);
  expect(once.stdout).toContain('Stuck requests sent again: 2\n');
  expect(once.stdout).toContain(
    `Gave up the void of stripe ${processorAuthId} (request ${authRequestId}): NOT_VOIDED_IN_TIME\n`,
  );
  expect(await queued(database)).toHaveLength(2);
  await letPass(database, 2 * MINUTE);
  expect((await here(['--once'])).stdout).toContain(
    'Stuck requests sent again: 0, since the outbox is late: look at the relay\n',
  );
});

test('--json prints what runOnce gives', async () => {
  const { stdout, exitCode } = await here(['--once', '--json', '--expiry-interval-ms', '0']);
  expect(JSON.parse(stdout)).toEqual({
    ...{ outcome: 'swept', dryRun: false, outboxAgeMs: null, keys: 0, leases: 0, messages: 0 },
    voiding: { sent: [], heldBack: null, givenUp: [] },
    stuck: { sent: [], heldBack: null },
    unsettled: { sent: [], heldBack: null },
    listing: { requests: [], lapsing: [] },
  });
  expect(exitCode).toBe(0);
});

test('--once ends with 0 and says so where another is at work', async () => {
  const sweeper = new Sweeper(dataSource);
  sweeper.start();
  try {
    await until('it works', async () => (await database.query('SELECT FROM auth_processing_locks')).length > 0);
    expect(await here(['--once'])).toEqual({ stdout: 'Another sweeper is at work.\n', stderr: '', exitCode: 0 });
  } finally {
    await sweeper.stop();
  }
});

test('as a process it logs what it does, by its role alone, and gives its lease back on SIGTERM', async () => {
  await aLostRequest(dataSource);
  const { processorAuthId } = await aLostHold(dataSource);
  await database.query('UPDATE auth_holds SET sweeps = 10 WHERE processor_auth_id = $1', [processorAuthId]);
  await letPass(database, 10 * HOUR);
  const sweep = new SweepProcess({ databaseUrl: roles.url('sweeper') }, ['--expiry-interval-ms', '0']);
  await until('it says so', () => sweep.has('gave_up') && sweep.has('swept'));
  expect(await sweep.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
  expect(sweep.log.map(({ event }) => event)).toEqual(['started', 'swept', 'gave_up', 'stopping', 'stopped']);
  expect(sweep.log[0]).toMatchObject({ schema: 'public', ...DEFAULTS, expiryIntervalMs: 0 });
  expect(sweep.log[1]).toMatchObject({ stuck: 1 });
  expect(sweep.log[2]).toMatchObject({ processorAuthId, reason: 'NOT_VOIDED_IN_TIME' });
  expect(sweep.stderr).toBe('');
  expect(
    await database.query('SELECT FROM auth_processing_locks WHERE auth_request_id = $1', [SWEEPER_LEASE_ID]),
  ).toEqual([]);
});

test('options that make no sense end with 64', async () => {
  for (const args of [
    ['--once', '--batch-size', '0'],
    ['--once', '--stuck-after-ms', '10s'],
    ['--once', '--within-ms', '1000'],
    ['--nonsense'],
  ]) {
    expect([args, (await here(args)).exitCode]).toEqual([args, 64]);
  }
});

test('the page "Run a sweeper" has commands that run', async () => {
  await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
  const commands = commandsIn(codeBlocks(PAGE, 'bash'));
  expect(commands.length).toBeGreaterThan(4);
  for (const command of commands) {
    const [npx, tool, ...args] = command.split(' ');
    expect([npx, tool]).toEqual(['npx', 'payment-events-db']);
    if (args.length === 1) {
      const sweep = new SweepProcess({ databaseUrl: database.url });
      await until('it has started', () => sweep.has('started'));
      expect(await sweep.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
      continue;
    }
    const run = await programHere(createProgram(), args, { DATABASE_URL: database.url });
    expect([command, run.stderr, run.exitCode]).toEqual([command, '', 0]);
  }
});

test('the page "Run a sweeper" names every task, and every event of the log', async () => {
  const page = (await import('node:fs')).readFileSync(PAGE, 'utf8');
  for (const task of Object.keys(DEFAULTS).flatMap((name) => /^(\w+)IntervalMs$/.exec(name)?.[1] ?? [])) {
    expect(page).toContain(`\`${task}\``);
  }
});
