import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Outbox, readFence, type ResidueClass } from '../../src';
import { readSequenceNumbers } from '../../src/fence/sequence-range';
import { migrations } from '../../src/migrations';
import { createProgram } from '../../src/cli/program';
import { Broker } from '../fixtures/relay/broker';
import { LoggedProcess } from '../fixtures/logged-process';
import { compiled } from '../support/jest/compiled';
import { cliProcess, programHere } from '../support/processes/cli';
import { until } from '../support/relay/relayed';
import { useTestDatabase } from '../support/database/use-test-database';
import { moveRestaurants } from '../support/shards/move-restaurants';
import { aRestaurantOf, EVEN, fence, ODD, WHOLE } from '../support/shards/shards';
import { requestIn } from '../../src/testing';
import { randomUUID } from 'node:crypto';

const a = useTestDatabase();
const b = useTestDatabase();
const PASSWORD = 'a-password-that-is-not-shown';

/** Nobody listens there. */
const away = (url: string) => Object.assign(new URL(url), { port: '1', password: PASSWORD }).href;

interface Entry extends ResidueClass {
  name: string;
  number: number;
  url: string;
}

const twoShards = (): Entry[] => [
  { name: 'a', modulus: 2, remainder: 0, number: 0, url: a.url },
  { name: 'b', modulus: 2, remainder: 1, number: 1, url: b.url },
];
const threeShards = (): Entry[] => [
  { name: 'a', modulus: 2, remainder: 0, number: 0, url: a.url },
  { name: 'away', modulus: 4, remainder: 1, number: 2, url: away(a.url) },
  { name: 'b', modulus: 4, remainder: 3, number: 1, url: b.url },
];

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'shards-'))));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  delete process.env.PAYMENT_EVENTS_DB_SHARDS;
  await LoggedProcess.killAll();
});

/** Has the variable name a file with this map. */
function use(shards: Entry[]): void {
  process.env.PAYMENT_EVENTS_DB_SHARDS = join(folder, `${randomUUID()}.json`);
  writeFileSync(process.env.PAYMENT_EVENTS_DB_SHARDS, JSON.stringify({ version: 1, shards }));
}

/** Where a command of one database would go, which none of these may touch. */
const NOWHERE = 'postgresql://127.0.0.1:1/nowhere';
const cli = (...args: string[]) => cliProcess(NOWHERE, args);
const here = (...args: string[]) => programHere(createProgram(), args, { DATABASE_URL: NOWHERE });
const parsed = (stdout: string) =>
  stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('shard', () => {
  test('map prints the map, and no password', async () => {
    use(threeShards());
    const { stdout, stderr, exitCode } = await here('shard', 'map');
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^shard +restaurants +number +database\na +0 of 2 +0 +\w+ at \S+\naway +1 of 4 +2/);
    expect(stdout + stderr).not.toContain(PASSWORD);
    const json = await here('shard', 'map', '--json');
    expect(json.stdout).not.toContain(PASSWORD);
    expect(parsed(json.stdout).at(-1)).toEqual({ kind: 'summary', version: 1, shards: 3 });
  });

  test('map says what is wrong with it', async () => {
    use(twoShards().slice(1));
    const { stderr, exitCode } = await here('shard', 'map');
    expect(stderr).toContain('no database has class 0 of 2');
    expect(exitCode).toBe(64);
  });

  test('of names the database of a restaurant', async () => {
    use(twoShards());
    const ids = Array.from({ length: 20 }, () => randomUUID());
    for (const id of ids) {
      const { stdout } = await here('shard', 'of', id, '--json');
      const [found] = parsed(stdout) as unknown as [{ shard: string; remainder: number }];
      const [row] = await a.query<{ fits: boolean }>(
        `SELECT satisfies_hash_partition('parted'::regclass, 2, $1, $2::uuid) AS fits`,
        [found.remainder, id],
      );
      expect(row!.fits).toBe(true);
      expect(found.shard).toBe(found.remainder === 0 ? 'a' : 'b');
    }
    expect((await here('shard', 'of', 'x')).exitCode).toBe(64);
  });

  test('fence sets fence and range of each database; a dry run does not; one that is away stops no other', async () => {
    const [one, other] = [await a.dataSource(), await b.dataSource()];
    use(twoShards());
    const dry = await here('shard', 'fence', '--dry-run');
    expect(dry.stdout).toBe(
      'a  is to have class 0 of 2, number 0; has no fence, number 0.\nb  is to have class 1 of 2, number 1; has no fence, number 0.\n',
    );
    expect([await readFence(one), await readFence(other)]).toEqual([undefined, undefined]);

    expect((await here('shard', 'fence')).exitCode).toBe(0);
    expect(await readFence(one)).toEqual({ modulus: 2, remainder: 0 });
    expect(await readFence(other)).toEqual({ modulus: 2, remainder: 1 });
    expect([...(await readSequenceNumbers(other)).values()]).toEqual([1, 1]);
    expect(parsed((await here('shard', 'fence', '--json')).stdout)).toMatchObject([
      { shard: 'a', changed: false },
      { shard: 'b', changed: false },
    ]);

    use(threeShards());
    const narrowed = await here('shard', 'fence', '--json');
    expect(narrowed.exitCode).toBe(3);
    expect(parsed(narrowed.stdout)).toMatchObject([{ shard: 'a' }, { shard: 'b', changed: true }]);
    expect(parsed(narrowed.stderr)).toMatchObject([{ shard: 'away', error: { exitCode: 3 } }]);
    expect(await readFence(other)).toEqual({ modulus: 4, remainder: 3 });

    use(twoShards());
    const wider = await here('shard', 'fence', '--shard', 'b');
    expect(wider).toMatchObject({ exitCode: 64, stderr: expect.stringContaining('which are more') as string });
    expect((await here('shard', 'fence', '--shard', 'b', '--widen')).exitCode).toBe(0);
    expect(await readFence(other)).toEqual({ modulus: 2, remainder: 1 });
  });

  beforeAll(() => a.query('CREATE TABLE parted (restaurant_id uuid) PARTITION BY HASH (restaurant_id)'));
  afterAll(() => a.query('DROP TABLE parted'));
});

describe('--all and --shard', () => {
  test('need the map: without it they say what to set, and nothing runs', async () => {
    const { stderr, exitCode } = await here('status', '--all');
    expect(stderr).toContain('PAYMENT_EVENTS_DB_SHARDS must be');
    expect(exitCode).toBe(64);
  });

  test('of a name that the map lacks, or both at once, are refused with the names that there are', async () => {
    use(twoShards());
    const { stderr, exitCode } = await here('status', '--shard', 'c');
    expect(stderr).toContain('It has: a, b.');
    expect(exitCode).toBe(64);
    expect((await here('status', '--shard', 'a', '--all')).exitCode).toBe(64);
  });

  test('of check take the class and the number from the map, so that neither is given beside them', async () => {
    use(twoShards());
    for (const own of [
      ['--class', '0/2'],
      ['--number', '0'],
    ]) {
      for (const which of [['--shard', 'a'], ['--all']]) {
        const { stderr, exitCode } = await here('check', ...which, ...own);
        expect(stderr).toContain(`option '${own[0]}`);
        expect(stderr).toContain(`cannot be used with option '${which[0]}`);
        expect(exitCode).toBe(64);
      }
    }
  });

  test('run a command for each database, under a heading, and sum up', async () => {
    use(twoShards());
    const { stdout, stderr, exitCode } = await cli('migrate', '--all');
    expect({ stderr, exitCode }).toEqual({ stderr: expect.stringMatching(/^(Schema .*\n)*$/) as string, exitCode: 0 });
    expect(stdout).toBe(
      'a (0 of 2)\nNo migration was to be run.\n\nb (1 of 2)\nNo migration was to be run.\n\n' +
        'shard  restaurants  ended\na      0 of 2       0 done\nb      1 of 2       0 done\n',
    );
  });

  test('where one is away the others are done, the exit code is the worst, the summary says so; no password is shown', async () => {
    use(threeShards());
    const { stdout, stderr, exitCode } = await cli('verify', '--all', '--json');
    expect(exitCode).toBe(3);
    const lines = parsed(stdout);
    expect(lines.slice(0, -1)).toEqual([
      { shard: 'a', kind: 'summary', checked: 0, differing: 0, leftBehind: 0 },
      { shard: 'b', kind: 'summary', checked: 0, differing: 0, leftBehind: 0 },
    ]);
    expect(lines.at(-1)).toEqual({
      kind: 'summary',
      shards: [
        { shard: 'a', exitCode: 0 },
        { shard: 'away', exitCode: 3 },
        { shard: 'b', exitCode: 0 },
      ],
      exitCode: 3,
    });
    expect(parsed(stderr)).toMatchObject([{ shard: 'away', error: { exitCode: 3 } }]);
    expect(stdout + stderr).not.toContain(PASSWORD);
  });

  test('of status say where the chains differ', async () => {
    use(twoShards());
    const last = migrations.at(-1)!.name;
    const same = await cli('status', '--all');
    expect(same).toMatchObject({ exitCode: 0, stderr: '' });
    expect(same.stdout).toMatch(/^shard +restaurants +newest migration +pending +ended\na +0 of 2 +\w+ +0 +0 done\n/);
    await cliProcess(b.url, ['revert']);
    try {
      const differing = await cli('status', '--all');
      expect(differing.exitCode).toBe(2);
      expect(differing.stderr).toContain(`The databases have not run the same migrations. a: ${last}, 0 pending; b: `);
      const json = parsed((await cli('status', '--all', '--json')).stdout);
      expect(json).toMatchObject([
        { shard: 'a', pending: [] },
        { shard: 'b', pending: [last] },
        { kind: 'summary', difference: expect.stringContaining('not run the same') as string, exitCode: 2 },
      ]);
    } finally {
      expect((await cli('migrate', '--shard', 'b')).exitCode).toBe(0);
    }
  });

  test('of check compare each fence and range with the map', async () => {
    use(twoShards());
    await here('shard', 'fence');
    expect((await cli('check', '--all', '--ignore-privileges')).exitCode).toBe(0);
    const [first, second] = twoShards() as [Entry, Entry];
    use([
      { ...first, remainder: 1, number: 1 },
      { ...second, remainder: 0, number: 0 },
    ]);
    const { stdout, exitCode } = await cli('check', '--all', '--ignore-privileges', '--json');
    expect(exitCode).toBe(1);
    const objects = parsed(stdout).map(({ shard, object }) => `${String(shard)} ${String(object)}`);
    for (const shard of ['a', 'b']) {
      expect(objects).toContain(`${shard} table payment_events: constraint payment_events_shard`);
      expect(objects).toContain(`${shard} sequence outbox_id_seq: range`);
    }
  });
});

describe('verify --all --request', () => {
  // The restaurants of the second database, so that the first is asked before.
  const requestAtB = async () => await requestIn(await b.dataSource(), 'PENDING', { restaurantId: aRestaurantOf(ODD) });
  beforeEach(async () => {
    use(twoShards());
    await here('shard', 'fence', '--widen');
  });

  test('ends by what the one database that has it says, also while another is away', async () => {
    const { authRequestId } = await requestAtB();
    const verify = () => cli('verify', '--all', '--request', authRequestId, '--json');
    const clean = await verify();
    expect(clean).toMatchObject({ exitCode: 0, stderr: '' });
    expect(parsed(clean.stdout)).toEqual([
      { shard: 'b', kind: 'summary', checked: 1, differing: 0, leftBehind: 0 },
      { kind: 'summary', shards: [{ shard: 'b', exitCode: 0 }], exitCode: 0 },
    ]);

    await b.query(
      `ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state;
       UPDATE auth_request_state SET status = 'EXPIRED', completed_at = now() WHERE auth_request_id = '${authRequestId}';
       ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`,
    );
    const [first, second] = twoShards() as [Entry, Entry];
    const gone = { name: 'away', modulus: 4, remainder: 2, number: 2, url: away(a.url) };
    use([{ ...first, modulus: 4 }, gone, second]);
    const differing = await verify();
    expect(differing.exitCode).toBe(1);
    expect(parsed(differing.stdout)).toMatchObject([
      { shard: 'b', authRequestId, kind: 'row_differs' },
      { shard: 'b', kind: 'summary', differing: 1 },
      { kind: 'summary', shards: [{ shard: 'b', exitCode: 1 }] },
    ]);
  });

  test('is not misled by what a moved restaurant left behind', async () => {
    await fence(a, WHOLE, true);
    const restaurantId = aRestaurantOf(ODD);
    const { authRequestId } = await requestIn(await a.dataSource(), 'PENDING', { restaurantId });
    await moveRestaurants({ from: a, keeps: EVEN, to: b, moves: ODD });
    const { stdout, exitCode } = await cli('verify', '--all', '--request', authRequestId);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^b \(1 of 2\)\nCompared 1 request: none differs\.\n/);
  });

  test('of a request that no database has is a failure, and so is one that a database which is away may have', async () => {
    const unknown = randomUUID();
    const { exitCode, stderr, stdout } = await cli('verify', '--all', '--request', unknown);
    expect({ exitCode, stdout }).toEqual({ exitCode: 4, stdout: '' });
    expect(stderr).toContain(unknown);
    use(threeShards());
    const perhaps = await cli('verify', '--all', '--request', unknown, '--json');
    expect(perhaps.exitCode).toBe(3);
    expect(parsed(perhaps.stdout)).toMatchObject([{ shards: [{ shard: 'away', exitCode: 3 }], exitCode: 3 }]);
    expect(perhaps.stderr).not.toContain(PASSWORD);
  });
});

describe('a relay over all', () => {
  const enqueue = async (database: typeof a) => {
    const dataSource = await database.dataSource();
    return await dataSource.transaction((manager) =>
      new Outbox(dataSource).enqueue(manager, {
        ...{ aggregateId: randomUUID(), restaurantId: randomUUID(), messageType: 'auth_request_queued' },
        payload: Buffer.from('p'),
      }),
    );
  };
  let broker: Broker;
  beforeAll(async () => (broker = await Broker.start()));
  afterAll(() => broker.close());

  const relay = () =>
    new LoggedProcess(['relay', '--all', '--publisher', compiled('test/fixtures/relay/http-publisher.ts')], {
      DATABASE_URL: NOWHERE,
      BROKER_URL: broker.url,
      PAYMENT_EVENTS_DB_SHARDS: process.env.PAYMENT_EVENTS_DB_SHARDS!,
    });

  test('delivers each, also while one is away; SIGTERM is passed on, each ends its work, and the exit code is the worst', async () => {
    use(threeShards());
    const process = relay();
    const ids = [await enqueue(a), await enqueue(b)].map(String);
    await until('both are delivered', () => ids.every((id) => broker.arrivals.some((one) => one.id === id)));
    await until('the one that is away is told', () => process.has('ended'));
    expect(process.log.filter(({ event }) => event === 'ended')).toMatchObject([{ shard: 'away', exitCode: 3 }]);
    expect(await process.end('SIGTERM')).toEqual({ exitCode: 3, signal: null });
    for (const shard of ['a', 'b']) {
      const events = process.log.filter((line) => line.shard === shard).map(({ event }) => event);
      expect(events).toEqual(['started', 'stopping', 'stopped', 'ended']);
    }
    expect(JSON.stringify(process.log) + process.stderr).not.toContain(PASSWORD);
  });

  test('leaves no relay behind when it is killed', async () => {
    use(twoShards());
    const process = relay();
    await until('both have started', () => process.log.filter(({ event }) => event === 'started').length === 2);
    const sessions = async () => {
      const [row] = await a.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM pg_stat_activity
         WHERE application_name = 'payment-events-db relay' AND datname IN ('${a.name}', '${b.name}')`,
      );
      return row!.n;
    };
    expect(await sessions()).toBeGreaterThan(1);
    await process.end('SIGKILL');
    await until('none is left', async () => (await sessions()) === 0);
  });
});
