import { v4 as uuidv4 } from 'uuid';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { createDataSourceOptions, PaymentEventsDataSource as DataSource } from '../../src/data-source';
import { aConfig, TestKeyring } from '../support/configs/configs';
import { Proxy } from '../support/database/proxy';
import { useTestDatabase } from '../support/database/use-test-database';
import { atOnce, crowdOf, outcomeOf } from '../support/requests/races';

const database = useTestDatabase();
const keyring = new TestKeyring();
let crowd: PaymentEventsDataSource;
let configs: RestaurantPaymentConfigs;

beforeAll(async () => {
  crowd = await crowdOf(16, database);
  configs = new RestaurantPaymentConfigs(crowd, { keys: await keyring.keys() });
});
afterAll(() => crowd.destroy());

const by = { by: 'kim' };

const active = async (restaurantId: string) =>
  (
    await database.query<{ config_version: string }>(
      'SELECT config_version FROM restaurant_payment_configs WHERE restaurant_id = $1 AND is_active',
      [restaurantId],
    )
  ).map(({ config_version }) => config_version);

test.each([
  ['the first of a restaurant', false],
  ['after another', true],
])(
  'of 16 activations at once, %s, one is active, and each other is told of a conflict or was replaced, 40 times',
  async (_what, after) => {
    for (let round = 0; round < 40; round++) {
      const restaurantId = uuidv4();
      if (after) await configs.activate(restaurantId, aConfig(), by);
      const outcomes = await atOnce(16, () => outcomeOf(configs.activate(restaurantId, aConfig(), by)));
      const activated = outcomes.filter((outcome) => typeof outcome === 'object');
      expect(outcomes.filter((outcome) => typeof outcome === 'string' && outcome !== 'ConfigConflictError')).toEqual(
        [],
      );
      const [version, ...more] = await active(restaurantId);
      expect(more).toEqual([]);
      const history = await configs.history(restaurantId);
      expect(history).toHaveLength(activated.length + (after ? 1 : 0));
      expect(history[0]).toMatchObject({ configVersion: version, isActive: true });
      // Each but the first has replaced the one before it.
      const replaced = activated.map((outcome) => outcome.replaced).filter((name) => name !== null);
      expect(new Set(replaced).size).toBe(replaced.length);
    }
  },
);

test('with the version that each expects, one of 16 at once wins, 40 times', async () => {
  const restaurantId = uuidv4();
  let { configVersion: expectedVersion } = await configs.activate(restaurantId, aConfig(), by);
  for (let round = 0; round < 40; round++) {
    const outcomes = await atOnce(16, () =>
      outcomeOf(configs.activate(restaurantId, aConfig(), { by: 'kim', expectedVersion })),
    );
    const won = outcomes.filter((outcome) => typeof outcome === 'object');
    expect(won).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'ConfigConflictError')).toHaveLength(15);
    expectedVersion = won[0]!.configVersion;
    expect(await active(restaurantId)).toEqual([expectedVersion]);
  }
});

test('a deactivation that meets activations leaves none active, or one that came after it', async () => {
  for (let round = 0; round < 40; round++) {
    const restaurantId = uuidv4();
    const { configVersion: first } = await configs.activate(restaurantId, aConfig(), by);
    const [off, on] = await Promise.all([
      outcomeOf(configs.deactivate(restaurantId, by)),
      outcomeOf(configs.activate(restaurantId, aConfig(), by)),
    ]);
    expect(off).toEqual({ configVersion: expect.any(String) as string });
    const left = await active(restaurantId);
    if (typeof on === 'string') expect([on, left]).toEqual(['ConfigConflictError', []]);
    else {
      const { configVersion } = off as { configVersion: string };
      expect(configVersion).toBe(left.length === 0 ? on.configVersion : first);
    }
  }
});

test('the history has every change of 1,000 random ones, in order', async () => {
  const restaurants = Array.from({ length: 4 }, () => ({
    id: uuidv4(),
    told: [] as string[],
    active: null as string | null,
  }));
  await Promise.all(
    restaurants.map(async (restaurant) => {
      const actor = (number: number) => `actor ${number}`;
      for (let number = 0; number < 250; number++) {
        const die = Math.random();
        const change = { by: actor(number) };
        if (die < 0.2) {
          const { configVersion } = await configs.deactivate(restaurant.id, change);
          expect(configVersion).toBe(restaurant.active);
          if (configVersion !== null) restaurant.told.push(`off ${configVersion} by ${change.by}`);
          restaurant.active = null;
          continue;
        }
        const earlier = restaurant.told.filter((line) => line.startsWith('on')).map((line) => line.split(' ')[1]!);
        const to = earlier[Math.floor(Math.random() * earlier.length)];
        const { configVersion, replaced } =
          die < 0.5 && to !== undefined
            ? await configs.rollback(restaurant.id, to, change)
            : await configs.activate(restaurant.id, aConfig(), change);
        expect(replaced).toBe(restaurant.active);
        if (replaced !== null) restaurant.told.push(`off ${replaced} by ${change.by}`);
        restaurant.told.push(`on ${configVersion} by ${change.by}`);
        restaurant.active = configVersion;
      }
      const history = await configs.history(restaurant.id, { limit: 1_000 });
      const told = history.flatMap(({ configVersion, activatedAt, activatedBy, switchedOffAt, switchedOffBy }) => [
        { at: activatedAt.getTime(), line: `on ${configVersion} by ${activatedBy}` },
        ...(switchedOffAt ? [{ at: switchedOffAt.getTime(), line: `off ${configVersion} by ${switchedOffBy}` }] : []),
      ]);
      expect(told.map(({ line }) => line).sort()).toEqual([...restaurant.told].sort());
      const ons = restaurant.told.filter((line) => line.startsWith('on')).reverse();
      expect(history.map(({ configVersion, activatedBy }) => `on ${configVersion} by ${activatedBy}`)).toEqual(ons);
    }),
  );
});

test('an activation whose answer is lost is one activation, whether it took place or not', async () => {
  const proxy = await Proxy.start(database.url);
  const options = createDataSourceOptions({ url: proxy.url, poolSize: 2, statementTimeoutMs: 1_000 });
  const remote = await new DataSource(options).initialize();
  const far = new RestaurantPaymentConfigs(remote, { keys: await keyring.keys() });
  try {
    await far.activate(uuidv4(), aConfig(), by);
    for (let round = 0; round < 20; round++) {
      const restaurantId = uuidv4();
      const { configVersion: expectedVersion } = await far.activate(restaurantId, aConfig(), by);
      const change = round % 2 ? { by: 'kim', expectedVersion } : by;
      let cut = false;
      // The answer to the activation, which the server has carried out.
      proxy.intercept = (what, data) => {
        if (cut || what !== 'answers' || (!data.includes('replaced') && !data.includes(expectedVersion)))
          return undefined;
        cut = true;
        return { pass: Buffer.alloc(0), end: true };
      };
      const activated = await far.activate(restaurantId, aConfig(), change);
      proxy.intercept = undefined;
      expect(cut).toBe(true);
      expect(await active(restaurantId)).toEqual([activated.configVersion]);
      expect(await configs.history(restaurantId)).toHaveLength(2);
    }
  } finally {
    await remote.destroy();
    await proxy.close();
  }
});
