import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestDatabase, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../../src/testing';
import { prepareDataDirectory } from '../../../src/testing/data-directory';
import { launchPostmaster } from '../../../src/testing/launch-postmaster';
import { type PostgresBinaries } from '../../../src/testing/postgres-binaries';
import { locateData } from '../../../src/testing/server-user';
import { freePort } from '../processes/bound-process';

const DEBIAN = '/usr/lib/postgresql';
const PASSWORD = 'password';

/** The newest PostgreSQL that Debian's packages have installed together with a library of that name. */
export function debianPostgres(library: string): PostgresBinaries | undefined {
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).map(Number) : [];
  const version = Math.max(...versions.filter((one) => existsSync(join(DEBIAN, `${one}/lib/${library}.so`))));
  if (version < 0) return undefined;
  return { folder: join(DEBIAN, String(version)), version: version as PostgresBinaries['version'] };
}

/** A server of a test's own, by Debian's programs, with an empty database. It is gone with the test, however that ends. */
export class DebianServer {
  private constructor(
    private readonly folder: TemporaryDirectory,
    private readonly data: string,
    /** Of the database, as the superuser. */
    readonly url: string,
  ) {}

  /** @param settings of `postgresql.conf` */
  static async start(binaries: PostgresBinaries, settings: Record<string, string>): Promise<DebianServer> {
    const folder = new TemporaryDirectory();
    try {
      const location = locateData(folder.dataDirectory);
      await prepareDataDirectory(location, binaries, { password: PASSWORD, sync: false, notice: console.error });
      const port = String(await freePort());
      const own = { listen_addresses: '127.0.0.1', unix_socket_directories: '', ...UNSAFE_BUT_FAST, port };
      await launchPostmaster(location, join(binaries.folder, 'bin/postgres'), { ...settings, ...own });
      const { url } = await createTestDatabase(`postgresql://postgres:${PASSWORD}@127.0.0.1:${port}/postgres`);
      return new DebianServer(folder, location.path, url);
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  /** All that it has logged. */
  log(): string {
    return readFileSync(join(this.data, 'server.log'), 'utf8');
  }

  async remove(): Promise<void> {
    await this.folder.remove();
  }
}
