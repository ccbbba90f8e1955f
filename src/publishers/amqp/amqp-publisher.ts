import { type SocketOptions } from 'amqplib';
import { IsOptional } from 'class-validator';
import { BrokerUnavailableError } from '../../outbox/delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../../outbox/publisher';
import { Callable, PlainObject } from '../../validation/option-rules';
import { rule } from '../../validation/rule';
import { Text } from '../../validation/rules';
import { validateSettings } from '../../validation/validate-options';
import { AmqpLink, type AmqpMessage, ChannelClosedError } from './amqp-link';
import { unacceptable, unknownExchange } from './amqp-outcomes';

export class AmqpPublisherOptions {
  /** `amqp://` or `amqps://`. A function is asked at each connection: for credentials that change. */
  @BrokerUrl()
  url: string | (() => string | Promise<string>);

  /** Where messages go; it must be there. Empty: straight to the queue that the routing key names. */
  @Text(0, 255)
  exchange: string;

  /** Default: the message type. */
  @IsOptional()
  @Callable()
  routingKey?: (message: RelayMessage) => string;

  /** For amqplib and Node's sockets: certificates, `timeout`, `clientProperties`. */
  @IsOptional()
  @PlainObject()
  socketOptions?: SocketOptions;
}

function BrokerUrl(): PropertyDecorator {
  return rule({
    name: 'brokerUrl',
    holds: (value) =>
      typeof value === 'function' ||
      (typeof value === 'string' && /^amqps?:\/\/\S+$/.test(value) && URL.canParse(value)),
    message: 'must look like amqps://user:password@host/vhost, or be a function that gives such a URL',
  });
}

/** Reply codes of AMQP 0-9-1. */
const NOT_FOUND = 404;
const PRECONDITION_FAILED = 406;

/**
 * Delivers to RabbitMQ, or another broker of AMQP 0-9-1 with publisher confirms. A message counts as published when the
 * broker has confirmed it: for a durable queue, when it is on disk.
 *
 * Messages are persistent. Their properties: `messageId` (the outbox id), `type` (the message type), `timestamp`,
 * `contentType` (`application/x-protobuf`, or the header `content-type`) and the headers.
 *
 * A message that no queue is bound for, that a full queue refuses, or whose exchange is missing, is tried again; one that the
 * broker would never take, such as one over its `max_message_size`, fails at once. While the broker cannot be reached, is
 * out of memory or disk, or does not accept the credentials, `publish` throws `BrokerUnavailableError`; the next
 * `publish` connects anew.
 *
 * @example
 * const publisher = new AmqpPublisher({ url: 'amqps://relay:…@rabbitmq.internal/payments', exchange: 'payments' });
 */
export class AmqpPublisher implements Publisher {
  readonly #options: Required<AmqpPublisherOptions>;
  #link: AmqpLink | undefined;

  /** @throws ConfigurationError naming each option that is wrong */
  constructor(options: AmqpPublisherOptions) {
    const { routingKey = ofType, socketOptions, ...rest } = validateSettings(AmqpPublisherOptions, options);
    this.#options = { ...rest, routingKey, socketOptions: { noDelay: true, keepAlive: true, ...given(socketOptions) } };
  }

  async publish(messages: readonly RelayMessage[], signal: AbortSignal): Promise<PublishOutcome[]> {
    signal.throwIfAborted();
    const { url, socketOptions } = this.#options;
    if (!this.#link || this.#link.hasEnded) this.#link = new AmqpLink(url, socketOptions);
    const link = this.#link;
    // What was sent may still be answered, or the connection be dead: the next turn uses another.
    const giveUp = () => link.end(new BrokerUnavailableError('RabbitMQ did not answer in time.'));
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await link.send(messages.map((message) => this.#toAmqp(message)));
    } catch (error) {
      if (!(error instanceof ChannelClosedError)) throw error;
      return await this.#afterClosing(error, messages, signal);
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  /** Closes the connection. A later `publish` connects anew. */
  async close(): Promise<void> {
    await this.#link?.close();
  }

  async #afterClosing(
    { code, message }: ChannelClosedError,
    messages: readonly RelayMessage[],
    signal: AbortSignal,
  ): Promise<PublishOutcome[]> {
    if (code === NOT_FOUND) return messages.map(() => unknownExchange(this.#options.exchange, message));
    if (code !== PRECONDITION_FAILED) throw new BrokerUnavailableError(message);
    if (messages.length === 1) return [unacceptable(message)];
    // One is at fault and fails them all: alone, each gets an answer of its own. What was taken before goes out twice.
    const outcomes: PublishOutcome[] = [];
    for (const one of messages) outcomes.push(...(await this.publish([one], signal)));
    return outcomes;
  }

  #toAmqp(message: RelayMessage): AmqpMessage {
    const { id, messageType, payload, headers, createdAt } = message;
    return {
      exchange: this.#options.exchange,
      routingKey: this.#options.routingKey(message),
      content: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      options: {
        mandatory: true,
        persistent: true,
        messageId: id.toString(),
        type: messageType,
        timestamp: Math.floor(createdAt.getTime() / 1_000),
        contentType: headers['content-type'] ?? 'application/x-protobuf',
        headers: { ...headers },
      },
    };
  }
}

const ofType = ({ messageType }: RelayMessage) => messageType;

/** What is undefined or null is not given. */
const given = (options: object = {}): object =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
