import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BENCH } from '../paths';
import { type Lab } from './lab';

const MODULES = join(BENCH, 'node_modules');

/**
 * A program for a package that wants a newer Node than we do: it answers each line of its input with a line, a number. That
 * costs some 50 µs.
 */
export class HelperProcess {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.pipe(process.stderr);
  }

  /** Starts `program`, of a path in the folder `bench`. Undefined, with a word to `lab.notice`, where its package is not installed. */
  static start(lab: Lab, packageName: string, program: string, ...args: string[]): HelperProcess | undefined {
    const node = newerNode();
    if (!node || !existsSync(join(MODULES, packageName))) {
      lab.notice(`${packageName} is left out: it is not installed, or there is no Node 22.18 for it`);
      return undefined;
    }
    const helper = new HelperProcess(spawn(node, [join(BENCH, program), ...args]));
    lab.atEnd(() => helper.#end());
    return helper;
  }

  async ask(line: string): Promise<number> {
    this.#child.stdin!.write(`${line}\n`);
    const { value, done } = (await this.#answers.next()) as IteratorResult<string, undefined>;
    if (done) throw new Error(`the process that was asked to ${line} has ended`);
    return Number(value);
  }

  #end(): Promise<void> {
    return new Promise((ended) => {
      if (this.#child.exitCode !== null) return ended();
      this.#child.once('close', () => ended());
      this.#child.kill();
    });
  }
}

function newerNode(): string | undefined {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 18)) return process.execPath;
  const bundled = join(MODULES, `node-${process.platform}-${process.arch}/bin/node`);
  return existsSync(bundled) ? bundled : undefined;
}
