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

/**
 * Hands each message to the publisher of its type and waits for all, at most `timeoutMs`. A message whose type has no
 * publisher fails for good.
 *
 * @throws BrokerUnavailableError
 */
export async function deliver(
  publishers: Publishers,
  messages: readonly RelayMessage[],
  timeoutMs: number,
): Promise<PublishOutcome[]> {
  const outcomes = new Map<bigint, PublishOutcome>();
  const batches = new Map<Publisher, RelayMessage[]>();
  for (const message of messages) {
    const publisher = publisherOf(publishers, message.messageType);
    if (publisher) batches.set(publisher, [...(batches.get(publisher) ?? []), message]);
    else outcomes.set(message.id, unknownType(message.messageType));
  }
  // Not AbortSignal.timeout: it would keep the messages of every turn in memory for as long as the time-out lasts.
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(), timeoutMs);
  const published = [...batches].map(async ([publisher, batch]) => {
    const answers = await publisher.publish(batch, timeUp.signal);
    batch.forEach(({ id }, index) => {
      const answer = answers[index];
      if (answer) outcomes.set(id, answer);
    });
  });
  try {
    await Promise.race([Promise.all(published), overdue(timeUp.signal, timeoutMs)]);
  } catch (error) {
    if (error instanceof BrokerUnavailableError) throw error;
    throw new BrokerUnavailableError('The publisher cannot reach its broker.', { cause: error });
  } finally {
    clearTimeout(timer);
  }
  return messages.map(({ id }) => outcomes.get(id) ?? NOT_SAID);
}

const NOT_SAID: PublishOutcome = { published: false, reason: 'The publisher did not say what became of it.' };

const unknownType = (messageType: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `No publisher is configured for messages of type ${messageType}: add one and requeue, or discard the message.`,
});

const publisherOf = (publishers: Publishers, messageType: string): Publisher | undefined =>
  typeof publishers.publish === 'function'
    ? (publishers as Publisher)
    : Object.hasOwn(publishers, messageType)
      ? (publishers as Record<string, Publisher>)[messageType]
      : undefined;

const overdue = (signal: AbortSignal, timeoutMs: number) =>
  new Promise<never>((_resolve, reject) => {
    const error = () => new BrokerUnavailableError(`The publisher did not answer within ${timeoutMs} ms.`);
    signal.addEventListener('abort', () => reject(error()), { once: true });
  });
