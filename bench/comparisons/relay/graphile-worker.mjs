import { EventEmitter } from 'node:events';
import { createInterface } from 'node:readline';
import { Logger, run, runMigrations } from 'graphile-worker';

const connectionString = process.argv[2];
const logger = new Logger(() => (level, message) => level === 'error' && process.stderr.write(`${message}\n`));

const commands = {
  async migrate() {
    await runMigrations({ connectionString, logger });
    return 0;
  },
  /** Runs until so many jobs are done: the milliseconds from when it first asks for one to the end of the last. */
  async complete(count) {
    const events = new EventEmitter();
    const begun = new Promise((resolve) => events.once('worker:getJob:start', () => resolve(performance.now())));
    let left = count;
    const done = new Promise((resolve) => {
      events.on('job:complete', () => --left === 0 && resolve(performance.now()));
    });
    const runner = await run({
      events,
      logger,
      noHandleSignals: true,
      taskList: { message: () => {} },
      preset: {
        worker: {
          connectionString,
          concurrentJobs: 100,
          maxPoolSize: 10,
          localQueue: { size: 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
    });
    const elapsedMs = (await done) - (await begun);
    await runner.stop();
    return elapsedMs;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ');
  process.stdout.write(`${await commands[command](Number(count))}\n`);
}
