import { setTimeout as delay } from 'node:timers/promises';
import { type Dice } from './dice';
import { ask } from './http';
import { type Ending, type Line } from './ledger';

/** What the processor tells of a hold by itself. */
export interface Webhook {
  readonly eventId: string;
  readonly told: 'authorized' | Ending;
  readonly processorAuthId: string;
  /** The authRequestId, where the processor gives back what it was given. */
  readonly reference?: string;
  readonly amountCents: number;
  readonly currency: string;
}

/** Sends what a processor tells by itself: late, twice and out of order while there is trouble, and until it is taken. */
export class Webhooks {
  /** All that was ever told. */
  readonly told: Webhook[] = [];
  readonly #pending = new Set<Promise<void>>();
  readonly #calm = new AbortController();
  readonly #dice: Dice;

  constructor(
    private readonly broker: string,
    dice: Dice,
  ) {
    this.#dice = dice;
  }

  tell(told: Webhook['told'], { id: processorAuthId, key, amountCents, endedCents, currency }: Line): void {
    const webhook: Webhook = {
      ...{ eventId: `evt_${this.told.length + 1}`, told, processorAuthId, currency },
      ...(this.#dice.chance(0.6) && { reference: key }),
      amountCents: told === 'authorized' ? amountCents : endedCents!,
    };
    this.told.push(webhook);
    const times = this.#dice.chance(0.2) ? 2 : 1;
    for (let time = 0; time < times; time++) {
      const sending = this.#send(webhook, this.#dice.chance(0.5) ? 0 : this.#dice.between(0, 6_000));
      this.#pending.add(sending);
      void sending.finally(() => this.#pending.delete(sending));
    }
  }

  /** From now on at once. Returns when all is taken. */
  async calm(): Promise<void> {
    this.#calm.abort();
    while (this.#pending.size > 0) await Promise.all(this.#pending);
  }

  async #send(webhook: Webhook, delayMs: number): Promise<void> {
    await delay(delayMs, undefined, { signal: this.#calm.signal }).catch(() => undefined);
    while (!(await ask(`${this.broker}/webhook`, webhook).catch(() => null))) await delay(100);
  }
}
