import { v4 as uuidv4 } from 'uuid';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ConfigConflictError,
  ConfigNotFoundError,
  KeyUnavailableError,
  SecretsUnreadableError,
} from '../../../src/configs/errors';
import { type WrappedKey } from '../../../src/configs/key-provider';
import { RestaurantPaymentConfigs } from '../../../src/configs/restaurant-payment-configs';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { ConfigurationError, InvalidCommandError } from '../../../src/errors';
import { aConfig, aSecret, plainConfigs, TestKeyring } from '../../support/configs/configs';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { useTestDatabase } from '../../support/database/use-test-database';

const database = useTestDatabase();
const keyring = new TestKeyring();
let dataSource: PaymentEventsDataSource;
let configs: RestaurantPaymentConfigs;

beforeAll(async () => {
  dataSource = await database.dataSource();
  configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
});

const by = { by: 'kim' };
const revealed = (config: { secrets: Record<string, { reveal(): string }> } | null) =>
  config && Object.fromEntries(Object.entries(config.secrets).map(([name, secret]) => [name, secret.reveal()]));
const stored = (restaurantId: string) =>
  database.query<Record<string, unknown>>(
    'SELECT * FROM restaurant_payment_configs WHERE restaurant_id = $1 ORDER BY created_at',
    [restaurantId],
  );

describe('activate', () => {
  it('writes a version that getActive and getVersion open, and makes it the active one', async () => {
    const [restaurantId, content] = [uuidv4(), aConfig()];
    const { configVersion, replaced, activatedAt } = await configs.activate(restaurantId, content, by);
    expect(replaced).toBeNull();
    const config = await configs.getActive(restaurantId);
    const { processorName, settings } = content;
    const expected = { restaurantId, configVersion, processorName, settings, isActive: true, createdAt: activatedAt };
    expect(config).toMatchObject(expected);
    expect(revealed(config)).toEqual(content.secrets);
    expect(await configs.getVersion(restaurantId, configVersion)).toEqual(config);
  });

  it('switches the one before off by the same statement, and keeps it to be opened', async () => {
    const [restaurantId, first] = [uuidv4(), aConfig()];
    const one = await configs.activate(restaurantId, first, by);
    const two = await configs.activate(restaurantId, aConfig(), { by: 'alex', expectedVersion: one.configVersion });
    expect(two.replaced).toBe(one.configVersion);
    const before = await configs.getVersion(restaurantId, one.configVersion);
    expect(before).toMatchObject({ isActive: false });
    expect(revealed(before)).toEqual(first.secrets);
    expect(await stored(restaurantId)).toMatchObject([
      { is_active: false, created_by: 'kim', switched_off_by: 'alex' },
      { is_active: true, created_by: 'alex', switched_off_by: null },
    ]);
  });

  it('names the version that is active where another one was expected, and writes nothing', async () => {
    const restaurantId = uuidv4();
    const { configVersion } = await configs.activate(restaurantId, aConfig(), by);
    const late = configs.activate(restaurantId, aConfig(), { by: 'alex', expectedVersion: 'v1' });
    await expect(late).rejects.toThrow(ConfigConflictError);
    await expect(late).rejects.toMatchObject({ restaurantId, activeVersion: configVersion, retryable: false });
    expect(await stored(restaurantId)).toHaveLength(1);
  });

  it('says so where none is active and one was expected', async () => {
    const expected = configs.activate(uuidv4(), aConfig(), { by: 'alex', expectedVersion: 'v1' });
    await expect(expected).rejects.toMatchObject({ code: 'CONFIG_CONFLICT', activeVersion: null });
  });

  it('sends and stores no secret but sealed', async () => {
    const [restaurantId, secret] = [uuidv4(), aSecret()];
    await configs.activate(restaurantId, aConfig({ secrets: { api_key: secret } }), by);
    const [row] = await stored(restaurantId);
    expect(row).toMatchObject({ sealed_fields: ['api_key'] });
    expect(JSON.stringify(row)).not.toContain(secret);
    expect((row!.sealed_secrets as Buffer).includes(secret)).toBe(false);
  });

  it.each([
    ['a processor that is no row', { processorName: 'nobody' }, /processorName must be a row of the table processors/],
    [
      'a field that the processor has not',
      { settings: { 'SHOWN colour': 'red' } },
      /settings has a field that the processor has not: it has account/,
    ],
    ['a secret among the settings', { settings: { api_key: 'SHOWN' } }, /api_key is a secret of stripe/],
    [
      'a secret that the processor has not',
      { secrets: { SHOWN: 'api_key' } },
      /secrets has a field that stripe has not: it has api_key, /,
    ],
    ['a missing secret', { secrets: {} }, /secrets\.api_key must be there/],
    [
      'a setting of another type',
      { settings: { statement_descriptor: 7 } },
      /statement_descriptor breaks the rule type/,
    ],
    ['a secret that is no text', { secrets: { api_key: 5 as unknown as string } }, /secrets must be a plain object/],
    ['an empty secret', { secrets: { api_key: '' } }, /secrets must be a plain object/],
  ])('refuses %s, without its value, before anything is written', async (_what, changes, message) => {
    const restaurantId = uuidv4();
    const refused = configs.activate(restaurantId, aConfig(changes), by);
    await expect(refused).rejects.toThrow(InvalidCommandError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.not.toThrow(/SHOWN|red/);
    expect(await stored(restaurantId)).toEqual([]);
  });

  it('takes a processor that a team has added, by its own rules', async () => {
    await database.query(
      `INSERT INTO processors (processor_name, secret_fields, required_secret_fields, settings_schema)
       VALUES ('own', '{token,pin}', '{token}', $1)`,
      [
        {
          type: 'object',
          additionalProperties: false,
          properties: { mid: { type: 'string', pattern: '^[0-9]{6}$' } },
          required: ['mid'],
        },
      ],
    );
    const own = (settings: object, secrets: Record<string, string>) =>
      configs.activate(uuidv4(), { processorName: 'own', settings: settings as Record<string, unknown>, secrets }, by);
    await own({ mid: '123456' }, { token: aSecret() });
    await expect(own({ mid: '12345' }, { token: aSecret() })).rejects.toThrow(/settings\.mid breaks the rule pattern/);
    await expect(own({}, { token: aSecret() })).rejects.toThrow(/settings breaks the rule required/);
    await expect(own({ mid: '123456' }, { pin: '1' })).rejects.toThrow(/secrets\.token must be there/);
  });

  it('is refused a whole number that JSON does not carry', async () => {
    await database.query(
      `INSERT INTO processors (processor_name, secret_fields, settings_schema)
       VALUES ('counting', '{token}', '{"type":"object","additionalProperties":false,"properties":{"n":{"type":"number"}}}')`,
    );
    const content = { processorName: 'counting', settings: { n: 2 ** 53 }, secrets: { token: 't' } };
    await expect(configs.activate(uuidv4(), content, by)).rejects.toThrow(InvalidCommandError);
  });
});

describe('getActive', () => {
  it('gives null where nothing is active', async () => {
    const restaurantId = uuidv4();
    expect(await configs.getActive(restaurantId)).toBeNull();
    await configs.activate(restaurantId, aConfig(), by);
    await configs.deactivate(restaurantId, by);
    expect(await configs.getActive(restaurantId)).toBeNull();
  });

  it('gives the secrets of a version of before there were seals apart from its settings', async () => {
    const restaurantId = uuidv4();
    await plainConfigs(database, [[restaurantId, { stripe_api_key: 'sk_test_old', statement_descriptor: 'OLD' }]]);
    const config = await configs.getActive(restaurantId);
    expect(config).toMatchObject({ configVersion: 'v1', settings: { statement_descriptor: 'OLD' } });
    expect(config!.settings).not.toHaveProperty('stripe_api_key');
    expect(revealed(config)).toEqual({ stripe_api_key: 'sk_test_old' });
    expect(await configs.history(restaurantId)).toMatchObject([
      { secrets: ['stripe_api_key'], plainSecrets: ['stripe_api_key'] },
    ]);
  });

  /** What somebody with the rights of an owner may do to rows. */
  const tampered = async (set: string, ...values: unknown[]) => {
    const restaurantId = uuidv4();
    await configs.activate(restaurantId, aConfig(), by);
    await database.query('ALTER TABLE restaurant_payment_configs DISABLE TRIGGER USER');
    await database.query(`UPDATE restaurant_payment_configs SET ${set} WHERE restaurant_id = $1`, [
      restaurantId,
      ...values,
    ]);
    await database.query('ALTER TABLE restaurant_payment_configs ENABLE TRIGGER USER');
    await database.query(
      'ALTER TABLE restaurant_payment_configs ENABLE ALWAYS TRIGGER guard_restaurant_payment_configs',
    );
    return restaurantId;
  };

  it.each([
    ['settings that were changed', `processor_config = '{"statement_descriptor": "MINE"}'`],
    ['another version', `config_version = 'v9'`],
    ['another processor', `processor_name = 'mock'`],
    ['other fields', `sealed_fields = '{webhook_secret}'`],
    ['a byte that was changed', `sealed_secrets = set_byte(sealed_secrets, 40, get_byte(sealed_secrets, 40) # 1)`],
  ])('opens nothing beside %s', async (_what, set) => {
    await expect(configs.getActive(await tampered(set))).rejects.toThrow(SecretsUnreadableError);
  });

  it('opens nothing that was moved from another restaurant', async () => {
    const from = uuidv4();
    await configs.activate(from, aConfig(), by);
    const restaurantId = await tampered(
      `(sealed_secrets, data_key_id, config_version) =
         (SELECT sealed_secrets, data_key_id, config_version FROM restaurant_payment_configs WHERE restaurant_id = $2)`,
      from,
    );
    await expect(configs.getActive(restaurantId)).rejects.toThrow(SecretsUnreadableError);
  });
});

describe('deactivate', () => {
  it('says what it switched off, and null where nothing was active', async () => {
    const restaurantId = uuidv4();
    const { configVersion } = await configs.activate(restaurantId, aConfig(), by);
    expect(await configs.deactivate(restaurantId, by)).toEqual({ configVersion });
    expect(await configs.deactivate(restaurantId, by)).toEqual({ configVersion: null });
  });

  it('leaves another version than the expected one', async () => {
    const restaurantId = uuidv4();
    const { configVersion } = await configs.activate(restaurantId, aConfig(), by);
    const other = configs.deactivate(restaurantId, { by: 'kim', expectedVersion: 'v1' });
    await expect(other).rejects.toMatchObject({ code: 'CONFIG_CONFLICT', activeVersion: configVersion });
    expect(await configs.getActive(restaurantId)).toMatchObject({ configVersion });
  });
});

describe('rollback', () => {
  it('writes what an earlier version says as a new one', async () => {
    const [restaurantId, first] = [uuidv4(), aConfig()];
    const one = await configs.activate(restaurantId, first, by);
    const two = await configs.activate(restaurantId, aConfig({ settings: {} }), by);
    const back = await configs.rollback(restaurantId, one.configVersion, { by: 'alex' });
    expect(back.replaced).toBe(two.configVersion);
    expect(back.configVersion).not.toBe(one.configVersion);
    const config = await configs.getActive(restaurantId);
    expect(config).toMatchObject({ configVersion: back.configVersion, settings: first.settings });
    expect(revealed(config)).toEqual(first.secrets);
    const history = await configs.history(restaurantId);
    expect(
      history.map(({ configVersion, copyOf, activatedBy, isActive }) => ({
        configVersion,
        copyOf,
        activatedBy,
        isActive,
      })),
    ).toEqual([
      { configVersion: back.configVersion, copyOf: one.configVersion, activatedBy: 'alex', isActive: true },
      { configVersion: two.configVersion, copyOf: null, activatedBy: 'kim', isActive: false },
      { configVersion: one.configVersion, copyOf: null, activatedBy: 'kim', isActive: false },
    ]);
    expect(history.map(({ changedSettings }) => changedSettings)).toEqual([
      ['statement_descriptor'],
      ['statement_descriptor'],
      ['statement_descriptor'],
    ]);
  });

  it('never makes active what does not open any more', async () => {
    const restaurantId = uuidv4();
    const one = await configs.activate(restaurantId, aConfig(), by);
    const two = await configs.activate(restaurantId, aConfig(), by);
    const other = new RestaurantPaymentConfigs(dataSource, { keys: await others.keys() });
    await expect(other.rollback(restaurantId, one.configVersion, by)).rejects.toMatchObject({ retryable: false });
    expect(await configs.getActive(restaurantId)).toMatchObject({ configVersion: two.configVersion });
  });

  it('knows no version of another restaurant', async () => {
    const { configVersion } = await configs.activate(uuidv4(), aConfig(), by);
    await expect(configs.rollback(uuidv4(), configVersion, by)).rejects.toThrow(ConfigNotFoundError);
  });
});

const others = new TestKeyring();

test('without keys it is not made', () => {
  expect(() => new RestaurantPaymentConfigs(dataSource, {} as never)).toThrow(ConfigurationError);
  expect(() => new RestaurantPaymentConfigs(dataSource, { keys: {} as never })).toThrow(/keys must be a KeyProvider/);
});

test('a history is told also of legacy settings that are no object, or empty', async () => {
  const restaurantId = uuidv4();
  await plainConfigs(database, [[restaurantId, ['api_key']]]);
  expect(await configs.history(restaurantId)).toMatchObject([{ settings: [], secrets: [], changedSettings: [] }]);
  expect(await configs.getActive(restaurantId)).toMatchObject({ configVersion: 'v1', secrets: {} });
});

describe('what looks like a card number among the settings', () => {
  const NUMBER = '4111111111111111';
  const withSetting = (text: string) => aConfig({ settings: { account: 'acct_1', api_version: text } });

  it.each([
    ['report', NUMBER],
    ['mask', NUMBER],
  ] as const)(
    'is reported under %s and recorded as it is, since a merchant may have such a number',
    async (cardNumbers, recorded) => {
      const own = await quietDataSource({ url: database.url, cardNumbers });
      try {
        const restaurantId = uuidv4();
        const configsOfIt = new RestaurantPaymentConfigs(own, { keys: await keyring.keys() });
        await configsOfIt.activate(restaurantId, withSetting(NUMBER), { by: `kim ${NUMBER}` });
        expect(await configsOfIt.getActive(restaurantId)).toMatchObject({ settings: { api_version: recorded } });
        expect(await configsOfIt.history(restaurantId)).toMatchObject([{ activatedBy: 'kim 411111XXXXXX1111' }]);
      } finally {
        await own.destroy();
      }
    },
  );

  it('is refused under refuse by its place, before anything is written', async () => {
    const own = await quietDataSource({ url: database.url, cardNumbers: 'refuse' });
    try {
      const restaurantId = uuidv4();
      const configsOfIt = new RestaurantPaymentConfigs(own, { keys: await keyring.keys() });
      const refused = configsOfIt.activate(restaurantId, withSetting(NUMBER), by);
      await expect(refused).rejects.toThrow(/^ConfigContent: .*settings\.api_version/);
      await expect(refused).rejects.not.toThrow(NUMBER);
      expect(await stored(restaurantId)).toEqual([]);
    } finally {
      await own.destroy();
    }
  });
});

describe('a version of before there were seals', () => {
  it('has no secret where that is null or empty', async () => {
    const restaurantId = uuidv4();
    await plainConfigs(database, [[restaurantId, { api_key: 'k', webhook_secret: null, stripe_api_key: '' }]]);
    expect(revealed(await configs.getActive(restaurantId))).toEqual({ api_key: 'k' });
  });
});

test('what is given cannot be changed for others', async () => {
  const cached = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys(), cacheTtlMs: 60_000 });
  const restaurantId = uuidv4();
  const terminal = { id: '001' };
  const content = { processorName: 'chase', settings: { merchant_id: 'm', terminal }, secrets: { api_key: 'k' } };
  await cached.activate(restaurantId, content, by);
  const config = (await cached.getActive(restaurantId))!;
  expect(() => ((config.settings.terminal as { id: string }).id = '002')).toThrow(TypeError);
  expect(() => ((config.secrets as Record<string, unknown>).api_key = 'mine')).toThrow(TypeError);
});

describe('with cacheTtlMs', () => {
  /** Keys that can be taken away. */
  async function keysThatGo() {
    const keys = await keyring.keys();
    const state = { isAway: false, asked: 0 };
    const guarded =
      <A extends unknown[], R>(work: (...args: A) => Promise<R>) =>
      async (...args: A): Promise<R> => {
        state.asked++;
        if (state.isAway) throw new KeyUnavailableError('first', 'ECONNREFUSED');
        return await work(...args);
      };
    return {
      state,
      keys: {
        generateDataKey: guarded((id: string) => keys.generateDataKey(id)),
        unwrap: guarded((id: string, key: WrappedKey) => keys.unwrap(id, key)),
        rewrap: guarded((id: string, key: WrappedKey) => keys.rewrap(id, key)),
      },
    };
  }

  it('goes on while the keys are away with what it has opened, and says so of the rest', async () => {
    const [known, unknown] = [uuidv4(), uuidv4()];
    for (const id of [known, unknown]) {
      await new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() }).activate(id, aConfig(), by);
    }
    const { keys, state } = await keysThatGo();
    const service = new RestaurantPaymentConfigs(dataSource, { keys, cacheTtlMs: 60_000 });
    const opened = await service.getActive(known);
    state.isAway = true;
    expect(await service.getActive(known)).toBe(opened);
    await expect(service.getActive(unknown)).rejects.toMatchObject({ code: 'KEY_UNAVAILABLE', retryable: true });
    await expect(service.activate(unknown, aConfig(), by)).rejects.toThrow(KeyUnavailableError);
    state.isAway = false;
    expect(await service.getActive(unknown)).toMatchObject({ isActive: true });
    expect(state.asked).toBeLessThan(6);
  });

  it('gives a version that another process has switched off no longer than that', async () => {
    const restaurantId = uuidv4();
    await configs.activate(restaurantId, aConfig(), by);
    const service = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys(), cacheTtlMs: 200 });
    await service.getActive(restaurantId);
    await configs.deactivate(restaurantId, by);
    const switchedOffAt = performance.now();
    for (;;) {
      const asked = performance.now();
      if ((await service.getActive(restaurantId)) === null) break;
      expect(asked - switchedOffAt).toBeLessThan(200);
      await delay(10);
    }
  });
});

test('getActive reads one row by the index of active versions', async () => {
  await database.query(`
    BEGIN; SET LOCAL session_replication_role = replica;
    INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config, is_active)
    SELECT ('00000000-0000-0000-0000-' || lpad(restaurant::text, 12, '0'))::uuid, version::text, 'mock', '{}', version = 50
    FROM generate_series(1, 100) AS restaurant, generate_series(1, 50) AS version;
    COMMIT`);
  await database.query('ANALYZE restaurant_payment_configs');
  const plan = await database.query<Record<string, string>>(
    `EXPLAIN SELECT * FROM restaurant_payment_configs JOIN processors USING (processor_name)
     WHERE restaurant_id = '${uuidv4()}' AND is_active`,
  );
  expect(JSON.stringify(plan)).toContain('Index Scan using restaurant_payment_configs_one_active');
});
