import { ask, type BrokerUnavailableError, isOne, type NoAnswer, type Publishers } from './delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from './publisher';
import { Standing } from './standing';

/**
 * The publishers behind a relay, each of which may fail by itself: the messages of one that does are left alone for a
 * while, longer each time, and those of the others go out.
 */
export class Brokers {
  readonly #publishers: Publishers;
  readonly #timeoutMs: number;
  readonly #standings: ReadonlyMap<Publisher, Standing>;

  /** @param pauseMs how long to leave a broker alone that has failed so often in a row */
  constructor(
    publishers: Publishers,
    { publishTimeoutMs, batchSize }: { publishTimeoutMs: number; batchSize: number },
    pauseMs: (failures: number) => number,
  ) {
    this.#publishers = publishers;
    this.#timeoutMs = publishTimeoutMs;
    const all = isOne(publishers) ? [publishers] : Object.values(publishers);
    this.#standings = new Map(all.map((publisher) => [publisher, new Standing(batchSize, pauseMs)]));
  }

  /** Why one of them gave no answer the last time, if any did not. */
  get unavailable(): BrokerUnavailableError | undefined {
    for (const { error } of this.#standings.values()) if (error) return error;
    return undefined;
  }

  /** For how long the relay is to rest after none of them gave an answer: not at all where others may have work. */
  get restMs(): number {
    return isOne(this.#publishers) ? this.#standings.get(this.#publishers)!.restMs : 0;
  }

  /** Message types that are not to be delivered for now. */
  restingTypes(): string[] {
    if (isOne(this.#publishers)) return [];
    return Object.entries(this.#publishers).flatMap(([type, publisher]) =>
      this.#standings.get(publisher)!.restMs > 0 ? [type] : [],
    );
  }

  /**
   * Hands each message to the publisher of its type and waits for all. What one publisher fails at does not touch the
   * others' messages. A message whose type has no publisher fails for good.
   *
   * @returns what became of each message, in their order; undefined where it stays as it is
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
      batch.forEach(({ id }, index) => outcomes.set(id, answers[index]!));
      standing.answered(batch);
      return undefined;
    } catch (noAnswer) {
      const refusal = standing.failed(batch, noAnswer as NoAnswer);
      if (!refusal) return (noAnswer as NoAnswer).error;
      for (const { id } of batch) outcomes.set(id, refusal);
      return undefined;
    }
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
