import { type ValidationOptions } from 'class-validator';
import { rule } from './rule';
import { otherValue } from './row-rules';

/** The longest that a timer of Node and a time-out of PostgreSQL can be, in milliseconds: about 25 days. */
export const LONGEST_TIMER_MS = 2_147_483_647;

/** The longest age that is asked for, in milliseconds: a hundred years. PostgreSQL's times reach further back. */
export const LONGEST_AGE_MS = 100 * 365 * 86_400_000;

/** The largest number of an event in its stream, and of any other `integer` of PostgreSQL. */
export const LARGEST_INTEGER = 2_147_483_647;

/** The largest position or message id: `bigint` of PostgreSQL. */
export const LARGEST_BIGINT = 2n ** 63n - 1n;

/** Text that PostgreSQL can store: so many characters (code points), well-formed, without NUL. */
export const Text = (min: number, max: number): PropertyDecorator =>
  rule({
    name: 'text',
    constraints: [min, max],
    holds: (value) => isText(value) && hasCharacters(value, min, max),
    message: `must be text of ${min} to ${max} characters, well-formed and without NUL`,
  });

/** A number without a fraction, within bounds: one rule, so that a wrong type is named as such and nothing else is. */
export const WholeNumber = (min: number, max: number): PropertyDecorator =>
  rule({
    name: 'wholeNumber',
    constraints: [min, max],
    holds: (value) => Number.isSafeInteger(value) && (value as number) >= min && (value as number) <= max,
    message: `must be an integer from ${min} to ${max}`,
  });

/** True or false, and no object that stands for it, which would always be true. */
export const Flag = (): PropertyDecorator =>
  rule({ name: 'flag', holds: (value) => typeof value === 'boolean', message: 'must be true or false' });

/** The same as {@link WholeNumber}, as a bigint. */
export const BigInteger = (min: bigint, max: bigint): PropertyDecorator =>
  rule({
    name: 'bigInteger',
    constraints: [min, max],
    holds: (value) => typeof value === 'bigint' && value >= min && value <= max,
    message: `must be a bigint from ${min} to ${max}`,
  });

/** A list of some of these texts: of one at least. */
export const SomeOf = (values: readonly string[]): PropertyDecorator =>
  rule({
    name: 'someOf',
    constraints: [values],
    holds: (value) =>
      Array.isArray(value) && value.length > 0 && value.every((each) => values.includes(each as string)),
    message: `must be a list of ${values.join(', ')}, or some of them`,
  });

/** The far end of a window lies behind its near end, or nothing could ever be found. */
export const WiderThan = (property: string): PropertyDecorator =>
  rule({
    name: 'widerThan',
    constraints: [property],
    holds: (value, args) => {
      const other = otherValue(args, property);
      // Where that is no number, it is what is wrong.
      return typeof other !== 'number' || (value as number) > other;
    },
    message: `must be more than ${property}, or no request could match`,
  });

/** A point in time that every client of the database can read: of the years 1970 to 9999. */
export const Instant = (): PropertyDecorator =>
  rule({
    name: 'instant',
    holds: (value) => value instanceof Date && value.getTime() >= 0 && value.getTime() < YEAR_10000,
    message: 'must be a valid Date of the years 1970 to 9999',
  });

const YEAR_10000 = Date.UTC(10_000, 0);

/** ISO 4217, upper case. */
export const Currency = (): PropertyDecorator =>
  rule({
    name: 'currency',
    holds: (value) => typeof value === 'string' && /^[A-Z]{3}$/.test(value),
    message: 'must be three letters A to Z (ISO 4217)',
  });

/** A UUID as PostgreSQL takes it: of any version, or of none, such as the all but empty one of the test restaurant. */
export const Uuid = (options?: ValidationOptions): PropertyDecorator =>
  rule({ name: 'uuid', holds: isUuid, message: 'must be a UUID' }, options);

/** Whether it is a UUID in the usual form, in either case. */
export const isUuid = (value: unknown): value is string =>
  typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);

/** Bytes: a Buffer or another Uint8Array. */
export const Bytes = (): PropertyDecorator =>
  rule({ name: 'bytes', holds: (value) => value instanceof Uint8Array, message: 'must be a Uint8Array' });

/** Whether it is text that PostgreSQL can store. */
export const isText = (value: unknown): value is string =>
  typeof value === 'string' && !value.includes('\0') && value.isWellFormed();

/** In code points. A string counts those beyond U+FFFF, each a pair of surrogates, as two: it has half as many at least. */
function hasCharacters(text: string, min: number, max: number): boolean {
  if (text.length <= max && text.length >= 2 * min) return true;
  const characters = text.length - (text.match(/[\ud800-\udbff]/g)?.length ?? 0);
  return characters >= min && characters <= max;
}
