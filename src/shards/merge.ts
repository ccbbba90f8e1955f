import { owns } from '../fence/residue';
import { type Merged } from './all-shards';
import { type Fanned } from './fan-out';
import { type Shard } from './shard';

type Compare<T> = (one: T, other: T) => number;

/** Compares by what a function gives, then by something else. */
export const by =
  <T>(key: (item: T) => number | bigint | string, then: Compare<T> = () => 0): Compare<T> =>
  (one, other) => {
    const [left, right] = [key(one), key(other)];
    return left < right ? -1 : left > right ? 1 : then(one, other);
  };

/** What an operation takes where no limit is said. What is no limit at all each database refuses. */
export const limitOf = (command: { readonly limit?: number } | undefined): number => command?.limit ?? 100;

/** All lists, in the order of the map. */
export const flat = <T>({ results, away }: Fanned<readonly T[]>): Merged<T> => ({
  items: results.flatMap(({ value }) => value),
  away,
});

/** What is asked of one database of a list. */
interface Asked<T, Cursor> {
  readonly limit: number;
  /** What the database lists at once. */
  readonly most: number;
  readonly after: Cursor | undefined;
  /** Where to go on after an item; null: nowhere. */
  readonly cursorOf: (item: T) => Cursor | null;
}

/**
 * The first `limit` of a database that are of its own restaurants. What a moved restaurant has left behind is passed over, and
 * more are asked for where that makes them too few.
 */
export async function owned<T extends { readonly restaurantId: string }, Cursor>(
  shard: Shard,
  { limit, most, after, cursorOf }: Asked<T, Cursor>,
  find: (atMost: number, after: Cursor | undefined) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  const own: T[] = [];
  let from = after;
  for (let atMost = limit; ; atMost = Math.min(2 * atMost, most)) {
    const found = await find(atMost, from);
    const more = found.filter(({ restaurantId }) => owns(shard.class, restaurantId));
    const cursor = found.length < atMost ? null : cursorOf(found.at(-1)!);
    const isAll = found.length < atMost || (cursor === null && atMost >= most);
    if (isAll || own.length + more.length >= limit) return [...own, ...more].slice(0, limit);
    if (cursor === null) continue;
    own.push(...more);
    from = cursor;
  }
}
