import { type PublishOutcome } from '../../src/outbox/publisher';
import { type Dice } from './dice';
import { serve } from './http';

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

  /** What nobody has dealt with yet. */
  get length(): number {
    return this.#waiting.size;
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
    return this.length;
  }

  #publish(messages: readonly QueuedMessage[]): PublishOutcome[] {
    for (const message of messages) {
      this.arrivals.push(message);
      this.#add(message);
    }
    return messages.map(() => ({ published: true }));
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
