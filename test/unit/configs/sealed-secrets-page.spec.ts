import { webcrypto } from 'node:crypto';
import { SecretsUnreadableError } from '../../../src/configs/errors';
import { openSecrets, sealSecrets } from '../../../src/configs/sealed-secrets';
import { DocPage } from '../../support/docs/doc-page';
import { docTable } from '../../support/docs/doc-table';

const page = new DocPage('docs/reference/sealed-secrets.md');
const blockOf = <T>(section: string) => JSON.parse(page.blocksOf(section, 'json')[0]!) as T;

interface Example {
  data_key_id: string;
  data_key: string;
  restaurant_id: string;
  config_version: string;
  processor_name: string;
  processor_config: Record<string, unknown>;
  sealed_fields: string[];
  sealed_secrets: string;
  opened: Record<string, string>;
}

const example = blockOf<Example>('An example');
const dataKey = { id: example.data_key_id, plain: Buffer.from(example.data_key, 'hex') };
const place = {
  restaurantId: example.restaurant_id,
  configVersion: example.config_version,
  processorName: example.processor_name,
  settings: example.processor_config,
};

/** As a program that has nothing but the page would: by WebCrypto, and canonical JSON of its own. */
async function decode(row: Example): Promise<unknown> {
  const bytes = Buffer.from(row.sealed_secrets, 'hex');
  expect(bytes[0]).toBe(1);
  const id = bytes.subarray(1, 17).toString('hex');
  expect(id).toBe(row.data_key_id.replaceAll('-', ''));
  const text = await decrypt(Buffer.from(row.data_key, 'hex'), await boundTo(row), bytes.subarray(17)).then(String);
  const opened: unknown = JSON.parse(text);
  expect(text).toBe(canonical(opened));
  return opened;
}

/** The table of the page. */
async function boundTo(row: Example) {
  const digest = Buffer.from(await webcrypto.subtle.digest('SHA-256', Buffer.from(canonical(row.processor_config))));
  return {
    config_version: row.config_version,
    data_key_id: row.data_key_id,
    fields: [...row.sealed_fields].sort(),
    format: 1,
    processor_name: row.processor_name,
    purpose: 'payment-events-db/restaurant-payment-config',
    restaurant_id: row.restaurant_id,
    settings_sha256: digest.toString('hex'),
  };
}

async function encode(row: Example, text: string): Promise<Buffer> {
  const key = await webcrypto.subtle.importKey('raw', Buffer.from(row.data_key, 'hex'), 'AES-GCM', false, ['encrypt']);
  const iv = webcrypto.getRandomValues(new Uint8Array(12));
  const algorithm = { name: 'AES-GCM', iv, additionalData: Buffer.from(canonical(await boundTo(row))), tagLength: 128 };
  const encrypted = await webcrypto.subtle.encrypt(algorithm, key, Buffer.from(text));
  const id = Buffer.from(row.data_key_id.replaceAll('-', ''), 'hex');
  return Buffer.concat([Buffer.of(1), id, iv, Buffer.from(encrypted)]);
}

async function decrypt(rawKey: Buffer, bound: object, bytes: Buffer): Promise<Buffer> {
  const key = await webcrypto.subtle.importKey('raw', rawKey, 'AES-GCM', false, ['decrypt']);
  const algorithm = { name: 'AES-GCM', iv: bytes.subarray(0, 12), additionalData: Buffer.from(canonical(bound)) };
  return Buffer.from(await webcrypto.subtle.decrypt({ ...algorithm, tagLength: 128 }, key, bytes.subarray(12)));
}

function canonical(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical((value as Record<string, unknown>)[key])}`).join(',')}}`;
}

test('the example of the page opens, here and for a program that has nothing but the page', async () => {
  const opened = openSecrets(dataKey, place, example.sealed_fields, Buffer.from(example.sealed_secrets, 'hex'));
  const revealed = Object.fromEntries(Object.entries(opened).map(([name, secret]) => [name, secret.reveal()]));
  expect(revealed).toEqual(example.opened);
  expect(await decode(example)).toEqual(example.opened);
});

test('what is sealed has the form that the page says', async () => {
  const settings = { z: 'é', a: { c: [1, 0.1, null], b: false }, '': '😀' };
  const secrets = { b: 'line\nbreak', a: '"quoted"', ü: '\u2028' };
  const row = {
    ...example,
    processor_config: settings,
    sealed_fields: Object.keys(secrets),
    sealed_secrets: sealSecrets(dataKey, { ...place, settings }, secrets).toString('hex'),
  };
  expect(await decode(row)).toEqual(secrets);
  await expect(decode({ ...row, config_version: 'v2' })).rejects.toThrow();
});

test('the page names all that secrets are bound to', async () => {
  const rows = docTable(page.path, 'What they are bound to').map(([key]) => key);
  expect(rows).toEqual(Object.keys(await boundTo(example)));
});

test('what a program sealed that has nothing but the page opens', async () => {
  const opened = openSecrets(dataKey, place, ['a'], await encode({ ...example, sealed_fields: ['a'] }, '{"a":"b"}'));
  expect(opened.a!.reveal()).toBe('b');
});

test('nothing opens beside an integer that JSON.parse would change, though another program sealed it so', async () => {
  for (const account of [2 ** 53 - 1, 2 ** 53]) {
    const row = { ...example, processor_config: { account }, sealed_fields: ['a'] };
    const sealed = await encode(row, '{"a":"b"}');
    const open = () => openSecrets(dataKey, { ...place, settings: { account } }, ['a'], sealed);
    if (Number.isSafeInteger(account)) expect(open().a!.reveal()).toBe('b');
    else expect(open).toThrow(SecretsUnreadableError);
  }
});

test('what holds the right key and seals no object of texts does not open, and is not shown', async () => {
  for (const text of ['{"a":5}', '{"a":', 'null', '{"a":null}', '{"a":{"b":"c"}}', '']) {
    const sealed = await encode({ ...example, sealed_fields: ['a'] }, text.replace('5', '525342'));
    expect(() => openSecrets(dataKey, place, ['a'], sealed)).toThrow(SecretsUnreadableError);
  }
});
