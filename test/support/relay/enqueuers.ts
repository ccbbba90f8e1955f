import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { OutcomeUnknownError, PaymentEventsDbError } from '../../../src/errors';
import { Outbox } from '../../../src/outbox/outbox';
import { RESTAURANT } from '../requests/auth-requests';

/** Transactions that write messages for the same few aggregates at once, and hold no row of them. */
export class Enqueuers {
  /** Ids of messages whose transaction was confirmed. */
  readonly confirmed: string[] = [];
  readonly #dataSource: DataSource;
  readonly #outbox: Outbox;
  readonly #all: Promise<unknown>;
  #stopping = false;

  /** @param count so many at once, three of them for the same aggregate */
  constructor(dataSource: DataSource, count: number) {
    this.#dataSource = dataSource;
    this.#outbox = new Outbox(dataSource);
    const aggregates = Array.from({ length: Math.ceil(count / 3) }, () => uuidv4());
    this.#all = Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const aggregateId = aggregates[index % aggregates.length]!;
        for (; !this.#stopping; await delay(Math.random() * 200)) await this.#enqueue(aggregateId);
      }),
    );
    // Told by `stop`.
    this.#all.catch(() => (this.#stopping = true));
  }

  /** Ends after the transactions in hand. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#all;
  }

  async #enqueue(aggregateId: string): Promise<void> {
    const message = { restaurantId: RESTAURANT, messageType: 'refund_queued', payload: Buffer.from('refund') };
    try {
      const id = await this.#dataSource.transaction(async (manager) => {
        const drawn = await this.#outbox.enqueue(manager, { aggregateId, ...message, lockAggregate: true });
        // Long enough for another to come first, were it not made to wait.
        if (Math.random() < 0.3) await delay(Math.random() * 10);
        return drawn;
      });
      this.confirmed.push(id.toString());
    } catch (error) {
      // Whether it was committed is not known: then it need not arrive.
      if (error instanceof OutcomeUnknownError) return;
      if (!(error instanceof PaymentEventsDbError && error.retryable)) throw error;
    }
  }
}
