import { type Channel } from 'amqplib';

/** Where the relay publishes, by the message type as the routing key. */
export const EXCHANGE = 'payments';
export const QUEUES = ['auth_request_queued', 'void_request_queued'] as const;

/** For how long a message that could not be worked on is away, until it is delivered again. */
const RETRY_AFTER_MS = 1_000;

/**
 * A queue for each message type. What is rejected goes to a second queue and comes back from there after a time: put back at once,
 * it would be delivered many times a second, until a quorum queue drops it at its delivery limit (20 in RabbitMQ 4).
 */
export async function declareQueues(channel: Channel): Promise<void> {
  await channel.assertExchange(EXCHANGE, 'direct', { durable: true });
  for (const queue of QUEUES) {
    await channel.assertQueue(queue, { durable: true, arguments: { ...QUORUM, ...deadLettersTo(`${queue}.retry`) } });
    await channel.assertQueue(`${queue}.retry`, {
      durable: true,
      arguments: { ...QUORUM, ...deadLettersTo(queue), 'x-message-ttl': RETRY_AFTER_MS },
    });
    await channel.bindQueue(queue, EXCHANGE, queue);
  }
}

const QUORUM = { 'x-queue-type': 'quorum' };

/** Through the default exchange, whose routing keys are the names of queues. */
const deadLettersTo = (queue: string) => ({ 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': queue });
