const MINUTE_MS = 60_000;

/** So many a minute: what was taken in the last one is remembered, by the process's steady clock. */
export class Allowance {
  readonly #perMinute: number;
  #taken: { readonly at: number; readonly count: number }[] = [];

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  get left(): number {
    const from = performance.now() - MINUTE_MS;
    this.#taken = this.#taken.filter(({ at }) => at > from);
    return Math.max(
      0,
      this.#taken.reduce((left, { count }) => left - count, this.#perMinute),
    );
  }

  /** Takes as many as the work turns out to need. Of work that fails nobody knows: then it was all that it might take. */
  async take<T>(atMost: number, work: () => Promise<readonly T[]>): Promise<readonly T[]> {
    const at = performance.now();
    let count = atMost;
    try {
      const done = await work();
      count = done.length;
      return done;
    } finally {
      if (count > 0) this.#taken.push({ at, count });
    }
  }
}
