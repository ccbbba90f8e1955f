import { type ConnectionOptions } from 'node:tls';
import { IsOptional } from 'class-validator';
import { BrokerUnavailableError } from '../../outbox/delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../../outbox/publisher';
import { Callable, PlainObject } from '../../validation/option-rules';
import { rule } from '../../validation/rule';
import { isText } from '../../validation/rules';
import { validateSettings } from '../../validation/validate-options';
import { faultOf } from './amqp-codes';
import { SHORT_STRING_BYTES } from './amqp-limits';
import { AmqpLink, type AmqpMessage, ClosedError } from './amqp-link';
import { noRoutingKey, refusedFor, unacceptable, unknownExchange } from './amqp-outcomes';

/** What amqplib takes beside the URL; its own type is not there in every version. */
export interface AmqpSocketOptions extends ConnectionOptions {
  /** Whether small packets go out at once. Default true. */
  noDelay?: boolean;
  /** Whether the operating system looks after idle connections. Default true. */
  keepAlive?: boolean;
  /** How long a connection is idle until it does, in milliseconds. */
  keepAliveDelay?: number;
  /** How long connecting may take, in milliseconds. */
  timeout?: number;
  /** Shown by the broker, such as `connection_name`. */
  clientProperties?: Record<string, unknown>;
  /** Another mechanism than user and password of the URL. */
  credentials?: { mechanism: string; response(): Buffer; username?: string; password?: string };
}

/** How an {@link AmqpPublisher} reaches its broker, and where it sends what. */
export class AmqpPublisherOptions {
  /** `amqp://` or `amqps://`. A function is asked at each connection: for credentials that change. */
  @BrokerUrl()
  url: string | (() => string | Promise<string>);

  /** Where messages go; it must be there. Empty: straight to the queue that the routing key names. */
  @ShortString()
  exchange: string;

  /** The routing key of a message. Default: the message type. */
  @IsOptional()
  @Callable()
  routingKey?: (message: RelayMessage) => string;

  /** For amqplib and Node's sockets: certificates, `timeout`, `clientProperties`. */
  @IsOptional()
  @PlainObject()
  socketOptions?: AmqpSocketOptions;
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

function ShortString(): PropertyDecorator {
  return rule({
    name: 'shortString',
    holds: (value) => isText(value) && Buffer.byteLength(value) <= SHORT_STRING_BYTES,
    message: `must be text of 0 to ${SHORT_STRING_BYTES} bytes in UTF-8, well-formed and without NUL`,
  });
}

const NOT_FOUND = 404;

/**
 * Delivers to RabbitMQ, or another broker of AMQP 0-9-1 with publisher confirms. A message counts as published when the
 * broker has confirmed it: for a durable queue, when it is on disk.
 *
 * Messages are persistent. Their properties: `messageId` (`<aggregate id>:<outbox id>`, unique over all databases), `type` (the message type), `timestamp`,
 * `contentType` (`application/x-protobuf`, or the header `content-type`) and the headers.
 *
 * A message that no queue is bound for, that a full queue refuses, whose exchange is missing or whose routing key the user
 * may not use, is tried again; one that the broker would never take, such as one over its `max_message_size`, fails at once.
 * While the broker cannot be reached, is out of memory or disk, or does not accept the credentials, `publish` throws
 * `BrokerUnavailableError`; the next `publish` connects again. Where it closes a connection without saying over which message,
 * another error lets the relay find out.
 *
 * @example
 * const publisher = new AmqpPublisher({ url: 'amqps://relay:…@rabbitmq.internal/payments', exchange: 'payments' });
 */
export class AmqpPublisher implements Publisher {
  readonly #options: Required<AmqpPublisherOptions>;
  #link: AmqpLink | undefined;

  /** @throws ConfigurationError naming each option that is wrong */
  constructor(options: AmqpPublisherOptions) {
    const { routingKey = ofType, socketOptions, ...rest } = validateSettings({ AmqpPublisherOptions }, options);
    this.#options = { ...rest, routingKey, socketOptions: { noDelay: true, keepAlive: true, ...given(socketOptions) } };
  }

  async publish(messages: readonly RelayMessage[], signal: AbortSignal): Promise<PublishOutcome[]> {
    signal.throwIfAborted();
    const sendable = messages.flatMap((message) => this.#toAmqp(message) ?? []);
    const outcomes = sendable.length > 0 ? await this.#send(sendable, signal) : [];
    const byId = new Map(sendable.map(({ id }, index) => [id, outcomes[index]]));
    return messages.map(({ id }) => byId.get(id) ?? noRoutingKey);
  }

  async #send(messages: readonly Sendable[], signal: AbortSignal): Promise<PublishOutcome[]> {
    if (!this.#link || this.#link.hasEnded) this.#link = this.#connect();
    try {
      return await this.#over(this.#link, messages, signal);
    } catch (error) {
      if (!(error instanceof ClosedError)) throw error;
      const [only] = messages;
      if (messages.length === 1 && !error.isShared) return [this.#judge(error, only!)];
      // All of them go to one exchange; of anything else one message may be the reason.
      const concernsAll =
        error.code === NOT_FOUND || ['broker', 'unclear'].includes(faultOf(error.code, error.message));
      if (concernsAll) return messages.map((one) => this.#judge(error, one));
      return await this.#sendOneByOne(messages, signal);
    }
  }

  /**
   * One is at fault and fails them all: alone, on a connection of their own, each gets an answer of its own. What was taken
   * before goes out twice.
   */
  async #sendOneByOne(messages: readonly Sendable[], signal: AbortSignal): Promise<PublishOutcome[]> {
    const outcomes: PublishOutcome[] = [];
    let link = this.#connect();
    try {
      for (const one of messages) {
        if (link.hasEnded) link = this.#connect();
        try {
          outcomes.push(...(await this.#over(link, [one], signal)));
        } catch (error) {
          if (!(error instanceof ClosedError)) throw error;
          outcomes.push(this.#judge(error, one));
        }
      }
      return outcomes;
    } finally {
      await link.close();
    }
  }

  async #over(link: AmqpLink, messages: readonly Sendable[], signal: AbortSignal): Promise<PublishOutcome[]> {
    signal.throwIfAborted();
    // What was sent may still be answered, or the connection be dead: the next turn uses another.
    const giveUp = () => link.end(new BrokerUnavailableError('RabbitMQ did not answer in time.'));
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await link.send(messages);
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  #connect(): AmqpLink {
    return new AmqpLink(this.#options.url, this.#options.socketOptions);
  }

  /** Closes the connection. A later `publish` connects again. */
  async close(): Promise<void> {
    await this.#link?.close();
  }

  /** What it means for a message that the broker closed the connection over it, or over one like it. */
  #judge({ code, message: answer }: ClosedError, { routingKey }: Sendable): PublishOutcome {
    switch (faultOf(code, answer)) {
      case 'broker':
        throw new BrokerUnavailableError(answer);
      case 'unclear':
        throw new Error(answer);
      case 'message':
        return unacceptable(answer);
      case 'queue':
        return code === NOT_FOUND ? unknownExchange(this.#options.exchange, answer) : refusedFor(routingKey, answer);
    }
  }

  /** @returns undefined where the function that was given for it makes no routing key */
  #toAmqp(message: RelayMessage): Sendable | undefined {
    const { id, aggregateId, messageType, payload, headers, createdAt } = message;
    const routingKey = textOf(() => this.#options.routingKey(message));
    if (routingKey === undefined) return undefined;
    return {
      id,
      exchange: this.#options.exchange,
      routingKey,
      content: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      options: {
        mandatory: true,
        persistent: true,
        messageId: `${aggregateId}:${id}`,
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

type Sendable = AmqpMessage & Pick<RelayMessage, 'id'>;

function textOf(make: () => unknown): string | undefined {
  try {
    const text = make();
    return typeof text === 'string' ? text : undefined;
  } catch {
    return undefined;
  }
}
