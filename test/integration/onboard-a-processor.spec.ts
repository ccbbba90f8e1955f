import { v4 as uuidv4 } from 'uuid';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { insertConfig } from '../support/configs/config-rows';
import { TestKeyring } from '../support/configs/configs';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';

const PAGE = new DocPage('docs/how-to/onboard-a-processor.md');
const database = useTestDatabase();
const roles = useRoles(database);
const keyring = new TestKeyring();
const [insertRow] = PAGE.blocksOf('Insert its row', 'sql');
const [content] = PAGE.blocksOf('Configure a restaurant', 'json');

beforeAll(async () => {
  await roles.setUp();
  await (await roles.as('owner')).query(insertRow!);
});

/** With the privileges of the role for it, and with the page's content on standard input. */
const run = (command: string) =>
  runPageCommand(command, {
    env: { DATABASE_URL: roles.url('configs'), PAYMENT_EVENTS_DB_KEYRING: keyring.path },
    stdin: content,
  });

const configsAs = async (role: 'configs' | 'worker') =>
  new RestaurantPaymentConfigs(await roles.as(role), { keys: await keyring.keys() });

test('one INSERT of the owner adds a processor, and check finds no difference', async () => {
  const [check, ...none] = PAGE.blocksOf('Insert its row', 'bash').flatMap(commandsIn);
  expect(none).toEqual([]);
  const env = { DATABASE_URL: roles.url('owner') };
  expect(await runPageCommand(`${check} --role-prefix ${roles.prefix}`, { env })).toMatchObject({
    ...{ stdout: 'The schema is that of the newest migration.\n', exitCode: 0 },
  });
});

test('a restaurant is configured for it by those who manage configurations, and a worker opens it', async () => {
  const [activate, ...none] = PAGE.blocksOf('Configure a restaurant', 'bash').flatMap(commandsIn);
  expect(none).toEqual([]);
  const restaurantId = '00000000-0000-0000-0000-000000000001';
  expect(await run(activate!)).toMatchObject({ stderr: '', exitCode: 0 });
  const config = (await (await configsAs('worker')).getActive(restaurantId))!;
  const { settings, secrets } = JSON.parse(content!) as { settings: object; secrets: { api_key: string } };
  expect(config).toMatchObject({ processorName: 'adyen', settings });
  expect(config.secrets.api_key!.reveal()).toBe(secrets.api_key);
});

test('the database itself refuses a setting of an unknown name, and a secret among the settings at any depth', async () => {
  const insert = (processor_config: object) =>
    insertConfig(database, {
      ...{ restaurant_id: uuidv4(), config_version: 'v1', processor_name: 'adyen', processor_config },
    });
  await expect(insert({ merchant: 'x' })).rejects.toThrow('the processor does not know 1 of the settings');
  await expect(insert({ merchant_account: { deep: { hmac_key: 'x' } } })).rejects.toThrow(
    'a secret is among the settings: hmac_key',
  );
});

test('a setting that becomes a secret by the UPDATE of the page is read and written as one from then on', async () => {
  const [restaurantId, configs, by] = [uuidv4(), await configsAs('configs'), { by: 'ada' }];
  const asSetting = { processorName: 'adyen', settings: { merchant_account: 'Old' }, secrets: { api_key: 'k' } };
  await configs.activate(restaurantId, asSetting, by);
  await (await roles.as('owner')).query(PAGE.blocksOf('Change the row later', 'sql').join('\n'));

  const before = (await configs.getActive(restaurantId))!;
  expect([before.settings, before.secrets.merchant_account!.reveal()]).toEqual([{}, 'Old']);
  await expect(configs.activate(restaurantId, asSetting, by)).rejects.toThrow('merchant_account is a secret of adyen');
  const asSecret = { ...asSetting, settings: {}, secrets: { api_key: 'k', merchant_account: 'New' } };
  const { configVersion } = await configs.activate(restaurantId, asSecret, by);
  const kept = await database.query(
    'SELECT config_version = $2 AS is_new, processor_config FROM restaurant_payment_configs WHERE restaurant_id = $1 ORDER BY 1',
    [restaurantId, configVersion],
  );
  expect(kept).toEqual([
    { is_new: false, processor_config: { merchant_account: 'Old' } },
    { is_new: true, processor_config: {} },
  ]);
});
