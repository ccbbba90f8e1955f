import { SendMessageBatchCommand, type SendMessageBatchRequestEntry, type SQSClient } from '@aws-sdk/client-sqs';
import { IsOptional } from 'class-validator';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../../outbox/publisher';
import { isPlainObject } from '../../validation/json-rules';
import { Callable, HasMethods } from '../../validation/option-rules';
import { rule } from '../../validation/rule';
import { WholeNumber } from '../../validation/rules';
import { validateSettings } from '../../validation/validate-options';
import { withoutTraceContext } from '../../outbox/trace-context';
import { batches } from './batches';
import { DistinctIds } from './distinct-ids';
import { faultOfRequest, outageOf, refused, unavailable, UnclearAnswerError, unknownQueue } from './sqs-answers';
import { isSmallEnough, toSqsMessage, whyImpossible } from './sqs-message';

/** How an {@link SqsPublisher} reaches SQS, and which queue it sends what to. */
export class SqsPublisherOptions {
  /** Yours: its region, credentials, endpoint and retries. The publisher does not destroy it. */
  @HasMethods('an SQSClient', 'send')
  client: SQSClient;

  /** The URL of the queue of each message type. One that ends in `.fifo` is a FIFO queue, as SQS itself has it. */
  @QueueUrls()
  queues: Readonly<Record<string, string>>;

  /**
   * The most that a message, and a batch, may have: 1 to 1,048,576 bytes, and no more than `MaximumMessageSize` of each
   * queue. Default 262,144, which every queue takes: SQS raised its limit in 2025, not that of queues set to less.
   */
  @IsOptional()
  @WholeNumber(1, 1_048_576)
  maxBytes?: number;

  /**
   * What a FIFO queue knows a message by for five minutes: it swallows another with the same. Default
   * `<aggregateId>:<id>`, so that a message which is delivered twice arrives once and no other is lost. While another
   * relay, with other deduplication ids, still serves the same outbox, say here what it says. Of two messages that get the
   * same id within five minutes the second gets `:<id>` behind it, as long as both go through this publisher.
   */
  @IsOptional()
  @Callable()
  deduplicationId?: (message: RelayMessage) => string;
}

/** At least one: without any, every message would be a dead letter. */
function QueueUrls(): PropertyDecorator {
  return rule({
    name: 'queueUrls',
    holds: (value) =>
      isPlainObject(value) &&
      Object.keys(value).length > 0 &&
      Object.values(value).every((url) => typeof url === 'string' && /^https?:\/\/\S+$/.test(url) && URL.canParse(url)),
    message: 'must be an object with the URL of a queue for each message type, and for one at least',
  });
}

interface Entry {
  /** Which of the messages given to `publish` it is. */
  readonly index: number;
  readonly bytes: number;
  readonly request: SendMessageBatchRequestEntry;
}

/**
 * Delivers to Amazon SQS, in batches of ten. Messages of a restaurant are one group of a FIFO queue.
 *
 * The body is the payload in Base64. The headers of a message are its attributes, as are `content-type`
 * (`application/x-protobuf` unless a header says otherwise), `message-type` and `outbox-id`; hence at most seven headers.
 *
 * The messages of one request arrive in order. Those of a restaurant arrive in the order of the outbox as long as none is
 * refused and one relay runs: a refused message does not hold back other requests of its restaurant.
 *
 * What SQS says of one message is its outcome: a fault of its own (too large, forbidden characters) fails it at once. A
 * queue that does not exist refuses its messages. Where SQS cannot be reached, answers with an error of its own, throttles,
 * or does not accept the credentials or the queue's key, nothing counts against any message, told of one of them or of all;
 * of all, `publish` throws `BrokerUnavailableError`.
 *
 * @example
 * const publisher = new SqsPublisher({
 *   client: new SQSClient({}),
 *   queues: { auth_request_queued: 'https://sqs.eu-west-1.amazonaws.com/123456789012/auth-requests.fifo' },
 * });
 */
export class SqsPublisher implements Publisher {
  readonly #client: SQSClient;
  readonly #queues: Readonly<Record<string, string>>;
  readonly #maxBytes: number;
  readonly #deduplicationId: (message: RelayMessage) => string;
  readonly #distinctIds = new DistinctIds();

  /** @throws ConfigurationError naming each option that is wrong */
  constructor(options: SqsPublisherOptions) {
    const {
      client,
      queues,
      maxBytes = 262_144,
      deduplicationId = ofOutboxRow,
    } = validateSettings({ SqsPublisherOptions }, options);
    this.#client = client;
    this.#queues = queues;
    this.#maxBytes = maxBytes;
    this.#deduplicationId = deduplicationId;
  }

  async publish(messages: readonly RelayMessage[], signal: AbortSignal): Promise<PublishOutcome[]> {
    const outcomes: PublishOutcome[] = messages.map(() => NOT_SAID);
    const queues = new Map<string, Entry[]>();
    messages.forEach((message, index) => {
      const url = Object.hasOwn(this.#queues, message.messageType) ? this.#queues[message.messageType] : undefined;
      const entry = url === undefined ? noQueue(message.messageType) : this.#toEntry(message, index, url);
      if ('published' in entry) outcomes[index] = entry;
      else queues.set(url!, [...(queues.get(url!) ?? []), entry]);
    });
    // When one queue fails, the others are waited for: nothing goes out after this has thrown.
    const sent = await Promise.allSettled(
      [...queues].map(async ([url, entries]) => {
        for (const batch of batches(entries, this.#maxBytes)) await this.#send(url, batch, outcomes, signal);
      }),
    );
    for (const result of sent) if (result.status === 'rejected') throw result.reason;
    const outage = outageOf(outcomes);
    if (outage) throw outage;
    return outcomes;
  }

  #toEntry(message: RelayMessage, index: number, url: string): Entry | PublishOutcome {
    const whole = toSqsMessage(message);
    const { body, attributes, bytes } = isSmallEnough(whole, this.#maxBytes)
      ? whole
      : toSqsMessage({ ...message, headers: withoutTraceContext(message.headers) });
    const reason = whyImpossible({ body, attributes, bytes }, this.#maxBytes);
    if (reason !== undefined) return { published: false, permanent: true, reason };
    const request = { Id: `${index}`, MessageBody: body, MessageAttributes: attributes };
    if (!url.endsWith('.fifo')) return { index, bytes, request };
    const MessageDeduplicationId = this.#distinctId(message, url);
    if (MessageDeduplicationId === undefined) return noDeduplicationId;
    return { index, bytes, request: { ...request, MessageGroupId: message.restaurantId, MessageDeduplicationId } };
  }

  /** @returns undefined where the function that was given for it gives none */
  #distinctId(message: RelayMessage, url: string): string | undefined {
    if (this.#deduplicationId === ofOutboxRow) return ofOutboxRow(message);
    try {
      const id: unknown = this.#deduplicationId(message);
      if (typeof id !== 'string') return undefined;
      return this.#distinctIds.of({ queue: url, id, row: `${message.id}` });
    } catch {
      return undefined;
    }
  }

  async #send(url: string, batch: Entry[], outcomes: PublishOutcome[], signal: AbortSignal): Promise<void> {
    const command = new SendMessageBatchCommand({ QueueUrl: url, Entries: batch.map(({ request }) => request) });
    try {
      const { Successful = [], Failed = [] } = await this.#client.send(command, { abortSignal: signal });
      for (const { Id } of Successful) outcomes[Number(Id)] = { published: true };
      for (const { Id, Code = 'unknown', Message, SenderFault } of Failed) {
        outcomes[Number(Id)] = refused(Code, { message: Message, senderFault: SenderFault });
      }
    } catch (error) {
      const all = (outcome: PublishOutcome) => batch.forEach(({ index }) => (outcomes[index] = outcome));
      const { name, message } = error as Error;
      switch (faultOfRequest(error)) {
        case 'broker':
          return all(unavailable(error));
        case 'queue':
          return all(unknownQueue(url));
        case 'unclear':
          throw new UnclearAnswerError(error);
        case 'message':
          if (batch.length === 1) return all(refused(name, { message }));
          // One is at fault and fails them all: alone, each gets an answer of its own.
          for (const entry of batch) await this.#send(url, [entry], outcomes, signal);
      }
    }
  }
}

const ofOutboxRow = ({ aggregateId, id }: RelayMessage) => `${aggregateId}:${id}`;

const NOT_SAID: PublishOutcome = { published: false, reason: 'SQS did not say whether it took it.' };

const noDeduplicationId: PublishOutcome = {
  published: false,
  reason: "The publisher's deduplicationId gives no text for this message: correct it.",
};

const noQueue = (messageType: string): PublishOutcome => ({
  published: false,
  permanent: true,
  reason: `The publisher has no queue for messages of type ${messageType}: add one and requeue it, or discard it.`,
});
