import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { KMSClient } from '@aws-sdk/client-kms';
import { AwsKmsKeyProvider } from '../../../src/configs/aws-kms-key-provider';
import { KeyMissingError, KeyRefusedError, KeyUnavailableError } from '../../../src/configs/errors';
import { KMS_ERRORS } from '../../../src/configs/kms-errors';
import { ConfigurationError } from '../../../src/errors';
import { KmsServer, KMS_QUOTES, type Trouble } from '../../support/configs/kms-server';
import { failureOf, within } from '../../support/processes/within';
import { shownOf } from '../../support/relay/relayed';
import { compiled } from '../../support/jest/compiled';

const ID = '01980a6e-5f00-7000-8000-0000000000a1';
const OTHER_ID = '01980a6e-5f00-7000-8000-0000000000a2';

let kms: KmsServer;
let client: KMSClient;
let arn: string;
let provider: AwsKmsKeyProvider;

beforeAll(async () => {
  kms = await KmsServer.start();
  client = kms.client();
});
afterAll(async () => {
  client.destroy();
  await kms.stop();
});
beforeEach(() => {
  kms.asked.length = 0;
  kms.trouble = () => undefined;
  arn = kms.createKey();
  provider = new AwsKmsKeyProvider({ client, keyId: arn });
});

/** Expects an error of ours with nothing of the SDK's but a name. */
async function expectKeyError(promise: Promise<unknown>, expected: object): Promise<Error> {
  const error = await failureOf(promise);
  expect(error).toMatchObject(expected);
  expect((error as Error).cause).toBeUndefined();
  expect(shownOf(error)).not.toContain(KMS_QUOTES);
  expect(shownOf(error)).not.toMatch(/5ecre7|hunter2|\$metadata|\$response/);
  return error as Error;
}
const unavailable = (reason: string) => ({ code: 'KEY_UNAVAILABLE', retryable: true, keyId: arn, reason });
const refused = (reason: string, keyId = arn) => ({ code: 'KEY_REFUSED', retryable: false, keyId, reason });
const missing = (keyId: string) => ({ code: 'KEY_MISSING', retryable: false, keyId });

test('a data key is made, unwrapped and wrapped again by what AWS publishes of its requests', async () => {
  const { keyId, wrapped, plain } = await provider.generateDataKey(ID.toUpperCase());
  expect({ keyId, bytes: plain.length }).toEqual({ keyId: arn, bytes: 32 });
  expect(await provider.unwrap(ID, { keyId, wrapped })).toEqual(plain);
  const next = kms.createKey();
  const moved = await new AwsKmsKeyProvider({ client, keyId: next }).rewrap(ID, { keyId, wrapped });
  expect(moved.keyId).toBe(next);
  expect(await provider.unwrap(ID, moved)).toEqual(plain);
  const context = { purpose: 'payment-events-db/data-key', data_key_id: ID };
  const blob = wrapped.toString('base64');
  expect(kms.asked).toEqual([
    { operation: 'GenerateDataKey', input: { KeyId: arn, KeySpec: 'AES_256', EncryptionContext: context } },
    { operation: 'Decrypt', input: { KeyId: arn, CiphertextBlob: blob, EncryptionContext: context } },
    {
      operation: 'ReEncrypt',
      input: {
        ...{ CiphertextBlob: blob, SourceKeyId: arn, SourceEncryptionContext: context },
        ...{ DestinationKeyId: next, DestinationEncryptionContext: context },
      },
    },
    {
      operation: 'Decrypt',
      input: { KeyId: next, CiphertextBlob: moved.wrapped.toString('base64'), EncryptionContext: context },
    },
  ]);
});

test('a data key that is under the active key already comes back as it is', async () => {
  const key = await provider.generateDataKey(ID);
  kms.createAlias('alias/payments', arn);
  const named = (keyId: string) => new AwsKmsKeyProvider({ client, keyId });
  expect(await provider.rewrap(ID, key)).toBe(key);
  expect(await named(arn.split('/')[1]!).rewrap(ID, key)).toBe(key);
  expect(kms.asked).toHaveLength(1);
  expect(await named('alias/payments').rewrap(ID, key)).toBe(key);
  kms.createAlias('alias/payments', kms.createKey());
  const moved = await named('alias/payments').rewrap(ID, key);
  expect(moved.keyId).not.toBe(arn);
  expect(await provider.unwrap(ID, moved)).toEqual(key.plain);
});

test('a data key does not unwrap with another encryption context, under another key, or when it was changed', async () => {
  const { keyId, wrapped } = await provider.generateDataKey(ID);
  const other = kms.createKey();
  const changed = Buffer.from(wrapped);
  changed[changed.length - 20]! ^= 1;
  await expectKeyError(provider.unwrap(OTHER_ID, { keyId, wrapped }), refused('mismatch'));
  await expectKeyError(provider.unwrap(ID, { keyId: other, wrapped }), refused('mismatch', other));
  await expectKeyError(provider.unwrap(ID, { keyId, wrapped: changed }), refused('mismatch'));
  const toOther = new AwsKmsKeyProvider({ client, keyId: other });
  await expectKeyError(toOther.rewrap(OTHER_ID, { keyId, wrapped }), refused('mismatch'));
  await expectKeyError(toOther.rewrap(ID, { keyId, wrapped: changed }), refused('mismatch'));
});

test.each([
  ['denied', 'denied', /Allow its role to/],
  ['Disabled', 'disabled', /Enable it/],
  ['PendingDeletion', 'state', /Cancel the deletion/],
  ['PendingImport', 'state', /import/],
  ['Unavailable', 'state', /key store is not connected/],
  ['HMAC', 'kind', /symmetric key/],
] as const)(
  'a key that is %s is refused for good, with what to do, whatever is asked of it',
  async (state, reason, what) => {
    const key = await provider.generateDataKey(ID);
    const next = kms.createKey();
    const rotating = new AwsKmsKeyProvider({ client, keyId: next });
    kms.setState(arn, state);
    for (const use of [provider.generateDataKey(ID), provider.unwrap(ID, key), rotating.rewrap(ID, key)]) {
      const { message } = await expectKeyError(use, refused(reason));
      expect(message).toMatch(what);
      expect(message).toContain(arn);
    }
    kms.setState(arn, 'Enabled');
    kms.setState(next, state);
    await expectKeyError(rotating.rewrap(ID, key), refused(reason, next));
    kms.setState(next, 'Enabled');
    expect((await rotating.rewrap(ID, key)).keyId).toBe(next);
  },
);

test('a key that is gone is missing, by its id', async () => {
  const key = await provider.generateDataKey(ID);
  kms.deleteKey(arn);
  await expectKeyError(provider.generateDataKey(ID), missing(arn));
  await expectKeyError(provider.unwrap(ID, key), missing(arn));
  await expectKeyError(provider.unwrap(ID, { ...key, keyId: '2026-11' }), missing('2026-11'));
  const next = kms.createKey();
  await expectKeyError(new AwsKmsKeyProvider({ client, keyId: next }).rewrap(ID, key), missing(arn));
});

describe('an error of KMS', () => {
  const names = KMS_ERRORS.filter(([name]) => !/^(TimeoutError|AbortError|CredentialsProviderError)$/.test(name));

  test.each(names)('called %s is told as %s', async (type, meaning) => {
    kms.trouble = () => ({ status: meaning === 'unavailable' ? 500 : 400, type });
    const expected =
      meaning === 'unavailable' ? unavailable(type) : meaning === 'missing' ? missing(arn) : refused(meaning);
    await expectKeyError(provider.generateDataKey(ID), expected);
    // The name counts, not the status: KMS throttles with 400.
    kms.trouble = () => ({ status: 400, type });
    await expectKeyError(provider.unwrap(ID, { keyId: arn, wrapped: Buffer.of(1) }), expected);
  });

  test.each<[string, Trouble, 'unavailable' | 'refused']>([
    ['that nobody knows, with 400', { status: 400, type: 'NoveltyException' }, 'refused'],
    ['that nobody knows, with 500', { status: 500, type: 'NoveltyException' }, 'unavailable'],
    ['of a proxy', { status: 502, html: '<html>5ecre7</html>' }, 'unavailable'],
    ['that is no answer of KMS', { status: 200, html: '<html>5ecre7</html>' }, 'unavailable'],
    ['with a text as its name', { status: 503, type: 'the token is 5ecre7' }, 'unavailable'],
    ['without a name', { status: 500, type: '' }, 'unavailable'],
  ])('%s is told by its status, without what it says', async (_what, trouble, kind) => {
    kms.trouble = () => trouble;
    const code = kind === 'unavailable' ? 'KEY_UNAVAILABLE' : 'KEY_REFUSED';
    await expectKeyError(provider.generateDataKey(ID), { code, keyId: arn });
  });
});

test('throttling is over for a client that tries again, and retryable for one that gave up', async () => {
  const throttled: Trouble = { status: 400, type: 'ThrottlingException', message: 'Rate exceeded' };
  let left = 2;
  kms.trouble = () => (left-- > 0 ? throttled : undefined);
  const patient = kms.client({ maxAttempts: 3 });
  const { plain } = await new AwsKmsKeyProvider({ client: patient, keyId: arn }).generateDataKey(ID);
  expect(plain).toHaveLength(32);
  expect(kms.asked).toHaveLength(3);
  kms.trouble = () => throttled;
  await expectKeyError(
    new AwsKmsKeyProvider({ client: patient, keyId: arn }).generateDataKey(ID),
    unavailable('ThrottlingException'),
  );
  patient.destroy();
});

describe('a KMS that is away', () => {
  const away = { code: 'KEY_UNAVAILABLE', retryable: true };

  /** In Jest the SDK does not know errors of Node as errors, and leaves out their codes. */
  async function reasonInAProcess(): Promise<string> {
    const program = `
      const { KMSClient } = require('@aws-sdk/client-kms');
      const { AwsKmsKeyProvider } = require('./src/configs/aws-kms-key-provider');
      const credentials = { accessKeyId: 'a', secretAccessKey: 'b' };
      const [endpoint, keyId] = process.argv.slice(1);
      const client = new KMSClient({ endpoint, region: 'eu-west-1', credentials, maxAttempts: 1 });
      new AwsKmsKeyProvider({ client, keyId }).generateDataKey('${ID}')
        .then(() => console.log('none'), (error) => console.log(error.reason));`;
    const args = ['--require', 'reflect-metadata', '--eval', program, kms.endpoint, arn];
    const options = { cwd: compiled('.') };
    return (await promisify(execFile)(process.execPath, args, options)).stdout.trim();
  }

  test('is unavailable while its connection is reset, and serves afterwards', async () => {
    kms.trouble = () => 'reset';
    await expectKeyError(provider.generateDataKey(ID), away);
    expect(await reasonInAProcess()).toBe('ECONNRESET');
    kms.trouble = () => undefined;
    expect((await provider.generateDataKey(ID)).plain).toHaveLength(32);
  });

  test('is unavailable while it is down, and serves afterwards', async () => {
    await kms.stop();
    await expectKeyError(provider.generateDataKey(ID), away);
    expect(await reasonInAProcess()).toBe('ECONNREFUSED');
    await kms.start();
    expect((await provider.generateDataKey(ID)).plain).toHaveLength(32);
  });

  test('is unavailable while it does not answer, by the time-out of the SDK or by our own', async () => {
    kms.trouble = () => 'hang';
    const impatient = kms.client({ requestHandler: { requestTimeout: 100, throwOnRequestTimeout: true } });
    const bySdk = new AwsKmsKeyProvider({ client: impatient, keyId: arn }).generateDataKey(ID);
    await within(60_000, 'the SDK', expectKeyError(bySdk, unavailable('ETIMEDOUT')));
    impatient.destroy();
    const byUs = new AwsKmsKeyProvider({ client, keyId: arn, timeoutMs: 100 }).generateDataKey(ID);
    await within(60_000, 'our time-out', expectKeyError(byUs, unavailable('TimeoutError')));
  });

  test('is unavailable while nobody lends credentials, without a word of what their provider says', async () => {
    const without = kms.client({
      credentials: () =>
        Promise.reject(Object.assign(new Error('the vault said: hunter2'), { name: 'CredentialsProviderError' })),
    });
    const asked = new AwsKmsKeyProvider({ client: without, keyId: arn }).generateDataKey(ID);
    await expectKeyError(asked, unavailable('CredentialsProviderError'));
    without.destroy();
    expect(kms.asked).toEqual([]);
  });

  test('is not what a client is that cannot ask at all', async () => {
    const broken = kms.client();
    broken.middlewareStack.add(() => () => Promise.reject(new TypeError('cannot read hunter2')), {
      step: 'initialize',
    });
    await expectKeyError(new AwsKmsKeyProvider({ client: broken, keyId: arn }).generateDataKey(ID), refused('request'));
    broken.destroy();
    const noRegion = () => Promise.reject<string>(new Error('Region is missing'));
    const nowhere = new KMSClient({ region: noRegion, maxAttempts: 1 });
    await expectKeyError(
      new AwsKmsKeyProvider({ client: nowhere, keyId: arn }).generateDataKey(ID),
      refused('request'),
    );
    nowhere.destroy();
  });
});

test.each<[string, object]>([
  ['nothing', {}],
  ['no plain text', { KeyId: 'k', CiphertextBlob: 'AAAA' }],
  ['a key of 16 bytes', { KeyId: 'k', CiphertextBlob: 'AAAA', Plaintext: Buffer.alloc(16, 7).toString('base64') }],
  ['no key', { CiphertextBlob: 'AAAA', Plaintext: Buffer.alloc(32, 7).toString('base64') }],
  ['nothing wrapped', { KeyId: 'k', CiphertextBlob: '', Plaintext: Buffer.alloc(32, 7).toString('base64') }],
])('an answer with %s is no data key', async (_what, answer) => {
  kms.trouble = () => ({ answer });
  await expectKeyError(provider.generateDataKey(ID), refused('answer'));
});

test('a provider is set up with a client and a key, and named where it is not', () => {
  for (const wrong of [
    {},
    { client },
    { keyId: 'k' },
    { client: {}, keyId: 'k' },
    { client, keyId: 'k', timeout: 5 },
  ]) {
    expect(() => new AwsKmsKeyProvider(wrong as never)).toThrow(ConfigurationError);
  }
});

test('each of the errors is one of three classes', async () => {
  kms.trouble = () => ({ status: 400, type: 'ThrottlingException' });
  expect(await failureOf(provider.generateDataKey(ID))).toBeInstanceOf(KeyUnavailableError);
  kms.trouble = () => ({ status: 400, type: 'NotFoundException' });
  expect(await failureOf(provider.generateDataKey(ID))).toBeInstanceOf(KeyMissingError);
  kms.trouble = () => ({ status: 400, type: 'DisabledException' });
  expect(await failureOf(provider.generateDataKey(ID))).toBeInstanceOf(KeyRefusedError);
});
