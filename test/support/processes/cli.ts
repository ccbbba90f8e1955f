import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { stripVTControlCharacters } from 'node:util';
import { Command } from 'commander';
import { runCommand } from '../../../src/cli/run-command';
import { compiled } from '../jest/compiled';

const ROOT = join(__dirname, '../../..');
const TIMEOUT_MS = 150_000;

/** How a command ended, and what it printed, without colours. */
export interface Finished {
  readonly stdout: string;
  /** Without the line that says where the command works. */
  readonly stderr: string;
  readonly exitCode: number | null | undefined;
}

/**
 * Runs `payment-events-db` as a process of its own, as its users do. It takes half a second to start.
 *
 * @param onStderr called when it first prints there
 */
export async function cliProcess(
  databaseUrl: string,
  args: readonly string[],
  onStderr: () => unknown = () => undefined,
): Promise<Finished> {
  const child = spawn(process.execPath, [compiled('src/cli/main.ts'), ...args], {
    cwd: ROOT,
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  let said = '';
  child.stderr.on('data', (chunk) => {
    const isFirst = withoutPlace(said) === '';
    said += String(chunk);
    if (isFirst && withoutPlace(said) !== '') onStderr();
  });
  const exited = new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject));
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr: withoutPlace(stderr), exitCode };
}

/** What every command says first, unless it is to print JSON. */
const PLACE = /^Schema \w+ of .+ at \S+\n/m;
const withoutPlace = (stderr: string) => stderr.replace(PLACE, '');

/**
 * Runs a command in this process: for the many ways in which a command line can be wrong. One at a time.
 *
 * @param whole with the line that says where it works
 */
export async function cliHere(
  databaseUrl: string,
  command: Command,
  args: readonly string[],
  { whole = false } = {},
): Promise<Finished> {
  const program = new Command('payment-events-db').addCommand(command);
  return await programHere(program, [command.name(), ...args], { DATABASE_URL: databaseUrl }, { whole });
}

/** Runs a whole command line in this process, with these variables. One at a time. */
export async function programHere(
  program: Command,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  { whole = false } = {},
): Promise<Finished> {
  let [stdout, stderr] = ['', ''];
  const line = (message: unknown) => `${String(message)}\n`;
  jest.replaceProperty(process, 'argv', [process.execPath, program.name(), ...args]);
  jest.replaceProperty(process, 'env', { ...process.env, ...env });
  jest.spyOn(console, 'log').mockImplementation((message) => void (stdout += line(message)));
  jest.spyOn(console, 'error').mockImplementation((message) => void (stderr += line(message)));
  jest.spyOn(process.stdout, 'write').mockImplementation((chunk) => ((stdout += String(chunk)), true));
  jest.spyOn(process.stderr, 'write').mockImplementation((chunk) => ((stderr += String(chunk)), true));
  try {
    process.exitCode = 0;
    await runCommand(program);
    const said = stripVTControlCharacters(stderr);
    const printed = { stdout: stripVTControlCharacters(stdout), stderr: whole ? said : withoutPlace(said) };
    return { ...printed, exitCode: Number(process.exitCode) };
  } finally {
    process.exitCode = undefined;
    jest.restoreAllMocks();
  }
}
