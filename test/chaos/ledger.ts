import { type Dice } from './dice';

/** What an account has under one idempotency key. */
export interface Line {
  /** The configuration version: an account of its own. */
  readonly account: string;
  /** The authRequestId. */
  readonly key: string;
  readonly id: string;
  readonly amountCents: number;
  readonly currency: string;
  /** `unused`: it was asked what it holds, held nothing, and takes no authorization under that key any more. */
  readonly state: 'held' | 'voided' | 'declined' | 'unused';
}

/** The book of a processor: the truth about money. It knows nothing of requests, attempts or databases. */
export class Ledger {
  readonly #lines = new Map<string, Line>();
  readonly #keyOf = new Map<string, string>();
  readonly #dice: Dice;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  get lines(): Line[] {
    return [...this.#lines.values()];
  }

  /** The same question under the same key is answered as before, and holds nothing again. */
  authorize(account: string, key: string, amountCents: number, currency: string): Line {
    const state = this.#dice.chance(0.2) ? 'declined' : 'held';
    return this.#line({ account, key, amountCents, currency, state });
  }

  /** What it holds under a key; where that was never used, it will hold nothing under it either. */
  inquire(account: string, key: string): Line {
    return this.#line({ account, key, amountCents: 0, currency: '', state: 'unused' });
  }

  /** Ends a hold. Repeating it changes nothing. */
  void(id: string): boolean {
    const key = this.#keyOf.get(id);
    const line = key === undefined ? undefined : this.#lines.get(key);
    if (!line || (line.state !== 'held' && line.state !== 'voided')) return false;
    this.#lines.set(key!, { ...line, state: 'voided' });
    return true;
  }

  #line(line: Omit<Line, 'id'>): Line {
    const key = `${line.account} ${line.key}`;
    const known = this.#lines.get(key);
    if (known) return known;
    const made = { ...line, id: `pi_${line.account}_${this.#lines.size + 1}` };
    this.#lines.set(key, made);
    this.#keyOf.set(made.id, key);
    return made;
  }
}
