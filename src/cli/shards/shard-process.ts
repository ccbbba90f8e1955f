import { type ChildProcess, spawn } from 'node:child_process';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import pc from 'picocolors';
import { type ExitCode, ExitCode as Codes } from '../exit-codes';
import { type ShardRun } from './over-shards';

/** Beside this file, in JavaScript as in TypeScript. */
const MAIN = join(__dirname, `../main${extname(__filename)}`);

/** Is told each line that a command prints. */
export interface Lines {
  out(line: string): void;
  err(line: string): void;
}

/** A command at one database. */
export interface ShardProcess {
  /** Passes a signal on. */
  kill(signal: NodeJS.Signals): void;
  /** How it ended, once all its lines are told. */
  readonly ended: Promise<ExitCode>;
}

/**
 * Starts this program once more, for one database. Its URL travels in the environment, where other users of the machine do
 * not see it, and so do all other settings.
 */
export function startAt({ shard, args }: ShardRun, lines: Lines): ShardProcess {
  const child = spawn(process.execPath, [...process.execArgv, MAIN, ...args], {
    env: {
      ...process.env,
      ...(pc.isColorSupported && process.env.NO_COLOR === undefined && { FORCE_COLOR: '1' }),
      PAYMENT_EVENTS_DB_SHARDS: undefined,
      DATABASE_URL: shard.url,
    },
    // A terminal would send its signals to all of the group, and each command would get them twice.
    detached: true,
    // The channel ends with this process, however it ends: see `runUntilTold`.
    stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
  });
  return { kill: (signal) => void child.kill(signal), ended: end(child, lines) };
}

async function end(child: ChildProcess, lines: Lines): Promise<ExitCode> {
  createInterface({ input: child.stdout! }).on('line', (line) => lines.out(line));
  createInterface({ input: child.stderr! }).on('line', (line) => lines.err(line));
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => {
      // After the last lines, which the streams give in the turn of the event loop that is under way.
      setImmediate(() => resolve((code ?? Codes.failed) as ExitCode));
    });
  });
}

/** Does work while SIGTERM and SIGINT do not end this process, but are handed to somebody. */
export async function passingSignals<T>(passOn: (signal: NodeJS.Signals) => void, work: () => Promise<T>): Promise<T> {
  const signals = ['SIGTERM', 'SIGINT'] as const;
  for (const signal of signals) process.on(signal, passOn);
  try {
    return await work();
  } finally {
    for (const signal of signals) process.off(signal, passOn);
  }
}

/** From the best to the worst: what is wrong with a command line is wrong for every database. */
const ORDER: readonly ExitCode[] = [
  ...[Codes.ok, Codes.pending, Codes.failed, Codes.refused, Codes.unreachable, Codes.usage],
];

/** The exit code of all. One that is not ours, such as that of a signal, counts as a failure. */
export const worst = (codes: readonly ExitCode[]): ExitCode =>
  codes
    .map((code) => (ORDER.includes(code) ? code : Codes.failed))
    .reduce((one, other) => (ORDER.indexOf(other) > ORDER.indexOf(one) ? other : one), Codes.ok);

/** The database's name in a line of JSON; other lines stay as they are. As text, so that no number is read and rounded. */
export const named = (shard: string, line: string): string =>
  line.startsWith('{') ? `{"shard":${JSON.stringify(shard)}${line === '{}' ? '' : ','}${line.slice(1)}` : line;
