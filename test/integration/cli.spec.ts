import { type Command } from 'commander';
import { v4 as uuidv4 } from 'uuid';
import { createProgram } from '../../src/cli/program';
import { VERSION } from '../../src/migrator/version';
import { aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { cliProcess, type Finished, programHere } from '../support/processes/cli';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

/** Every command and subcommand there is, by the words that call it. */
function commandsOf(command: Command, words: string[] = []): { words: string[]; command: Command }[] {
  const inner = command.commands.flatMap((sub) => commandsOf(sub, [...words, sub.name()]));
  return [{ words, command }, ...inner];
}
const ALL = commandsOf(createProgram()).map(({ words, command }) => ({
  ...{ words, command, title: words.join(' ') || 'the program itself' },
}));
const LEAVES = ALL.filter(({ command }) => command.commands.length === 0);
const here = (args: readonly string[], env?: NodeJS.ProcessEnv) => programHere(createProgram(), args, env);

describe('every command', () => {
  test('is found by the tests below', () => {
    expect(ALL.length).toBeGreaterThan(15);
    expect(ALL.map(({ title }) => title)).toEqual(expect.arrayContaining(['migrate', 'outbox failed', 'relay']));
  });

  test.each(ALL)('says with --help what it does: $title', async ({ words }) => {
    for (const args of [
      [...words, '--help'],
      ['help', ...words.slice(0, 1)],
    ]) {
      const { stdout, stderr, exitCode } = await here(args);
      expect(stdout).toMatch(
        new RegExp(`^Usage: payment-events-db ?${args[0] === 'help' ? (words[0] ?? '') : words.join(' ')}`),
      );
      expect(stdout).toContain('Exit codes: 0 done');
      expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
    }
  });

  test.each(LEAVES)('takes --json: $title', ({ command }) => {
    expect(command.options.map(({ long }) => long)).toContain('--json');
  });
});

test('--version is that of the package', async () => {
  for (const flag of ['--version', '-V'])
    expect(await here([flag])).toEqual({ stdout: `${VERSION}\n`, stderr: '', exitCode: 0 });
});

describe('a failure under --json', () => {
  const database = useTestDatabase();
  const NOWHERE = 'postgresql://jo:hunter2@127.0.0.1:1/payments';

  /** What each needs besides, so that it gets as far as the database. */
  const NEEDED: Record<string, string[]> = {
    stamp: ['ExpandIndexes'],
    rebuild: [uuidv4()],
    inspect: [uuidv4()],
    'holds requeue': [uuidv4(), '--id', 'pi_1', '--by', 'ada', '--reason', 'repaired'],
    'holds end': [uuidv4(), '--id', 'pi_1', '--as', 'voided', '--by', 'ada', '--reason', 'seen'],
    'configs show': [uuidv4()],
    'configs history': [uuidv4()],
    'configs deactivate': [uuidv4(), '--by', 'ada'],
    'outbox requeue': ['1'],
    'outbox discard': ['1', '--by', 'ada', '--reason', 'obsolete'],
  };

  function expectError({ stdout, stderr, exitCode }: Finished, expected: { code: string; exitCode: number }): void {
    expect(stdout).toBe('');
    const { error } = JSON.parse(stderr.trimEnd().split('\n').at(-1)!) as { error: Record<string, unknown> };
    expect(error).toEqual({ ...expected, message: expect.stringMatching(/^[A-Z\w]/) as string });
    expect(exitCode).toBe(expected.exitCode);
    expect(stderr).not.toContain('hunter2');
  }

  /** Tested below as a process, and what works on the developer's own machine: cli-dev.spec.ts, cli-init.spec.ts. And what
   * asks for keys, standard input or the map first, or for no database or others: cli-configs.spec.ts, cli-shards.spec.ts,
   * report-guide.spec.ts. */
  const OTHERS =
    /^(relay|init|dev .*|reporting .*|shard .*|configs (activate|rollback)|secrets (seal|rotate|add-key|activate-key))$/;
  test.each(LEAVES.filter(({ title }) => !OTHERS.test(title)))(
    'is one line of JSON on standard error: $title',
    async ({ words, title }) => {
      const line = [...words, ...(NEEDED[title] ?? []), '--json'];
      expectError(await here(line, { DATABASE_URL: NOWHERE }), { code: 'ECONNREFUSED', exitCode: 3 });
      expectError(await here(line, { DATABASE_URL: 'mysql://u:hunter2@h/d' }), { code: 'CONFIGURATION', exitCode: 64 });
      const wrong = await here([...line, '--nonsense'], { DATABASE_URL: NOWHERE });
      expectError(wrong, { code: 'USAGE', exitCode: 64 });
      expect(wrong.stderr).not.toContain('Usage:');
    },
  );

  test('is JSON of the whole process too, and of a group without a command', async () => {
    for (const line of [
      ['status', '--json'],
      ['relay', '--publisher', compiled('test/fixtures/relay/http-publisher.ts')],
    ]) {
      expectError(await cliProcess(NOWHERE, [...line, '--json']), { code: 'ECONNREFUSED', exitCode: 3 });
    }
    expectError(await here(['outbox', '--json']), { code: 'USAGE', exitCode: 64 });
  });

  test('has the code of what refused', async () => {
    const discard = ['outbox', 'discard', '9223372036854775807', '--by', 'ada', '--reason', 'obsolete', '--json'];
    const env = { DATABASE_URL: database.url };
    expectError(await here(discard, env), { code: 'OUTBOX_MESSAGE_NOT_FOUND', exitCode: 4 });
    expectError(await here(['plan', '--to', 'Nothing', '--json'], env), { code: 'NO_SUCH_MIGRATION', exitCode: 4 });
  });

  test('of status comes after what it found', async () => {
    await database.query(`UPDATE payment_events_db_migrations SET checksum = 'other' WHERE id = 1`);
    const { stdout, stderr, exitCode } = await here(['status', '--json'], { DATABASE_URL: database.url });
    await database.query(`UPDATE payment_events_db_migrations SET checksum = NULL WHERE id = 1`);
    expect(JSON.parse(stdout)).toMatchObject({ pending: [], changed: [expect.stringContaining('LegacySchema')] });
    expect(JSON.parse(stderr.trimEnd().split('\n').at(-1)!)).toMatchObject({
      error: { code: 'CHANGED_MIGRATIONS', exitCode: 1 },
    });
    expect(exitCode).toBe(1);
  });
});

describe('what JavaScript cannot hold', () => {
  const database = useTestDatabase();
  const at = (...args: string[]) => here(args, { DATABASE_URL: database.url });
  const LAST = '9223372036854775807';

  test('is printed as it is: ids and infinite times of messages', async () => {
    for (const [id, time] of [
      ['9007199254740993', 'infinity'],
      [LAST, '-infinity'],
    ]) {
      await database.query(
        `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload, attempts, failed_at)
         VALUES ($1, gen_random_uuid(), $2, 'x', '', 10, $3)`,
        [id, RESTAURANT, time],
      );
    }
    const table = (await at('outbox', 'failed')).stdout;
    expect(table).toMatch(/^9007199254740993 .* infinity +0 /m);
    expect(table).toMatch(new RegExp(`^${LAST} .* -infinity +0 `, 'm'));
    const { stdout } = await at('outbox', 'failed', '--after', '9007199254740993', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ id: LAST, failedAt: '-infinity' });
    expect((await at('outbox', 'requeue', LAST)).stdout).toBe('Requeued 1 message.\n');
    expect(await at('outbox', 'requeue', '9223372036854775808')).toMatchObject({ stdout: '', exitCode: 64 });
  });

  test('is printed as it is: amounts and times of requests', async () => {
    const { authRequestId } = await aRequest(await database.dataSource());
    await database.query('ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state');
    await database.query(
      `UPDATE auth_request_state SET amount_cents = 9007199254740993, completed_at = 'infinity' WHERE auth_request_id = $1`,
      [authRequestId],
    );
    expect((await at('verify')).stdout).toMatch(/amountCents +"9007199254740993" +\d+\n/);
    const [difference] = (await at('verify', '--json')).stdout.split('\n');
    expect(JSON.parse(difference!)).toMatchObject({
      differences: [{ field: 'amountCents', inRow: '9007199254740993' }],
    });
    expect((await at('rebuild', authRequestId, '--dry-run')).stdout).toMatch(/completedAt +"infinity" +–/);
    expect(JSON.parse((await at('rebuild', authRequestId, '--dry-run', '--json')).stdout)).toMatchObject({
      differences: expect.arrayContaining([{ field: 'completedAt', inRow: 'infinity', byEvents: null }]) as unknown,
    });
  });
});
