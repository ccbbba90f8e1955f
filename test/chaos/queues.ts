import { type PublishOutcome } from '../../src/outbox/publisher';
import { type Dice } from './dice';
import { serve } from './http';
import { type Webhook } from './webhooks';

/** The type under which what a processor tells comes to those who take it in. */
export const WEBHOOK = 'webhook';

/** A message as a queue carries it. */
export interface QueuedMessage {
  readonly id: string;
  readonly aggregateId: string;
  readonly messageType: string;
  /** Base64. */
  readonly payload: string;
}

interface Entry {
  readonly message: QueuedMessage;
  visibleAt: number;
}

/** What a consumer gets; it says by the receipt whether it is done. */
export type Delivery = QueuedMessage & { readonly receipt: number };

/**
 * Queues that deliver at least once: what a consumer takes is out of sight for a while and comes back where nobody says
 * that it is done. Some is delivered twice at once.
 */
export class Queues {
  /** All that a relay has brought, repetitions included, in the order of arrival. */
  readonly arrivals: QueuedMessage[] = [];
  /** Whether the APIs wait for the workers. */
  isBounded = true;
  readonly #waiting = new Map<number, Entry>();
  readonly #dice: Dice;
  #receipts = 0;
  #server!: Awaited<ReturnType<typeof serve>>;

  private constructor(dice: Dice) {
    this.#dice = dice;
  }

  static async start(dice: Dice): Promise<Queues> {
    const queues = new Queues(dice);
    queues.#server = await serve((path, question) => queues.#answer(path, question));
    return queues;
  }

  get url(): string {
    return this.#server.url;
  }

  /** How many messages of the outbox nobody has dealt with yet. */
  get length(): number {
    return this.#waiting.size - this.webhooks.length;
  }

  /** What a processor has told and nobody has taken in yet. */
  get webhooks(): Webhook[] {
    return [...this.#waiting.values()]
      .filter(({ message }) => message.messageType === WEBHOOK)
      .map(({ message }) => JSON.parse(Buffer.from(message.payload, 'base64').toString()) as Webhook);
  }

  async close(): Promise<void> {
    await this.#server.close();
  }

  #answer(path: string, question: never): unknown {
    if (path === '/publish') return this.#publish(question);
    if (path === '/receive') return this.#receive(question);
    if (path === '/done') return this.#waiting.delete(question);
    if (path === '/later') return this.#later(question);
    if (path === '/again') return this.#again(question);
    if (path === '/webhook') return this.#webhook(question);
    return this.isBounded ? this.length : 0;
  }

  #publish(messages: readonly QueuedMessage[]): PublishOutcome[] {
    for (const message of messages) {
      this.arrivals.push(message);
      this.#add(message);
    }
    return messages.map(() => ({ published: true }));
  }

  #webhook(webhook: Webhook): boolean {
    const payload = Buffer.from(JSON.stringify(webhook)).toString('base64');
    this.#add({ id: '', aggregateId: webhook.processorAuthId, messageType: WEBHOOK, payload });
    return true;
  }

  /** From a scheduler: what waits already need not wait twice. */
  #again(message: QueuedMessage): boolean {
    const isSame = ({ message: { aggregateId, messageType } }: Entry) =>
      aggregateId === message.aggregateId && messageType === message.messageType;
    const waits = [...this.#waiting.values()].some(isSame);
    if (!waits) this.#add(message);
    return !waits;
  }

  #add(message: QueuedMessage): void {
    this.#waiting.set(++this.#receipts, { message, visibleAt: 0 });
  }

  #receive({ messageType, hiddenMs }: { messageType: string; hiddenMs: number }): Delivery | null {
    const now = performance.now();
    for (const [receipt, entry] of this.#waiting) {
      if (entry.message.messageType !== messageType || entry.visibleAt > now) continue;
      if (!this.#dice.chance(0.05)) entry.visibleAt = now + hiddenMs;
      return { ...entry.message, receipt };
    }
    return null;
  }

  #later({ receipt, delayMs }: { receipt: number; delayMs: number }): boolean {
    const entry = this.#waiting.get(receipt);
    if (entry) entry.visibleAt = performance.now() + delayMs;
    return entry !== undefined;
  }
}
