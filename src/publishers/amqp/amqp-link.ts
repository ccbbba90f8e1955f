import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ChannelModel,
  type ConfirmChannel,
  connect,
  IllegalOperationError,
  type Options,
  type SocketOptions,
} from 'amqplib';
import { BrokerUnavailableError } from '../../outbox/delivery';
import { type PublishOutcome } from '../../outbox/publisher';
import { rejected, unencodable, unroutable } from './amqp-outcomes';

const CLOSE_TIMEOUT_MS = 2_000;

export interface AmqpMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Buffer;
  readonly options: Options.Publish & { readonly messageId: string };
}

/** The broker ended the channel over something that was sent on it; it does not say over what. */
export class ChannelClosedError extends Error {
  constructor(
    readonly code: number | undefined,
    message: string,
  ) {
    super(message);
  }
}

/** One connection with one channel in confirm mode, from its opening to its first trouble. */
export class AmqpLink {
  readonly #end = new AbortController();
  readonly #opened: Promise<{ connection: ChannelModel; channel: ConfirmChannel }>;
  /** Ids of messages that came back. A message that does is confirmed all the same, right after. */
  readonly #returned = new Set<string>();
  readonly #waiting = new Set<(reason: Error) => void>();
  #blocked: BrokerUnavailableError | undefined;

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
   * @throws BrokerUnavailableError, ChannelClosedError
   */
  async send(messages: readonly AmqpMessage[]): Promise<PublishOutcome[]> {
    const { channel } = await this.#opened;
    if (this.#blocked) throw this.#blocked;
    return await new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      void Promise.all(messages.map((message) => this.#confirmed(channel, message)))
        .then(resolve, reject)
        .finally(() => this.#waiting.delete(reject));
    });
  }

  /** Resets the connection. Whoever waits for an answer gets `reason` instead. */
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
      const connection = await connect(typeof url === 'string' ? url : await url(), options);
      const lost = (error?: Error) =>
        this.end(unavailable(`closed the connection${error ? `: ${error.message}` : ''}`));
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
        .on('error', (error: Error & { code?: number }) => this.end(new ChannelClosedError(error.code, error.message)))
        .on('return', ({ properties }) => this.#returned.add(String(properties.messageId)));
      return { connection, channel };
    } catch (error) {
      throw unavailable(`cannot be reached: ${(error as Error).message}`);
    }
  }

  #confirmed(channel: ConfirmChannel, message: AmqpMessage): Promise<PublishOutcome> {
    const { exchange, routingKey, content, options } = message;
    return new Promise((resolve, reject) => {
      try {
        channel.publish(exchange, routingKey, content, options, (error: Error | null) => {
          if (error && error.message !== 'message nacked') reject(unavailable(`closed the connection`));
          else if (error) resolve(rejected);
          else resolve(this.#returned.delete(options.messageId) ? unroutable(message) : { published: true });
        });
      } catch (error) {
        if (error instanceof IllegalOperationError) reject(unavailable(`closed the connection`));
        else resolve(unencodable);
      }
    });
  }

  #stopWaiting(reason: Error): void {
    for (const reject of this.#waiting) reject(reason);
  }
}

/** Its cause is left out: amqplib's errors may come to hold the address, with the password in it. */
const unavailable = (what: string) => new BrokerUnavailableError(`RabbitMQ ${what}.`);
