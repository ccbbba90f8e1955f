import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Readable, type Writable } from 'node:stream';
import { compiled } from '../jest/compiled';

/** A file of `test/fixtures` as a process of its own, which ends with the test that started it, whatever ends that. */
export class FixtureProcess {
  readonly lines: string[] = [];
  /** Its exit code or signal, once all that it printed is in `lines`. */
  readonly ended: Promise<number | NodeJS.Signals>;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  /** @param fixture its path below `test/fixtures`, without `.ts` */
  constructor(fixture: string, ...args: (string | number)[]) {
    const bound = ['--require', compiled('test/fixtures/relay/bound-to-test.ts')];
    const command = [...bound, compiled(`test/fixtures/${fixture}.ts`), ...args.map(String)];
    this.#child = spawn(process.execPath, command, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child.stdin.on('error', () => undefined);
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.lines.push(line));
    this.ended = (once(this.#child, 'close') as Promise<[number | null, NodeJS.Signals]>).then(
      ([exitCode, signal]) => exitCode ?? signal,
    );
  }

  /** Waits for so many lines, or for its end. */
  async printed(count: number): Promise<void> {
    const enough = new Promise<void>((resolve) => {
      const look = () => void (this.lines.length >= count && (this.#child.stdout.off('data', later), resolve()));
      const later = () => setImmediate(look);
      this.#child.stdout.on('data', later);
      look();
    });
    await Promise.race([enough, this.ended]);
  }

  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`);
  }

  kill(): Promise<number | NodeJS.Signals> {
    this.#child.kill('SIGKILL');
    return this.ended;
  }
}
