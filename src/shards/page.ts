import { type Each, type Merged } from './all-shards';
import { by, limitOf } from './merge';
import { compareCursors, Places } from './places';
import { type Shard } from './shard';

/** A page of what all databases that answer have found, in one order. */
export interface MergedPage<T> extends Merged<T> {
  /**
   * Pass it as `after` for the next page; undefined where those that answer have no more. A database that is away is gone on
   * with where it last answered: when it is back, what it has comes once, though later than in its order. So nothing is missing
   * from pages of which the last one has an empty `away`. Where two databases are one by then, since a split was undone, some items
   * come twice.
   */
  readonly next: string | undefined;
}

interface Listed {
  readonly authRequestId: string;
  /** Null: such items come last, and no page goes on after one. */
  readonly cursor: string | null;
}

/** Which page of a list. */
interface PageCommand {
  readonly limit?: number;
  readonly after?: string;
}

/** One page of a list of all databases. */
export async function pageOf<T extends Listed>(
  each: Each,
  command: PageCommand | undefined,
  list: (shard: Shard, command: PageCommand) => Promise<readonly T[]>,
): Promise<MergedPage<T>> {
  const limit = limitOf(command);
  const places = new Places(command?.after);
  const { results, away, asked } = await each((shard) => list(shard, { limit, after: places.of(shard.class) }));
  const items = results
    .flatMap(({ value }) => value)
    .sort(IN_ORDER)
    .slice(0, limit);
  const last = items.length === limit ? cursorOf(items.at(-1)!) : null;
  const silent = new Set(away.map(({ shard }) => shard));
  const shards = asked.map(({ name, modulus, remainder }) => ({ modulus, remainder, isAway: silent.has(name) }));
  return { items, away, next: last === null ? undefined : places.next(last, shards) };
}

const cursorOf = ({ cursor }: Listed) => cursor;

const BY_REQUEST = by<Listed>(({ authRequestId }) => authRequestId);

/** Two with one request are of one database, which has put them in order. */
function IN_ORDER(one: Listed, other: Listed): number {
  if (one.cursor !== null && other.cursor !== null) return compareCursors(one.cursor, other.cursor);
  return one.cursor === other.cursor ? BY_REQUEST(one, other) : one.cursor === null ? 1 : -1;
}
