import { setTimeout as delay } from 'node:timers/promises';
import { ask } from '../http';
import { type Delivery } from '../queues';
import { CALM, dice, QUEUES } from './member';

/** Longer than a message takes, as a rule. */
const HIDDEN_MS = CALM ? 30_000 : 12_000;

/** Takes one message and deals with it. `later` leaves it in the queue, and so does what `handle` throws. */
export async function consume(
  messageType: string,
  handle: (delivery: Delivery) => Promise<'done' | 'later'>,
): Promise<void> {
  const question = { messageType, hiddenMs: HIDDEN_MS };
  const delivery = await ask<Delivery | null>(`${QUEUES}/receive`, question).catch(() => null);
  if (!delivery) return await delay(100);
  const outcome = await handle(delivery);
  const later = { receipt: delivery.receipt, delayMs: dice.between(100, CALM ? 300 : 3_000) };
  await (outcome === 'done' ? ask(`${QUEUES}/done`, delivery.receipt) : ask(`${QUEUES}/later`, later)).catch(
    () => null,
  );
}
