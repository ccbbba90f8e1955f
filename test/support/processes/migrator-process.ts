import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Readable, type Writable } from 'node:stream';
import { type MigratorTask } from '../../fixtures/migrator.fixture';
import { compiled } from '../jest/compiled';

/** A process of its own that migrates when it is told to, as a pod of a deployment does. */
export class MigratorProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const fixture = compiled('test/fixtures/migrator.fixture.ts');
    this.#child = spawn(process.execPath, [fixture], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  static async start(): Promise<MigratorProcess> {
    const migrator = new MigratorProcess();
    expect(await migrator.nextLine()).toBe('ready');
    return migrator;
  }

  /** Says what it is to do. What comes of it: {@link nextLine}. */
  send(task: MigratorTask): void {
    this.#child.stdin.write(`${JSON.stringify(task)}\n`);
  }

  /** Has it done: `done n` or `failed …`, whether or not it had to wait for another migrator before. */
  async perform(task: MigratorTask): Promise<string> {
    this.send(task);
    for (;;) {
      const line = await this.nextLine();
      if (line !== 'waiting') return line;
    }
  }

  /** What it says next: `done n`, `failed …`, `waiting` for another migrator, or that it has `halted`. */
  async nextLine(): Promise<string> {
    const { value } = (await this.#lines.next()) as IteratorResult<string, undefined>;
    return value ?? 'gone';
  }

  /** @returns the exit code */
  async end(): Promise<number | null> {
    this.#child.stdin.end();
    return await this.#gone();
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone();
  }

  async #gone(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    return this.#child.exitCode;
  }
}
