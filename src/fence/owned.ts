import { bigint, orNull } from '../database/columns';
import { hasRemainder } from './fence-sql';
import { type ResidueClass } from './residue';

/** The columns of an `input` that say which restaurants are the database's own. */
export const ownedColumns = { shard_mask: orNull(bigint), shard_remainder: orNull(bigint) } as const;

/**
 * SQL: whether `restaurant_id` is one of them. What a restaurant that has moved away leaves behind is nothing to work on: a
 * single row of it would have the fence refuse the batch that it is in.
 */
export const IS_OWNED = `(shard_mask IS NULL
  OR ${hasRemainder('restaurant_id', 'shard_mask', 'shard_remainder')})`;

/** @param fence as read from the database; undefined where it has none, and so every restaurant */
export const ownedBy = (fence: ResidueClass | undefined) => ({
  shard_mask: fence ? fence.modulus - 1 : null,
  shard_remainder: fence ? fence.remainder : null,
});
