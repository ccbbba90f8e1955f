import { type RestaurantPaymentConfigs } from '../../../src/configs/restaurant-payment-configs';
import { type PaymentConfig } from '../../../src/configs/stored-config';
import { WrongShardError } from '../../../src/errors';
import { type Shard } from '../../../src/shards/shard';
import { Shards } from '../../../src/shards/shards';
import { aConfig, TestKeyring } from '../../support/configs/configs';
import { useTestDatabase } from '../../support/database/use-test-database';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const keyring = new TestKeyring();
const by = { by: 'kim' };
const opened: Shards[] = [];
type Database = ReturnType<typeof useTestDatabase>;

/** A process of its own: it has the keyring, and has opened nothing yet. */
async function aProcess(source: ReplaceableSource, cacheTtlMs = 0): Promise<Shards> {
  const configs = { keys: await keyring.keys(), cacheTtlMs };
  const shards = new Shards(source, { reloadEveryMs: 0, configs });
  opened.push(shards);
  return await shards.open();
}
afterEach(async () => {
  for (const shards of opened.splice(0)) await shards.destroy();
});

const apiKeyOf = (config: PaymentConfig | null) => config?.secrets.api_key?.reveal();
const versions = (database: Database, restaurantId: string) =>
  database.query<{ config_version: string; is_active: boolean; data_key_id: string }>(
    `SELECT config_version, is_active, data_key_id FROM restaurant_payment_configs
     WHERE restaurant_id = $1 ORDER BY created_at`,
    [restaurantId],
  );
const dataKeys = async (database: Database) =>
  (await database.query<{ id: string }>('SELECT data_key_id AS id FROM data_keys')).map(({ id }) => id);

describe('each with its own restaurants', () => {
  const [a, b] = [useTestDatabase(), useTestDatabase()];
  const both = (version = 1) => mapOf(version, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } });
  beforeAll(async () => {
    await fence(a, EVEN);
    await fence(b, ODD);
  });

  test('a data key belongs to one database: what one process seals for several, any other opens, and a new map makes no new key', async () => {
    const source = new ReplaceableSource(both());
    const shards = await aProcess(source);
    const sealed = [];
    for (const [database, shard] of [
      ...[[a, EVEN] as const, [b, ODD] as const],
      ...[[a, EVEN] as const, [b, ODD] as const],
    ]) {
      const [restaurantId, content] = [aRestaurantOf(shard), aConfig()];
      await shards.run(restaurantId, ({ configs }) => configs!.activate(restaurantId, content, by));
      const [version] = await versions(database, restaurantId);
      expect(await dataKeys(database)).toEqual([version!.data_key_id]);
      sealed.push([restaurantId, content.secrets!.api_key] as const);
      source.map = both(shards.map.version + 1);
      await shards.reload();
    }
    expect(new Set([...(await dataKeys(a)), ...(await dataKeys(b))]).size).toBe(2);
    const other = await aProcess(new ReplaceableSource(both()));
    for (const [restaurantId, apiKey] of sealed) {
      const config = await other.run(restaurantId, ({ configs }) => configs!.getActive(restaurantId));
      expect(apiKeyOf(config)).toBe(apiKey);
    }
  });

  test('without keys a database has no configs, and wrong ones are told before the map is loaded', async () => {
    const source = new ReplaceableSource(both());
    const shards = await new Shards(source).open();
    opened.push(shards);
    expect((await shards.of(aRestaurantOf(EVEN))).configs).toBeUndefined();
    for (const [configs, message] of [
      [{ keys: {} }, /PaymentConfigsOptions: keys must be/],
      [{ keys: await keyring.keys(), cacheTtlMs: -1 }, /cacheTtlMs/],
      [{ keys: await keyring.keys(), cacheMs: 1 }, /cacheMs/],
      ['keys', /ShardsOptions: configs must be a plain object/],
    ] as const) {
      expect(() => new Shards(source, { configs: configs as never })).toThrow(message);
    }
    expect(source.loads).toBe(1);
  });
});

describe('when restaurants move', () => {
  const [a, b] = [useTestDatabase(), useTestDatabase()];
  const before = () => mapOf(1, { a: { ...WHOLE, url: a.url } });
  const after = () => mapOf(2, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } });
  const restaurantId = aRestaurantOf(ODD);
  const first = aConfig();
  let firstVersion: string;

  beforeAll(async () => {
    await fence(a, WHOLE);
    const shards = await aProcess(new ReplaceableSource(before()));
    ({ configVersion: firstVersion } = await shards.run(restaurantId, ({ configs }) =>
      configs!.activate(restaurantId, first, by),
    ));
    await moveRestaurants({ from: a, keeps: EVEN, to: b, moves: ODD });
  });

  test('a configuration is refused by the fence in a process with an old map, and activated once where its restaurant is now', async () => {
    const source = new ReplaceableSource(before());
    const shards = await aProcess(source, 3_600_000);
    const read = async () =>
      await shards.run(restaurantId, async ({ name, configs }) => [
        name,
        apiKeyOf(await configs!.getActive(restaurantId)),
      ]);
    // A read is not refused: it finds what was there when the restaurant moved.
    expect(await read()).toEqual(['a', first.secrets!.api_key]);
    const left = await versions(a, restaurantId);
    const places: string[] = [];
    const content = aConfig();
    const activate = () =>
      shards.run(
        restaurantId,
        ({ name, configs }) => (
          places.push(name),
          configs!.activate(restaurantId, content, { ...by, expectedVersion: firstVersion })
        ),
      );
    await expect(activate()).rejects.toThrow(WrongShardError);
    expect([places, await versions(a, restaurantId)]).toEqual([['a'], left]);
    expect(await versions(b, restaurantId)).toEqual(left);

    source.map = after();
    const { configVersion, replaced } = await activate();
    expect([places, replaced]).toEqual([['a', 'a', 'b'], firstVersion]);
    expect(await versions(a, restaurantId)).toEqual(left);
    expect(await versions(b, restaurantId)).toMatchObject([
      { config_version: firstVersion, is_active: false },
      { config_version: configVersion, is_active: true },
    ]);
    expect(await read()).toEqual(['b', content.secrets!.api_key]);
    // What was sealed before it moved opens with the data key that came along.
    const { configs } = await shards.of(restaurantId);
    expect(apiKeyOf(await configs!.getVersion(restaurantId, firstVersion))).toBe(first.secrets!.api_key);
  });

  test('what a process has kept of one database it does not give for another', async () => {
    const source = new ReplaceableSource(before());
    const [shards, other] = [await aProcess(source, 3_600_000), await aProcess(new ReplaceableSource(after()))];
    const read = async () =>
      apiKeyOf(await shards.run(restaurantId, ({ configs }) => configs!.getActive(restaurantId)));
    expect(await read()).toBe(first.secrets!.api_key);
    const content = aConfig();
    await other.run(restaurantId, ({ configs }) => configs!.activate(restaurantId, content, by));
    expect(await read()).toBe(first.secrets!.api_key);
    source.map = after();
    await shards.reload();
    expect(await read()).toBe(content.secrets!.api_key);
  });

  test('nobody is told that there is no configuration by a database that has it no more', async () => {
    await a.query('DELETE FROM restaurant_payment_configs');
    const asked: Record<string, (configs: RestaurantPaymentConfigs) => Promise<unknown>> = {
      getActive: (configs) => configs.getActive(restaurantId),
      getVersion: (configs) => configs.getVersion(restaurantId, firstVersion),
      activate: (configs) => configs.activate(restaurantId, aConfig(), { ...by, expectedVersion: firstVersion }),
      rollback: (configs) => configs.rollback(restaurantId, firstVersion, by),
      deactivate: (configs) => configs.deactivate(restaurantId, by),
    };
    for (const [name, ask] of Object.entries(asked)) {
      const old = await aProcess(new ReplaceableSource(before()));
      const answer = await old.run(restaurantId, ({ configs }) => ask(configs!)).catch((error: unknown) => error);
      expect({ name, answer }).toEqual({ name, answer: expect.any(WrongShardError) as unknown });
    }
    const source = new ReplaceableSource(before());
    const shards = await aProcess(source);
    source.map = after();
    const work = jest.fn(({ configs }: Shard) => configs!.deactivate(restaurantId, by));
    const { configVersion } = await shards.run(restaurantId, work);
    expect([configVersion, work.mock.calls.length]).toEqual([expect.any(String), 2]);
    expect((await versions(b, restaurantId)).filter(({ is_active: isActive }) => isActive)).toEqual([]);
    // Where it is at home, none is none.
    await expect(shards.run(restaurantId, ({ configs }) => configs!.getActive(restaurantId))).resolves.toBeNull();
  });
});
