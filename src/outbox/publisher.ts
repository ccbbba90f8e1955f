/** A message on its way out, as the relay hands it to a publisher. The payload is not decoded. */
export interface RelayMessage {
  readonly id: bigint;
  /** The authorization request: messages of one are delivered in order. */
  readonly aggregateId: string;
  readonly restaurantId: string;
  /** Decides the queue. */
  readonly messageType: string;
  readonly payload: Uint8Array;
  /** Such as a W3C `traceparent`. */
  readonly headers: Readonly<Record<string, string>>;
  /** Deliveries that were refused before this one. */
  readonly attempts: number;
  readonly createdAt: Date;
}

/** The outcome of one message. */
export type PublishOutcome =
  | { readonly published: true }
  | {
      readonly published: false;
      /** For people, at most a sentence or two. It is stored with the message: no secrets. */
      readonly reason: string;
      /** Trying again is useless: the message fails at once instead of after `maxAttempts`. Default false. */
      readonly permanent?: boolean;
      /**
       * It is not the message: the broker is throttling, or has trouble of its own. Nothing is counted against the message,
       * and messages of its type are left alone for a while. Default false.
       */
      readonly brokerFault?: boolean;
    };

/**
 * Where messages go: a queue, a topic, anything that acknowledges. Implementations for SQS and AMQP come with the package.
 *
 * @example
 * const publisher: Publisher = {
 *   async publish(messages, signal) {
 *     return await Promise.all(messages.map(async (message) => {
 *       const answer = await fetch(url, { method: 'POST', body: message.payload, signal });
 *       return answer.ok ? { published: true } : { published: false, reason: `HTTP ${answer.status}` };
 *     }));
 *   },
 * };
 */
export interface Publisher {
  /**
   * Delivers messages and tells the outcome of each, in their order. No two of them are of one aggregate.
   *
   * Throws `BrokerUnavailableError` when the broker as a whole cannot be reached: nothing is counted against the messages
   * then, and the relay backs off. What was delivered before it threw is delivered again.
   *
   * Any other error, and no answer in time, may be the fault of one message: the relay gives it smaller batches until that
   * one is found, which then counts as refused. Better is to catch what a message can cause and to refuse that message.
   *
   * @param signal aborts when the relay's publish time-out has passed: the outcome is no longer waited for
   */
  publish(messages: readonly RelayMessage[], signal: AbortSignal): Promise<PublishOutcome[]>;

  /** Lets go of connections. The relay never calls it: the code that made the publisher closes it. */
  close?(): Promise<void>;
}
