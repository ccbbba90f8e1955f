import { spawn, type SpawnOptions } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';

const ROOT = path.join(__dirname, '../../..');

/** Of util-linux: lets a program believe that it is at a terminal. */
export const TERMINAL = '/usr/bin/script';

export interface Finished {
  exitCode: number | null;
  /** Standard output and standard error, as they came. */
  output: string;
}

/**
 * Runs a file of `scripts/` as its user would, without a terminal and with the URL given: a shell script from another
 * folder, the others as npm does. Whatever it is made to do, its output must never hold the password.
 */
export function runScript(file: string, url: string, args: string[] = [], env: NodeJS.ProcessEnv = {}) {
  const script = path.join(ROOT, 'scripts', file);
  const [program, first] = file.endsWith('.ts') ? [process.execPath, ['--import', 'tsx', script]] : [script, []];
  return run(program, [...first, ...args], url, { cwd: first.length > 0 ? ROOT : tmpdir(), env });
}

/** Runs a shell script of `scripts/` at a terminal that {@link TERMINAL} plays, and answers its question. */
export function runScriptAtTerminal(file: string, url: string, answer: string) {
  const env = { SCRIPT: path.join(ROOT, 'scripts', file) };
  return run(TERMINAL, ['--quiet', '--return', '--command', '"$SCRIPT"', '/dev/null'], url, { env }, `${answer}\r`);
}

async function run(program: string, args: string[], url: string, options: SpawnOptions, answer?: string) {
  const child = spawn(program, args, {
    ...options,
    // Jest asks its workers for colours.
    env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...options.env, DATABASE_URL: url },
    // Ends before the test does: a script that hangs must not outlive its test.
    timeout: 150_000,
    stdio: [answer === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  const finished: Finished = { exitCode: null, output: '' };
  const listen = (chunk: Buffer) => {
    const wasAsked = finished.output.includes('[y/N]');
    finished.output += chunk.toString();
    if (answer !== undefined && !wasAsked && finished.output.includes('[y/N]')) child.stdin?.write(answer);
  };
  child.stdout?.on('data', listen);
  child.stderr?.on('data', listen);
  finished.exitCode = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  for (const password of passwordsOf(url)) expect(finished.output).not.toContain(password);
  return finished;
}

/** The password as it is written in the URL, and decoded. */
function passwordsOf(url: string): string[] {
  const written = /\/\/[^:/]*:(.*)@/.exec(url)?.[1];
  return written ? [written, decodeURIComponent(written)] : [];
}

/** The same server and login, another database: named after the file's own, so that it goes with it. */
export function siblingUrl(url: string, suffix: string): string {
  const sibling = new URL(url);
  sibling.pathname += suffix;
  return sibling.href;
}

/** The URL with something else in it. */
export function changedUrl(
  url: string,
  change: Partial<Pick<URL, 'hostname' | 'port' | 'username' | 'password'>>,
): string {
  return Object.assign(new URL(url), change).href;
}
