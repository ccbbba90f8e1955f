import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, mkdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { BinariesError, DataDirectoryError } from './errors';

/** Whom the server's processes run as, in the form `spawn` takes. Empty: the user of this program. */
export interface ServerUser {
  uid?: number;
  gid?: number;
}

const isRoot = (): boolean => process.getuid?.() === 0;

/** PostgreSQL refuses to run as root: then it runs as `postgres`, or `nobody` where there is no such user. */
function defaultServerUser(): ServerUser {
  if (!isRoot()) return {};
  for (const name of ['postgres', 'nobody']) {
    const [uid, gid] = ['-u', '-g'].map((flag) => spawnSync('id', [flag, name], { encoding: 'utf8' }));
    if (uid?.status === 0 && gid?.status === 0) return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  }
  throw new BinariesError(
    'PostgreSQL refuses to run as root, and there is neither a user "postgres" nor "nobody" to run it as. Run this as an ordinary user.',
  );
}

/** Asks the kernel, since modes alone do not tell: access lists, mounts and groups count too. */
function canEnter(user: ServerUser, folder: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd "$1"', 'sh', folder], { ...user, cwd: '/' }).status === 0;
}

const nearestExisting = (path: string): string => (existsSync(path) ? path : nearestExisting(dirname(path)));

/**
 * A folder of root's for what the server's user cannot reach at `path`, always the same one for the same path. It is
 * outside of `/tmp`, which is emptied at a reboot.
 */
export function standInFolder(path: string): string {
  const parent = existsSync('/var/tmp') ? '/var/tmp' : tmpdir();
  const folder = join(parent, `payment-events-db-${createHash('sha256').update(path).digest('hex').slice(0, 12)}`);
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const found = lstatSync(folder);
  if (found.uid !== process.getuid?.() || !found.isDirectory()) {
    throw new DataDirectoryError(`${folder} belongs to another user, so it cannot be trusted: remove it first.`);
  }
  chmodSync(folder, 0o755);
  return folder;
}

/** Whether a folder holds what initdb makes, down to the file that it makes late. */
export function isWhole(path: string): boolean {
  return existsSync(join(path, 'PG_VERSION')) && existsSync(join(path, 'global', 'pg_control'));
}

export interface DataLocation {
  path: string;
  user: ServerUser;
}

/**
 * Where the data of `requested` really lies and who runs the server on it.
 *
 * As root, data that is there belongs to the user that runs its server; new data lies in the place asked for if the server's
 * user can get there, else (say, below a home folder with mode 0700) in a folder below `/var/tmp`.
 */
export function locateData(requested: string): DataLocation {
  let path = resolve(requested);
  let user = defaultServerUser();
  if (!isWhole(path) && isRoot()) {
    if (!canEnter(user, nearestExisting(dirname(path)))) path = join(standInFolder(path), 'data');
  }
  if (!isWhole(path)) return { path, user };
  const { uid, gid } = statSync(path);
  if (isRoot() && uid !== 0) user = { uid, gid };
  else if (uid !== process.getuid?.() || isRoot()) {
    throw new DataDirectoryError(`${path} belongs to another user (${uid}), so PostgreSQL would refuse it.`);
  }
  return { path, user };
}
