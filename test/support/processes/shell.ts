import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

export interface Finished {
  exitCode: number | null;
  /** Standard output and standard error, one after the other. */
  output: string;
}

/** Runs a command line in a shell, as a user does: nothing of the npm or Jest around it is inherited. */
export async function shell(command: string, { cwd, env = {} }: { cwd: string; env?: NodeJS.ProcessEnv }) {
  const child = spawn('bash', ['-c', command], {
    cwd,
    env: { ...usersEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<number | null>((resolve, reject) => child.once('close', resolve).once('error', reject));
  const [stdout, stderr, exitCode] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { exitCode, output: stdout + stderr } satisfies Finished;
}

/** The variables of this process, without those that npm and Jest have set. */
export const usersEnvironment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_ENV$|NODE_OPTIONS$)/.test(name)));
