import { setTimeout as delay } from 'node:timers/promises';
import { BrokerUnavailableError } from '../../src/outbox/delivery';
import { type Publisher, type PublishOutcome, type RelayMessage } from '../../src/outbox/publisher';
import { Dice } from './dice';
import { ask } from './http';
import { type QueuedMessage } from './queues';

const dice = new Dice(process.env.CHAOS_SEED!);
const happens = (probability: number) => !process.env.CHAOS_CALM && dice.chance(probability);

const send = (messages: readonly RelayMessage[], signal?: AbortSignal) =>
  ask<PublishOutcome[]>(
    `${process.env.BROKER_URL}/publish`,
    messages.map(({ id, aggregateId, messageType, payload }): QueuedMessage => ({
      ...{ id: id.toString(), aggregateId, messageType },
      payload: Buffer.from(payload).toString('base64'),
    })),
    signal,
  );

/**
 * To the queues of BROKER_URL, badly: it throws and hangs before and after it has delivered, delivers a part, says of a
 * message that it was refused though it was delivered, says nonsense, and answers for more or fewer than it was given. The
 * one thing that it never says is that it delivered what it did not.
 */
const publisher: Publisher = {
  async publish(messages, signal) {
    if (happens(0.04)) throw new BrokerUnavailableError('The queues are away.');
    if (happens(0.04)) throw new TypeError('a header that cannot be sent');
    if (happens(0.03)) await hang(signal);
    const part = happens(0.05) ? messages.slice(0, dice.between(0, messages.length - 1)) : messages;
    const outcomes = part.length > 0 ? await send(part, signal) : [];
    if (part.length < messages.length) throw new Error('broken off');
    if (happens(0.04)) throw new TypeError('after all was delivered');
    if (happens(0.03)) await hang(signal);
    if (happens(0.02)) return outcomes.slice(1);
    if (happens(0.02)) return [...outcomes, { published: true }];
    if (happens(0.02)) return undefined as unknown as PublishOutcome[];
    return outcomes.map((outcome) => (happens(0.05) ? lie() : outcome));
  },
};

/** Longer than the relay waits, and at times although it was told to give up. */
const hang = (signal: AbortSignal) =>
  delay(dice.between(2_000, 8_000), undefined, dice.chance(0.5) ? { signal } : undefined);

const lie = (): PublishOutcome =>
  dice.pick<PublishOutcome>([
    { published: false, reason: 'not now' },
    { published: false, reason: 'never', permanent: true },
    { published: false, reason: 'throttled', brokerFault: true },
    { published: false } as PublishOutcome,
    null as unknown as PublishOutcome,
    { published: 'yes' } as unknown as PublishOutcome,
  ]);

export default publisher;
