import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { DataDirectoryInUseError, PortTakenError, ServerProcessError } from './errors';
import { readPostmaster, removeMisleadingPostmasterFile } from './postmaster-file';
import { type DataLocation } from './server-user';

export interface LaunchedPostmaster {
  pid: number;
  /** Resolves when every process of the server has ended. */
  gone: () => Promise<void>;
}

/** Not for callers: sessions of a killed server are still on their way out, so try again in a moment. */
export class RemainsOfKilledServer extends ServerProcessError {}

export const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 60_000;

/** Starts `postgres` as a session of its own, with its output in `server.log`, and waits until it takes connections. */
export async function launchPostmaster(
  { path, user }: DataLocation,
  program: string,
  settings: Record<string, string> & { port: string },
): Promise<LaunchedPostmaster> {
  requireUnused(path);
  removeMisleadingPostmasterFile(path);
  const log = join(path, 'server.log');
  const output = openSync(log, 'a');
  const before = statSync(log).size;
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  // Every process of the server inherits the pipe, so that it ends when the last of them has.
  const stdio = ['ignore', output, output, 'pipe'] as const;
  const child = spawn(program, ['-D', path, ...flags], {
    ...user,
    cwd: '/',
    detached: true,
    stdio: [...stdio],
    // macOS starts threads to find out an unset locale, and PostgreSQL refuses to start with threads.
    env: { ...process.env, LC_ALL: 'C' },
  });
  closeSync(output);

  let ended = false;
  child.once('exit', () => (ended = true)).once('error', () => (ended = true));
  const pipe = child.stdio[3] as Readable & { unref(): void };
  pipe.once('close', () => pipe.destroy()).resume();
  child.unref();
  pipe.unref();

  const isReady = () => {
    const postmaster = readPostmaster(path);
    return postmaster?.pid === child.pid && postmaster?.ready;
  };
  for (const deadline = Date.now() + START_TIMEOUT_MS; !isReady(); await delay(20)) {
    if (!ended && Date.now() < deadline) continue;
    if (!ended) child.kill('SIGQUIT');
    throw explain(path, settings.port, readFileSync(log).subarray(before).toString().trim());
  }
  return { pid: child.pid!, gone: () => waitUntil(() => ended && pipe.destroyed, path) };
}

/** Waits for the end of a server that was told to stop. */
export async function waitUntil(isGone: () => boolean | undefined, path: string): Promise<void> {
  for (const deadline = Date.now() + STOP_TIMEOUT_MS; !isGone(); await delay(20)) {
    if (Date.now() > deadline)
      throw new ServerProcessError(`PostgreSQL on ${path} does not stop; see server.log there.`);
  }
}

function requireUnused(path: string): void {
  const running = readPostmaster(path);
  if (running) throw new DataDirectoryInUseError(path, running.pid, running.port);
}

function explain(path: string, port: string, log: string): Error {
  requireUnused(path);
  if (log.includes('could not create any TCP/IP sockets')) return new PortTakenError(Number(port));
  const message = `PostgreSQL did not start on ${path}. Its log says:\n${log.split('\n').slice(-15).join('\n')}`;
  return log.includes('pre-existing shared memory block')
    ? new RemainsOfKilledServer(message)
    : new ServerProcessError(message);
}
