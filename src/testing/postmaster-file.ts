import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** What a running server says about itself in `postmaster.pid`. */
export interface Postmaster {
  pid: number;
  port: number;
  /** Whether it takes connections: not while it starts, recovers or stops. */
  ready: boolean;
}

/** The server that runs on a data folder; `undefined` when none does, whatever a left-over file says. */
export function readPostmaster(dataDirectory: string): Postmaster | undefined {
  const [pid, , , port, , , , status] = readLines(dataDirectory);
  if (!exists(Number(pid)) || !isPostgres(Number(pid))) return undefined;
  return { pid: Number(pid), port: Number(port), ready: status?.trim() === 'ready' };
}

/**
 * Removes the file of a server that is gone if the number of its process belongs to another program by now, as after a
 * reboot: then PostgreSQL refuses to start. Any other left-over file it removes itself, and more carefully than we can.
 */
export function removeMisleadingPostmasterFile(dataDirectory: string): void {
  const pid = Number(readLines(dataDirectory)[0]);
  if (exists(pid) && !isPostgres(pid)) rmSync(join(dataDirectory, 'postmaster.pid'));
}

function readLines(dataDirectory: string): string[] {
  try {
    return readFileSync(join(dataDirectory, 'postmaster.pid'), 'utf8').split('\n');
  } catch {
    return [];
  }
}

function exists(pid: number): boolean {
  if (!(pid > 0)) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function isPostgres(pid: number): boolean {
  try {
    // Empty for a process that has ended but was not waited for, as happens in containers without an init process.
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('postgres');
  } catch {
    const ps = spawnSync('ps', ['-p', String(pid), '-o', 'command='], { encoding: 'utf8' });
    // Where nobody can tell, believe the file: a false alarm is harmless, two servers on one folder are not.
    return ps.error ? true : ps.stdout.includes('postgres');
  }
}
