import { once } from 'node:events';
import { log } from './json-log';

/** What goes on by itself until it is stopped: a relay, a sweeper. */
interface Worker {
  start(): void;
  /** Finishes what it has begun. */
  stop(): Promise<void>;
}

/**
 * Has it work until SIGTERM or SIGINT, or until the process that has started it for one of several databases has ended. Logs
 * `started` with some details, and `stopping`.
 */
export async function runUntilTold(worker: Worker, details: object): Promise<void> {
  // Before it says that it has started: who reads that may send one at once.
  const end = new AbortController();
  const told = Promise.race([
    once(process, 'SIGTERM'),
    once(process, 'SIGINT'),
    ...(process.connected ? [once(process, 'disconnect', end).then(() => ['disconnect'])] : []),
  ]);
  worker.start();
  log('started', details);
  const [signal] = (await told) as [string];
  log('stopping', { signal });
  await worker.stop();
  // A channel that is listened to would keep the process.
  end.abort();
}
