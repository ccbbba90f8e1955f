import { type FailedMessage, type ListFailedOptions } from '../outbox/list-failed';
import { type OutboxCount, type OutboxStats } from '../outbox/outbox-stats';
import { greatest } from './all-holds';
import { type Each, type Merged } from './all-shards';
import { type Away } from './fan-out';
import { by, limitOf } from './merge';

/** The outboxes of all databases: see `Outbox`. */
export class AllOutboxes {
  readonly #each: Each;

  /** Made by `Shards.all`. */
  constructor(each: Each) {
    this.#each = each;
  }

  /**
   * As of `Outbox`: the sums of all that answer, and the greatest age. What was delivered in the minute before a restaurant moved
   * counts as processed in both databases for the rest of that minute.
   */
  async stats(): Promise<OutboxStats & { readonly away: readonly Away[] }> {
    const { results, away } = await this.#each(({ outbox }) => outbox.stats());
    const all = results.map(({ value }) => value);
    const sum = (name: OutboxCount) => all.reduce((total, stats) => total + stats[name], 0);
    return {
      pending: sum('pending'),
      waiting: sum('waiting'),
      failed: sum('failed'),
      oldestPendingAgeMs: greatest(all.map(({ oldestPendingAgeMs }) => oldestPendingAgeMs)),
      processedLastMinute: sum('processedLastMinute'),
      atLeast: [...new Set(all.flatMap(({ atLeast }) => atLeast))],
      away,
    };
  }

  /**
   * As of `Outbox`: dead letters by their ids, which no two databases give out, at most `limit` of all. The next page comes `after`
   * the last id of this one. Where a database was away its messages are on no page: look again when it is back.
   *
   * Where a restaurant has moved, the database before may still have a message of it, one without an event: its own relay delivers it
   * and nobody else's, so that it is listed, and counted by `stats`.
   */
  async listFailed(options?: ListFailedOptions): Promise<Merged<FailedMessage>> {
    const limit = limitOf(options);
    const { results, away } = await this.#each(({ outbox }) => outbox.listFailed({ ...options, limit }));
    const items = results.flatMap(({ value }) => value).sort(by(({ id }) => id));
    return { items: items.slice(0, limit), away };
  }
}
