import { bigint, orNull } from '../database/columns';
import { type Queryable } from '../database/queryable';
import { hasRemainder } from './fence-sql';
import { readFence } from './read-fence';
import { type ResidueClass } from './residue';

/** The columns of an `input` that say which restaurants are the database's own. */
export const ownedColumns = { shard_mask: orNull(bigint), shard_remainder: orNull(bigint) } as const;

/**
 * SQL: whether `restaurant_id` is one of them. What a restaurant that has moved away leaves behind is nothing to work on: a
 * single row of it would have the fence refuse the batch that it is in. Nor is it to be listed or counted: where it has moved to
 * it goes on.
 *
 * An inequality of a CASE, which the planner takes to be true of all rows but one in two hundred. Of a plain condition it would expect
 * few rows in a plan for any values, also where there is no fence, and would read and sort all that it can read in the order of an index.
 */
export const IS_OWNED = `CASE WHEN shard_mask IS NULL OR ${hasRemainder('restaurant_id', 'shard_mask', 'shard_remainder')}
  THEN 1 ELSE 0 END <> 0`;

/** @param fence as read from the database; undefined where it has none, and so every restaurant */
export const ownedBy = (fence: ResidueClass | undefined) => ({
  shard_mask: fence ? fence.modulus - 1 : null,
  shard_remainder: fence ? fence.remainder : null,
});

/**
 * The same for a statement that comes next. A split may cut over in between: what has moved by then counts as it was right before.
 *
 * @throws ConfigurationError, WrongShardError as {@link readFence}
 */
export const readOwned = async (session: Queryable) => ownedBy(await readFence(session));
