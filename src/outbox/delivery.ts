import { PaymentEventsDbError } from '../errors';
import { type Publisher, type PublishOutcome, type RelayMessage } from './publisher';

/** One publisher for everything, or one for each message type. */
export type Publishers = Publisher | Readonly<Record<string, Publisher>>;

/** The broker cannot be reached, or did not answer in time. Nothing is counted against the messages. */
export class BrokerUnavailableError extends PaymentEventsDbError {
  readonly code = 'BROKER_UNAVAILABLE';
  override readonly retryable = true;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** What became of messages, and how their publishers did. */
export interface Delivery {
  /** In the order of the messages. Undefined: its publisher failed, and it stays as it is. */
  readonly outcomes: (PublishOutcome | undefined)[];
  readonly answered: ReadonlySet<Publisher>;
  readonly failures: ReadonlyMap<Publisher, BrokerUnavailableError>;
}

/**
 * Hands each message to the publisher of its type and waits for all, at most `timeoutMs`. What one publisher fails at does
 * not touch the others' messages. A message whose type has no publisher fails for good.
 */
export async function deliver(
  publishers: Publishers,
  messages: readonly RelayMessage[],
  timeoutMs: number,
): Promise<Delivery> {
  const outcomes = new Map<bigint, PublishOutcome>();
  const answered = new Set<Publisher>();
  const failures = new Map<Publisher, BrokerUnavailableError>();
  const batches = new Map<Publisher, RelayMessage[]>();
  for (const message of messages) {
    const publisher = publisherOf(publishers, message.messageType);
    if (!publisher) outcomes.set(message.id, unknownType(message.messageType));
    else if (!batches.get(publisher)?.push(message)) batches.set(publisher, [message]);
  }
  // Not AbortSignal.timeout: it would keep the messages of every turn in memory for as long as the time-out lasts.
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(), timeoutMs);
  const published = [...batches].map(async ([publisher, batch]) => {
    try {
      const answers = await Promise.race([publisher.publish(batch, timeUp.signal), overdue(timeUp.signal, timeoutMs)]);
      batch.forEach(({ id }, index) => outcomes.set(id, answers[index] ?? NOT_SAID));
      answered.add(publisher);
    } catch (error) {
      failures.set(publisher, toUnavailable(error));
    }
  });
  await Promise.all(published);
  clearTimeout(timer);
  return { outcomes: messages.map(({ id }) => outcomes.get(id)), answered, failures };
}

const NOT_SAID: PublishOutcome = { published: false, reason: 'The publisher did not say what became of it.' };

const unknownType = (messageType: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `No publisher is configured for messages of type ${messageType}: add one and requeue, or discard the message.`,
});

const publisherOf = (publishers: Publishers, messageType: string): Publisher | undefined =>
  isOne(publishers) ? publishers : Object.hasOwn(publishers, messageType) ? publishers[messageType] : undefined;

/** Whether one publisher takes everything. */
export const isOne = (publishers: Publishers): publishers is Publisher => typeof publishers.publish === 'function';

const toUnavailable = (error: unknown) =>
  error instanceof BrokerUnavailableError
    ? error
    : new BrokerUnavailableError('The publisher cannot reach its broker.', { cause: error });

const overdue = (signal: AbortSignal, timeoutMs: number) =>
  new Promise<never>((_resolve, reject) => {
    const error = () => new BrokerUnavailableError(`The publisher did not answer within ${timeoutMs} ms.`);
    signal.addEventListener('abort', () => reject(error()), { once: true });
  });
