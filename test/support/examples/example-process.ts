import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

/** Ends with the test that started it, whatever ends that. */
const running = new Set<ChildProcessByStdio<null, Readable, Readable>>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));

/** A process of the examples. */
export class ExampleProcess {
  /** All that it has printed, line by line. */
  readonly lines: string[] = [];
  /** Its exit code or signal, once all that it printed is in `lines`. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;

  /** @param command a program and its arguments */
  constructor(cwd: string, [program, ...args]: [string, ...string[]], env: NodeJS.ProcessEnv = {}) {
    const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_ENV$|NODE_OPTIONS$)/.test(name));
    this.#child = spawn(program, args, {
      cwd,
      env: { ...Object.fromEntries(inherited), NO_COLOR: '1', ...env },
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.add(this.#child);
    for (const output of [this.#child.stdout, this.#child.stderr]) {
      createInterface({ input: output }).on('line', (line) => this.lines.push(line));
    }
    this.ended = (once(this.#child, 'close') as Promise<[number | null, NodeJS.Signals]>).then(([exitCode, signal]) => {
      running.delete(this.#child);
      return exitCode ?? signal;
    });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Waits for a line; fails where it ends before. */
  async printed(pattern: RegExp): Promise<string> {
    for (;;) {
      const line = this.lines.find((each) => pattern.test(each));
      if (line !== undefined) return line;
      const isOver = await Promise.race([this.ended, delay(50, undefined)]);
      if (isOver !== undefined) throw new Error(`It has ended (${isOver}):\n${this.lines.join('\n')}`);
    }
  }

  /** As a platform ends it. @returns its exit code or signal */
  async stop(): Promise<number | NodeJS.Signals> {
    this.#child.kill('SIGTERM');
    return await this.ended;
  }

  /** As the kernel does when memory runs out. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }

  /** As Ctrl-C in a terminal: all that it has started in its process group is told, too. */
  async interrupt(): Promise<number | NodeJS.Signals> {
    process.kill(-this.pid, 'SIGINT');
    return await this.ended;
  }
}
