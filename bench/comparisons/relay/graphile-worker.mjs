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
  /** Until so many jobs are done: the milliseconds from the first fetch to the end of the last. */
  async complete(count) {
    const events = new EventEmitter();
    let [start, left] = [0, count];
    const done = new Promise((resolve) => {
      events.on('localQueue:getJobs:complete', () => (start ||= performance.now()));
      events.on('job:complete', () => --left === 0 && resolve());
    });
    const begin = performance.now();
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
    await done;
    await runner.stop();
    return performance.now() - begin;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const [command, count] = line.split(' ');
  process.stdout.write(`${await commands[command](Number(count))}\n`);
}
