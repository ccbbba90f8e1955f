import { type HoldFilter, type ListHoldsCommand, type StandingHold } from '../auth-requests/holds/list-holds';
import {
  type HoldStats,
  type HoldStatsCommand,
  type HoldTotal,
  type HoldTotals,
} from '../auth-requests/holds/total-holds';
import { type Each } from './all-shards';
import { type Away } from './fan-out';
import { by } from './merge';
import { type MergedPage, pageOf } from './page';

/** The holds of all databases: see `Holds`. */
export class AllHolds {
  readonly #each: Each;

  /** Made by `Shards.all`. */
  constructor(each: Each) {
    this.#each = each;
  }

  /** As of `Holds`, in its order: a page of at most `limit` of all. One that ends with a hold without a cursor has no next. */
  async list(command?: ListHoldsCommand): Promise<MergedPage<StandingHold>> {
    return await pageOf(this.#each, command, ({ holds }, page) => holds.list({ ...command, ...page }));
  }

  /** As of `Holds`: the sums of all that answer. */
  async totals(filter?: HoldFilter): Promise<HoldTotals & { readonly away: readonly Away[] }> {
    const { results, away } = await this.#each(({ holds }) => holds.totals(filter));
    return { ...sumOf(results.map(({ value }) => value)), away };
  }

  /** As of `Holds`: the sums of all that answer, and the greatest age. */
  async stats(command?: HoldStatsCommand): Promise<HoldStats & { readonly away: readonly Away[] }> {
    const { results, away } = await this.#each(({ holds }) => holds.stats(command));
    const all = results.map(({ value }) => value);
    const waiting = (reason: keyof HoldStats['forAPerson']) =>
      all.reduce((sum, { forAPerson }) => sum + forAPerson[reason], 0);
    return {
      ...sumOf(all),
      oldestOpenAgeMs: greatest(all.map(({ oldestOpenAgeMs }) => oldestOpenAgeMs)),
      forAPerson: {
        void_failed: waiting('void_failed'),
        captured_unneeded: waiting('captured_unneeded'),
        never_voided: waiting('never_voided'),
      },
      lapsing: all.reduce((sum, { lapsing }) => sum + lapsing, 0),
      away,
    };
  }
}

/** The greatest of those that there are. */
export const greatest = (ages: readonly (number | null)[]): number | null =>
  ages.reduce((most, age) => (age === null || (most !== null && most >= age) ? most : age), null);

/** One total for each state, reason and currency, what nobody needs first. */
function sumOf(all: readonly HoldTotals[]): HoldTotals {
  const sums = new Map<string, HoldTotal>();
  for (const total of all.flatMap(({ totals }) => totals)) {
    const key = [total.state, total.because, total.currency].join();
    const { count, amountCents } = sums.get(key) ?? { count: 0, amountCents: 0 };
    sums.set(key, { ...total, count: count + total.count, amountCents: amountCents + total.amountCents });
  }
  const totals = [...sums.values()].sort(
    by(
      ({ because }) => (because === 'needed' ? 1 : 0),
      by(
        ({ because }) => because,
        by(({ currency }) => currency),
      ),
    ),
  );
  return { totals, isAtLeast: all.some(({ isAtLeast }) => isAtLeast) };
}
