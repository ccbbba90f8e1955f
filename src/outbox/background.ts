import { setTimeout as sleep } from 'node:timers/promises';

/** From a start to the stop that ends it. One begins when the one before has ended. */
export interface Run {
  readonly stopping: boolean;
}

/** A loop in the background that can be started, stopped and started again, and rests in between. */
export class Background {
  readonly #loop: (run: Run) => Promise<void>;
  readonly #signal: AbortSignal | undefined;
  #run: { stopping: boolean; ended: Promise<void> } | undefined;
  #rest: AbortController | undefined;

  /**
   * @param loop ends soon after `stopping` is set, and never throws
   * @param signal stops it for good
   */
  constructor(loop: (run: Run) => Promise<void>, signal: AbortSignal | undefined) {
    this.#loop = loop;
    this.#signal = signal;
    signal?.addEventListener('abort', () => void this.stop(), { once: true });
  }

  /** Where it runs, nothing changes; where it is being stopped, it begins again when it has stopped. */
  start(): void {
    if (this.#signal?.aborted || (this.#run && !this.#run.stopping)) return;
    const run = { stopping: false, ended: Promise.resolve() };
    const loop = () => this.#loop(run);
    run.ended = (this.#run ? this.#run.ended.then(loop) : loop()).finally(() => {
      if (this.#run === run) this.#run = undefined;
    });
    this.#run = run;
  }

  async stop(): Promise<void> {
    const run = this.#run;
    if (!run) return;
    run.stopping = true;
    this.wake();
    await run.ended;
  }

  /**
   * A pause of the loop, which a stop or {@link wake} ends. A controller each: AbortSignal.any, on a signal as old as the
   * loop, keeps some memory of every pause.
   */
  async rest(run: Run, milliseconds: number): Promise<void> {
    if (run.stopping) return;
    this.#rest = new AbortController();
    await sleep(milliseconds, undefined, { signal: this.#rest.signal }).catch(() => undefined);
    this.#rest = undefined;
  }

  /** Ends the pause that it is in, if any. */
  wake(): void {
    this.#rest?.abort();
  }
}

/** Half of it, and up to as much again: never at once, never all together. */
export const jittered = (milliseconds: number): number => milliseconds * (0.5 + Math.random() / 2);

/** How long to wait after so many failures in a row: 50 ms, then twice as long each time, jittered. */
export const reconnectDelayMs = (failures: number, longestMs: number): number =>
  jittered(Math.min(longestMs, 50 * 2 ** failures));
