import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import { UNSAFE_BUT_FAST } from './embedded-server';

export interface DockerServer {
  url: string;
  containerId: string;
  stop: () => Promise<void>;
}

const PROBE_TIMEOUT_MS = 5_000;
const START_TIMEOUT_MS = 120_000;

/**
 * Why no Docker engine can be used; `undefined` when one answers.
 *
 * A socket that accepts and never answers would hang the probe, and what it leaves open would hang this process at its
 * end. So another process asks, one that can be ended.
 */
export async function whyNoDocker(environment: NodeJS.ProcessEnv = process.env): Promise<string | undefined> {
  let library: string;
  try {
    library = createRequire(require.resolve('@testcontainers/postgresql')).resolve('testcontainers');
  } catch {
    return '@testcontainers/postgresql is not installed';
  }
  const script =
    'require(process.argv[1]).getContainerRuntimeClient().then(() => process.exit(0), () => process.exit(3))';
  try {
    await promisify(execFile)(process.execPath, ['-e', script, library], {
      timeout: PROBE_TIMEOUT_MS,
      killSignal: 'SIGKILL',
      env: environment,
    });
    return undefined;
  } catch (error) {
    const { killed } = error as { killed?: boolean };
    return killed ? `the Docker engine did not answer within ${PROBE_TIMEOUT_MS / 1000} s` : 'no Docker engine answers';
  }
}

/** Starts `postgres:<version>` in a container. testcontainers removes it when this process ends. */
export async function startDockerServer(version: number): Promise<DockerServer> {
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const settings = { max_connections: '200', timezone: 'UTC', ...UNSAFE_BUT_FAST };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const starting = new PostgreSqlContainer(`postgres:${version}`)
    .withUsername('postgres')
    .withDatabase('postgres')
    .withCommand(['postgres', ...flags])
    .withStartupTimeout(30_000)
    .start();
  const container = await withTimeout(starting, START_TIMEOUT_MS);
  return {
    url: container.getConnectionUri(),
    containerId: container.getId().slice(0, 12),
    stop: async () => void (await container.stop()),
  };
}

async function withTimeout<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${milliseconds / 1000} s`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
