import { isClass, PARTITION_CONSTANT, PARTITION_SEED, type ResidueClass } from './residue';

/**
 * The tables that refuse a restaurant of another database, and so keep every operation from writing one: each that changes
 * a request or money appends an event, a claim takes a key, and a configuration is a row of its own. The outbox has no
 * fence: its relay marks messages that were there before. Nor have the others, which are written with an event. In the order
 * in which writers lock them.
 */
export const FENCED_TABLES = ['auth_idempotency_keys', 'payment_events', 'restaurant_payment_configs'] as const;
export type FencedTable = (typeof FENCED_TABLES)[number];

/** The name of a table's fence. `translateError` makes a `WrongShardError` of it. */
export const fenceOf = (table: FencedTable): string => `${table}_shard`;

/** A condition on `restaurant_id` that holds for the restaurants of a class, and is PostgreSQL's own rule for partitions. */
export const inClass = ({ modulus, remainder }: ResidueClass, column = 'restaurant_id'): string =>
  hasRemainder(column, modulus - 1, remainder);

/** The same, where the mask, the modulus without one, and the remainder may be columns. */
export const hasRemainder = (column: string, mask: number | string, remainder: number | string): string =>
  // Masked before the constant is added: the sum of two bigints could be out of range.
  `((uuid_hash_extended(${column}, ${PARTITION_SEED}) & ${mask}) + ${PARTITION_CONSTANT}) & ${mask} = ${remainder}`;

/** What PostgreSQL 15 to 18 print of a fence, also after a dump and its restore. Anything else is none. */
export const printedFence = ({ modulus, remainder }: ResidueClass): string => {
  const mask = `(${modulus - 1})::bigint`;
  const hash = `(uuid_hash_extended(restaurant_id, '${PARTITION_SEED}'::bigint) & ${mask})`;
  return `CHECK ((((${hash} + ${PARTITION_CONSTANT}) & ${mask}) = ${remainder})) NOT VALID`;
};

/** The class of a fence by what PostgreSQL prints of it; undefined where it is weaker, or is not ours. */
export function classOfFence(printed: string): ResidueClass | undefined {
  const [, mask, remainder] = /& \((\d+)\)::bigint\) = (\d+)\)\) NOT VALID$/.exec(printed) ?? [];
  const shard = { modulus: Number(mask) + 1, remainder: Number(remainder) };
  return isClass(shard) && printed === printedFence(shard) ? shard : undefined;
}

/** NOT VALID: rows of restaurants that have moved away stay as they are, since an event is never deleted. */
export const addFence = (table: FencedTable, shard: ResidueClass): string =>
  `ALTER TABLE ${table} ADD CONSTRAINT ${fenceOf(table)} CHECK (${inClass(shard)}) NOT VALID`;

export const dropFence = (table: FencedTable): string =>
  `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${fenceOf(table)}`;
