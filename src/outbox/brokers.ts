import { type BrokerUnavailableError, deliver, isOne, type Publishers } from './delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from './publisher';

interface Absence {
  readonly error: BrokerUnavailableError;
  readonly failures: number;
  /** On the clock of `performance.now()`. */
  readonly until: number;
}

/**
 * The brokers behind a relay, each of which may be away by itself: the messages of one that is are left alone for a while,
 * longer each time, and those of the others go out.
 */
export class Brokers {
  readonly #publishers: Publishers;
  readonly #timeoutMs: number;
  readonly #pauseMs: (failures: number) => number;
  readonly #away = new Map<Publisher, Absence>();

  /** @param pauseMs how long to leave a broker alone that has failed so often in a row */
  constructor(publishers: Publishers, timeoutMs: number, pauseMs: (failures: number) => number) {
    this.#publishers = publishers;
    this.#timeoutMs = timeoutMs;
    this.#pauseMs = pauseMs;
  }

  /** Why one of them is away, if any is. */
  get unavailable(): BrokerUnavailableError | undefined {
    return [...this.#away.values()].at(-1)?.error;
  }

  /** Whether the relay may go on while one of them is away: `restingTypes` then says what to leave alone. */
  get areMany(): boolean {
    return !isOne(this.#publishers);
  }

  /** Message types that are not to be delivered for now. */
  restingTypes(): string[] {
    if (isOne(this.#publishers)) return [];
    const now = performance.now();
    return Object.entries(this.#publishers).flatMap(([type, publisher]) =>
      (this.#away.get(publisher)?.until ?? 0) > now ? [type] : [],
    );
  }

  /**
   * @returns what became of each message, in their order; undefined where its broker is away
   * @throws BrokerUnavailableError nothing became of any of them
   */
  async deliver(messages: readonly RelayMessage[]): Promise<(PublishOutcome | undefined)[]> {
    const { outcomes, answered, failures } = await deliver(this.#publishers, messages, this.#timeoutMs);
    for (const publisher of answered) this.#away.delete(publisher);
    for (const [publisher, error] of failures) {
      const count = (this.#away.get(publisher)?.failures ?? 0) + 1;
      this.#away.set(publisher, { error, failures: count, until: performance.now() + this.#pauseMs(count) });
    }
    if (failures.size > 0 && outcomes.every((outcome) => outcome === undefined)) throw this.unavailable!;
    return outcomes;
  }
}
