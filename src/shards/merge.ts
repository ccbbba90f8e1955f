import { owns } from '../fence/residue';
import { type Merged } from './all-shards';
import { type Fanned } from './fan-out';
import { type Shard } from './shard';

type Compare<T> = (one: T, other: T) => number;

/** Compares by what a function gives, then by something else. */
export const by =
  <T>(key: (item: T) => number | string, then: Compare<T> = () => 0): Compare<T> =>
  (one, other) => {
    const [left, right] = [key(one), key(other)];
    return left < right ? -1 : left > right ? 1 : then(one, other);
  };

/** The first of all lists, each of which has the first of its database in the same order. */
export function merged<T>({ results, away }: Fanned<readonly T[]>, compare: Compare<T>, limit: number): Merged<T> {
  const items = results.flatMap(({ value }) => value).sort(compare);
  return { items: items.slice(0, limit), away };
}

/** What an operation takes where no limit is said. What is no limit at all each database refuses. */
export const limitOf = (command: { readonly limit?: number } | undefined): number => command?.limit ?? 100;

/** All lists, in the order of the map. */
export const flat = <T>({ results, away }: Fanned<readonly T[]>): Merged<T> => ({
  items: results.flatMap(({ value }) => value),
  away,
});

/**
 * The first `limit` of a database that are of its own restaurants. What a moved restaurant has left behind is passed over: where
 * that makes them too few, more are asked for, at most `most`.
 */
export async function owned<T extends { readonly restaurantId: string }>(
  shard: Shard,
  limit: number,
  most: number,
  find: (atMost: number) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  for (let atMost = limit; ; atMost = Math.min(2 * atMost, most)) {
    const found = await find(atMost);
    const own = found.filter(({ restaurantId }) => owns(shard.class, restaurantId));
    if (own.length >= limit || found.length < atMost || atMost >= most) return own.slice(0, limit);
  }
}
