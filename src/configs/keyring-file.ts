import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, link, open, realpath, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigurationError } from '../errors';
import { KEY_BYTES } from './key-provider';
import { assertKeyId, type Keyring, parseKeyring } from './keyring';

const OTHERS = 0o007;
const MOST_BYTES = 1_048_576;

/** What was read, and how the file is kept. */
export interface StoredKeyring {
  readonly keyring: Keyring;
  readonly stats: Stats;
}

/**
 * Reads a keyring's file that only its user, root and a group can read.
 *
 * @throws ConfigurationError
 */
export async function readKeyringFile(path: string): Promise<StoredKeyring> {
  return await told(path, 'read', async () => {
    // Of what is open, not of the path: it may be another file a moment later. Nonblocking, or a pipe would wait for ever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      assertKept(path, stats);
      return { keyring: parseKeyring(path, await file.readFile('utf8')), stats };
    } finally {
      await file.close();
    }
  });
}

/**
 * Makes a keyring's file with one new random key, which is active: mode 0600, in a folder that is there.
 *
 * @throws ConfigurationError where there is such a file, or the id is malformed
 */
export async function newKeyring(path: string, keyId: string): Promise<void> {
  assertKeyId(keyId);
  await told(path, 'written', async () => {
    // Under its name it is there whole or not at all.
    const draft = `${path}.${process.pid}.new`;
    const file = await open(draft, 'wx', 0o600);
    try {
      await save(file, { active: keyId, keys: { [keyId]: newKey() } });
      await link(draft, path);
    } finally {
      await file.close();
      await rm(draft, { force: true });
    }
    await syncFolder(path);
  });
}

/**
 * Adds a new random key to a keyring's file, in one step: who reads it finds the keys of before or those of after. The key
 * wraps nothing until it is active. Give the file to every process first, or those that have not read it cannot open what
 * others seal.
 *
 * @throws ConfigurationError where the keyring has a key of that id, or something else changes the file
 */
export async function addKey(path: string, keyId: string): Promise<void> {
  assertKeyId(keyId);
  await changeKeyring(path, ({ active, keys }) => {
    if (Object.hasOwn(keys, keyId)) {
      throw new ConfigurationError(`The keyring ${path} has a key ${keyId} already. Choose another id.`);
    }
    return { active, keys: { ...keys, [keyId]: newKey() } };
  });
}

/**
 * Has a key of a keyring's file wrap from now on, for every process that reads the file after it.
 *
 * @throws ConfigurationError where the keyring has no key of that id, or something else changes the file
 */
export async function activateKey(path: string, keyId: string): Promise<void> {
  assertKeyId(keyId);
  await changeKeyring(path, ({ keys }) => {
    if (!Object.hasOwn(keys, keyId))
      throw new ConfigurationError(`The keyring ${path} has no key ${keyId}: add it first.`);
    return { active: keyId, keys };
  });
}

async function changeKeyring(path: string, change: (keyring: Keyring) => Keyring): Promise<void> {
  await told(path, 'written', async () => {
    const target = await realpath(path);
    const draft = `${target}.new`;
    // It keeps changes apart, too: of two at once, one would undo the other.
    const file = await open(draft, 'wx', 0o600).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
      throw new ConfigurationError(
        `${draft} is there: something changes the keyring now, or died. Delete it if it died.`,
      );
    });
    try {
      const { keyring, stats } = await readKeyringFile(target);
      await keepAs(file, stats);
      await save(file, change(keyring));
      await rename(draft, target);
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    } finally {
      await file.close();
    }
    await syncFolder(target);
  });
}

function assertKept(path: string, { uid, mode, size }: Stats): void {
  const refuse = (why: string) => {
    throw new ConfigurationError(`The keyring ${path} is refused: ${why}.`);
  };
  if ((mode & constants.S_IFMT) !== constants.S_IFREG) refuse('it is no file');
  if (size > MOST_BYTES) refuse('it is too large to be a keyring');
  const user = process.geteuid?.();
  // Windows has neither.
  if (user === undefined) return;
  if ((mode & OTHERS) !== 0) refuse('everybody on this machine can read or write it: chmod o= it, and change its keys');
  if (uid !== user && uid !== 0) refuse('it belongs to another user: chown it to the user of this process, or to root');
}

const newKey = (): string => randomBytes(KEY_BYTES).toString('base64');

/** The group that reads it still does. */
async function keepAs(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  if (own.uid !== uid || own.gid !== gid) await file.chown(uid, gid);
  await file.chmod(mode & 0o770);
}

async function save(file: FileHandle, keyring: Keyring): Promise<void> {
  await file.writeFile(`${JSON.stringify(keyring, null, 2)}\n`);
  await file.sync();
}

/** Or a crash of the machine could take the name of the new file. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), constants.O_RDONLY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Errors of the file system by their code alone. */
async function told<T>(path: string, verb: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConfigurationError) throw error;
    const { code = 'an unknown error' } = error as NodeJS.ErrnoException;
    throw new ConfigurationError(`The keyring ${path} cannot be ${verb} (${code}).`);
  }
}
