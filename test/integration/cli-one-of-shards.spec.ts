import { randomUUID } from 'node:crypto';
import { type Command } from 'commander';
import { createProgram } from '../../src/cli/program';
import { useDatabaseOf } from '../../src/cli/shards/use-database-of';
import { type Role } from '../../src/grants/privileges';
import { owns, type ResidueClass } from '../../src/fence/residue';
import { DEVELOPMENT_RESTAURANT_ID } from '../../src/seeds';
import { requestIn } from '../../src/testing';
import { plainConfigs, TestKeyring } from '../support/configs/configs';
import { useRoles } from '../support/database/use-roles';
import { type DatabaseOfFile, useTestDatabase } from '../support/database/use-test-database';
import { cliProcess, programHere } from '../support/processes/cli';
import { aHold } from '../support/requests/holds';
import { aRestaurantOf, EVEN, fence, mapOf, ODD } from '../support/shards/shards';

const a = useTestDatabase();
const b = useTestDatabase();
const rolesOfA = useRoles(a);
const rolesOfB = useRoles(b);
const keyring = new TestKeyring();
/** Where a command of one database would go, which none of these may touch. */
const NOWHERE = 'postgresql://127.0.0.1:1/nowhere';

beforeAll(async () => {
  await fence(a, EVEN);
  await fence(b, ODD);
  process.env.PAYMENT_EVENTS_DB_SHARDS = mapOfBoth(a.url, b.url);
});
afterAll(() => {
  delete process.env.PAYMENT_EVENTS_DB_SHARDS;
  delete process.env.PAYMENT_EVENTS_DB_KEYRING;
});

const mapOfBoth = (urlOfA: string, urlOfB: string) =>
  JSON.stringify(mapOf(1, { a: { ...EVEN, url: urlOfA }, b: { ...ODD, url: urlOfB } }));
const cli = (...args: string[]) => cliProcess(NOWHERE, args);
const here = (args: string[], env: NodeJS.ProcessEnv = { DATABASE_URL: NOWHERE }) =>
  programHere(createProgram(), args, env);
const parsed = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
const ids = (stdout: string) => stdout.match(/^[0-9a-f]{8}-[0-9a-f-]{27}/gm) ?? [];
const at = (shard: ResidueClass): DatabaseOfFile => (shard === EVEN ? a : b);
const requestAt = async (shard: ResidueClass) =>
  await requestIn(await at(shard).dataSource(), 'PENDING', { restaurantId: aRestaurantOf(shard) });

describe('with a map, and no DATABASE_URL', () => {
  interface Leaf {
    readonly words: string[];
    readonly command: Command;
  }
  const leavesOf = (command: Command, words: string[] = []): Leaf[] =>
    command.commands.length === 0
      ? [{ words, command }]
      : command.commands.flatMap((inner) => leavesOf(inner, [...words, inner.name()]));
  /** What connects to no database of the map, or finds it by itself. */
  const OTHERWISE = /^(init|dev( .*)?|shard .*|reporting .*|secrets (add|activate)-key|configs .*|seed|relay)$/;
  const leaves = leavesOf(createProgram()).filter(({ words }) => !OTHERWISE.test(words.join(' ')));
  const ARGUMENTS: Record<string, string> = { request: randomUUID(), id: '1', name: 'x' };

  test.each(leaves.map((leaf) => [leaf.words.join(' '), leaf] as const))(
    '%s says that it needs --shard or --all, and has them; it goes to no database that nobody has named',
    async (_words, { words, command }) => {
      const mandatory = command.options.filter((option) => option.mandatory);
      const { stdout, stderr, exitCode } = await here(
        [
          ...words,
          ...command.registeredArguments.filter((one) => one.required).map((one) => ARGUMENTS[one.name()]!),
          ...mandatory.flatMap((option) => [option.long!, option.argChoices?.[0] ?? 'x']),
          ...(words.join(' ') === 'outbox requeue' ? ['--all'] : []),
        ],
        { DATABASE_URL: '', NODE_ENV: 'development', PAYMENT_EVENTS_DB_KEYRING: keyring.path },
      );
      expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 64 });
      expect(stderr).toContain(
        'DATABASE_URL must be set for one database: PAYMENT_EVENTS_DB_SHARDS is the map of several.',
      );
      expect(command.options.map(({ long }) => long)).toContain('--shard');
    },
  );
});

test('a command that names a restaurant goes to its database, whatever DATABASE_URL is', async () => {
  const [even, odd] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];
  const other = aRestaurantOf(ODD);
  await plainConfigs(a, [[even, { api_key: 'sk_test_a' }]]);
  await plainConfigs(b, [[odd, { api_key: 'sk_test_b' }]]);
  for (const restaurantId of [even, odd]) {
    const { stdout, exitCode } = await here(['configs', 'show', restaurantId, '--json']);
    expect([parsed(stdout), exitCode]).toEqual([[expect.objectContaining({ restaurantId, isActive: true })], 0]);
    expect(parsed((await here(['configs', 'history', restaurantId, '--json'])).stdout)).toHaveLength(1);
  }
  expect((await here(['configs', 'show', other])).stdout).toBe('None is active.\n');
  const args = ['configs', 'deactivate', odd, '--by', 'kim'];
  expect(await here(args)).toEqual({ stdout: 'Version v1 is switched off.\n', stderr: '', exitCode: 0 });
  const active = async (database: DatabaseOfFile) =>
    (await database.query('SELECT FROM restaurant_payment_configs WHERE is_active')).length;
  expect([await active(a), await active(b)]).toEqual([1, 0]);
  await plainConfigs(b, [[other, { api_key: 'sk_test_c' }]]);

  const compared = await requestAt(ODD);
  const verified = await here(['verify', '--restaurant', compared.restaurantId, '--json']);
  expect(parsed(verified.stdout)).toEqual([{ kind: 'summary', checked: 1, differing: 0, leftBehind: 0 }]);
  const all = parsed((await cli('verify', '--restaurant', compared.restaurantId, '--all', '--json')).stdout);
  expect(all.at(-1)).toMatchObject({ kind: 'summary', shards: [{ shard: 'b', exitCode: 0 }] });

  expect((await here(['seed'])).stdout).toBe('Seeded the test restaurant.\n');
  const [has, hasNot] = owns(EVEN, DEVELOPMENT_RESTAURANT_ID) ? [a, b] : [b, a];
  const seeded = (database: DatabaseOfFile) =>
    database.query('SELECT FROM restaurant_payment_configs WHERE restaurant_id = $1', [DEVELOPMENT_RESTAURANT_ID]);
  expect([(await seeded(has)).length, (await seeded(hasNot)).length]).toEqual([1, 0]);
});

test('each command that finds the database of its restaurant by itself says so in its help', () => {
  const find = ([first, ...others]: string[], command: Command): Command =>
    first
      ? find(
          others,
          command.commands.find((inner) => inner.name() === first)!,
        )
      : command;
  const configs = find(['configs'], createProgram()).commands.map((command) => ['configs', command.name()]);
  expect(configs).toHaveLength(5);
  for (const words of [...configs, ['seed'], ['verify']]) {
    const help = find(words, createProgram()).helpInformation().replaceAll(/\s+/g, ' ');
    expect(help).toContain(
      'With PAYMENT_EVENTS_DB_SHARDS it works at the database that the map gives the restaurant, whatever DATABASE_URL says.',
    );
  }
});

test('verify of a restaurant at a database that the map does not give it is a wrong option, and compares nothing', async () => {
  const args = ['verify', '--restaurant', aRestaurantOf(ODD), '--json', '--shard'];
  const { stdout, stderr, exitCode } = await here([...args, 'a']);
  expect({ stdout, exitCode }).toEqual({ stdout: '', exitCode: 64 });
  expect(stderr).toContain('the map gives that restaurant to another database. Say --shard b, or leave it out.');
  expect(parsed((await cli(...args, 'b')).stdout).at(-1)).toMatchObject({ shards: [{ shard: 'b', exitCode: 0 }] });
});

test('without a map, it goes where DATABASE_URL says', async () => {
  const { PAYMENT_EVENTS_DB_SHARDS, DATABASE_URL } = process.env;
  delete process.env.PAYMENT_EVENTS_DB_SHARDS;
  await useDatabaseOf(aRestaurantOf(ODD));
  expect(process.env.DATABASE_URL).toBe(DATABASE_URL);
  process.env.PAYMENT_EVENTS_DB_SHARDS = PAYMENT_EVENTS_DB_SHARDS;
});

test('secrets of all databases are counted, and sealed, one database after the other', async () => {
  process.env.PAYMENT_EVENTS_DB_KEYRING = keyring.path;
  const restaurants = [aRestaurantOf(EVEN), aRestaurantOf(ODD), aRestaurantOf(ODD)];
  for (const id of restaurants) await plainConfigs(at(owns(EVEN, id) ? EVEN : ODD), [[id, { api_key: 'sk_test_d' }]]);
  const before = await cli('secrets', '--all', '--json');
  expect(parsed(before.stdout)).toMatchObject([{ shard: 'a' }, { shard: 'b' }, { exitCode: 1 }]);
  const sealed = await cli('secrets', 'seal', '--all', '--batch-size', '1', '--json');
  expect(parsed(sealed.stdout).slice(0, 2)).toMatchObject([
    { shard: 'a', plain: 0 },
    { shard: 'b', plain: 0 },
  ]);
  expect(sealed.exitCode).toBe(0);
  expect((await cli('secrets', 'status', '--shard', 'b', '--json')).exitCode).toBe(0);
  const rotated = await cli('secrets', 'rotate', '--all', '--json');
  expect(parsed(rotated.stdout)).toMatchObject([{ shard: 'a' }, { shard: 'b' }, { exitCode: 0 }]);
});

test('requests of all databases are listed, and the rest of one by the place that its list has said', async () => {
  const made = new Set<string>();
  for (const shard of [EVEN, ODD, ODD, ODD]) made.add((await requestAt(shard)).authRequestId);
  const all = await cli('requests', 'stuck', '--older-than', '0', '--all');
  expect(all.exitCode).toBe(1);
  expect(new Set(ids(all.stdout))).toEqual(new Set([...ids(all.stdout), ...made]));
  expect(all.stdout).toMatch(/^a \(0 of 2\)\nrequest [^]*\nb \(1 of 2\)\nrequest [^]*\nb +1 of 2 +1 /);
  const ofB: string[] = [];
  for (let more: string[] = []; ;) {
    const list = ['requests', 'stuck', '--older-than', '0', '--limit', '2', '--shard', 'b', ...more];
    const { stdout } = await cli(...list);
    ofB.push(...ids(stdout));
    const [, place] = / --after (\S+)\n/.exec(stdout) ?? [];
    if (!place) break;
    more = ['--after', place];
  }
  const there = await b.query<{ id: string }>(
    `SELECT auth_request_id AS id FROM auth_request_state WHERE status = 'PENDING' ORDER BY created_at, auth_request_id`,
  );
  expect(ofB).toEqual(there.map(({ id }) => id));
  const both = await here(['requests', 'stuck', '--all', '--after', 'x']);
  expect(both).toMatchObject({ exitCode: 64, stderr: expect.stringContaining("'--all'") as string });
  const [one] = made;
  const unsettled = await cli('requests', 'unsettled', '--older-than', '0', '--all', '--json');
  expect([unsettled.exitCode, unsettled.stdout.includes(one!)]).toEqual([0, false]);
});

describe('a request that has a hold, in the second database', () => {
  const held = async () => await aHold(await b.dataSource(), 'void_failed', { restaurantId: aRestaurantOf(ODD) });

  test('is on the list of all, and a person sees to it without knowing where it is', async () => {
    const { authRequestId, processorAuthId } = await held();
    const list = await cli('holds', '--state', 'void_failed', 'voiding', '--all', '--json');
    expect(list.exitCode).toBe(1);
    expect(parsed(list.stdout)).toContainEqual(
      expect.objectContaining({ shard: 'b', authRequestId, state: 'void_failed' }),
    );
    const person = ['--by', 'ada', '--reason', '--all of it is repaired'];
    const requeued = await cli('holds', 'requeue', authRequestId, '--id', processorAuthId, ...person, '--all');
    expect(requeued).toMatchObject({
      exitCode: 0,
      stdout: expect.stringMatching(/^b \(1 of 2\)\nA worker is told/) as string,
    });
    const unknown = await cli('holds', 'end', randomUUID(), '--id', 'x', '--as', 'voided', ...person, '--all');
    expect(unknown).toMatchObject({ exitCode: 4, stdout: '' });
  });

  test('is inspected by its id and by that of the processor', async () => {
    const { authRequestId, processorAuthId } = await held();
    for (const id of [authRequestId, processorAuthId]) {
      const { stdout, exitCode } = await cli('inspect', id, '--all', '--json');
      expect(parsed(stdout)).toEqual([
        expect.objectContaining({ shard: 'b', authRequestId }),
        { kind: 'summary', shards: [{ shard: 'b', exitCode: 0 }], exitCode: 0 },
      ]);
      expect(exitCode).toBe(0);
    }
    const unknown = await cli('inspect', 'pi_unknown', '--all');
    expect(unknown).toMatchObject({ exitCode: 4, stdout: '', stderr: expect.stringContaining('pi_unknown') as string });
  });
});

describe('by a role that must not read contents of events', () => {
  beforeAll(async () => {
    for (const roles of [rolesOfA, rolesOfB]) await roles.setUp();
  });
  afterEach(() => (process.env.PAYMENT_EVENTS_DB_SHARDS = mapOfBoth(a.url, b.url)));
  const as = (role: Role) => (process.env.PAYMENT_EVENTS_DB_SHARDS = mapOfBoth(rolesOfA.url(role), rolesOfB.url(role)));

  test('a request is inspected in the one database that has it, and one that has events alone', async () => {
    const [{ authRequestId }, rowless] = [await requestAt(ODD), await requestAt(ODD)];
    await b.query('DELETE FROM auth_request_state WHERE auth_request_id = $1', [rowless.authRequestId]);
    as('readonly');
    for (const id of [authRequestId, rowless.authRequestId]) {
      const { stdout, exitCode } = await cli('inspect', id, '--all', '--json');
      expect(parsed(stdout)).toEqual([
        expect.objectContaining({ shard: 'b', authRequestId: id }),
        { kind: 'summary', shards: [{ shard: 'b', exitCode: 0 }], exitCode: 0 },
      ]);
      expect(exitCode).toBe(0);
    }
    expect(await cli('inspect', randomUUID(), '--all')).toMatchObject({ exitCode: 4, stdout: '' });
  });

  test('a person sees to a hold in the one database that has its request', async () => {
    const hold = await aHold(await b.dataSource(), 'void_failed', { restaurantId: aRestaurantOf(ODD) });
    as('api');
    const { stdout, exitCode } = await cli(
      ...['holds', 'requeue', hold.authRequestId, '--id', hold.processorAuthId, '--by', 'ada', '--reason', 'r'],
      ...['--all', '--json'],
    );
    expect(parsed(stdout).at(-1)).toEqual({ kind: 'summary', shards: [{ shard: 'b', exitCode: 0 }], exitCode: 0 });
    expect(exitCode).toBe(0);
  });
});

test('a message is requeued or discarded in the database that is named, and --all stays what it is for one', async () => {
  for (const shard of [EVEN, ODD, ODD]) await requestAt(shard);
  for (const database of [a, b]) {
    await database.query('UPDATE outbox SET failed_at = now(), attempts = 1 WHERE processed_at IS NULL');
  }
  const count = async (database: DatabaseOfFile) =>
    (await database.query('SELECT FROM outbox WHERE failed_at IS NOT NULL AND processed_at IS NULL')).length;
  const [atA, atB] = [await count(a), await count(b)];
  const failed = await cli('outbox', 'failed', '--limit', '1', '--all');
  const places = [...failed.stdout.matchAll(/^(\d+) .*\nAt most 1 are listed\. Those after them: --after (\d+)$/gm)];
  expect(places.map(([, id, place]) => id === place)).toEqual([true, true]);
  const person = ['--by', 'ada', '--reason', 'r'];
  expect((await cli('outbox', 'discard', places[1]![1]!, ...person, '--shard', 'b')).exitCode).toBe(0);
  expect([await count(a), await count(b)]).toEqual([atA, atB - 1]);
  const requeued = await cli('outbox', 'requeue', '--all', '--shard', 'b', '--json');
  expect(parsed(requeued.stdout)[0]).toEqual({ shard: 'b', requeued: atB - 1 });
  expect([await count(a), await count(b)]).toEqual([atA, 0]);
  const stats = parsed((await cli('outbox', 'stats', '--all', '--json')).stdout);
  expect(stats).toMatchObject([{ shard: 'a', failed: atA }, { shard: 'b', failed: 0 }, { exitCode: 0 }]);
});
