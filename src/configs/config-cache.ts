interface Entry<T> {
  readonly value: Promise<T>;
  /** When the read began, by both clocks. */
  readonly monotonicMs: number;
  readonly wallMs: number;
}

const MOST_ENTRIES = 10_000;

/**
 * What was read, for `ttlMs` from the beginning of the read on: what is switched off in the database is gone here that much
 * later at most. Two clocks must agree on it, as one of them jumps and the other stands still while a machine sleeps.
 */
export class ConfigCache<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #ttlMs: number;

  /** @param ttlMs 0: keeps nothing */
  constructor(ttlMs: number) {
    this.#ttlMs = ttlMs;
  }

  /** What was read before, or a read that others ask for meanwhile share. One that fails is not kept. */
  async get(key: string, read: () => Promise<T>): Promise<T> {
    if (this.#ttlMs === 0) return await read();
    const known = this.#entries.get(key);
    if (known && this.#isFresh(known)) {
      const value = await known.value;
      // Also at the end of a read that took long.
      if (this.#isFresh(known)) return value;
      return await this.get(key, read);
    }
    const entry = { monotonicMs: performance.now(), wallMs: Date.now(), value: read() };
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    // The oldest read.
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MOST_ENTRIES) break;
      this.#entries.delete(oldest);
    }
    try {
      return await entry.value;
    } catch (error) {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
      throw error;
    }
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }

  #isFresh({ monotonicMs, wallMs }: Entry<T>): boolean {
    return [performance.now() - monotonicMs, Date.now() - wallMs].every((age) => age >= 0 && age < this.#ttlMs);
  }
}
