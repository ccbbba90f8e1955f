import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { outboxCommand } from '../../src/cli/commands/outbox';
import { Outbox } from '../../src/outbox/outbox';
import { RESTAURANT } from '../support/requests/auth-requests';
import { cliHere, cliProcess } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { commandsIn } from '../support/docs/doc-page';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(() => database.query('DELETE FROM outbox'));

/** As a process. */
const cli = (...args: string[]) => cliProcess(database.url, ['outbox', ...args]);
const here = (args: string[], url = database.url) => cliHere(url, outboxCommand(), args);

const enqueue = (aggregateId: string = uuidv4()) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, {
      ...{ aggregateId, restaurantId: RESTAURANT },
      ...{ messageType: 'auth_request_queued', payload: Buffer.from('p') },
    }),
  );
async function aDeadLetter(aggregateId?: string): Promise<bigint> {
  const id = await enqueue(aggregateId);
  await database.query(
    `UPDATE outbox SET failed_at = '2026-11-20T10:00:00Z', attempts = 10, last_error = E'no\\x1b[2J\\nroute' WHERE id = $1`,
    [id],
  );
  return id;
}

test('stats and failed print tables that a terminal can show, or JSON', async () => {
  const id = await enqueue();
  await database.query(`UPDATE outbox SET created_at = now() - interval '2 hours' WHERE id = $1`, [id]);
  const aggregate = uuidv4();
  const [first, second] = [await aDeadLetter(aggregate), await aDeadLetter()];
  await enqueue(aggregate);
  const [stats, statsJson, failed, failedJson] = await Promise.all([
    cli('stats'),
    cli('stats', '--json'),
    cli('failed', '--limit', '1'),
    cli('failed', '--after', String(first), '--json'),
  ]);
  expect(stats).toEqual({
    stdout: expect.stringMatching(
      /^pending +waiting +failed +oldest pending +processed in the last minute\n2 +0 +2 +72\d\d\.\d s +0\n$/,
    ) as string,
    stderr: '',
    exitCode: 0,
  });
  expect(JSON.parse(statsJson.stdout)).toEqual({
    ...{ pending: 2, waiting: 0, failed: 2, processedLastMinute: 0, atLeast: [] },
    oldestPendingAgeMs: expect.any(Number) as number,
  });
  const [headings, row, end] = failed.stdout.split('\n');
  expect(headings).toMatch(/^id +type +request +attempts +failed at +waiting behind +last error$/);
  expect(row).toMatch(
    new RegExp(
      `^${first} +auth_request_queued +${aggregate} +10 +2026-11-20T10:00:00.000Z +1 +no\\\\u001b\\[2J\\\\nroute$`,
    ),
  );
  expect(end).toBe(`At most 1 are listed. Those after them: --after ${first}`);
  expect(JSON.parse(failedJson.stdout)).toMatchObject({ id: String(second), waiting: 0 });
});

test('stats says "more than" where it stops counting', async () => {
  await database.query(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload)
     SELECT gen_random_uuid(), gen_random_uuid(), 'x', '' FROM generate_series(1, 10001)`,
  );
  expect((await here(['stats'])).stdout).toMatch(/\nmore than 10,000 +0 +0 +\d+\.\d s +0\n$/);
  expect(JSON.parse((await here(['stats', '--json'])).stdout)).toMatchObject({ pending: 10_000, atLeast: ['pending'] });
});

test('failed says so when there is none', async () => {
  expect(await here(['failed'])).toEqual({ stdout: 'No message has been given up.\n', stderr: '', exitCode: 0 });
  expect(await here(['failed', '--json'])).toEqual({ stdout: '', stderr: '', exitCode: 0 });
});

test('requeue, discard and purge do what they say, and say how much in JSON', async () => {
  const [again, never] = [await aDeadLetter(), await aDeadLetter()];
  const [days3, days8] = [await enqueue(), await enqueue()];
  await database.query(
    `UPDATE outbox SET processed_at = now() - CASE id WHEN $1 THEN interval '3 days' ELSE interval '8 days' END WHERE id IN ($1, $2)`,
    [days3, days8],
  );
  const [requeued, discarded, purged] = await Promise.all([
    cli('requeue', String(again), '--json'),
    cli('discard', String(never), '--by', 'ada', '--reason', 'obsolete', '--json'),
    cli('purge', '--json'),
  ]);
  expect(requeued).toEqual({ stdout: '{"requeued":1}\n', stderr: '', exitCode: 0 });
  expect(discarded).toEqual({ stdout: '{"discarded":1}\n', stderr: '', exitCode: 0 });
  expect(purged).toEqual({ stdout: '{"purged":1}\n', stderr: '', exitCode: 0 });
  expect(
    await database.query(
      `SELECT id::integer, processed_at IS NULL AS pending, failed_at IS NOT NULL AS failed, discarded_by, discard_reason
       FROM outbox ORDER BY id`,
    ),
  ).toEqual([
    { id: Number(again), pending: true, failed: false, discarded_by: null, discard_reason: null },
    { id: Number(never), pending: false, failed: true, discarded_by: 'ada', discard_reason: 'obsolete' },
    { id: Number(days3), pending: false, failed: false, discarded_by: null, discard_reason: null },
  ]);
  expect((await here(['purge', '--older-than-days', '2'])).stdout).toBe('Purged 1 message.\n');
});

test('purge says on stderr how far it is when it takes long', async () => {
  const id = await enqueue();
  await database.query(`UPDATE outbox SET processed_at = now() - interval '8 days' WHERE id = $1`, [id]);
  const blocker = await database.connect();
  await blocker.query(`BEGIN; SELECT FROM outbox WHERE id = ${id} FOR UPDATE`);
  const { stdout, stderr } = await cliProcess(database.url, ['outbox', 'purge'], () => blocker.query('ROLLBACK'));
  expect({ stdout, stderr }).toEqual({ stdout: 'Purged 1 message.\n', stderr: 'Purged 0 messages so far …\n' });
});

test('a message that is not there, or not in that state, is refused with 4', async () => {
  const pending = String(await enqueue());
  for (const args of [
    ['requeue', pending],
    ['requeue', '999999999'],
    ['discard', '999999999', '--by', 'ada', '--reason', 'obsolete'],
  ]) {
    expect(await here(args)).toEqual({
      stdout: '',
      stderr: expect.stringContaining('does not exist, was delivered, or has not failed') as string,
      exitCode: 4,
    });
  }
});

test('a command line that makes no sense ends with 64 and changes nothing', async () => {
  const id = String(await aDeadLetter());
  for (const args of [
    ['requeue'],
    ['requeue', id, '--all'],
    ['requeue', 'pt_x'],
    ['discard', id, '--by', 'ada'],
    ['purge', '--older-than-days', '-1'],
  ]) {
    const { stderr, exitCode } = await here(args);
    expect(stderr).toMatch(/^error: /);
    expect(stderr).toContain('Usage: payment-events-db outbox');
    expect(exitCode).toBe(64);
  }
  expect((await here(['discard', id, '--by', 'x'.repeat(256), '--reason', 'obsolete'])).exitCode).toBe(64);
  expect(await outbox.stats()).toMatchObject({ failed: 1 });
});

describe('before the migrations have run', () => {
  const empty = useTestDatabase({ empty: true });

  test.each([['stats'], ['requeue', '--all']])('%s says what to do first', async (...args) => {
    expect(await here(args, empty.url)).toEqual({
      stdout: '',
      stderr: expect.stringMatching(
        /a migration has not run yet\.\nRun it first: npx payment-events-db migrate\n$/,
      ) as string,
      exitCode: 4,
    });
  });
});

describe('the page "The outbox is growing"', () => {
  const PAGE = 'docs/how-to/the-outbox-is-growing.md';
  const NPX = 'npx payment-events-db outbox ';

  test('has commands that do what they are there for', async () => {
    for (const id of ['4711', '4712', '4713']) {
      await database.query(
        `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload, attempts, failed_at)
         VALUES ($1, gen_random_uuid(), $2, 'x', '', 10, now())`,
        [id, RESTAURANT],
      );
    }
    const commands = commandsIn(codeBlocks(PAGE, 'bash'));
    const run = async (command: string) => {
      expect(command.startsWith(NPX)).toBe(true);
      const words = command.slice(NPX.length).matchAll(/'([^']*)'|(\S+)/g);
      return { command, ...(await cli(...[...words].map(([, quoted, plain]) => quoted ?? plain!))) };
    };
    const isLast = (command: string) => command.includes('--all');
    const finished = await Promise.all(commands.filter((command) => !isLast(command)).map(run));
    for (const command of commands.filter(isLast)) finished.push(await run(command));
    const promised = [
      [/ stats$/, /^pending /],
      [/ failed$/, /^id +type /],
      [/ requeue 4711$/, /^Requeued 1 message\.\n$/],
      [/ discard 4712 .*'$/, /^Discarded message 4712\.\n$/],
      [/ purge --older-than-days 7$/, /^Purged 0 messages\.\n$/],
      [/ requeue --all$/, /^Requeued 1 message\.\n$/],
    ] as const;
    expect(finished).toEqual(
      promised.map(([command, stdout]) => ({
        command: expect.stringMatching(command) as string,
        stdout: expect.stringMatching(stdout) as string,
        ...{ stderr: '', exitCode: 0 },
      })),
    );
    expect(await outbox.stats()).toMatchObject({ failed: 0, pending: 2 });
  });

  test('has queries that run', async () => {
    const queries = codeBlocks(PAGE, 'sql').split(/(?<=;)\n/);
    expect(queries.length).toBeGreaterThan(4);
    for (const query of queries) await database.query(query);
  });
});
