import { v4 as uuidv4 } from 'uuid';
import { findDrift } from '../../src/check/drift';
import { KeyMissingError, SecretsUnreadableError } from '../../src/configs/errors';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { PermissionDeniedError } from '../../src/errors';
import { type Role } from '../../src/grants/privileges';
import { aDataKey, insertConfig, sealed } from '../support/configs/config-rows';
import { aConfig, aSecret, TestKeyring } from '../support/configs/configs';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);
const keyring = new TestKeyring();
const ofThief = new TestKeyring();
const by = { by: 'ada' };

beforeAll(() => roles.setUp());

const configsOf = async (role: Role, keys = keyring) =>
  new RestaurantPaymentConfigs(await roles.as(role), { keys: await keys.keys() });

/** A restaurant whose first key was replaced by another one. */
async function withTwoVersions() {
  const [restaurantId, ...secrets] = [uuidv4(), aSecret(), aSecret()];
  const versions = [];
  for (const api_key of secrets) {
    const change = await (await configsOf('configs')).activate(restaurantId, aConfig({ secrets: { api_key } }), by);
    versions.push(change.configVersion);
  }
  return { restaurantId, secrets, versions };
}

/** What an administrator does: the guard is off for one statement, and then as it was. */
async function pastTheGuard(sql: string, params: unknown[]): Promise<void> {
  const guard = 'TRIGGER guard_restaurant_payment_configs';
  await database.query(`ALTER TABLE restaurant_payment_configs DISABLE ${guard}`);
  await database.query(sql, params);
  await database.query(`ALTER TABLE restaurant_payment_configs ENABLE ALWAYS ${guard}`);
}

const opened = async (restaurantId: string) =>
  (await (await configsOf('worker')).getActive(restaurantId))?.secrets.api_key?.reveal();

test('a backup has no secret in it, in no usual encoding, and opens with the keyring alone', async () => {
  const { restaurantId, secrets } = await withTwoVersions();
  const rows = await database.query(
    `SELECT to_jsonb(config)::text AS row FROM restaurant_payment_configs AS config
     UNION ALL SELECT to_jsonb(data_keys)::text FROM data_keys`,
  );
  const backup = JSON.stringify(rows);
  for (const secret of secrets) {
    for (const encoding of ['utf8', 'hex', 'base64'] as const) {
      expect(backup).not.toContain(Buffer.from(secret).toString(encoding));
    }
  }
  await expect((await configsOf('worker', ofThief)).getActive(restaurantId)).rejects.toThrow();
  expect(await opened(restaurantId)).toBe(secrets[1]);
});

test('an administrator makes an old version active again, and check does not show it', async () => {
  const { restaurantId, secrets, versions } = await withTwoVersions();
  const before = await findDrift(await roles.as('owner'), { rolePrefix: roles.prefix });
  const activeIf = 'UPDATE restaurant_payment_configs SET is_active = $2 WHERE config_version = $1';
  await pastTheGuard(activeIf, [versions[1], false]);
  await pastTheGuard(activeIf, [versions[0], true]);
  expect(await opened(restaurantId)).toBe(secrets[0]);
  expect(await findDrift(await roles.as('owner'), { rolePrefix: roles.prefix })).toEqual(before);
});

test('an administrator who moves a ciphertext or changes what is beside it gets nothing opened', async () => {
  const [one, other] = [await withTwoVersions(), await withTwoVersions()];
  await pastTheGuard(
    `UPDATE restaurant_payment_configs AS config SET sealed_secrets = source.sealed_secrets, data_key_id = source.data_key_id
     FROM restaurant_payment_configs AS source WHERE config.config_version = $1 AND source.config_version = $2`,
    [one.versions[1], other.versions[1]],
  );
  await expect(opened(one.restaurantId)).rejects.toThrow(SecretsUnreadableError);
  await pastTheGuard(
    `UPDATE restaurant_payment_configs SET processor_config = processor_config || '{"base_url": "https://thief.example"}'
     WHERE config_version = $1`,
    [other.versions[1]],
  );
  await expect(opened(other.restaurantId)).rejects.toThrow(SecretsUnreadableError);
});

test('a worker with the keys opens every secret, and writes no version', async () => {
  const { restaurantId, secrets, versions } = await withTwoVersions();
  const worker = await configsOf('worker');
  expect((await worker.getVersion(restaurantId, versions[0]!))!.secrets.api_key!.reveal()).toBe(secrets[0]);
  await expect(worker.activate(restaurantId, aConfig(), by)).rejects.toThrow(PermissionDeniedError);
  await expect(worker.deactivate(restaurantId, by)).rejects.toThrow(PermissionDeniedError);
});

test('the login of the API neither reads a version nor writes one', async () => {
  const { restaurantId } = await withTwoVersions();
  const api = await configsOf('api');
  await expect(api.getActive(restaurantId)).rejects.toThrow(PermissionDeniedError);
  await expect(api.history(restaurantId)).rejects.toThrow(PermissionDeniedError);
  await expect(api.activate(restaurantId, aConfig(), by)).rejects.toThrow(PermissionDeniedError);
});

describe('the login of those who manage configurations, without the keys', () => {
  const row = (more: object) => ({
    ...{ restaurant_id: uuidv4(), config_version: 'v1', processor_name: 'chase', created_by: 'thief' },
    ...{ processor_config: { merchant_id: 'of the thief' }, ...more },
  });

  test('opens nothing', async () => {
    const { restaurantId } = await withTwoVersions();
    await expect((await configsOf('configs', ofThief)).getActive(restaurantId)).rejects.toThrow();
  });

  test('sends money elsewhere by a version without secrets', async () => {
    const version = row({});
    await insertConfig(await roles.as('configs'), version);
    expect(await (await configsOf('worker')).getActive(version.restaurant_id)).toMatchObject({
      settings: { merchant_id: 'of the thief' },
    });
  });

  test('and a worker refuses what is sealed under a key of theirs', async () => {
    const user = await roles.as('configs');
    const version = row(sealed(await aDataKey(user)));
    await insertConfig(user, version);
    await expect((await configsOf('worker')).getActive(version.restaurant_id)).rejects.toThrow(KeyMissingError);
  });
});
