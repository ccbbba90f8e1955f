import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { BinariesError, PortTakenError, type PostgresVersion, ServerProcessError } from '../../testing';
import { withClient } from '../../testing/with-client';
import { DEFAULTS, type DevelopmentServerOptions, isListening, type Outcome } from './embedded';

const START_TIMEOUT_MS = 120_000;
/** Ours, so that it is the same in images of every version, which have theirs in different places. */
const DATA = '/var/lib/payment-events-db';

/** A container of the project's own, whose data is in a volume that outlives it. */
export interface ContainerServer {
  readonly container: string;
  readonly volume: string;
  readonly version: PostgresVersion;
  readonly port: number;
  readonly url: string;
  /** Keeps the volume. */
  stop(): Promise<void>;
}

/** One a project: told apart by where the embedded server's data would be. */
export const containerName = (dataDirectory: string = DEFAULTS.dataDirectory): string =>
  `payment-events-db-${createHash('sha256').update(resolve(dataDirectory)).digest('hex').slice(0, 12)}`;

/**
 * Starts `postgres:<version>` with Docker's own command line, on 127.0.0.1 only: the password is public. Harmless when it
 * runs. Each major version has a volume of its own.
 *
 * @throws BinariesError where there is no Docker
 * @throws PortTakenError, ServerProcessError
 */
export async function startContainer({
  port = DEFAULTS.port,
  dataDirectory,
  version = 17,
  notice = console.error,
}: DevelopmentServerOptions = {}): Promise<{ outcome: Outcome; server: ContainerServer }> {
  const running = await findContainer(dataDirectory);
  if (running?.port === port) return { outcome: 'already running', server: running };
  if (running) {
    throw new ServerProcessError(
      `The container ${running.container} has port ${running.port} already. Use that one, or stop it first.`,
    );
  }
  if (await isListening('localhost', port)) throw new PortTakenError(port);
  const container = containerName(dataDirectory);
  const volume = `${container}-${version}`;
  notice(`Starting a container of postgres:${version}; where the image is missing, Docker fetches it first.`);
  // What is left of one that did not stop, or did not start.
  await docker('rm', '--force', '--volumes', container);
  await docker(
    ...['run', '--detach', '--name', container, '--publish', `127.0.0.1:${port}:5432`],
    ...['--env', 'POSTGRES_PASSWORD=password', '--env', 'TZ=UTC', '--env', `PGDATA=${DATA}/data`],
    ...['--volume', `${volume}:${DATA}`, `postgres:${version}`],
  );
  const server = serverIn(container, volume, version, port);
  await untilReady(server);
  return { outcome: 'started', server };
}

/** The project's container; `undefined` when it does not run. */
export async function findContainer(dataDirectory?: string): Promise<ContainerServer | undefined> {
  const container = containerName(dataDirectory);
  const said = await docker(...['ps', '--filter', `name=^${container}$`, '--format', '{{.Image}} {{.Ports}}']);
  const [, version, port] = /^postgres:(\d+) .*127\.0\.0\.1:(\d+)->5432/m.exec(said) ?? [];
  if (version === undefined) return undefined;
  return serverIn(container, `${container}-${version}`, Number(version) as PostgresVersion, Number(port));
}

const serverIn = (container: string, volume: string, version: PostgresVersion, port: number): ContainerServer => ({
  ...{ container, volume, version, port },
  url: `postgresql://postgres:password@127.0.0.1:${port}/postgres`,
  stop: async () => {
    await docker('stop', container);
    await docker('rm', '--volumes', container);
  },
});

/** By TCP: while the image sets itself up, a temporary server answers on the socket only. */
async function untilReady({ container, url }: ContainerServer): Promise<void> {
  for (const deadline = Date.now() + START_TIMEOUT_MS; ; await delay(100)) {
    try {
      return await withClient(url, async (client) => void (await client.query('SELECT')));
    } catch (error) {
      const isUp = (await docker('ps', '--quiet', '--filter', `name=^${container}$`)) !== '';
      if (isUp && Date.now() < deadline) continue;
      const log = await docker('logs', '--tail', '15', container);
      throw new ServerProcessError(`PostgreSQL did not start in ${container}. Its log says:\n${log}`, { cause: error });
    }
  }
}

/** Gives standard output; of `logs` both. */
async function docker(...args: string[]): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)('docker', args);
    return (args[0] === 'logs' ? stdout + stderr : stdout).trim();
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    if (code === 'ENOENT') {
      throw new BinariesError('There is no command docker on this machine. Install Docker, or leave --docker out.');
    }
    throw new ServerProcessError(`docker ${args[0]} failed: ${stderr?.trim() || String(code)}`);
  }
}
