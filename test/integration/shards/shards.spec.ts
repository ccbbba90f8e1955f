import {
  ConfigurationError,
  DatabaseUnavailableError,
  DataSourceNotOpenError,
  WrongShardError,
} from '../../../src/errors';
import { assertSameHash } from '../../../src/shards/assert-shard';
import { hashOf } from '../../../src/fence/residue';
import { type Shard } from '../../../src/shards/shard';
import { Shards } from '../../../src/shards/shards';
import { Proxy } from '../../support/database/proxy';
import { useTestDatabase } from '../../support/database/use-test-database';
import { anAuthorizeCommand } from '../../support/requests/auth-requests';
import { atOnce } from '../../support/requests/races';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const a = useTestDatabase();
const b = useTestDatabase();
const opened: Shards[] = [];

/** Never by itself: each test says when the map is loaded. */
async function open(source: ReplaceableSource, settings = {}): Promise<Shards> {
  const shards = new Shards(source, { reloadEveryMs: 0, ...settings });
  opened.push(shards);
  return await shards.open();
}
const both = (version = 1) => mapOf(version, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } });
const sessions = async (of: typeof a) => {
  const [row] = await a.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM pg_stat_activity WHERE datname = $1 AND application_name = 'shards'`,
    [of.name],
  );
  return row!.count;
};
const named = { applicationName: 'shards', poolSize: 2 };

beforeAll(async () => {
  await fence(a, EVEN);
  await fence(b, ODD);
});
afterEach(async () => {
  for (const shards of opened.splice(0)) await shards.destroy();
});

test('a restaurant is given the operations of its own database', async () => {
  const shards = await open(new ReplaceableSource(both()));
  for (const [name, shard] of [
    ['a', EVEN],
    ['b', ODD],
  ] as const) {
    const restaurantId = aRestaurantOf(shard);
    const found = await shards.of(restaurantId);
    expect([found.name, found.class]).toEqual([name, shard]);
    const { authRequestId } = await found.requests.authorize(anAuthorizeCommand({ restaurantId }));
    const { length } = await (name === 'a' ? a : b).query('SELECT FROM auth_request_state WHERE auth_request_id = $1', [
      authRequestId,
    ]);
    expect(length).toBe(1);
  }
});

test('an id that is none is refused before a database is asked', async () => {
  const shards = await open(new ReplaceableSource(both()));
  await expect(shards.of('restaurant 7')).rejects.toMatchObject({ code: 'INVALID_COMMAND' });
  await expect(shards.run('restaurant 7', () => Promise.resolve())).rejects.toMatchObject({ code: 'INVALID_COMMAND' });
});

test('opening loads the map and connects to no database', async () => {
  const away = { url: 'postgresql://postgres@127.0.0.1:1/nowhere' };
  const shards = await open(new ReplaceableSource(mapOf(1, { a: { ...EVEN, ...away }, b: { ...ODD, url: b.url } })));
  expect(shards.map.version).toBe(1);
});

test('however many ask at once, a database is opened once', async () => {
  const shards = await open(new ReplaceableSource(both()), named);
  const restaurantId = aRestaurantOf(EVEN);
  const found = await atOnce(50, () => shards.of(restaurantId));
  expect(new Set(found.map(({ dataSource }) => dataSource)).size).toBe(1);
  expect(await sessions(a)).toBe(1);
  expect(await sessions(b)).toBe(0);
});

test('a failure to open is not kept: the next call tries again', async () => {
  const proxy = await Proxy.start('postgresql://127.0.0.1:1/nowhere');
  const url = new URL(a.url);
  url.host = new URL(proxy.url).host;
  try {
    const shards = await open(new ReplaceableSource(mapOf(1, { a: { ...WHOLE, url: url.href } })), named);
    for (let time = 0; time < 2; time++) {
      await expect(shards.of(aRestaurantOf(EVEN))).rejects.toThrow(DatabaseUnavailableError);
    }
    proxy.repoint(a.url);
    await expect(shards.of(aRestaurantOf(EVEN))).resolves.toMatchObject({ name: 'a' });
    await shards.destroy();
  } finally {
    await proxy.close();
  }
});

test('a server that hashes in another way is refused', async () => {
  const dataSource = await a.dataSource();
  await assertSameHash(dataSource);
  // The same bytes in the other order, as a machine of the other kind reads them.
  const swapped = hashOf('33221100-7766-5544-bbaa-9988ffeeddcc');
  await expect(assertSameHash(dataSource, swapped)).rejects.toThrow(ConfigurationError);
});

test('a database that has no fence, or takes more than the map says, is refused', async () => {
  const c = mapOf(1, {
    a: { ...EVEN, url: a.url },
    b: { modulus: 4, remainder: 1, url: b.url },
    c: { modulus: 4, remainder: 3, url: 'postgresql://127.0.0.1:1/nowhere' },
  });
  const shards = await open(new ReplaceableSource(c));
  await expect(shards.of(aRestaurantOf({ modulus: 4, remainder: 1 }))).rejects.toThrow(/class 1 of 4/);
});

test('a database that has other restaurants than the map says is told from one whose fence is missing', async () => {
  const swapped = mapOf(1, { a: { ...EVEN, url: b.url }, b: { ...ODD, url: a.url } });
  const shards = await open(new ReplaceableSource(swapped));
  await expect(shards.of(aRestaurantOf(EVEN))).rejects.toThrow(WrongShardError);
});

test('a fence that is narrower than the map is taken: a split sets it before the map says so', async () => {
  const shards = await open(new ReplaceableSource(mapOf(1, { a: { ...WHOLE, url: a.url } })));
  const restaurantId = aRestaurantOf(EVEN);
  const { requests } = await shards.of(restaurantId);
  await expect(requests.authorize(anAuthorizeCommand({ restaurantId }))).resolves.toMatchObject({ replayed: false });
});

test('an older map never replaces a newer one', async () => {
  const source = new ReplaceableSource(both(5));
  const shards = await open(source);
  source.map = both(4);
  await expect(shards.reload()).resolves.toMatchObject({ version: 5 });
  source.map = both(6);
  await expect(shards.reload()).resolves.toMatchObject({ version: 6 });
  expect(shards.map.version).toBe(6);
});

test('a map that is none changes nothing', async () => {
  const source = new ReplaceableSource(both(5));
  const shards = await open(source);
  source.map = { version: 6, shards: both().shards.slice(1) };
  await expect(shards.reload()).rejects.toThrow(/no database has class 0 of 2/);
  expect(shards.map.version).toBe(5);
});

test('settings are checked at once, and those that contradict a URL of the map when it is loaded', async () => {
  expect(() => new Shards(new ReplaceableSource(both()), { poolSize: 0 })).toThrow(/poolSize/);
  expect(() => new Shards(new ReplaceableSource(both()), { reloadEveryMs: -1 })).toThrow(/reloadEveryMs/);
  const url = 'postgresql://u:hush-hush@db/payments';
  const shards = new Shards(new ReplaceableSource(mapOf(1, { a: { ...WHOLE, url } })), { password: 'other' });
  const error: Error = await shards.open().then(
    () => new Error('It was opened.'),
    (reason: Error) => reason,
  );
  expect(error).toBeInstanceOf(ConfigurationError);
  expect(error.message).toMatch(/^Shard a: .*password/);
  expect(error.message).not.toContain('hush-hush');
});

test('a map that is too old is loaded before a call, once for all calls', async () => {
  const source = new ReplaceableSource(mapOf(1, { b: { ...WHOLE, url: b.url } }));
  const shards = await open(source, { reloadEveryMs: 1 });
  const restaurantId = aRestaurantOf(EVEN);
  source.map = both(2);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const calls = [
    shards.of(restaurantId),
    shards.run(restaurantId, (shard) => Promise.resolve(shard)),
    shards.of(restaurantId),
  ];
  expect((await Promise.all(calls)).map(({ name }) => name)).toEqual(['a', 'a', 'a']);
  expect(source.loads).toBe(2);
  source.map = both(3);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await expect(shards.each(({ name }) => Promise.resolve(name))).resolves.toMatchObject({ results: { length: 2 } });
  expect(shards.map.version).toBe(3);
});

test('a source that is away is told, and keeps calls neither from their database nor waiting a second time', async () => {
  const source = new ReplaceableSource(both(1));
  const onReloadFailed = jest.fn();
  const shards = await open(source, { reloadEveryMs: 1, onReloadFailed });
  await new Promise((resolve) => setTimeout(resolve, 5));
  source.load = () => Promise.reject(new Error('away'));
  await expect(shards.of(aRestaurantOf(EVEN))).resolves.toMatchObject({ name: 'a' });
  expect(onReloadFailed).toHaveBeenCalledWith(new Error('away'));
  // From now on it does not even answer.
  source.load = () => new Promise(() => undefined);
  await new Promise((resolve) => setTimeout(resolve, 5));
  await expect(shards.of(aRestaurantOf(ODD))).resolves.toMatchObject({ name: 'b' });
  // It was not waited for until it counts as failed.
  expect(onReloadFailed).toHaveBeenCalledTimes(1);
});

test('a database that has left the map is closed when what was running on it has ended', async () => {
  const source = new ReplaceableSource(both(1));
  const shards = await open(source, named);
  await shards.of(aRestaurantOf(ODD));
  let end!: () => void;
  const ended = new Promise<void>((resolve) => (end = resolve));
  let shardAtWork!: Shard;
  const begun = new Promise<void>((resolve) => {
    void shards.run(aRestaurantOf(EVEN), async (shard) => {
      shardAtWork = shard;
      resolve();
      await ended;
    });
  });
  await begun;
  source.map = mapOf(2, { b: { ...WHOLE, url: b.url } });
  await shards.reload();
  // Longer than a database must be quiet to be closed.
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  expect(shardAtWork.dataSource.isInitialized).toBe(true);
  await expect(shardAtWork.outbox.stats()).resolves.toMatchObject({ failed: 0 });
  end();
  while (shardAtWork.dataSource.isInitialized || (await sessions(a)) > 0) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(await sessions(b)).toBe(1);
});

test('destroy closes every database, also one that is being opened', async () => {
  const shards = await open(new ReplaceableSource(both()), named);
  await shards.of(aRestaurantOf(EVEN));
  const opening = shards.of(aRestaurantOf(ODD)).catch((error: unknown) => error);
  await shards.destroy();
  await opening;
  while ((await sessions(a)) + (await sessions(b)) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  await expect(shards.of(aRestaurantOf(EVEN))).rejects.toThrow(DataSourceNotOpenError);
  await expect(shards.reload()).rejects.toThrow(DataSourceNotOpenError);
});

test('a database that is away stops only its own restaurants, and is named where all are asked', async () => {
  const away = 'postgresql://postgres@127.0.0.1:1/nowhere';
  const shards = await open(new ReplaceableSource(mapOf(1, { a: { ...EVEN, url: away }, b: { ...ODD, url: b.url } })));
  const restaurantId = aRestaurantOf(ODD);
  await expect(shards.of(aRestaurantOf(EVEN))).rejects.toThrow(DatabaseUnavailableError);
  await expect(
    shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId }))),
  ).resolves.toMatchObject({ replayed: false });
  const { results, away: missing } = await shards.each(({ name }) => Promise.resolve(name));
  expect(results).toEqual([{ shard: 'b', value: 'b' }]);
  expect(missing).toEqual([{ shard: 'a', error: expect.any(DatabaseUnavailableError) as unknown }]);
});

test('what all databases would refuse is thrown, and no database counts as away', async () => {
  const shards = await open(new ReplaceableSource(both()));
  await expect(shards.each(({ outbox }) => outbox.listFailed({ limit: 0 }))).rejects.toMatchObject({
    code: 'INVALID_COMMAND',
  });
});
