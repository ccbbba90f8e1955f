import { type FailedMessage, type ListFailedOptions } from '../outbox/list-failed';
import { type OutboxCount, type OutboxStats } from '../outbox/outbox-stats';
import { greatest } from './all-holds';
import { type Each, type Merged } from './all-shards';
import { type Away } from './fan-out';
import { by, limitOf, owned } from './merge';

/** The outboxes of all databases: see `Outbox`. */
export class AllOutboxes {
  readonly #each: Each;

  /** Made by `Shards.all`. */
  constructor(each: Each) {
    this.#each = each;
  }

  /** As of `Outbox`: the sums of all that answer, and the greatest age. */
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
   */
  async listFailed(options?: ListFailedOptions): Promise<Merged<FailedMessage>> {
    const limit = limitOf(options);
    const page = { limit, most: 10_000, after: options?.after, cursorOf: ({ id }: FailedMessage) => id };
    const { results, away } = await this.#each((shard) =>
      owned(shard, page, (atMost, after) => shard.outbox.listFailed({ ...options, limit: atMost, after })),
    );
    const items = results.flatMap(({ value }) => value).sort(by(({ id }) => id));
    return { items: items.slice(0, limit), away };
  }
}
