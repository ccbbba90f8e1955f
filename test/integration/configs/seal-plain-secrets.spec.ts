import { v4 as uuidv4 } from 'uuid';
import { RestaurantPaymentConfigs } from '../../../src/configs/restaurant-payment-configs';
import { rotateDataKeys } from '../../../src/configs/rotate-data-keys';
import { sealPlainSecrets } from '../../../src/configs/seal-plain-secrets';
import { secretsStatus } from '../../../src/configs/secrets-status';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { aConfig, plainConfigs, TestKeyring } from '../../support/configs/configs';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { useTestDatabase } from '../../support/database/use-test-database';
import { loadLegacyDatabase } from '../../support/legacy/legacy-fixture';
import { LATEST_LEVEL, MigrationChain } from '../../support/migrations/migration-chain';
import { atOnce } from '../../support/requests/races';

const revealed = (config: { secrets: Record<string, { reveal(): string }> } | null) =>
  config && Object.fromEntries(Object.entries(config.secrets).map(([name, secret]) => [name, secret.reveal()]));

describe('the legacy rows', () => {
  const database = useTestDatabase({ empty: true });
  const keyring = new TestKeyring();
  let dataSource: PaymentEventsDataSource;

  beforeAll(async () => {
    await loadLegacyDatabase(database);
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  test('are sealed, and read back equal, each by restaurant and version', async () => {
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    const versions = await database.query<{ restaurant_id: string; config_version: string; is_active: boolean }>(
      'SELECT restaurant_id, config_version, is_active FROM restaurant_payment_configs ORDER BY 1, 2',
    );
    const read = () =>
      Promise.all(
        versions.map(async (version) => {
          const config = await configs.getVersion(version.restaurant_id, version.config_version);
          return { ...config, secrets: revealed(config) };
        }),
      );
    const before = await read();
    expect(await secretsStatus(dataSource)).toMatchObject({ plain: 2, sealed: 0 });
    expect(await sealPlainSecrets(dataSource, await keyring.keys())).toEqual({ sealed: 2, left: [] });
    expect(await read()).toEqual(before);
    expect(before.map(({ secrets }) => secrets)).toEqual(
      expect.arrayContaining([{ stripe_api_key: 'sk_test_placeholder' }, { api_key: 'sk_test_revoked' }]),
    );
    const left = await database.query(
      `SELECT FROM restaurant_payment_configs WHERE processor_config::text LIKE '%sk_test_%'`,
    );
    expect(left).toEqual([]);
    expect(await secretsStatus(dataSource)).toMatchObject({ plain: 0, sealed: 2 });
  });
});

describe('many versions', () => {
  const database = useTestDatabase();
  const keyring = new TestKeyring();
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    dataSource = await database.dataSource();
  });

  test('are sealed in batches, by two at once, each once', async () => {
    const secrets = await plainConfigs(database, 57);
    const told: number[] = [];
    const keys = await keyring.keys();
    const sealed = await atOnce(2, (index) =>
      sealPlainSecrets(dataSource, keys, { batchSize: 10, onProgress: (count) => index || told.push(count) }),
    );
    expect(sealed[0]!.sealed + sealed[1]!.sealed).toBe(57);
    expect(told.at(-1)).toBe(sealed[0]!.sealed);
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    for (const [restaurantId, secret] of secrets) {
      expect(revealed(await configs.getActive(restaurantId))).toEqual({ api_key: secret });
    }
    expect(await sealPlainSecrets(dataSource, await keyring.keys())).toEqual({ sealed: 0, left: [] });
  });

  test('that were activated by others meanwhile stay as they are', async () => {
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    const [restaurantId, content] = [uuidv4(), aConfig()];
    await configs.activate(restaurantId, content, { by: 'kim' });
    await sealPlainSecrets(dataSource, await keyring.keys());
    expect(revealed(await configs.getActive(restaurantId))).toEqual(content.secrets);
  });

  test('that have a secret deeper in their settings are counted, as they cannot be sealed', async () => {
    const { nested } = await secretsStatus(dataSource);
    await plainConfigs(database, [
      [uuidv4(), { auth: { api_key: 'sk_test_deep' } }],
      [uuidv4(), { list: [{ a: [{ webhook_secret: 1 }] }] }],
      [uuidv4(), { password: 'of another processor' }],
      [uuidv4(), { statement_descriptor: 'api_key', list: ['api_key'] }],
    ]);
    expect(await sealPlainSecrets(dataSource, await keyring.keys())).toEqual({ sealed: 0, left: [] });
    expect(await secretsStatus(dataSource)).toMatchObject({ nested: nested + 3, plain: 0 });
  });

  test('with a number that nothing can be bound to stay, are named, and keep nobody from the others', async () => {
    const restaurants = [uuidv4(), uuidv4(), uuidv4()].sort();
    await plainConfigs(
      database,
      restaurants.map((id, index) => [id, { api_key: 'k', ...(index === 0 && { limit: 2 ** 60 }), ratio: 0.1 }]),
    );
    const sealed = await sealPlainSecrets(dataSource, await keyring.keys(), { batchSize: 1 });
    expect(sealed).toEqual({ sealed: 2, left: [{ restaurantId: restaurants[0], configVersion: 'v1' }] });
    expect(await secretsStatus(dataSource)).toMatchObject({ plain: 1 });
    await database.query('DELETE FROM restaurant_payment_configs WHERE restaurant_id = $1', [restaurants[0]]);
  });

  test('whose secret is no text are sealed as its JSON', async () => {
    const restaurantId = uuidv4();
    await plainConfigs(database, [[restaurantId, { api_key: 5, webhook_secret: '', stripe_api_key: null }]]);
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    const before = revealed(await configs.getActive(restaurantId));
    expect(before).toEqual({ api_key: '5' });
    expect(await sealPlainSecrets(dataSource, await keyring.keys())).toEqual({ sealed: 1, left: [] });
    expect(revealed(await configs.getActive(restaurantId))).toEqual(before);
  });
});

describe('a rotation', () => {
  const database = useTestDatabase();
  const keyring = new TestKeyring();
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    dataSource = await database.dataSource();
  });

  const versions = () =>
    database.query('SELECT * FROM restaurant_payment_configs ORDER BY restaurant_id, config_version');

  test('wraps every data key anew and touches no version; the key before is not needed any more', async () => {
    const contents = new Map(Array.from({ length: 5 }, () => [uuidv4(), aConfig()]));
    for (const [restaurantId, content] of contents) {
      // Each a process of its own, with a data key of its own.
      await new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() }).activate(restaurantId, content, {
        by: 'kim',
      });
    }
    const before = await versions();
    await keyring.add('second');
    const told: unknown[] = [];
    const options = { batchSize: 2, onProgress: (rotated: object) => void told.push(rotated) };
    expect(await rotateDataKeys(dataSource, await keyring.keys(), options)).toEqual({ seen: 5, rewrapped: 5 });
    expect(told).toHaveLength(3);
    expect(await versions()).toEqual(before);
    expect(await secretsStatus(dataSource)).toMatchObject({ dataKeys: [{ keyId: 'second', dataKeys: 5 }] });
    expect(await rotateDataKeys(dataSource, await keyring.keys())).toEqual({ seen: 5, rewrapped: 0 });
    keyring.drop('first');
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    for (const [restaurantId, content] of contents) {
      expect(revealed(await configs.getActive(restaurantId))).toEqual(content.secrets);
    }
  });

  test('that lacks a key names it when all the others are wrapped anew', async () => {
    await keyring.add('third');
    await new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() }).activate(uuidv4(), aConfig(), {
      by: 'kim',
    });
    await keyring.add('fourth');
    keyring.drop('second');
    const rotation = rotateDataKeys(dataSource, await keyring.keys());
    await expect(rotation).rejects.toMatchObject({ code: 'KEY_MISSING', keyId: 'second' });
    const { dataKeys } = await secretsStatus(dataSource);
    expect(dataKeys.map(({ keyId }) => keyId)).toEqual(['fourth', 'second']);
  });
});
