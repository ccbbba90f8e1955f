import { v4 as uuidv4 } from 'uuid';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { aConfig, insertConfig } from '../support/configs/config-rows';
import { aSecret, TestKeyring } from '../support/configs/configs';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';

const PAGE = new DocPage('docs/how-to/seal-secrets.md');
const database = useTestDatabase({ empty: true });
const keyring = new TestKeyring();
const secret = aSecret();
const [restaurantId, later] = [uuidv4(), uuidv4()];
/** With the same secret: so many that some pages of the table have no row but these. */
const others = Array.from({ length: 150 }, () => uuidv4());
let dataSource: PaymentEventsDataSource;
let configs: RestaurantPaymentConfigs;

beforeAll(async () => {
  dataSource = await quietDataSource({ url: database.url });
  configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
});
afterAll(() => dataSource.destroy());

const [first, rest, seal] = PAGE.blocksOf('Go in this order', 'bash').map(commandsIn);

const run = (command: string, stdin?: string) =>
  runPageCommand(command, {
    env: { DATABASE_URL: database.url, PAYMENT_EVENTS_DB_KEYRING: keyring.path },
    stdin,
  });

/** As a service of before does. */
const writePlain = (restaurant_id: string, api_key: string) =>
  insertConfig(dataSource, aConfig({ restaurant_id, processor_config: { api_key, statement_descriptor: 'OLD' } }));

const revealed = async () => (await configs.getActive(restaurantId))?.secrets.api_key?.reveal();

/** Whether the bytes of the table's file have it, once they are on the disk. */
async function isInTheFile(): Promise<boolean> {
  await database.query('CHECKPOINT');
  const [found] = await database.query<{ is_there: boolean }>(
    `SELECT position($1::bytea IN pg_read_binary_file(pg_relation_filepath('restaurant_payment_configs'))) > 0 AS is_there`,
    [Buffer.from(secret)],
  );
  return found!.is_there;
}

test('up to the migration before the guard, writers of plain secrets go on, and readers read them by getActive', async () => {
  const [migrate, status, ...none] = first!;
  expect(none).toEqual([]);
  expect(await run(migrate!)).toMatchObject({ exitCode: 0 });
  for (const id of [restaurantId, ...others]) await writePlain(id, secret);
  expect(await revealed()).toBe(secret);
  expect(await run(status!)).toMatchObject({
    ...{ stdout: expect.stringMatching(/In plain text +151 versions:/) as string, exitCode: 1 },
  });
});

test('from the guard on a writer of plain secrets is refused, and not quoted', async () => {
  const [migrate, grants, ...none] = rest!;
  expect([grants, none]).toEqual(['npx payment-events-db grants', []]);
  expect(await run(migrate!)).toMatchObject({ exitCode: 0 });
  const refused = await writePlain(later, secret).catch((error: unknown) => error as Error & { driverError?: Error });
  expect(refused).toMatchObject({ message: expect.stringContaining('a secret is among the settings') as string });
  const { message, detail, where } = (refused as { driverError: Record<string, string> }).driverError;
  expect([message, detail, where].join()).not.toContain(secret);
  expect(await revealed()).toBe(secret);
});

test('seal leaves nothing in plain text, and readers read what they read before', async () => {
  const [sealIt, status, ...none] = seal!;
  expect(none).toEqual([]);
  expect(await run(sealIt!)).toMatchObject({ stdout: expect.stringContaining('151 versions sealed; 0') as string });
  expect(await run(status!)).toMatchObject({ exitCode: 0 });
  expect(await revealed()).toBe(secret);
  expect(
    await database.query('SELECT DISTINCT processor_config, sealed_fields FROM restaurant_payment_configs'),
  ).toEqual([{ processor_config: { statement_descriptor: 'OLD' }, sealed_fields: ['api_key'] }]);
});

test('the plain text stays in the file after a VACUUM, and is gone after the statements of the page', async () => {
  expect(await isInTheFile()).toBe(true);
  await database.query('VACUUM restaurant_payment_configs');
  expect(await isInTheFile()).toBe(true);
  for (const statement of PAGE.blocksOf('What is left of the plain text', 'sql').flatMap(commandsIn)) {
    await database.query(statement);
  }
  expect(await isInTheFile()).toBe(false);
  expect(await revealed()).toBe(secret);
});

test('a new key is activated, while the version before still opens', async () => {
  const [activate, ...none] = PAGE.blocksOf('What is left of the plain text', 'bash').flatMap(commandsIn);
  expect(none).toEqual([]);
  const command = activate!.replace('00000000-0000-0000-0000-000000000001', restaurantId);
  const renewed = aSecret();
  expect(await run(command, JSON.stringify({ secrets: { api_key: renewed } }))).toMatchObject({ exitCode: 0 });
  expect(await revealed()).toBe(renewed);
  expect((await configs.getVersion(restaurantId, 'v1'))?.secrets.api_key?.reveal()).toBe(secret);
});
