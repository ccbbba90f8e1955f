import { type DataSource } from 'typeorm';
import { holdsCommand } from '../../src/cli/commands/holds';
import { aHold, type MadeHold } from '../support/requests/holds';
import { cliHere, cliProcess } from '../support/processes/cli';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
let dataSource: DataSource;

const here = (args: string[], url = database.url) => cliHere(url, holdsCommand(), args);

const parsed = (stdout: string) =>
  stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

beforeAll(async () => {
  await roles.setUp();
  dataSource = await database.dataSource();
});

test('without any, it says so and ends with 0', async () => {
  const none = { stdout: 'No such hold may still stand.\n', stderr: '', exitCode: 0 };
  expect(await here([])).toEqual(none);
  expect(await here(['--totals'])).toEqual(none);
  expect(await here(['--json'])).toEqual({ ...none, stdout: '' });
});

describe('where there are some', () => {
  let [needed, voiding, failed, captured] = [] as unknown as MadeHold[];

  beforeAll(async () => {
    needed = await aHold(dataSource, 'needed', {
      currency: 'EUR',
      set: `hold_expires_at = now() + interval '2 hours'`,
    });
    voiding = await aHold(dataSource, 'voiding', { set: `state_since = now() - interval '3 hours'` });
    failed = await aHold(dataSource, 'void_failed', { set: `state_since = now() - interval '2 hours'` });
    captured = await aHold(dataSource, 'captured_unneeded', { amountCents: 700 });
  });

  /** The requests that are listed. */
  const ids = (stdout: string) => stdout.match(/^[0-9a-f-]{36}/gm) ?? [];
  const idsOf = (...holds: (MadeHold | undefined)[]) => holds.map((hold) => hold!.authRequestId);

  test('lists all with the reason, totals by state and currency under it, and ends with 1 as one waits for a person', async () => {
    const { stdout, stderr, exitCode } = await here([]);
    expect(stdout).toMatch(
      /^request +processor +processor’s id +state +amount +currency +since +lapses +for a person +why\n/,
    );
    expect(ids(stdout)).toEqual(idsOf(voiding, failed, captured, needed));
    const id = failed!.processorAuthId;
    expect(stdout).toMatch(
      new RegExp(`stripe +${id} +void_failed +1050 +USD +20\\S+Z +– +yes +its request is VOIDED: the void failed`),
    );
    expect(stdout.split('\n\n')[1]).toMatch(
      /^state +currency +holds +amount +for a person\ncaptured +USD +1 +700 +yes\nvoid_failed +USD +1 +1050 +yes\nvoiding +USD +1 +1050 +no\nheld +EUR +1 +1050 +no\n$/,
    );
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 1 });
  });

  test('the options choose what is listed and summed, and whether one waits for a person', async () => {
    const list = async (...args: string[]) => {
      const { stdout, exitCode } = await here(args);
      return [ids(stdout), exitCode];
    };
    expect(await list('--state', 'void_failed', 'captured')).toEqual([idsOf(failed, captured), 1]);
    expect(await list('--state', 'voiding')).toEqual([idsOf(voiding), 0]);
    expect(await list('--for-a-person')).toEqual([idsOf(failed, captured), 1]);
    expect(await list('--older-than', '60')).toEqual([idsOf(voiding, failed), 1]);
    expect(await list('--older-than', '150')).toEqual([idsOf(voiding), 0]);
    expect(await list('list', '--lapsing-within', '3')).toEqual([idsOf(needed), 0]);
    expect(await list('--lapsing-within', '1')).toEqual([[], 0]);
    expect((await here(['--state', 'voiding'])).stdout.split('\n\n')[1]).not.toContain('void_failed');
  });

  test('says that there may be more than it lists, and ends with 1 also where the one for a person is not listed', async () => {
    const { stdout, exitCode } = await here(['--limit', '1']);
    expect(ids(stdout)).toEqual(idsOf(voiding));
    const [, after] = /\nAt most 1 are listed\. Those after them: --after (\S+)\n/.exec(stdout)!;
    expect(ids((await here(['--after', after!])).stdout)).toEqual(idsOf(failed, captured, needed));
    expect(stdout).toMatch(/\nvoid_failed +USD +1 /);
    expect(exitCode).toBe(1);
  });

  test('--json prints one object a line, of holds or of totals, and no token', async () => {
    const { stdout, exitCode } = await cliProcess(database.url, ['holds', '--json']);
    expect(parsed(stdout)).toMatchObject([
      { ...voiding, state: 'voiding', because: 'voiding', isForAPerson: false },
      { ...failed, state: 'void_failed', because: 'void_failed', isForAPerson: true, lastVoidError: 'no_such_charge' },
      { ...captured, state: 'captured', because: 'captured_unneeded', endedAmountCents: 700 },
      { ...needed, state: 'held', because: 'needed', requestStatus: 'AUTHORIZED' },
    ]);
    expect(stdout).not.toContain('pt_test');
    expect(exitCode).toBe(1);
    expect(parsed((await here(['--totals', '--json'])).stdout)).toContainEqual({
      ...{ state: 'held', because: 'needed', isForAPerson: false, currency: 'EUR', count: 1, amountCents: 1050 },
      isAtLeast: false,
    });
  });

  test('the read-only role may list', async () => {
    const { stdout, exitCode } = await here([], roles.url('readonly'));
    expect(ids(stdout)).toHaveLength(4);
    expect(exitCode).toBe(1);
  });

  test('options that make no sense end with 64', async () => {
    for (const args of [
      ['--state', 'voided'],
      ['--older-than', '-1'],
      ['--lapsing-within', 'soon'],
      ['--limit', '0'],
      ['--after', 'voiding'],
      ['stuck'],
    ]) {
      expect({ args, exitCode: (await here(args)).exitCode }).toEqual({ args, exitCode: 64 });
    }
  });
});

describe('a person', () => {
  const by = ['--by', 'ada', '--reason', 'the account is open again'];
  const standing = ({ authRequestId }: MadeHold) =>
    database.query(`SELECT state, closed_by, ended_by, ended_amount_cents FROM auth_holds WHERE auth_request_id = $1`, [
      authRequestId,
    ]);
  const lastEvent = async ({ authRequestId }: MadeHold) =>
    (
      await database.query(
        `SELECT event_type FROM payment_events WHERE aggregate_id = $1 ORDER BY sequence_number DESC LIMIT 1`,
        [authRequestId],
      )
    )[0]!.event_type;

  test.each(['void_failed', 'never_voided'] as const)(
    'has a %s hold voided, once, and the event says who and why',
    async (because) => {
      const hold = await aHold(dataSource, because);
      const args = ['requeue', hold.authRequestId, '--processor', 'stripe', '--id', hold.processorAuthId, ...by];
      expect(await here(args)).toEqual({ stdout: 'A worker is told to void it.\n', stderr: '', exitCode: 0 });
      expect(await standing(hold)).toMatchObject([{ state: 'voiding' }]);
      expect(await lastEvent(hold)).toBe('AuthVoidRequeued');
      expect((await here(args)).stdout).toBe('It is being voided already: nothing was written.\n');
      expect((await here([...args, '--json'])).stdout).toBe('{"queued":false}\n');
    },
  );

  test('writes down how a hold ended, which takes it off the list', async () => {
    const hold = await aHold(dataSource, 'void_failed');
    const args = ['end', hold.authRequestId.toUpperCase(), '--id', hold.processorAuthId, '--as', 'voided', ...by];
    expect(await here(args)).toEqual({ stdout: 'It is voided.\n', stderr: '', exitCode: 0 });
    expect(await standing(hold)).toMatchObject([{ state: 'voided', closed_by: 'ada', ended_by: 'ada' }]);
    expect(await lastEvent(hold)).toBe('AuthHoldEnded');
    expect((await here(['--for-a-person'])).stdout).not.toContain(hold.authRequestId);
  });

  test('sees to one that was captured although nobody needed it: it stays captured, and is listed no more', async () => {
    const hold = await aHold(dataSource, 'captured_unneeded', { amountCents: 700 });
    const args = [
      'end',
      hold.authRequestId,
      '--id',
      hold.processorAuthId,
      '--as',
      'captured',
      '--amount',
      '700',
      ...by,
    ];
    expect((await here([...args, '--json'])).stdout).toBe('{"state":"captured"}\n');
    expect(await standing(hold)).toMatchObject([{ state: 'captured', closed_by: 'ada', ended_amount_cents: '700' }]);
    const other = await aHold(dataSource, 'captured_unneeded');
    const lapsed = await here(['end', other.authRequestId, '--id', other.processorAuthId, '--as', 'lapsed', ...by]);
    expect(lapsed.stdout).toMatch(/^It stays captured, which counts for more/);
    expect((await here(['--for-a-person'])).stdout).not.toMatch(
      new RegExp(`${hold.authRequestId}|${other.authRequestId}`),
    );
  });

  test('may do so as the worker’s role, and as the read-only one not', async () => {
    const hold = await aHold(dataSource, 'void_failed');
    const args = ['requeue', hold.authRequestId, '--id', hold.processorAuthId, ...by];
    expect((await here(args, roles.url('readonly'))).exitCode).not.toBe(0);
    expect((await here(args, roles.url('worker'))).exitCode).toBe(0);
    const end = ['end', hold.authRequestId, '--id', hold.processorAuthId, '--as', 'voided', ...by];
    expect((await here(end, roles.url('readonly'))).exitCode).not.toBe(0);
    expect((await here(end, roles.url('worker'))).exitCode).toBe(0);
  });

  test('is told what is wrong, and nothing is written', async () => {
    const hold = await aHold(dataSource, 'needed');
    const requeue = (id: string, ...more: string[]) =>
      here(['requeue', hold.authRequestId, '--id', id, ...by, ...more]);
    const unknown = await requeue('pi_unknown');
    expect(unknown).toMatchObject({ stdout: '', exitCode: 4 });
    expect(unknown.stderr).toContain('There is no such hold: pi_unknown.');
    expect((await requeue(hold.processorAuthId, '--processor', 'adyen')).exitCode).toBe(4);
    const inUse = await requeue(hold.processorAuthId);
    expect(inUse).toMatchObject({ stdout: '', exitCode: 4 });
    expect(inUse.stderr).toContain('which is in use');
    for (const args of [
      ['requeue', hold.authRequestId, '--id', hold.processorAuthId],
      ['requeue', 'pi_1', '--id', hold.processorAuthId, ...by],
      ['end', hold.authRequestId, '--id', hold.processorAuthId, ...by],
      ['end', hold.authRequestId, '--id', hold.processorAuthId, '--as', 'gone', ...by],
      ['end', hold.authRequestId, '--id', hold.processorAuthId, '--as', 'captured', '--amount', '0', ...by],
    ]) {
      expect({ args, exitCode: (await here(args)).exitCode }).toEqual({ args, exitCode: 64 });
    }
    expect(await standing(hold)).toMatchObject([{ state: 'held', closed_by: null }]);
  });
});
