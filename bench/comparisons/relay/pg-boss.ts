import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Contestant } from '../../contestant';
import { type Lab } from '../../lab/lab';
import { BENCH } from '../../paths';

const MODULES = join(BENCH, 'node_modules');

/** More than it gets through. */
const JOBS_PER_SECOND = 60_000;

/**
 * pg-boss, fetch and complete, on a database of its own. It wants Node 22.12, so it runs as a process of its own, which is
 * told by a line of its input when to do a turn: that costs some 50 µs, of the 5 to 10 ms that a turn takes.
 */
export async function pgBoss(lab: Lab, batchSize: number): Promise<Contestant | undefined> {
  const node = nodeForPgBoss();
  if (!node || !existsSync(join(MODULES, 'pg-boss'))) {
    lab.notice('pg-boss is left out: it is not installed, or there is no Node 22.12 for it');
    return undefined;
  }
  const worker = new Worker(
    spawn(node, [join(BENCH, 'comparisons/relay/pg-boss-worker.mjs'), await lab.emptyDatabase()]),
  );
  lab.atEnd(() => worker.end());
  let pending = 0;
  return {
    name: 'pg-boss',
    title: 'pg-boss 12, fetch and complete',
    async beforeSample(seconds) {
      const lacking = Math.ceil(seconds * JOBS_PER_SECOND) - pending;
      if (lacking > 0) pending += await worker.ask(`insert ${lacking}`);
    },
    async operate() {
      const completed = await worker.ask(`complete ${batchSize}`);
      if (completed < batchSize) throw new Error(`pg-boss got through ${JOBS_PER_SECOND} jobs a second: insert more`);
      pending -= completed;
      return completed;
    },
  };
}

function nodeForPgBoss(): string | undefined {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 22 || (major === 22 && minor >= 12)) return process.execPath;
  const bundled = join(MODULES, `node-${process.platform}-${process.arch}/bin/node`);
  return existsSync(bundled) ? bundled : undefined;
}

/** A process that answers each line with a line, a number. */
class Worker {
  readonly #answers: AsyncIterator<string>;

  constructor(private readonly child: ChildProcess) {
    this.#answers = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.pipe(process.stderr);
  }

  async ask(line: string): Promise<number> {
    this.child.stdin!.write(`${line}\n`);
    const { value, done } = (await this.#answers.next()) as IteratorResult<string, undefined>;
    if (done) throw new Error('the process of pg-boss has ended');
    return Number(value);
  }

  end(): Promise<void> {
    return new Promise((ended) => {
      if (this.child.exitCode !== null) return ended();
      this.child.once('close', () => ended());
      this.child.kill();
    });
  }
}
