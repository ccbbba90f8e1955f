import { setTimeout as sleep } from 'node:timers/promises';
import { type ChannelModel, type ConfirmChannel, connect, IllegalOperationError, type SocketOptions } from 'amqplib';
import { BrokerUnavailableError } from '../../outbox/delivery';
import { type PublishOutcome } from '../../outbox/publisher';
import { withoutTraceContext } from '../../outbox/trace-context';
import { fitsFrame, misfit } from './amqp-limits';
import { largeHeaders, rejected, unencodable, unroutable } from './amqp-outcomes';

const CLOSE_TIMEOUT_MS = 2_000;

/**
 * A header of our own, by which a message that comes back is known: nothing else of it is certain to be different from
 * every other that is under way, of another database or sent twice.
 */
const TOKEN = 'x-publish-token';

export interface AmqpMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Buffer;
  /** The properties, and how it is to be sent. All that takes room is here: see `fitsFrame`. */
  readonly options: {
    readonly [property in 'messageId' | 'type' | 'contentType']: string;
  } & {
    readonly mandatory: true;
    readonly persistent: true;
    readonly timestamp: number;
    readonly headers: Readonly<Record<string, string>>;
  };
}

/** The broker ended channel or connection over something that was sent on it; it does not say over what. */
export class ClosedError extends Error {
  constructor(
    readonly code: number | undefined,
    message: string,
    /** Several were sending: it may be over a message of somebody else's. */
    readonly isShared: boolean,
  ) {
    super(message);
  }
}

/** One connection with one channel in confirm mode, from its opening to its first trouble. */
export class AmqpLink {
  readonly #end = new AbortController();
  readonly #opened: Promise<{ connection: ChannelModel; channel: ConfirmChannel; frameMax: number }>;
  /** Tokens of messages that came back. A message that does is confirmed all the same, right after. */
  readonly #returned = new Set<string>();
  readonly #waiting = new Set<(reason: Error) => void>();
  #blocked: BrokerUnavailableError | undefined;
  #tokens = 0;

  constructor(url: string | (() => string | Promise<string>), socketOptions: SocketOptions) {
    this.#opened = this.#open(url, socketOptions);
    this.#opened.catch((error: Error) => this.end(error));
  }

  get hasEnded(): boolean {
    return this.#end.signal.aborted;
  }

  /**
   * Sends them all, then waits until the broker has answered for all.
   *
   * @throws BrokerUnavailableError, ClosedError
   */
  async send(messages: readonly AmqpMessage[]): Promise<PublishOutcome[]> {
    const { channel, frameMax } = await this.#opened;
    if (this.#blocked) throw this.#blocked;
    return await new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      void Promise.all(messages.map((message) => this.#confirmed(channel, message, frameMax)))
        .then(resolve, reject)
        .finally(() => this.#waiting.delete(reject));
    });
  }

  /** Resets the connection. Callers that wait for an answer get `reason` instead. */
  end(reason: Error): void {
    this.#stopWaiting(reason);
    this.#end.abort();
  }

  /** Says goodbye first. */
  async close(): Promise<void> {
    const goodbye = this.#opened.then(({ connection }) => connection.close());
    const patience = sleep(CLOSE_TIMEOUT_MS, undefined, { signal: this.#end.signal });
    await Promise.race([goodbye, patience]).catch(() => undefined);
    this.end(new BrokerUnavailableError('The publisher was closed.'));
  }

  async #open(url: string | (() => string | Promise<string>), socketOptions: SocketOptions) {
    try {
      // Node takes the signal to destroy the socket with, connecting or connected.
      const options: SocketOptions & { signal: AbortSignal } = { ...socketOptions, signal: this.#end.signal };
      const connection = await connect(typeof url === 'string' ? url : await askFor(url), options);
      const lost = (error?: Error & { code?: unknown }) =>
        this.end(
          typeof error?.code === 'number'
            ? new ClosedError(error.code, error.message, this.#waiting.size > 1)
            : unavailable(`closed the connection${error ? `: ${error.message}` : ''}`),
        );
      connection
        .on('error', lost)
        .on('close', lost)
        .on('blocked', (reason) => {
          this.#blocked = unavailable(`takes no messages at the moment: ${reason}`);
          this.#stopWaiting(this.#blocked);
        })
        .on('unblocked', () => (this.#blocked = undefined));
      const channel = await connection.createConfirmChannel();
      channel
        .on('error', (error: Error & { code?: number }) =>
          this.end(new ClosedError(error.code, error.message, this.#waiting.size > 1)),
        )
        .on('return', ({ properties }) => this.#returned.add(String(properties.headers?.[TOKEN])));
      // 0 stands for no limit.
      const { frameMax } = connection.connection as unknown as { frameMax: number };
      return { connection, channel, frameMax: frameMax || Infinity };
    } catch (error) {
      throw unavailable(`cannot be reached: ${(error as Error).message}`);
    }
  }

  #confirmed(channel: ConfirmChannel, message: AmqpMessage, frameMax: number): Promise<PublishOutcome> {
    const problem = misfit(message);
    if (problem) return Promise.resolve(problem);
    const token = `${++this.#tokens}`;
    const carrying = (headers: Readonly<Record<string, string>>): AmqpMessage => ({
      ...message,
      options: { ...message.options, headers: { ...headers, [TOKEN]: token } },
    });
    const { headers } = message.options;
    const sendable = [carrying(headers), carrying(withoutTraceContext(headers))].find((it) => fitsFrame(it, frameMax));
    if (!sendable) return Promise.resolve(largeHeaders);
    const { exchange, routingKey, content, options } = sendable;
    return new Promise((resolve, reject) => {
      try {
        channel.publish(exchange, routingKey, content, options, (error: Error | null) => {
          // What has ended the channel says so right after.
          if (error && error.message !== 'message nacked') setImmediate(reject, unavailable(`closed the connection`));
          else if (error) resolve(rejected);
          else resolve(this.#returned.delete(token) ? unroutable(message) : { published: true });
        });
      } catch (error) {
        if (error instanceof IllegalOperationError) setImmediate(reject, unavailable(`closed the connection`));
        else resolve(unencodable);
      }
    });
  }

  #stopWaiting(reason: Error): void {
    for (const reject of this.#waiting) reject(reason);
  }
}

/** What a vault says when it gives no credentials is not for a log. */
const askFor = (url: () => string | Promise<string>): Promise<string> =>
  Promise.resolve()
    .then(url)
    .catch((error: unknown) => {
      throw new Error(`its address is not known (${error instanceof Error ? error.name : 'unknown'})`);
    });

/** Its cause is left out: amqplib's errors may come to hold the address, with the password in it. */
const unavailable = (what: string) => new BrokerUnavailableError(`RabbitMQ ${what}.`);
