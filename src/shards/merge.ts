import { type Merged } from './all-shards';
import { type Fanned } from './fan-out';

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
