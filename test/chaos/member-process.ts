import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { type Readable, type Writable } from 'node:stream';
import { compiled } from '../support/jest/compiled';
import { type Entry } from './journal';

const ROOT = join(__dirname, '../..');

// A process of its own: one that stands still does not see that the test has ended, and nobody else would wake it.
const PAUSE = 'kill -STOP "$1" && sleep "$2"; kill -CONT "$1"';

/** What a process is started with. */
export interface Program {
  /** Of `src` or `test`, by its path in the repository. */
  readonly module: string;
  readonly args?: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** What it says that is no {@link Entry}, such as what a relay logs, is not heard. */
  readonly hear: (entry: Entry) => void;
}

/** A process that ends with this one, and can be killed and paused. */
export class MemberProcess {
  /** The exit code; null where it was killed. */
  readonly ended: Promise<number | null>;
  stderr = '';
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;

  constructor({ module, args = [], env, hear }: Program) {
    const bound = ['--require', compiled('test/fixtures/relay/bound-to-test.ts')];
    this.#child = spawn(process.execPath, [...bound, compiled(module), ...args], {
      cwd: ROOT,
      env: { ...process.env, FORCE_COLOR: undefined, NO_COLOR: '1', ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stdin.on('error', () => undefined);
    let rest = '';
    this.#child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) hear(JSON.parse(line) as Entry);
    });
    this.#child.stderr.setEncoding('utf8').on('data', (chunk: string) => (this.stderr += chunk));
    this.ended = (once(this.#child, 'close') as Promise<[number | null]>).then(([exitCode]) => exitCode);
  }

  /** Nothing is flushed, nobody is told. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** It stands still for a while, as in a container that is out of CPU, and then goes on as if nothing had been. */
  pause(milliseconds: number): void {
    const args = ['-c', PAUSE, 'sh', String(this.#child.pid), String(milliseconds / 1_000)];
    spawn('/bin/sh', args, { detached: true, stdio: 'ignore' }).unref();
  }
}
