import { execFileSync } from 'node:child_process';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KeyMissingError, KeyRefusedError } from '../../../src/configs/errors';
import { type KeyProvider } from '../../../src/configs/key-provider';
import { activateKey, addKey, newKeyring } from '../../../src/configs/keyring-file';
import { readKeyring } from '../../../src/configs/local-keyring';
import { ConfigurationError } from '../../../src/errors';
import { DocPage } from '../../support/docs/doc-page';
import { failureOf } from '../../support/processes/within';
import { shownOf } from '../../support/relay/relayed';
import { compiled } from '../../support/jest/compiled';

const ID = '01980a6e-5f00-7000-8000-0000000000a1';
const OTHER_ID = '01980a6e-5f00-7000-8000-0000000000a2';
const page = new DocPage('docs/reference/sealed-secrets.md');
const NOBODY = 65_534;
const isRoot = process.geteuid!() === 0;

let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'keyring-'));
  path = join(folder, 'keyring.json');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface File {
  active: string;
  keys: Record<string, string>;
}
const fileOf = async () => JSON.parse(await readFile(path, 'utf8')) as File;
const modeOf = async (file: string) => (await stat(file)).mode & 0o777;
const write = (content: unknown) =>
  writeFile(path, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
const aKey = () => randomBytes(32).toString('base64');

/** Expects a refusal that says nothing of what is in the file. */
async function expectRefused(pattern: RegExp, secrets: readonly string[] = [], at = path): Promise<void> {
  const error = await failureOf(readKeyring(at));
  expect(error).toBeInstanceOf(ConfigurationError);
  expect((error as Error).message).toMatch(pattern);
  expect((error as Error).cause).toBeUndefined();
  for (const secret of secrets) expect(shownOf(error)).not.toContain(secret);
}

describe('the keyring as a provider of keys', () => {
  test('a data key comes back from its wrapping, and every other one is another', async () => {
    await newKeyring(path, '2026-11');
    const ring = await readKeyring(path);
    const { keyId, wrapped, plain } = await ring.generateDataKey(ID);
    expect({ keyId, bytes: wrapped.length, plain: plain.length }).toEqual({ keyId: '2026-11', bytes: 61, plain: 32 });
    expect(await ring.unwrap(ID.toUpperCase(), { keyId, wrapped })).toEqual(plain);
    expect(await (await readKeyring(path)).unwrap(ID, { keyId, wrapped })).toEqual(plain);
    const another = await ring.generateDataKey(ID);
    expect(another.plain).not.toEqual(plain);
    expect(another.wrapped.subarray(1, 13)).not.toEqual(wrapped.subarray(1, 13));
  });

  test('the example of the page unwraps, here and for a program that has nothing but the page', async () => {
    const example = JSON.parse(page.blocksOf('Data keys', 'json')[0]!) as Record<string, string>;
    const { data_key: expected } = JSON.parse(page.blocksOf('An example', 'json')[0]!) as Record<string, string>;
    const { key_encryption_key_id: keyId, key_encryption_key: key } = example as { [name: string]: string };
    const wrapped = Buffer.from(example.wrapped!, 'hex');
    await write({ active: keyId, keys: { [keyId!]: key } });
    const ring = await readKeyring(path);
    expect((await ring.unwrap(ID, { keyId: keyId!, wrapped })).toString('hex')).toBe(expected);
    const aad = `{"data_key_id":"${ID}","key_id":"${keyId}","purpose":"payment-events-db/data-key"}`;
    const opener = createDecipheriv('aes-256-gcm', Buffer.from(key!, 'base64'), wrapped.subarray(1, 13));
    opener.setAAD(Buffer.from(aad)).setAuthTag(wrapped.subarray(45));
    const plain = Buffer.concat([opener.update(wrapped.subarray(13, 45)), opener.final()]);
    expect(plain.toString('hex')).toBe(expected);
  });

  test('a wrapped key does not unwrap for another data key, under another key, or when any byte is another', async () => {
    await newKeyring(path, 'a');
    await addKey(path, 'b');
    const ring = await readKeyring(path);
    const { keyId, wrapped, plain } = await ring.generateDataKey(ID);
    const other = await ring.generateDataKey(OTHER_ID);
    const wrong: [string, string, Buffer][] = [
      [OTHER_ID, keyId, wrapped],
      [ID, keyId, other.wrapped],
      [ID, 'b', wrapped],
      [ID, keyId, wrapped.subarray(0, 60)],
      [ID, keyId, Buffer.concat([wrapped, Buffer.of(0)])],
      [ID, keyId, Buffer.alloc(0)],
    ];
    for (let index = 0; index < wrapped.length; index++) {
      for (const bit of [1, 2, 4, 8, 16, 32, 64, 128]) {
        const tampered = Buffer.from(wrapped);
        tampered[index]! ^= bit;
        wrong.push([ID, keyId, tampered]);
      }
    }
    for (const [id, key, bytes] of wrong) {
      const error = await failureOf(ring.unwrap(id, { keyId: key, wrapped: bytes }));
      expect(error).toBeInstanceOf(KeyRefusedError);
      expect(error).toMatchObject({ keyId: key, reason: 'mismatch', retryable: false });
      expect(shownOf(error)).not.toContain(plain.toString('hex'));
    }
  });

  test('a data key does not unwrap when the keys of two ids were exchanged in the file', async () => {
    await newKeyring(path, 'a');
    await addKey(path, 'b');
    const wrapped = await (await readKeyring(path)).generateDataKey(ID);
    const { active, keys } = await fileOf();
    await write({ active, keys: { a: keys.b, b: keys.a } });
    const exchanged = await readKeyring(path);
    for (const keyId of ['a', 'b']) {
      expect(await failureOf(exchanged.unwrap(ID, { ...wrapped, keyId }))).toBeInstanceOf(KeyRefusedError);
    }
  });

  test('a missing key names its id', async () => {
    await newKeyring(path, 'a');
    const ring = await readKeyring(path);
    const { wrapped } = await ring.generateDataKey(ID);
    for (const keyId of ['2025-01', 'constructor', '__proto__', 'arn:aws:kms:eu-west-1:123456789012:key/x']) {
      for (const use of [ring.unwrap(ID, { keyId, wrapped }), ring.rewrap(ID, { keyId, wrapped })]) {
        const error = await failureOf(use);
        expect(error).toBeInstanceOf(KeyMissingError);
        expect(error).toMatchObject({ keyId, kind: 'key-encryption' });
        expect((error as Error).message).toContain(keyId);
      }
    }
  });

  test('a data key goes under the active key, once', async () => {
    await newKeyring(path, 'a');
    const before = await readKeyring(path);
    const old = await before.generateDataKey(ID);
    await addKey(path, 'b');
    await activateKey(path, 'b');
    const ring = await readKeyring(path);
    expect(await before.rewrap(ID, old)).toBe(old);
    const moved = await ring.rewrap(ID, old);
    expect(moved.keyId).toBe('b');
    expect(await ring.rewrap(ID, moved)).toBe(moved);
    expect(await ring.unwrap(ID, moved)).toEqual(old.plain);
    expect(await ring.unwrap(ID, old)).toEqual(old.plain);
    expect(await failureOf(before.unwrap(ID, moved))).toBeInstanceOf(KeyMissingError);
    expect((await ring.generateDataKey(ID)).keyId).toBe('b');
  });

  test('a keyring shows its keys to nobody', async () => {
    await newKeyring(path, 'a');
    const ring: KeyProvider = await readKeyring(path);
    const { keys } = await fileOf();
    const shown = shownOf(ring) + shownOf(structuredClone(ring));
    for (const form of ['base64', 'hex'] as const) {
      expect(shown).not.toContain(Buffer.from(keys.a!, 'base64').toString(form));
    }
    expect(shown).not.toMatch(/<Buffer|Uint8Array/);
  });
});

describe('the file of a keyring', () => {
  test('is read as the page has it', async () => {
    const [example] = page.blocksOf('The file of a keyring', 'json');
    await write(example);
    expect((await (await readKeyring(path)).generateDataKey(ID)).keyId).toBe('2026-11');
  });

  test.each(['604', '602', '601', '644', '666', '777', '447'])(
    'is refused with mode %s, to root as well',
    async (mode) => {
      const key = aKey();
      await write({ active: 'a', keys: { a: key } });
      await chmod(path, Number.parseInt(mode, 8));
      await expectRefused(/everybody on this machine can read or write it: chmod/, [key]);
    },
  );

  test.each(['600', '400', '440', '640', '660'])('is read with mode %s, which a group may have', async (mode) => {
    await write({ active: 'a', keys: { a: aKey() } });
    await chmod(path, Number.parseInt(mode, 8));
    expect((await (await readKeyring(path)).generateDataKey(ID)).keyId).toBe('a');
  });

  (isRoot ? test : test.skip)('is refused where it belongs to another user than this one and root', async () => {
    await write({ active: 'a', keys: { a: aKey() } });
    await chown(path, NOBODY, NOBODY);
    await expectRefused(/belongs to another user: chown it/);
    await chmod(folder, 0o755);
    const as = (uid: number) => outcomeAs(uid, path);
    expect(as(NOBODY)).toBe('a');
    await chown(path, 0, NOBODY);
    await chmod(path, 0o440);
    // As Kubernetes mounts it for a group: of root, and read by another.
    expect(as(NOBODY)).toBe('a');
    await chown(path, NOBODY - 1, NOBODY);
    expect(as(NOBODY)).toContain('belongs to another user');
    await chmod(path, 0o400);
    expect(as(NOBODY)).toContain('cannot be read (EACCES)');
  });

  test('is read through a link, as Kubernetes mounts it, and refused by what the link leads to', async () => {
    await write({ active: 'a', keys: { a: aKey() } });
    const link = join(folder, 'link.json');
    await symlink(path, link);
    expect((await (await readKeyring(link)).generateDataKey(ID)).keyId).toBe('a');
    await chmod(path, 0o644);
    await expectRefused(/everybody/, [], link);
  });

  test('is a file of a sensible size', async () => {
    await expectRefused(/cannot be read \(ENOENT\)/);
    await mkdir(path);
    await expectRefused(/it is no file|\(EISDIR\)/);
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    await expectRefused(/it is no file/, [], pipe);
    const large = join(folder, 'large.json');
    await writeFile(large, ' '.repeat(1_048_577), { mode: 0o600 });
    await expectRefused(/too large/, [], large);
  });

  const MARK = '5ecre7';
  const KEY = aKey();
  const SAME = aKey();
  const URL_SAFE = Buffer.alloc(32, 0xfb).toString('base64url');
  test.each<[string, unknown, RegExp]>([
    ['text that is no JSON', `{"active":"a","keys":{"a":"${KEY}"}`, /it must be a JSON object with active and keys/],
    ['a key alone', KEY, /it must be a JSON object/],
    ['nothing', '', /it must be a JSON object/],
    ['a list', [KEY], /it must be a JSON object/],
    ['null', 'null', /it must be a JSON object/],
    ['something more', { active: 'a', keys: { a: KEY }, [KEY]: KEY }, /and nothing else\.$/],
    ['no active key', { keys: { a: KEY } }, /active must be the id of one of its keys/],
    ['an active key that is not there', { active: MARK, keys: { a: KEY } }, /active must be the id of one of its keys/],
    ['a key as the active one', { active: KEY, keys: { a: KEY } }, /active must be the id of one of its keys/],
    ['what every object has as the active one', { active: 'constructor', keys: { a: KEY } }, /active must be/],
    ['no keys', { active: 'a' }, /keys must be an object that has each key by its id/],
    ['none in its keys', { active: 'a', keys: {} }, /active must be the id of one of its keys/],
    ['a list of keys', { active: 'a', keys: [KEY] }, /keys must be an object/],
    ['a key that is a number', { active: 'a', keys: { a: KEY, b: 5 } }, /keys must be an object/],
    ['an id and its key exchanged', { active: 'a', keys: { [KEY]: 'a' } }, /the id of key 1 must have 1 to 64/],
    ['an id and its URL-safe key exchanged', { active: 'a', keys: { [URL_SAFE]: 'a' } }, /key 1 must be 32 bytes/],
    ['a key that is too short', { active: 'a', keys: { a: `${MARK}=` } }, /key 1 must be 32 bytes in Base64/],
    ['a key of 33 bytes', { active: 'a', keys: { a: randomBytes(33).toString('base64') } }, /key 1 must be 32 bytes/],
    ['a key without padding', { active: 'a', keys: { b: KEY, a: SAME.slice(0, 43) } }, /key 2 must be 32 bytes/],
    ['a key with a bit too many', { active: 'a', keys: { a: `${'A'.repeat(42)}B=` } }, /key 1 must be 32 bytes/],
    ['a key with a line break', { active: 'a', keys: { a: `${KEY}\n` } }, /key 1 must be 32 bytes/],
    ['one key twice', { active: 'a', keys: { a: SAME, b: SAME } }, /two of its keys are the same/],
  ])('is refused with %s, without a word of what it says', async (_what, content, pattern) => {
    await write(content);
    await expectRefused(pattern, [KEY, KEY.slice(0, 10), SAME.slice(0, 10), URL_SAFE, MARK]);
  });
});

describe('a new keyring', () => {
  test('has one key, which is active, for its user alone, whatever the umask', async () => {
    const umask = process.umask(0);
    try {
      await newKeyring(path, '2026-11');
    } finally {
      process.umask(umask);
    }
    expect(await modeOf(path)).toBe(0o600);
    const { active, keys } = await fileOf();
    expect({ active, ids: Object.keys(keys) }).toEqual({ active: '2026-11', ids: ['2026-11'] });
    expect(Buffer.from(keys['2026-11']!, 'base64')).toHaveLength(32);
  });

  test('never takes the place of a file', async () => {
    await writeFile(path, 'mine');
    expect(await failureOf(newKeyring(path, 'a'))).toMatchObject({ code: 'CONFIGURATION' });
    expect(await readFile(path, 'utf8')).toBe('mine');
    await symlink(join(folder, 'elsewhere'), join(folder, 'link'));
    expect(await failureOf(newKeyring(join(folder, 'link'), 'a'))).toBeInstanceOf(ConfigurationError);
    expect(await readdir(folder)).toEqual(['keyring.json', 'link']);
  });

  test.each(['', ' ', 'a/b', '-a', '__proto__', 'ü', 'a'.repeat(65), `${'A'.repeat(43)}=`, undefined, 5])(
    'has no key called %p',
    async (keyId) => {
      const wrong = keyId as string;
      for (const refused of [newKeyring(path, wrong), addKey(path, wrong), activateKey(path, wrong)]) {
        const error = await failureOf(refused);
        expect(error).toBeInstanceOf(ConfigurationError);
        expect((error as Error).message).toBe(
          'keyId must have 1 to 64 of the characters A-Z a-z 0-9 . _ - and start with a letter or a digit.',
        );
      }
      expect(await readdir(folder)).toEqual([]);
    },
  );
});

describe('a change of a keyring', () => {
  test('adds a key that wraps nothing until it is made active', async () => {
    await newKeyring(path, 'a');
    const { keys } = await fileOf();
    await addKey(path, 'b');
    expect(await fileOf()).toEqual({ active: 'a', keys: { ...keys, b: expect.stringMatching(/^.{43}=$/) as string } });
    await activateKey(path, 'b');
    expect(await fileOf()).toMatchObject({ active: 'b', keys });
    expect(await readdir(folder)).toEqual(['keyring.json']);
  });

  test('changes nothing where it is refused', async () => {
    await newKeyring(path, 'a');
    const before = await readFile(path, 'utf8');
    expect(await failureOf(addKey(path, 'a'))).toBeInstanceOf(ConfigurationError);
    expect(await failureOf(activateKey(path, 'b'))).toBeInstanceOf(ConfigurationError);
    expect(await failureOf(addKey(join(folder, 'none.json'), 'b'))).toBeInstanceOf(ConfigurationError);
    await chmod(path, 0o644);
    expect(await failureOf(addKey(path, 'b'))).toBeInstanceOf(ConfigurationError);
    expect(await readFile(path, 'utf8')).toBe(before);
    expect(await readdir(folder)).toEqual(['keyring.json']);
  });

  test('keeps the mode of the file and its group, and the link that leads to it', async () => {
    await newKeyring(path, 'a');
    await chmod(path, 0o640);
    if (isRoot) await chown(path, 0, NOBODY);
    const link = join(folder, 'link.json');
    await symlink(path, link);
    await addKey(link, 'b');
    expect(await modeOf(path)).toBe(0o640);
    expect((await stat(path)).gid).toBe(isRoot ? NOBODY : process.getgid!());
    expect(Object.keys((await fileOf()).keys)).toEqual(['a', 'b']);
  });

  test('of several at once loses no key: each is there, or was refused', async () => {
    await newKeyring(path, 'first');
    const added = ['first'];
    for (let round = 0; round < 20; round++) {
      const ids = Array.from({ length: 8 }, (_, index) => `r${round}.${index}`);
      const results = await Promise.allSettled(ids.map((id) => addKey(path, id)));
      for (const [index, result] of results.entries()) {
        if (result.status === 'fulfilled') added.push(ids[index]!);
        else expect((result.reason as Error).message).toContain('something changes the keyring now, or died');
      }
    }
    expect(Object.keys((await fileOf()).keys).sort()).toEqual(added.sort());
    expect(added.length).toBeGreaterThan(20);
    expect(await readdir(folder)).toEqual(['keyring.json']);
  });

  test('says where a change died, and leaves the file as it was', async () => {
    await newKeyring(path, 'a');
    await writeFile(`${path}.new`, '{');
    const error = (await failureOf(addKey(path, 'b'))) as Error;
    expect(error).toBeInstanceOf(ConfigurationError);
    expect(error.message).toContain(`${path}.new`);
    expect((await (await readKeyring(path)).generateDataKey(ID)).keyId).toBe('a');
    await rm(`${path}.new`);
    await addKey(path, 'b');
  });
});

/** The id of the active key, or the message of the refusal, in a process of that user. */
function outcomeAs(uid: number, file: string): string {
  const program = `
    require('./src/configs/local-keyring').readKeyring(process.argv[1])
      .then((ring) => ring.generateDataKey('${ID}'))
      .then(({ keyId }) => console.log(keyId), (error) => console.log(error.message));`;
  const args = ['--eval', program, file];
  return execFileSync(process.execPath, args, { uid, gid: uid, cwd: compiled('.'), encoding: 'utf8' }).trim();
}
