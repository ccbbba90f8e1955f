import { Command, InvalidArgumentError, Option } from 'commander';
import { ExitCode } from '../src/cli/exit-codes';
import { type EmbeddedServer } from '../src/testing';
import { DEFAULTS, findDevelopmentServer, startDevelopmentServer, stopDevelopmentServer } from './development-server';
import { runScript } from './support/run-script';

interface Options {
  data: string;
}

const data = new Option('--data <folder>', 'where its data is').default(DEFAULTS.dataDirectory);

const program = new Command('npm run')
  .description("The developer's own PostgreSQL server, in the background.")
  // Inherited by the commands below, so that every failure reaches runScript.
  .exitOverride();

program
  .command('db:start')
  .alias('start')
  .description('starts it; harmless when it runs')
  .option('--port <number>', 'where it listens on localhost', parsePort, DEFAULTS.port)
  .addOption(data)
  .action(async (options: Options & { port: number }) => {
    const { port, data: dataDirectory } = options;
    const { server, outcome } = await startDevelopmentServer({ port, dataDirectory });
    console.log(`${outcome === 'started' ? 'Started.' : 'Already running.'} ${describe(server)}`);
  });

program
  .command('db:stop')
  .alias('stop')
  .description('stops it and keeps its data; harmless when it does not run')
  .addOption(data)
  .action(async (options: Options) => {
    const outcome = await stopDevelopmentServer(options.data);
    console.log(outcome === 'stopped' ? 'Stopped; its data is kept.' : 'It does not run.');
  });

program
  .command('db:status')
  .alias('status')
  .description(`says whether it runs; exit code ${ExitCode.unreachable} when it does not`)
  .addOption(data)
  .action(async (options: Options) => {
    const server = await findDevelopmentServer(options.data);
    console.log(server ? describe(server) : 'It does not run. Start it: npm run db:start');
    if (!server) process.exitCode = ExitCode.unreachable;
  });

function describe({ port, pid, version, dataDirectory }: EmbeddedServer): string {
  return (
    `PostgreSQL ${version} runs at postgresql://postgres:password@localhost:${port}\n` +
    `Process ${pid}; data and server.log are in ${dataDirectory}`
  );
}

function parsePort(value: string): number {
  const port = Number(value);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new InvalidArgumentError('A port is a number from 1 to 65535.');
}

void runScript(program);
