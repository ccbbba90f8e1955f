import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { AwsKmsKeyProvider } from '../../src/configs/aws-kms-key-provider';
import { TestKeyring } from '../support/configs/configs';
import { KmsServer } from '../support/configs/kms-server';
import { commandsIn, DocPage } from '../support/docs/doc-page';
import { runPageCommand } from '../support/docs/page-command';
import { useTestDatabase } from '../support/database/use-test-database';

const PAGE = new DocPage('docs/how-to/keep-processor-secrets.md');
const database = useTestDatabase();
const keyring = new TestKeyring();

const commandsOf = (section: string) => PAGE.blocksOf(section, 'bash').flatMap(commandsIn);
const [content] = PAGE.blocksOf('Activate a version', 'json');
const { secrets } = JSON.parse(content!) as { secrets: { api_key: string } };
const [activate] = commandsOf('Activate a version');
const RESTAURANT = '00000000-0000-0000-0000-000000000001';

const run = (command: string, env: NodeJS.ProcessEnv, words?: Record<string, string>) =>
  runPageCommand(command, { env: { DATABASE_URL: database.url, ...env }, words, stdin: content });

test('the commands of the page make a keyring, activate, show, roll back and deactivate', async () => {
  const path = join(keyring.path, '..', 'page.json');
  const env = { PAYMENT_EVENTS_DB_KEYRING: path };
  const [addKey] = commandsOf('Choose where the keys are');
  expect(await run(addKey!, {}, { '/run/secrets/keyring.json': path })).toMatchObject({ stderr: '', exitCode: 0 });
  const activated = await run(activate!, env);
  const [, first] = /^Version (\S+) is active\.\n$/.exec(activated.stdout)!;
  await run(activate!, env);
  const results = [];
  for (const command of commandsOf('Look, and go back')) {
    results.push(await run(command, env, { '0199f1e2-7e1c-7000-8000-000000000461': first! }));
  }
  const said = (stdout: RegExp) => ({ stdout: expect.stringMatching(stdout) as string, stderr: '', exitCode: 0 });
  expect(results).toMatchObject([
    said(/TRATTORIA/),
    said(/ada@example\.com.*\n.*ada@example\.com/),
    said(/^Version \S+ is active, and \S+ switched off/),
    said(/^Version \S+ is switched off/),
  ]);
  for (const { stdout } of [activated, ...results]) expect(stdout).not.toContain(secrets.api_key);
});

test('a key of KMS that is named by its variable seals what a keyring would', async () => {
  const kms = await KmsServer.start();
  try {
    const env = {
      ...{ AWS_ENDPOINT_URL_KMS: kms.endpoint, AWS_REGION: 'eu-west-1' },
      ...{ AWS_ACCESS_KEY_ID: 'id', AWS_SECRET_ACCESS_KEY: 'of a test' },
      PAYMENT_EVENTS_DB_KMS_KEY_ID: kms.createKey(),
    };
    expect(await run(activate!, env)).toMatchObject({ exitCode: 0 });
    expect(kms.asked.map(({ operation }) => operation)).toEqual(['GenerateDataKey']);
    const [stored] = await database.query(
      `SELECT key_encryption_key_id FROM restaurant_payment_configs JOIN data_keys USING (data_key_id)
       WHERE restaurant_id = '${RESTAURANT}' AND is_active`,
    );
    expect(stored).toEqual({ key_encryption_key_id: env.PAYMENT_EVENTS_DB_KMS_KEY_ID });
  } finally {
    await kms.stop();
  }
});

test('the policy of the page allows what a worker asks KMS, by the context that is sent', async () => {
  const kms = await KmsServer.start();
  try {
    const keyId = kms.createKey();
    const provider = new AwsKmsKeyProvider({ client: kms.client(), keyId });
    const id = randomUUID();
    await provider.unwrap(id, await provider.generateDataKey(id));
    const [policy] = PAGE.blocksOf('Choose where the keys are', 'json').map((json) => JSON.parse(json) as Policy);
    const { operation, input } = kms.asked.at(-1)!;
    expect(policy!.Action).toEqual([`kms:${operation}`]);
    const [[key, value]] = Object.entries(policy!.Condition.StringEquals) as [[string, string]];
    expect(input.EncryptionContext).toMatchObject({ [key.replace('kms:EncryptionContext:', '')]: value });
  } finally {
    await kms.stop();
  }
});

interface Policy {
  readonly Action: string[];
  readonly Condition: { readonly StringEquals: Record<string, string> };
}
