import { InvalidCommandError } from '../errors';
import { contains, isClass, type ResidueClass } from '../fence/residue';

/** A place in a list of one database: the cursor of an item; undefined before the first. */
type At = string | undefined;

/**
 * Compares two cursors of one list: see src/auth-requests/cursor.ts. What follows the request tells apart what one database
 * has, and has put in order.
 */
export function compareCursors(one: string, other: string): number {
  const [left, right] = [one, other].map((cursor) => cursor.split('_').slice(0, 3));
  const index = left!.findIndex((part, at) => part !== right![at]);
  if (index < 0) return 0;
  const [from, to] = [left![index]!, right![index]!];
  const isNumber = [from, to].every((part) => /^-?\d+$/.test(part));
  return isNumber ? Number(BigInt(from) - BigInt(to)) : from < to ? -1 : 1;
}

/** The one that comes first. */
const least = (one: At, other: At): At =>
  one === undefined || other === undefined ? undefined : compareCursors(one, other) > 0 ? other : one;

/**
 * Where each database is to go on, as text: the cursor of most of them, and the others' with the restaurants that they have,
 * `<cursor>,<remainder>/<modulus>=<cursor>,…`. By restaurants, since what is one database now may be two by the next page.
 */
export class Places {
  readonly #most: At;
  readonly #others: readonly { readonly of: ResidueClass; readonly at: At }[];

  /** @throws InvalidCommandError. What is no cursor, and what is no text, each database refuses */
  constructor(after: string | undefined) {
    const [most, ...others] = typeof after === 'string' ? after.split(',') : [];
    this.#most = most ?? after ?? undefined;
    this.#others = others.map((other) => {
      const [, remainder, modulus, at] = /^(\d{1,4})\/(\d{1,4})=(.*)$/.exec(other) ?? [];
      const of = { modulus: Number(modulus), remainder: Number(remainder) };
      if (!isClass(of)) throw new InvalidCommandError('Shards', ['after must be the `next` of a page']);
      return { of, at: at || undefined };
    });
  }

  /**
   * Where a database is to go on: the least of the places of all the restaurants that it has. Two databases may be one by the next page,
   * where a split was undone: what the one that was ahead has listed then comes twice, and nothing is left out.
   */
  of(shard: ResidueClass): At {
    const other = this.#others.find(({ of }) => contains(of, shard));
    if (other) return other.at;
    const parts = this.#others.filter(({ of }) => contains(shard, of));
    return parts.map(({ at }) => at).reduce(least, this.#most);
  }

  /** Where they go on after a page that ends with this cursor: those that gave no answer where they were to begin. */
  next(last: string, shards: readonly (ResidueClass & { readonly isAway: boolean })[]): string {
    const places = shards.map(({ isAway, ...of }) => {
      const begun = this.of(of);
      return { of, at: isAway || (begun !== undefined && compareCursors(begun, last) > 0) ? begun : last };
    });
    const furthest = places.reduce((most, { at }) => (at && compareCursors(at, most) > 0 ? at : most), last);
    const others = places.filter(({ at }) => at !== furthest);
    return [furthest, ...others.map(({ of, at = '' }) => `${of.remainder}/${of.modulus}=${at}`)].join(',');
  }
}
