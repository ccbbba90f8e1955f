import { type Dice } from './dice';

/** How a hold ends. */
export type Ending = 'captured' | 'voided' | 'lapsed';

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
  readonly state: 'held' | Ending | 'declined' | 'unused';
  /** What was captured, voided or given up. */
  readonly endedCents?: number;
  /** It was voided since somebody asked for that. */
  readonly asked?: true;
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
  authorize(account: string, key: string, amountCents: number, currency: string): { line: Line; isNew: boolean } {
    const state = this.#dice.chance(0.2) ? 'declined' : 'held';
    return this.#line({ account, key, amountCents, currency, state });
  }

  /** What it holds under a key; where that was never used, it will hold nothing under it either. */
  inquire(account: string, key: string): Line {
    return this.#line({ account, key, amountCents: 0, currency: '', state: 'unused' }).line;
  }

  /** Ends a hold that somebody asks to void. Repeating it changes nothing; what has ended otherwise stays as it is. */
  void(id: string): { line: Line | undefined; isNew: boolean } {
    const line = this.#find(id);
    if (line?.state !== 'held') return { line, isNew: false };
    return { line: this.#set({ ...line, state: 'voided', endedCents: line.amountCents, asked: true }), isNew: true };
  }

  /** Ends one of the holds, or captures more of one: nobody has asked for that here. */
  endSomething(): { line: Line; ending: Ending } | undefined {
    const open = this.lines.filter(({ state }) => state === 'held' || state === 'captured');
    if (open.length === 0) return undefined;
    const line = this.#dice.pick(open);
    const { amountCents, endedCents = 0 } = line;
    if (line.state === 'captured') {
      if (endedCents === amountCents || this.#dice.chance(0.9)) return undefined;
      const more = this.#dice.between(endedCents + 1, amountCents);
      return { line: this.#set({ ...line, endedCents: more }), ending: 'captured' };
    }
    const ending = this.#dice.pick<Ending>(['captured', 'captured', 'lapsed', 'voided']);
    const isPart = ending === 'captured' && this.#dice.chance(0.5);
    const ended = isPart ? this.#dice.between(1, amountCents) : amountCents;
    return { line: this.#set({ ...line, state: ending, endedCents: ended }), ending };
  }

  #find(id: string): Line | undefined {
    return this.#lines.get(this.#keyOf.get(id) ?? '');
  }

  #set(line: Line): Line {
    this.#lines.set(this.#keyOf.get(line.id)!, line);
    return line;
  }

  #line(line: Omit<Line, 'id'>): { line: Line; isNew: boolean } {
    const key = `${line.account} ${line.key}`;
    const known = this.#lines.get(key);
    if (known) return { line: known, isNew: false };
    const made = { ...line, id: `pi_${line.account}_${this.#lines.size + 1}` };
    this.#lines.set(key, made);
    this.#keyOf.set(made.id, key);
    return { line: made, isNew: true };
  }
}
