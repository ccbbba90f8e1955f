import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** Far more than anything takes that does not hang, also where many things run at once. */
const HANGS_AFTER_MS = 180_000;

/**
 * Runs a program, in a group of its own, so that what it has started ends with it where it hangs.
 *
 * @returns what it printed on standard output
 * @throws Error with all that it printed, where it fails or hangs
 */
export async function runToEnd(
  program: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv },
): Promise<string> {
  const child = spawn(program, args, { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = new Promise<number | NodeJS.Signals | null>((resolve, reject) =>
    child.once('error', reject).once('close', (code, signal) => resolve(code ?? signal)),
  );
  let hangs = false;
  const hung = setTimeout(() => {
    hangs = true;
    process.kill(-child.pid!, 'SIGKILL');
  }, HANGS_AFTER_MS);
  try {
    const [ended, stdout, stderr] = await Promise.all([exited, text(child.stdout), text(child.stderr)]);
    if (ended === 0) return stdout;
    const how = hangs ? `hangs: it was ended after ${HANGS_AFTER_MS / 1_000} s` : `ended with ${ended}`;
    throw new Error(`${[program, ...args].join(' ')}\n${how}\n${stderr}\n${stdout}`);
  } finally {
    clearTimeout(hung);
  }
}
