import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { secretsStatus } from '../../src/configs/secrets-status';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { plainConfigs, TestKeyring } from '../support/configs/configs';
import { useTestDatabase } from '../support/database/use-test-database';
import { FixtureProcess } from '../support/processes/fixture-process';

const database = useTestDatabase();
const keyring = new TestKeyring();
let dataSource: PaymentEventsDataSource;
beforeAll(async () => {
  dataSource = await database.dataSource();
});

const VERSIONS = 30;
const BATCHES = VERSIONS / 5;

const worker = (work: 'seal' | 'rotate') =>
  new FixtureProcess('configs/key-worker.fixture', work, database.url, keyring.path);

/** Kills one process after each batch there is, and lets the last one come to its end. */
async function killedAtEveryBatch(work: 'seal' | 'rotate', look: () => Promise<void>): Promise<void> {
  for (let batch = 0; batch <= BATCHES; batch++) {
    const process = worker(work);
    await process.printed(1);
    await process.kill();
    await look();
  }
  expect(await worker(work).ended).toBe(0);
  await look();
}

let secrets: [restaurantId: string, secret: string][];

async function everySecretIsThere(): Promise<void> {
  const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
  for (const [restaurantId, secret] of secrets) {
    const config = await configs.getActive(restaurantId);
    expect(config!.secrets.api_key!.reveal()).toBe(secret);
  }
}

test('sealing that is killed after each batch loses nothing, and goes on', async () => {
  secrets = await plainConfigs(database, VERSIONS);
  await killedAtEveryBatch('seal', everySecretIsThere);
  expect(await secretsStatus(dataSource)).toMatchObject({ plain: 0, sealed: VERSIONS });
});

test('a rotation that is killed after each batch loses nothing, and goes on', async () => {
  // A data key of each process.
  for (let process = 0; process < VERSIONS; process++) {
    const configs = new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys() });
    await configs.rollback(secrets[process]![0], 'v1', { by: 'kim' });
  }
  await keyring.add('second');
  await killedAtEveryBatch('rotate', everySecretIsThere);
  const { dataKeys } = await secretsStatus(dataSource);
  expect(dataKeys.map(({ keyId }) => keyId)).toEqual(['second']);
});
