import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { AwsKmsKeyProvider } from '../../../src/configs/aws-kms-key-provider';
import { DataKeys, type DataKeyStore } from '../../../src/configs/data-keys';
import { KeyMissingError, KeyRefusedError, KeyUnavailableError } from '../../../src/configs/errors';
import { type KeyProvider, type WrappedKey } from '../../../src/configs/key-provider';
import { newKeyring } from '../../../src/configs/keyring-file';
import { readKeyring } from '../../../src/configs/local-keyring';
import { openSecrets, sealSecrets } from '../../../src/configs/sealed-secrets';
import { KmsServer } from '../../support/configs/kms-server';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf } from '../../support/processes/within';
import { shownOf } from '../../support/relay/relayed';

const DAY_MS = 86_400_000;
const PLACE = { restaurantId: uuidv7(), configVersion: 'v1', processorName: 'stripe', settings: { a: 1 } };
const database = useTestDatabase();
let folder: string;
let keyring: KeyProvider;

/** A table like `data_keys`. */
const store: DataKeyStore = {
  async insert(id, { keyId, wrapped }) {
    await database.query('INSERT INTO kept_keys VALUES ($1, $2, $3)', [id, keyId, wrapped]);
  },
  async read(id) {
    const sql = 'SELECT key_id AS "keyId", wrapped FROM kept_keys WHERE id = $1';
    return (await database.query<{ keyId: string; wrapped: Buffer }>(sql, [id]))[0];
  },
};
const kept = async () => (await database.query<{ id: string }>('SELECT id FROM kept_keys')).map(({ id }) => id);

beforeAll(async () => {
  await database.query('CREATE TABLE kept_keys (id uuid PRIMARY KEY, key_id text NOT NULL, wrapped bytea NOT NULL)');
  folder = await mkdtemp(join(tmpdir(), 'data-keys-'));
  await newKeyring(join(folder, 'keyring.json'), 'a');
  keyring = await readKeyring(join(folder, 'keyring.json'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
beforeEach(() => database.query('TRUNCATE kept_keys'));
afterEach(() => jest.restoreAllMocks());

/** The keyring, with a note of what it was asked and of each buffer that it gave away. */
class Watched implements KeyProvider {
  readonly asked: string[] = [];
  readonly given: Buffer[] = [];
  /** Waited for before an answer. */
  gate: Promise<unknown> = Promise.resolve();

  async generateDataKey(id: string) {
    this.asked.push('generate');
    const key = await keyring.generateDataKey(id);
    this.given.push(key.plain);
    return key;
  }

  async unwrap(id: string, key: WrappedKey) {
    this.asked.push(id);
    await this.gate;
    const plain = await keyring.unwrap(id, key);
    this.given.push(plain);
    return plain;
  }

  rewrap = (id: string, key: WrappedKey) => keyring.rewrap(id, key);
}

const ZEROS = Buffer.alloc(32);
/** Rows of so many data keys, with their plain bytes. */
async function storedKeys(count: number): Promise<{ id: string; plain: Buffer }[]> {
  const keys = await Promise.all(
    Array.from({ length: count }, async () => {
      const id = uuidv7();
      return { id, ...(await keyring.generateDataKey(id)) };
    }),
  );
  await database.query('INSERT INTO kept_keys SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[])', [
    keys.map(({ id }) => id),
    keys.map(({ keyId }) => keyId),
    keys.map(({ wrapped }) => wrapped),
  ]);
  return keys;
}

describe('the key that seals', () => {
  test('is in the store before it is used, and opens in another process', async () => {
    const key = await new DataKeys(keyring, store).sealingKey();
    expect(await kept()).toEqual([key.id]);
    const sealed = sealSecrets(key, PLACE, { api_key: 'x' });
    const another = await new DataKeys(keyring, store).openingKey(key.id.toUpperCase());
    expect(openSecrets(another, PLACE, ['api_key'], sealed).api_key!.reveal()).toBe('x');
  });

  test('is one for all who ask at once, and for those who ask later', async () => {
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    const asked = await Promise.all(Array.from({ length: 50 }, () => keys.sealingKey()));
    asked.push(await keys.sealingKey());
    expect(new Set(asked.map(({ id }) => id)).size).toBe(1);
    expect(watched.asked).toEqual(['generate']);
    expect(await kept()).toHaveLength(1);
  });

  test('is of one process alone', async () => {
    const [one, other] = [new DataKeys(keyring, store), new DataKeys(keyring, store)];
    expect((await one.sealingKey()).id).not.toBe((await other.sealingKey()).id);
  });

  test('opens what it sealed without asking for it', async () => {
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    const { id, plain } = await keys.sealingKey();
    expect((await keys.openingKey(id)).plain).toEqual(plain);
    expect(watched.asked).toEqual(['generate']);
  });

  test('is another one after 2^20 seals, and not before', async () => {
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    const first = await keys.sealingKey();
    for (let seals = 1; seals < 2 ** 20;) {
      const batch = Array.from({ length: Math.min(1_024, 2 ** 20 - seals) }, () => keys.sealingKey());
      seals += batch.length;
      const ids = new Set((await Promise.all(batch)).map(({ id }) => id));
      if (ids.size !== 1 || !ids.has(first.id)) throw new Error(`There was another key after ${seals} seals.`);
    }
    const next = await keys.sealingKey();
    expect(next.id).not.toBe(first.id);
    expect((await keys.openingKey(first.id)).plain).toEqual(first.plain);
    expect(watched.given[0]).toEqual(ZEROS);
    expect(watched.asked).toEqual(['generate', 'generate']);
  });

  test('is another one after a day by a clock that nobody sets', async () => {
    const start = performance.now();
    const monotonic = jest.spyOn(performance, 'now').mockReturnValue(start);
    const keys = new DataKeys(keyring, store);
    const first = await keys.sealingKey();
    const clock = jest.spyOn(Date, 'now');
    for (const jump of [-400 * DAY_MS, 400 * DAY_MS, -1, DAY_MS, 2 * DAY_MS]) {
      clock.mockReturnValue(Date.UTC(2026, 10, 1) + jump);
      expect((await keys.sealingKey()).id).toBe(first.id);
    }
    monotonic.mockReturnValue(start + DAY_MS - 1);
    expect((await keys.sealingKey()).id).toBe(first.id);
    monotonic.mockReturnValue(start + DAY_MS);
    const next = await keys.sealingKey();
    expect(next.id).not.toBe(first.id);
    monotonic.mockReturnValue(start + 2 * DAY_MS - 1);
    expect((await keys.sealingKey()).id).toBe(next.id);
  });

  test('is made again after a failure of the store, and never used where it is not there', async () => {
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    await database.query('ALTER TABLE kept_keys RENAME TO elsewhere');
    const failures = await Promise.all([keys.sealingKey(), keys.sealingKey()].map(failureOf));
    expect(failures).toEqual([expect.objectContaining({ code: '42P01' }), expect.objectContaining({ code: '42P01' })]);
    expect(watched.given).toEqual([ZEROS]);
    await database.query('ALTER TABLE elsewhere RENAME TO kept_keys');
    const { id } = await keys.sealingKey();
    expect(await kept()).toEqual([id]);
  });
});

describe('a key that opens', () => {
  test('is unwrapped once for all who ask at once, and for those who ask later', async () => {
    const [one, other] = (await storedKeys(2)) as [{ id: string; plain: Buffer }, { id: string; plain: Buffer }];
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    const opened = await Promise.all(
      Array.from({ length: 100 }, (_, index) => keys.openingKey(index % 2 ? one.id : other.id.toUpperCase())),
    );
    for (const [index, { plain }] of opened.entries()) expect(plain).toEqual(index % 2 ? one.plain : other.plain);
    await keys.openingKey(one.id);
    expect(watched.asked.toSorted()).toEqual([one.id, other.id].toSorted());
  });

  test('is kept among the 1,000 that were asked for last, and filled with zeros when it is not', async () => {
    const stored = await storedKeys(1_002);
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    const held = await keys.openingKey(stored[1]!.id);
    await keys.openingKey(stored[0]!.id);
    for (const { id } of stored.slice(2, 1_000)) await keys.openingKey(id);
    expect(watched.asked).toHaveLength(1_000);
    await keys.openingKey(stored[0]!.id);
    await keys.openingKey(stored[1_000]!.id);
    await keys.openingKey(stored[1_001]!.id);
    // The second and third are out, the first was asked for again.
    expect(watched.given.map((plain) => plain.equals(ZEROS)).flatMap((zero, index) => (zero ? index : []))).toEqual([
      0, 2,
    ]);
    expect(held.plain).toEqual(stored[1]!.plain);
    await keys.openingKey(stored[0]!.id);
    expect(watched.asked).toHaveLength(1_002);
    expect((await keys.openingKey(stored[1]!.id)).plain).toEqual(stored[1]!.plain);
    expect(watched.asked).toHaveLength(1_003);
  });

  test('is right for those who wait for it while others push it out', async () => {
    const stored = await storedKeys(1_501);
    const watched = new Watched();
    const keys = new DataKeys(watched, store);
    let open: () => void = () => undefined;
    watched.gate = new Promise<void>((resolve) => (open = resolve));
    const waiting = stored.map(({ id }) => keys.openingKey(id));
    waiting.push(...stored.slice(0, 100).map(({ id }) => keys.openingKey(id)));
    open();
    const opened = await Promise.all(waiting);
    for (const [index, { plain }] of opened.entries()) expect(plain).toEqual(stored[index % 1_501]!.plain);
    expect(watched.given.filter((plain) => !plain.equals(ZEROS))).toHaveLength(1_000);
  });

  test('that is changed by who got it stays what it was for others', async () => {
    const [key] = await storedKeys(1);
    const keys = new DataKeys(keyring, store);
    (await keys.openingKey(key!.id)).plain.fill(1);
    expect((await keys.openingKey(key!.id)).plain).toEqual(key!.plain);
  });

  test('that is not in the store is missing, until it is there', async () => {
    const id = uuidv7();
    const keys = new DataKeys(keyring, store);
    const failures = await Promise.all([keys.openingKey(id), keys.openingKey(id)].map(failureOf));
    for (const failure of failures) {
      expect(failure).toBeInstanceOf(KeyMissingError);
      expect(failure).toMatchObject({ keyId: id, kind: 'data' });
    }
    const { keyId, wrapped, plain } = await keyring.generateDataKey(id);
    await store.insert(id, { keyId, wrapped });
    expect((await keys.openingKey(id)).plain).toEqual(plain);
  });

  test('does not open where its row was exchanged with that of another', async () => {
    const [one, other] = await storedKeys(2);
    await database.query(
      `UPDATE kept_keys SET wrapped = (SELECT wrapped FROM kept_keys AS others WHERE others.id <> kept_keys.id)`,
    );
    const keys = new DataKeys(keyring, store);
    for (const { id } of [one!, other!]) expect(await failureOf(keys.openingKey(id))).toBeInstanceOf(KeyRefusedError);
  });
});

test('a KMS that is away stops what needs it, and nothing else; when it is back, all goes on', async () => {
  const kms = await KmsServer.start();
  const client = kms.client();
  const provider = new AwsKmsKeyProvider({ client, keyId: kms.createKey() });
  const [writer, reader] = [new DataKeys(provider, store), new DataKeys(provider, store)];
  const key = await writer.sealingKey();
  await kms.stop();
  for (let attempt = 0; attempt < 3; attempt++) {
    expect((await writer.sealingKey()).plain).toEqual(key.plain);
    expect((await writer.openingKey(key.id)).plain).toEqual(key.plain);
    expect(await failureOf(reader.openingKey(key.id))).toBeInstanceOf(KeyUnavailableError);
    expect(await failureOf(reader.sealingKey())).toBeInstanceOf(KeyUnavailableError);
  }
  await kms.start();
  expect((await reader.openingKey(key.id)).plain).toEqual(key.plain);
  expect((await reader.sealingKey()).id).not.toBe(key.id);
  client.destroy();
  await kms.stop();
});

test.each<[string, unknown]>([
  ['too few bytes', randomBytes(16)],
  ['a text', 'k'.repeat(32)],
  ['nothing', undefined],
])('a provider that gives %s for a data key is refused', async (_what, plain) => {
  const [stored] = await storedKeys(1);
  const odd = {
    generateDataKey: () => Promise.resolve({ keyId: 'k', wrapped: Buffer.of(1), plain }),
    unwrap: () => Promise.resolve(plain),
  } as unknown as KeyProvider;
  const keys = new DataKeys(odd, store);
  for (const use of [keys.sealingKey(), keys.openingKey(stored!.id)]) {
    const error = await failureOf(use);
    expect(error).toBeInstanceOf(KeyRefusedError);
    expect(error).toMatchObject({ reason: 'answer' });
  }
  expect(await kept()).toEqual([stored!.id]);
});

test('neither keys nor what they are kept in show their bytes', async () => {
  const keys = new DataKeys(keyring, store);
  const key = await keys.sealingKey();
  const opened = await keys.openingKey(key.id);
  const shown = shownOf([keys, key, opened, { ...key }, structuredClone(opened)]);
  expect(shown).toContain(key.id);
  expect(shown).not.toMatch(/<Buffer|Uint8Array/);
});
