import { v4 as uuidv4 } from 'uuid';
import { AwsKmsKeyProvider } from '../../src/configs/aws-kms-key-provider';
import { KeyMissingError } from '../../src/configs/errors';
import { type KeyProvider } from '../../src/configs/key-provider';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { aConfig, TestKeyring } from '../support/configs/configs';
import { KmsServer } from '../support/configs/kms-server';
import { useTestDatabase } from '../support/database/use-test-database';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';

const PAGE = new DocPage('docs/how-to/rotate-keys.md');

/** What `secrets status` prints under its counts: data keys by the key that wraps them. */
const keysIn = (stdout: string) => [...stdout.matchAll(/^(\S+) +(\d+)$/gm)].map(([, key, count]) => [key, count]);

const VERSIONS = 'SELECT to_jsonb(config) AS row FROM restaurant_payment_configs AS config ORDER BY created_at';

describe('in a keyring', () => {
  const database = useTestDatabase();
  const keyring = new TestKeyring();
  const run = (command: string) =>
    runPageCommand(command, {
      env: { DATABASE_URL: database.url, PAYMENT_EVENTS_DB_KEYRING: keyring.path },
      words: { '/run/secrets/keyring.json': keyring.path },
    });
  /** A process that has read these keys, and opened nothing yet. */
  const processWith = async (keys: KeyProvider) => new RestaurantPaymentConfigs(await database.dataSource(), { keys });

  test('the steps of the page take every data key from the old key to the new one, which then may go', async () => {
    const [add, activate, rotate, status, ...none] = PAGE.blocksOf('In a keyring', 'bash').flatMap(commandsIn);
    expect(none).toEqual([]);
    const [restaurantId, other] = [uuidv4(), uuidv4()];
    const ofBefore = await keyring.keys();
    await (await processWith(ofBefore)).activate(restaurantId, aConfig(), { by: 'ada' });

    expect(await run(add!)).toMatchObject({ stderr: '', exitCode: 0 });
    const ofStep2 = await keyring.keys();
    expect(await run(activate!)).toMatchObject({ stderr: '', exitCode: 0 });
    await (await processWith(await keyring.keys())).activate(other, aConfig(), { by: 'ada' });
    // One that was not restarted in step 2 does not know the key, one that was opens what others seal.
    await expect((await processWith(ofBefore)).getActive(other)).rejects.toThrow(KeyMissingError);
    expect(await (await processWith(ofStep2)).getActive(other)).toMatchObject({ restaurantId: other });

    const rows = await database.query(VERSIONS);
    expect(keysIn((await run(status!)).stdout)).toEqual([
      ['2027-05', '1'],
      ['first', '1'],
    ]);
    expect(await run(rotate!)).toMatchObject({ stderr: '', exitCode: 0 });
    expect(keysIn((await run(status!)).stdout)).toEqual([['2027-05', '2']]);
    expect(await database.query(VERSIONS)).toEqual(rows);

    keyring.drop('first');
    const after = await processWith(await keyring.keys());
    for (const id of [restaurantId, other]) expect(await after.getActive(id)).toMatchObject({ restaurantId: id });
  });

  test('a backup of before needs the old key, and is wrapped again once it is put back', async () => {
    const restaurantId = uuidv4();
    await (await processWith(await keyring.keys())).activate(restaurantId, aConfig(), { by: 'ada' });
    const backup = await database.query(
      `SELECT data_key_id AS id, key_encryption_key_id AS key, wrapped FROM data_keys`,
    );
    await keyring.add('newest');
    const both = await keyring.keys();
    await run('npx payment-events-db secrets rotate');
    for (const { id, key, wrapped } of backup) {
      const restored = [id, key, wrapped];
      await database.query(
        'UPDATE data_keys SET key_encryption_key_id = $2, wrapped = $3 WHERE data_key_id = $1',
        restored,
      );
    }
    keyring.drop('2027-05');
    const without = await processWith(await keyring.keys());
    await expect(without.getActive(restaurantId)).rejects.toThrow(KeyMissingError);
    expect(await (await processWith(both)).getActive(restaurantId)).toMatchObject({ restaurantId });
  });
});

test('in AWS KMS the command of the page takes every data key to the key of the variable; a disabled one is named', async () => {
  const [rotate, status, ...none] = PAGE.blocksOf('In AWS KMS', 'bash').flatMap(commandsIn);
  expect(none).toEqual([]);
  const kms = await KmsServer.start();
  try {
    const [old, next] = [kms.createKey(), kms.createKey()];
    const env = {
      ...{ DATABASE_URL: inKms.url, AWS_ENDPOINT_URL_KMS: kms.endpoint, AWS_REGION: 'eu-west-1' },
      ...{ AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'of a test', PAYMENT_EVENTS_DB_KMS_KEY_ID: next },
    };
    const processWith = async (keyId: string) =>
      new RestaurantPaymentConfigs(await inKms.dataSource(), {
        keys: new AwsKmsKeyProvider({ client: kms.client(), keyId }),
      });
    const restaurantId = uuidv4();
    await (await processWith(old)).activate(restaurantId, aConfig(), { by: 'ada' });
    kms.setState(old, 'Disabled');
    await expect((await processWith(next)).getActive(restaurantId)).rejects.toMatchObject({
      ...{ code: 'KEY_REFUSED', keyId: old, reason: 'disabled' },
    });
    kms.setState(old, 'Enabled');
    expect(await runPageCommand(rotate!, { env })).toMatchObject({ exitCode: 0 });
    expect(keysIn((await runPageCommand(status!, { env })).stdout)).toEqual([[next, '1']]);
    kms.setState(old, 'Disabled');
    expect(await (await processWith(next)).getActive(restaurantId)).toMatchObject({ restaurantId });
  } finally {
    await kms.stop();
  }
});
const inKms = useTestDatabase();
