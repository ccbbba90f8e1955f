import { type BeforeApplicationShutdown, Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { type AmqpConnectionManager, connect } from 'amqp-connection-manager';
import { type Channel, type ConsumeMessage } from 'amqplib';
import { decodeOutboxMessage, PaymentEventsDbError } from 'payment-events-db';
import { BROKER_URL } from './environment';
import { PaymentsWorker } from './payments-worker';
import { declareQueues, QUEUES } from './queues';

/** How many messages of a queue are worked on at a time. */
const PREFETCH = 10;

/**
 * Takes messages from RabbitMQ. Each is acknowledged when something is recorded, or there is nothing to do; else it is
 * delivered again. What a process has not acknowledged when it ends, RabbitMQ gives to another.
 */
@Injectable()
export class MessageConsumer implements OnModuleInit, BeforeApplicationShutdown {
  readonly #logger = new Logger(MessageConsumer.name);
  readonly #underWay = new Set<Promise<void>>();
  #connection: AmqpConnectionManager | undefined;
  #cancel = (): Promise<unknown> => Promise.resolve();

  constructor(private readonly worker: PaymentsWorker) {}

  /** Before the relay starts, so that it finds the exchange. */
  async onModuleInit(): Promise<void> {
    this.#connection = connect([BROKER_URL]);
    for (const event of ['connectFailed', 'disconnect'] as const) {
      this.#connection.on(event, () => this.#logger.warn('RabbitMQ is away: connects again.'));
    }
    await this.#connection.createChannel({ setup: (channel: Channel) => this.#consume(channel) }).waitForConnect();
  }

  /** What is under way comes to its end, while the database is still open. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#cancel();
    await Promise.all(this.#underWay);
    await this.#connection?.close();
  }

  /** On each new connection. */
  async #consume(channel: Channel): Promise<void> {
    await declareQueues(channel);
    await channel.prefetch(PREFETCH);
    const consumers: string[] = [];
    // A consumer of a channel that is closed is cancelled.
    this.#cancel = () => Promise.allSettled(consumers.map(async (tag) => await channel.cancel(tag)));
    for (const queue of QUEUES) {
      const { consumerTag } = await channel.consume(queue, (message) => {
        if (!message) return;
        const work = this.#work(channel, message).finally(() => this.#underWay.delete(work));
        this.#underWay.add(work);
      });
      consumers.push(consumerTag);
    }
  }

  async #work(channel: Channel, message: ConsumeMessage): Promise<void> {
    const isDone = await this.#isDone(message);
    try {
      if (isDone) channel.ack(message);
      else channel.nack(message, false, false);
    } catch {
      // Its channel is closed: RabbitMQ delivers it again.
    }
  }

  async #isDone({ properties, content }: ConsumeMessage): Promise<boolean> {
    try {
      await this.worker.handle(decodeOutboxMessage(String(properties.type), content));
      return true;
    } catch (error) {
      // Nothing was recorded: another worker has it, or the database is away. Another's error may quote a token.
      const reason =
        error instanceof PaymentEventsDbError ? error.code : error instanceof Error ? error.name : 'unknown';
      this.#logger.warn(`Message ${String(properties.messageId)} is delivered again: ${reason}`);
      return false;
    }
  }
}
