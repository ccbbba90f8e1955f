import { type DataSource } from 'typeorm';
import { LockHeldError } from '../errors';
import { ProcessingLocks } from '../locks/processing-locks';
import { Background, reconnectDelayMs, type Run } from '../outbox/background';
import { validateOptions } from '../validation/validate-options';
import { Allowance } from './allowance';
import { sweep } from './sweep';
import { SWEEPER_TASKS, type SweeperTask, type SweepResult } from './sweep-result';
import { readSweeperOptions, type SweeperOptions, type SweeperSettings, SweepOptions } from './sweeper-options';
import { SweeperReporter } from './sweeper-reporter';

/** Stands for a request where the lease is kept that a sweeper works under. No request has it: it is no id that is drawn. */
export const SWEEPER_LEASE_ID = '00000000-0000-8000-8000-737765657072';

/** A lease cannot be held longer than a day: it is given back long before, and taken again. */
const LONGEST_MS = 86_400_000;
const LONGEST_STRETCH_MS = 3_600_000;

/**
 * Sees to what got stuck. Stuck and unsettled requests, and voids that nobody has carried out, get their message again:
 * exponentially later each time, and not while one is in the outbox or a worker holds the request. After `maxSweeps` a void
 * is `void_failed`, and a request is listed. Stale requests expire; expired keys and leases and delivered messages are
 * purged.
 *
 * One sweeper is at work at a time, under a lease; others wait, and take over when it dies. Each message is sent once also
 * without that, since the row that is locked decides. Nothing is sent while the outbox is late, so that an outage of the
 * relay does not end in a flood.
 *
 * @example
 * const sweeper = new Sweeper(dataSource, { hooks: { gaveUp: (what) => tellSomebody(what) } });
 * sweeper.start();
 * process.once('SIGTERM', () => void sweeper.stop());
 */
export class Sweeper {
  readonly #dataSource: DataSource;
  readonly #locks: ProcessingLocks;
  readonly #settings: SweeperSettings;
  readonly #background: Background;
  readonly #reporter: SweeperReporter;
  readonly #allowance: Allowance;
  /** When each task that is switched on is due, by `performance.now()`. */
  readonly #dueAt: Map<SweeperTask, number>;

  /** @throws ConfigurationError naming each option that is wrong */
  constructor(dataSource: DataSource, options?: SweeperOptions) {
    const { hooks = {}, signal, settings } = readSweeperOptions(options);
    this.#dataSource = dataSource;
    this.#locks = new ProcessingLocks(dataSource);
    this.#settings = settings;
    this.#background = new Background((run) => this.#loop(run), signal);
    this.#reporter = new SweeperReporter(hooks);
    this.#allowance = new Allowance(settings.perMinute);
    const switchedOn = SWEEPER_TASKS.filter((task) => settings[`${task}IntervalMs`] > 0);
    this.#dueAt = new Map(switchedOn.map((task) => [task, 0]));
  }

  /**
   * Begins to sweep, in the background. Starting a sweeper that runs changes nothing; one that is being stopped begins
   * again when it has stopped.
   */
  start(): void {
    this.#background.start();
  }

  /** Finishes the current task, a batch of voids aside, and gives the lease back. */
  async stop(): Promise<void> {
    await this.#background.stop();
  }

  /**
   * Does every task that is switched on, once, for a scheduler or a test. A dry run needs no lease and writes nothing.
   *
   * @returns what each task came to
   * @throws InvalidCommandError; DatabaseUnavailableError and the like: what was done before stays
   */
  async runOnce(options?: SweepOptions): Promise<SweepResult> {
    const { dryRun = false } = validateOptions({ SweepOptions }, options);
    const tasks = new Set(this.#dueAt.keys());
    if (dryRun) return await this.#sweep(tasks, { dryRun, isEnding: () => false });
    try {
      return await this.#underLease(async (lost) => {
        const result = await this.#sweep(tasks, { dryRun, isEnding: () => lost.aborted });
        this.#reporter.turn(result);
        return result;
      });
    } catch (error) {
      if (!(error instanceof LockHeldError)) throw error;
      return { outcome: 'another_is_at_work', dryRun, outboxAgeMs: null };
    }
  }

  async #loop(run: Run): Promise<void> {
    let failures = 0;
    while (!run.stopping) {
      try {
        await this.#underLease((lost) => this.#sweepUntil(run, lost, () => (failures = 0)));
      } catch (error) {
        if (error instanceof LockHeldError) {
          failures = 0;
          this.#reporter.recovered();
          this.#reporter.waiting();
          await this.#background.rest(run, this.#settings.leaseTtlMs / 3);
        } else {
          // Whatever it was, the process has survived it.
          this.#reporter.unavailable(error);
          await this.#background.rest(run, reconnectDelayMs(++failures, this.#settings.maxReconnectDelayMs));
        }
      }
    }
  }

  #underLease<T>(work: (lost: AbortSignal) => Promise<T>): Promise<T> {
    const ref = { restaurantId: SWEEPER_LEASE_ID, authRequestId: SWEEPER_LEASE_ID, ttlMs: this.#settings.leaseTtlMs };
    return this.#locks.withLock(ref, (_lease, lost) => work(lost), { longestMs: LONGEST_MS });
  }

  /** Turn after turn, until the lease is lost or has been held for an hour. */
  async #sweepUntil(run: Run, lost: AbortSignal, onSuccess: () => void): Promise<void> {
    this.#reporter.working();
    const wake = () => this.#background.wake();
    lost.addEventListener('abort', wake);
    try {
      const isEnding = () => run.stopping || lost.aborted;
      for (const began = performance.now(); !isEnding() && performance.now() - began < LONGEST_STRETCH_MS;) {
        const now = performance.now();
        const due = [...this.#dueAt].filter(([, at]) => at <= now).map(([task]) => task);
        if (due.length > 0) this.#reporter.turn(await this.#sweep(new Set(due), { dryRun: false, isEnding }));
        this.#reporter.recovered();
        onSuccess();
        const next = Math.min(began + LONGEST_STRETCH_MS, ...this.#dueAt.values());
        if (!isEnding()) await this.#background.rest(run, Math.max(0, next - performance.now()));
      }
    } finally {
      lost.removeEventListener('abort', wake);
    }
  }

  /** A task that fails comes again after the others, and earlier than it would have. */
  async #sweep(
    tasks: ReadonlySet<SweeperTask>,
    turn: { readonly dryRun: boolean; readonly isEnding: () => boolean },
  ): Promise<SweepResult> {
    let current: SweeperTask | undefined;
    const onTask = (task: SweeperTask) => {
      current = task;
      if (!turn.dryRun) this.#dueAt.set(task, performance.now() + this.#settings[`${task}IntervalMs`]);
    };
    const parts = { dataSource: this.#dataSource, settings: this.#settings, allowance: this.#allowance };
    try {
      return await sweep(tasks, { ...parts, ...turn, onTask });
    } catch (error) {
      if (current && !turn.dryRun) {
        const soon = Math.min(this.#settings[`${current}IntervalMs`], this.#settings.maxReconnectDelayMs);
        this.#dueAt.set(current, performance.now() + soon);
      }
      throw error;
    }
  }
}
