import { ask, type BrokerUnavailableError, isBrokerFault, isOne, type NoAnswer, type Publishers } from './delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from './publisher';
import { Standing } from './standing';

/**
 * The publishers behind a relay, each of which may fail by itself: the messages of one that does are left alone for a
 * while, longer each time, and those of the others go out.
 */
export class Brokers {
  readonly #publishers: Publishers;
  readonly #timeoutMs: number;
  readonly #pauseMs: (failures: number) => number;
  readonly #standings: ReadonlyMap<Publisher, Standing>;
  /** Message types that are left alone, and until when on the clock of `performance.now()`. */
  readonly #resting = new Map<string, number>();

  /** @param pauseMs how long to leave messages alone whose broker has failed so often in a row */
  constructor(
    publishers: Publishers,
    { publishTimeoutMs, batchSize }: { publishTimeoutMs: number; batchSize: number },
    pauseMs: (failures: number) => number,
  ) {
    this.#publishers = publishers;
    this.#timeoutMs = publishTimeoutMs;
    this.#pauseMs = pauseMs;
    const all = isOne(publishers) ? [publishers] : Object.values(publishers);
    this.#standings = new Map(all.map((publisher) => [publisher, new Standing(batchSize)]));
  }

  /** Why one of them gave no answer the last time, if any did not. */
  get unavailable(): BrokerUnavailableError | undefined {
    for (const { error } of this.#standings.values()) if (error) return error;
    return undefined;
  }

  /**
   * Message types that are not to be delivered for now. Types and not publishers: one publisher may serve several queues,
   * and only one of them be in trouble.
   */
  restingTypes(): string[] {
    const now = performance.now();
    for (const [type, until] of this.#resting) if (until <= now) this.#resting.delete(type);
    return [...this.#resting.keys()];
  }

  /**
   * Hands each message to the publisher of its type and waits for all. What one publisher fails at does not touch the
   * others' messages. A message whose type has no publisher fails for good.
   *
   * @returns the outcome of each message, in their order; undefined where it stays as it is
   * @throws BrokerUnavailableError nothing became of any of them
   */
  async deliver(messages: readonly RelayMessage[]): Promise<(PublishOutcome | undefined)[]> {
    const outcomes = new Map<bigint, PublishOutcome>();
    const batches = new Map<Publisher, RelayMessage[]>();
    for (const message of messages) {
      const publisher = this.#publisherOf(message);
      if (!publisher) outcomes.set(message.id, unknownType(message.messageType));
      else if (!batches.get(publisher)?.push(message)) batches.set(publisher, [message]);
    }
    const errors = await Promise.all(
      [...batches].map(([publisher, batch]) => this.#publish(publisher, batch, outcomes)),
    );
    const error = errors.find((one) => one !== undefined);
    if (error && outcomes.size === 0) throw error;
    return messages.map(({ id }) => outcomes.get(id));
  }

  /** @returns why nothing became of them, where that is so */
  async #publish(
    publisher: Publisher,
    given: readonly RelayMessage[],
    outcomes: Map<bigint, PublishOutcome>,
  ): Promise<BrokerUnavailableError | undefined> {
    const standing = this.#standings.get(publisher)!;
    const batch = standing.choose(given);
    try {
      const answers = await ask(publisher, batch, this.#timeoutMs);
      standing.answered(batch);
      const faults = batch.filter((_message, index) => isBrokerFault(answers[index]!));
      this.#rest(faults, 1);
      batch.forEach(({ id }, index) => isBrokerFault(answers[index]!) || outcomes.set(id, answers[index]!));
      return undefined;
    } catch (noAnswer) {
      const refusal = standing.failed(batch, noAnswer as NoAnswer);
      if (refusal) for (const { id } of batch) outcomes.set(id, refusal);
      else this.#rest(batch, standing.failures);
      return refusal ? undefined : (noAnswer as NoAnswer).error;
    }
  }

  #rest(messages: readonly RelayMessage[], failures: number): void {
    const until = performance.now() + this.#pauseMs(failures);
    for (const { messageType } of messages) this.#resting.set(messageType, until);
  }

  #publisherOf({ messageType }: RelayMessage): Publisher | undefined {
    if (isOne(this.#publishers)) return this.#publishers;
    return Object.hasOwn(this.#publishers, messageType) ? this.#publishers[messageType] : undefined;
  }
}

const unknownType = (messageType: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `No publisher is configured for messages of type ${messageType}: add one and requeue, or discard the message.`,
});
