import { type ValueTransformer } from 'typeorm';

/**
 * A `bigint` column that holds an amount: a `number` in TypeScript. PostgreSQL's bigint goes further than a number is
 * exact, so a value outside ±(2^53 − 1), a fraction or anything else than a number throws instead of being rounded.
 *
 * @throws RangeError
 */
export const safeInteger: ValueTransformer = {
  from: (stored: string | null) => (stored === null ? null : assertSafe(Number(stored))),
  // A find operator or a raw expression (an object) is not a value: TypeORM transforms what is inside it.
  to: (value: unknown) =>
    value === null || value === undefined || typeof value === 'object' ? value : assertSafe(value),
};

/**
 * A `bigint` column that holds a position or a counter: a `bigint` in TypeScript. What the database filled in comes back
 * so from `find` and `save`; TypeORM's `insert` hands it back as it came over the wire, a string.
 */
export const position: ValueTransformer = {
  from: (stored: string | null) => (stored === null ? null : BigInt(stored)),
  to: (value: unknown) => (typeof value === 'bigint' ? value.toString() : value),
};

function assertSafe(value: unknown): number {
  if (!Number.isSafeInteger(value)) throw new RangeError('An amount must be a whole number within ±(2^53 − 1).');
  return value as number;
}
