import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { HooksNamed, Signal } from '../validation/option-rules';
import { LONGEST_TIMER_MS, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { Background, jittered, reconnectDelayMs, type Run } from './background';
import { Brokers } from './brokers';
import { BrokerUnavailableError, type Publishers } from './delivery';
import { type RelayHooks, Reporter } from './relay-reporter';
import { takeFirstTurn, takeTurn, type TurnResult, type TurnSettings } from './relay-turn';
import { requirePublishers } from './require-publishers';
import { tracedDelivery } from './telemetry';

/** How an {@link OutboxRelay} works. Every time is in milliseconds. */
export class RelayOptions {
  /**
   * Messages a turn: 1 to 10,000. More is faster (500: about twice as fast as 100) and holds a transaction open longer.
   * Default 100.
   */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;

  /** Longest pause when there is nothing to do; a new message waits at most so long. At least 1. Default 100. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  pollIntervalMs?: number;

  /** Longest wait for a publisher: 1 to a day. A turn is bounded by it and `statementTimeoutMs`. Default 10,000. */
  @IsOptional()
  @WholeNumber(1, 86_400_000)
  publishTimeoutMs?: number;

  /** Refusals until a message is a dead letter: 1 to 1,000,000. Default 10. */
  @IsOptional()
  @WholeNumber(1, 1_000_000)
  maxAttempts?: number;

  /** Pause after the first refusal; doubles with each, jittered by half. At least 1. Default 1,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  retryDelayMs?: number;

  /** Longest pause after a refusal. At least 1. Default 300,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  maxRetryDelayMs?: number;

  /** Longest pause while database or broker cannot be reached. At least 1. Default 30,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  maxReconnectDelayMs?: number;

  /** Logging and metrics of your own. */
  @IsOptional()
  @HooksNamed('published', 'refused', 'failed', 'unavailable', 'recovered')
  hooks?: RelayHooks;

  /** Stops the relay when it aborts, as `stop()` does. */
  @IsOptional()
  @Signal()
  signal?: AbortSignal;
}

/**
 * Delivers the outbox: at least once, the messages of one aggregate in order, one after the other. Any number of relays in
 * any number of processes share the work.
 *
 * A message that is refused is tried again with exponential back-off and jitter (M. Brooker, "Exponential Backoff And
 * Jitter"), and holds back only its own aggregate; after `maxAttempts` it is a dead letter until somebody requeues or
 * discards it. While database or broker cannot be reached, nothing is counted; the relay says so once and goes on when
 * they are back. Where message types have publishers of their own, one that is away holds up only its own messages.
 *
 * @example
 * const relay = new OutboxRelay(dataSource, { auth_request_queued: fifo, void_request_queued: standard });
 * relay.start();
 * process.once('SIGTERM', () => void relay.stop());
 */
export class OutboxRelay {
  readonly #dataSource: DataSource;
  readonly #brokers: Brokers;
  readonly #settings: Omit<TurnSettings, 'restingTypes'>;
  readonly #options: Required<Omit<RelayOptions, 'hooks' | 'signal'>>;
  readonly #background: Background;
  readonly #reporter: Reporter;
  #woken = false;
  #isIdle = false;

  /**
   * @param publishers one for every message, or one a message type; a type without one fails its messages
   * @throws ConfigurationError naming each option that is wrong
   */
  constructor(dataSource: DataSource, publishers: Publishers, options?: RelayOptions) {
    const { hooks = {}, signal, ...given } = validateSettings({ RelayOptions }, options);
    requirePublishers(publishers);
    this.#dataSource = dataSource;
    this.#options = { ...DEFAULTS, ...given };
    this.#background = new Background((run) => this.#loop(run), signal);
    this.#reporter = new Reporter(hooks);
    const { batchSize, maxAttempts, publishTimeoutMs, retryDelayMs, maxRetryDelayMs } = this.#options;
    this.#brokers = new Brokers(publishers, this.#options, (failures) => this.#reconnectDelayMs(failures));
    this.#settings = {
      batchSize,
      maxAttempts,
      claimTimeoutMs: publishTimeoutMs + 5_000,
      retryDelayMs: (attempt) => jittered(Math.min(maxRetryDelayMs, retryDelayMs * 2 ** (attempt - 1))),
    };
  }

  /**
   * Begins to deliver, in the background. Starting a relay that runs changes nothing; one that is being stopped begins
   * again when it has stopped.
   */
  start(): void {
    this.#background.start();
  }

  /**
   * Looks at once, where it would have paused: call it after a commit in the same process. A broker that is down is not
   * asked more often for it.
   */
  wake(): void {
    this.#woken = true;
    if (this.#isIdle) this.#background.wake();
  }

  /** Finishes the current turn and returns: within `publishTimeoutMs` and the time-outs of two statements. */
  async stop(): Promise<void> {
    await this.#background.stop();
  }

  /**
   * Takes one turn, for a scheduler or a test that needs no relay running.
   *
   * @returns the outcome of each message of the turn, except those whose broker cannot be reached
   * @throws BrokerUnavailableError where that is all of them; DatabaseUnavailableError and the like
   */
  async runOnce(): Promise<readonly TurnResult[]> {
    return await this.#turn(takeTurn, []);
  }

  async #loop(run: Run): Promise<void> {
    let take = takeFirstTurn;
    let idlePause = 1;
    let failures = 0;
    while (!run.stopping) {
      // Here and not after the turn: what is committed while it looks elsewhere is not missed.
      this.#woken = false;
      const began = performance.now();
      const resting = this.#brokers.restingTypes();
      try {
        const results = await this.#turn(take, resting);
        const turnMs = performance.now() - began;
        take = takeTurn;
        failures = 0;
        if (this.#brokers.unavailable) this.#reporter.unavailable(this.#brokers.unavailable);
        else this.#reporter.recovered();
        // Where something was found there may be more: behind it, or after it in its aggregate.
        idlePause = results.length > 0 ? 1 : Math.min(this.#options.pollIntervalMs, idlePause * 2);
        // A turn steps over what rests, however much that is: looked for all the time, it would be a load by itself.
        const pause = resting.length > 0 ? Math.max(idlePause, 10 * turnMs) : idlePause;
        if (results.length === 0 && !this.#woken) await this.#idle(run, pause);
      } catch (error) {
        // Whatever it was, the process has survived it.
        take = takeTurn;
        this.#reporter.unavailable(error);
        // Its messages rest, and others may go out.
        if (error instanceof BrokerUnavailableError) continue;
        await this.#background.rest(run, this.#reconnectDelayMs(++failures));
      }
    }
  }

  #reconnectDelayMs(failures: number): number {
    return reconnectDelayMs(failures, this.#options.maxReconnectDelayMs);
  }

  async #turn(take: typeof takeTurn, restingTypes: string[]): Promise<TurnResult[]> {
    const results = await take(this.#dataSource, { ...this.#settings, restingTypes }, (messages) =>
      tracedDelivery(messages, () => this.#brokers.deliver(messages)),
    );
    this.#reporter.turn(results);
    return results;
  }

  async #idle(run: Run, milliseconds: number): Promise<void> {
    this.#isIdle = true;
    await this.#background.rest(run, milliseconds);
    this.#isIdle = false;
  }
}

const DEFAULTS = {
  batchSize: 100,
  pollIntervalMs: 100,
  publishTimeoutMs: 10_000,
  maxAttempts: 10,
  retryDelayMs: 1_000,
  maxRetryDelayMs: 300_000,
  maxReconnectDelayMs: 30_000,
};
