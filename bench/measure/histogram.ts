/** Each is so much wider than the one before: what is read out is wrong by 1 % at most. */
const GROWTH = Math.log(1.02);
/** The last begins at ten minutes. */
const BUCKETS = 1024;

/** Latencies, counted in buckets: its size does not depend on how many there are, and two can be added. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  record(ms: number): void {
    const bucket = Math.round(Math.log(ms * 1_000) / GROWTH);
    this.#counts[Math.min(Math.max(bucket, 0), BUCKETS - 1)]! += 1;
    this.#total += 1;
  }

  add(other: Histogram): this {
    other.#counts.forEach((count, bucket) => (this.#counts[bucket]! += count));
    this.#total += other.#total;
    return this;
  }

  /** The latency that so large a part of them (0 to 1) does not exceed, in milliseconds. NaN where there are none. */
  quantile(part: number): number {
    let above = Math.ceil(this.#total * part);
    const bucket = this.#counts.findIndex((count) => (above -= count) <= 0);
    return this.#total === 0 ? NaN : Math.exp(bucket * GROWTH) / 1_000;
  }
}
