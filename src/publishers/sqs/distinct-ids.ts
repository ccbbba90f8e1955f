/** For how long SQS swallows another message with the same deduplication id, and a minute on top. */
const WINDOW_MS = 360_000;

/**
 * Keeps a deduplication id from standing for two rows of the outbox: SQS would swallow the second, which would count as
 * delivered. What gets another row's id gets the row's own on top. Knows what went through this process alone.
 */
export class DistinctIds {
  /** By queue and id, the oldest first. */
  readonly #usedBy = new Map<string, { readonly row: string; readonly at: number }>();

  of({ queue, id, row }: { queue: string; id: string; row: string }): string {
    const key = `${queue} ${id}`;
    const now = performance.now();
    for (const [old, { at }] of this.#usedBy) {
      if (now - at < WINDOW_MS) break;
      this.#usedBy.delete(old);
    }
    const used = this.#usedBy.get(key);
    if (used && used.row !== row) return `${id}:${row}`;
    // Sent again, the window of SQS begins again.
    this.#usedBy.delete(key);
    this.#usedBy.set(key, { row, at: now });
    return id;
  }
}
