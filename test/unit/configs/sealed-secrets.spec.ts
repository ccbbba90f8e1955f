import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { SecretsUnreadableError } from '../../../src/configs/errors';
import {
  type PlainDataKey,
  dataKeyIdOf,
  openSecrets,
  type Place,
  sealSecrets,
} from '../../../src/configs/sealed-secrets';
import { InvalidCommandError } from '../../../src/errors';
import { isExactJsonObject } from '../../../src/validation/json-rules';
import { shownOf } from '../../support/relay/relayed';

const MARK = '5ecre7';
const KEY: PlainDataKey = { id: '01980a6e-5f00-7000-8000-0000000000a1', plain: randomBytes(32) };
const PLACE: Place = {
  restaurantId: '00000000-0000-0000-0000-00000000000a',
  configVersion: 'v1',
  processorName: 'stripe',
  settings: { base_url: `https://${MARK}.example.com`, capture: { days: 7, on: ['a', null, true, 1.5] } },
};
const SECRETS = { api_key: `sk_${MARK}`, webhook_secret: `whsec_${MARK}` };
const FIELDS = Object.keys(SECRETS);
const SEALED = sealSecrets(KEY, PLACE, SECRETS);

const revealed = (secrets: ReturnType<typeof openSecrets>) =>
  Object.fromEntries(Object.entries(secrets).map(([name, secret]) => [name, secret.reveal()]));

/** Expects one class of errors, whatever the reason, that shows no value. */
function expectClosed(key: PlainDataKey, place: Place, fields: readonly string[], sealed: Uint8Array): void {
  let opened: unknown;
  try {
    opened = openSecrets(key, place, fields, sealed);
  } catch (error) {
    expect(error).toBeInstanceOf(SecretsUnreadableError);
    expect((error as Error).cause).toBeUndefined();
    expect(shownOf(error)).not.toContain(MARK);
    return;
  }
  throw new Error(`It opened: ${JSON.stringify(opened)}.`);
}

const uuid = fc.uuid();
const keys = fc.record({
  id: uuid,
  plain: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((it) => Buffer.from(it)),
});
const text = (minLength: number, maxLength: number) =>
  fc.string({ unit: 'binary', minLength, maxLength }).filter((it) => !it.includes('\0'));
const settingsOf = fc
  .dictionary(
    fc.oneof(text(0, 12), fc.constantFrom('constructor', 'toJSON', '1')),
    fc.jsonValue({ stringUnit: 'binary' }),
  )
  .filter(isExactJsonObject);
const places = fc.record({
  restaurantId: uuid,
  configVersion: text(1, 25),
  processorName: text(1, 25),
  settings: settingsOf,
});
const secretsOf = fc.dictionary(
  text(0, 30).filter((name) => name !== '__proto__'),
  text(0, 200),
);

function nested(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

/** The same for PostgreSQL and for canonical JSON, with its keys the other way round. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, reordered(inner)]),
  );
}

test('what is sealed opens in its place, by its key, with its fields in any order', () => {
  fc.assert(
    fc.property(keys, places, secretsOf, (key, place, secrets) => {
      const sealed = sealSecrets(key, place, secrets);
      const fields = Object.keys(secrets).reverse();
      expect(revealed(openSecrets(key, place, fields, sealed))).toEqual(Object.fromEntries(Object.entries(secrets)));
      expect(dataKeyIdOf(sealed)).toBe(key.id.toLowerCase());
    }),
    { numRuns: 500 },
  );
});

test('what is sealed opens beside settings with their keys in another order, and ids in another case', () => {
  fc.assert(
    fc.property(keys, places, secretsOf, (key, place, secrets) => {
      const sealed = sealSecrets(key, place, secrets);
      const stored = JSON.parse(JSON.stringify(reordered(place.settings))) as Place['settings'];
      const same = { ...place, restaurantId: place.restaurantId.toUpperCase(), settings: stored };
      const opened = openSecrets({ ...key, id: key.id.toUpperCase() }, same, Object.keys(secrets), sealed);
      expect(Object.keys(opened).sort()).toEqual(Object.keys(secrets).sort());
    }),
    { numRuns: 300 },
  );
});

test('the same secrets are other bytes each time', () => {
  const sealed = Array.from({ length: 1000 }, () => sealSecrets(KEY, PLACE, SECRETS).toString('hex'));
  const ivs = new Set(sealed.map((hex) => hex.slice(34, 58)));
  expect(ivs.size).toBe(1000);
});

test('secrets do not open when any byte is any other', () => {
  expect(revealed(openSecrets(KEY, PLACE, FIELDS, SEALED))).toEqual(SECRETS);
  for (let index = 0; index < SEALED.length; index++) {
    for (let change = 1; change < 256; change++) {
      const tampered = Buffer.from(SEALED);
      tampered[index]! ^= change;
      // expect() for each of these would take a minute.
      let error: unknown;
      try {
        openSecrets(KEY, PLACE, FIELDS, tampered);
      } catch (thrown) {
        error = thrown;
      }
      if (!(error instanceof SecretsUnreadableError)) throw new Error(`Byte ${index} changed by ${change} opens.`);
    }
  }
});

test('secrets do not open when bytes are missing or added', () => {
  for (let length = 0; length < SEALED.length; length++) expectClosed(KEY, PLACE, FIELDS, SEALED.subarray(0, length));
  expectClosed(KEY, PLACE, FIELDS, Buffer.concat([SEALED, Buffer.of(0)]));
  expectClosed(KEY, PLACE, FIELDS, SEALED.subarray(1));
});

test.each<[string, Partial<Place>]>([
  ['for another restaurant', { restaurantId: '00000000-0000-0000-0000-00000000000b' }],
  ['for another version', { configVersion: 'v2' }],
  ['for another processor', { processorName: 'chase' }],
  ['for what is no restaurant', { restaurantId: '' }],
  ['beside no settings', { settings: {} }],
  ['beside what are no settings', { settings: null as unknown as Place['settings'] }],
  ['beside a list', { settings: [] as unknown as Place['settings'] }],
  ['beside a number that is too large', { settings: JSON.parse('{"a":1e400}') as Place['settings'] }],
  ['beside settings that are too deep', { settings: { a: nested(20_000) } }],
  ['beside another base URL', { settings: { ...PLACE.settings, base_url: `https://${MARK}.example.org` } }],
  ['beside one setting more', { settings: { ...PLACE.settings, account: MARK } }],
  [
    'beside another value deep inside',
    { settings: { ...PLACE.settings, capture: { days: 8, on: ['a', null, true, 1.5] } } },
  ],
  [
    'beside another order of a list',
    { settings: { ...PLACE.settings, capture: { days: 7, on: [null, 'a', true, 1.5] } } },
  ],
  ['beside a number as text', { settings: { ...PLACE.settings, capture: { days: '7', on: ['a', null, true, 1.5] } } }],
])('secrets do not open %s', (_what, change) => {
  expectClosed(KEY, { ...PLACE, ...change }, FIELDS, SEALED);
});

test('secrets do not open beside settings that differ from theirs, whatever both are', () => {
  fc.assert(
    fc.property(settingsOf, settingsOf, (settings, others) => {
      fc.pre(JSON.stringify(sorted(settings)) !== JSON.stringify(sorted(others)));
      expectClosed(KEY, { ...PLACE, settings: others }, FIELDS, sealSecrets(KEY, { ...PLACE, settings }, SECRETS));
    }),
    { numRuns: 500 },
  );
});

test('secrets do not open where a value moved from one thing that they are bound to into another', () => {
  fc.assert(
    fc.property(text(1, 20), text(1, 20), (one, other) => {
      fc.pre(one !== other);
      const sealed = sealSecrets(KEY, { ...PLACE, configVersion: one, processorName: other }, SECRETS);
      expectClosed(KEY, { ...PLACE, configVersion: other, processorName: one }, FIELDS, sealed);
    }),
  );
});

test.each<[string, string[]]>([
  ['fewer', ['api_key']],
  ['more', [...FIELDS, 'password']],
  ['others', ['api_key', 'webhook_secret2']],
  ['no', []],
  ['twice the same', [...FIELDS, 'api_key']],
  ['joined', ['api_key,webhook_secret']],
])('secrets do not open with %s names of fields', (_what, fields) => {
  expectClosed(KEY, PLACE, fields, SEALED);
});

test('secrets do not open by another key, nor by a key of another id', () => {
  expectClosed({ ...KEY, plain: randomBytes(32) }, PLACE, FIELDS, SEALED);
  expectClosed({ ...KEY, plain: Buffer.alloc(0) }, PLACE, FIELDS, SEALED);
  expectClosed({ ...KEY, plain: KEY.plain.subarray(0, 16) }, PLACE, FIELDS, SEALED);
  const other = { id: '01980a6e-5f00-7000-8000-0000000000a2', plain: KEY.plain };
  expectClosed(other, PLACE, FIELDS, SEALED);
  const renamed = Buffer.from(SEALED);
  renamed[16] = 0xa2;
  expect(dataKeyIdOf(renamed)).toBe(other.id);
  expectClosed(other, PLACE, FIELDS, renamed);
});

test('an integer that JSON.parse would change is refused among settings, and nothing opens beside one', () => {
  for (const stored of ['9007199254740992', '9007199254740993', '-9007199254740993', '1e21', '123456789012345678901']) {
    const settings = JSON.parse(`{"account":{"id":[${stored}]}}`) as Place['settings'];
    expect(() => sealSecrets(KEY, { ...PLACE, settings }, SECRETS)).toThrow(InvalidCommandError);
    expectClosed(KEY, { ...PLACE, settings }, FIELDS, SEALED);
  }
  const settings = { most: Number.MAX_SAFE_INTEGER, least: Number.MIN_SAFE_INTEGER, fraction: 0.1 };
  const place = { ...PLACE, settings };
  expect(revealed(openSecrets(KEY, place, FIELDS, sealSecrets(KEY, place, SECRETS)))).toEqual(SECRETS);
});

test.each<[string, unknown]>([
  ['dataKeyId', { key: { ...KEY, id: MARK } }],
  ['restaurantId', { restaurantId: MARK }],
  ['configVersion', { configVersion: '' }],
  ['configVersion', { configVersion: MARK.repeat(10) }],
  ['processorName', { processorName: 5 }],
  ['settings', { settings: { a: [NaN, MARK] } }],
  ['settings', { settings: { at: new Date(), mark: MARK } }],
  ['secrets', { secrets: { api_key: [MARK] } }],
  ['secrets', { secrets: { api_key: `${MARK}\ud83c` } }],
  ['secrets', { secrets: MARK }],
  ['secrets', { secrets: JSON.parse(`{"__proto__":"${MARK}"}`) as unknown }],
])('sealing refuses a malformed %s by its name, without its value', (property, changes) => {
  const { key = KEY, secrets = SECRETS, ...place } = changes as { key?: PlainDataKey; secrets?: typeof SECRETS };
  let error: unknown;
  try {
    sealSecrets(key, { ...PLACE, ...place }, secrets);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(InvalidCommandError);
  expect((error as InvalidCommandError).problems).toEqual([expect.stringMatching(new RegExp(`^${property} must `))]);
  expect(shownOf(error)).not.toContain(MARK);
});

test('what is opened shows itself to nobody who does not ask', () => {
  const opened = openSecrets(KEY, PLACE, FIELDS, SEALED);
  expect(shownOf(opened)).not.toContain(MARK);
  expect(JSON.parse(JSON.stringify(opened))).toEqual({ api_key: '[secret]', webhook_secret: '[secret]' });
});

/** Compares by value, whatever the order of keys: written apart from the package that the code sorts them with. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .map(([key, inner]) => [key, sorted(inner)] as const)
    .sort(([one], [other]) => (one < other ? -1 : 1));
}
