import { execFile } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { DataDirectoryError, ServerProcessError } from './errors';
import { type PostgresBinaries } from './postgres-binaries';
import { type DataLocation, isWhole } from './server-user';

const run = promisify(execFile);

export interface InitialiseOptions {
  password: string;
  /** Whether to wait until the new files are on the disk. */
  sync: boolean;
  notice: (message: string) => void;
}

/**
 * Makes sure that a whole data folder of this version is there. initdb fills a folder beside it, which then takes the
 * name: a folder that is there is complete, also after a crash and when two start at once.
 */
export async function prepareDataDirectory(
  location: DataLocation,
  binaries: PostgresBinaries,
  options: InitialiseOptions,
): Promise<void> {
  const { path } = location;
  if (existsSync(path) && readdirSync(path).length > 0) {
    if (isWhole(path)) return requireVersion(path, binaries.version);
    await moveAside(path, options.notice);
  }
  makeParent(dirname(path));
  await initialise(location, binaries, options);
}

/** What is new must let the server's user through, however strict root's umask is. */
function makeParent(parent: string): void {
  const first = mkdirSync(parent, { recursive: true });
  for (let made = parent; first && made.startsWith(first); made = dirname(made)) chmodSync(made, 0o755);
}

function requireVersion(path: string, version: number): void {
  const found = readFileSync(join(path, 'PG_VERSION'), 'utf8').trim();
  if (found === String(version)) return;
  throw new DataDirectoryError(
    `${path} was made by PostgreSQL ${found}; this server is ${version}. Start version ${found}, or move the folder away.`,
  );
}

async function moveAside(path: string, notice: (message: string) => void): Promise<void> {
  if (!existsSync(join(path, 'PG_VERSION'))) {
    throw new DataDirectoryError(`${path} holds other files and no PostgreSQL data. Choose an empty or a new folder.`);
  }
  const aside = `${path}.incomplete-${Date.now()}`;
  await rename(path, aside);
  notice(`${path} was only half created and cannot start: moved to ${aside}, creating a new one.`);
}

async function initialise(
  { path, user }: DataLocation,
  { folder }: PostgresBinaries,
  { password, sync }: InitialiseOptions,
): Promise<void> {
  const staging = await mkdtemp(join(dirname(path), `${basename(path)}.new-`));
  const [data, passwordFile] = [join(staging, 'data'), join(staging, 'password')];
  try {
    writeFileSync(passwordFile, password, { mode: 0o600 });
    if (user.uid !== undefined) for (const each of [staging, passwordFile]) chownSync(each, user.uid, user.gid ?? 0);
    const locale = ['--encoding=UTF8', '--locale=C', '--username=postgres'];
    const access = ['--auth=scram-sha-256', `--pwfile=${passwordFile}`];
    const flags = ['-D', data, ...locale, ...access, ...(sync ? [] : ['--no-sync'])];
    await run(join(folder, 'bin', 'initdb'), flags, { ...user, cwd: '/' }).catch(
      (error: { stderr?: string } & Error) => {
        throw new ServerProcessError(`initdb failed for ${path}: ${error.stderr?.trim() || error.message}`);
      },
    );
    await rename(data, path).catch((error: unknown) => {
      if (!isWhole(path)) throw error;
    });
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}
