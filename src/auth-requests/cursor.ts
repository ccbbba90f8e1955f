import { rule } from '../validation/rule';

/**
 * A cursor is what an item of a list is sorted by, as text with `_` between: nothing in it is of one database, so that it is
 * good at any. Times are microseconds since 1970, as the database has them: a Date would cut them off, and a list that goes on at
 * it would repeat or skip rows of the same millisecond. Of so few digits that all of them are times in
 * PostgreSQL.
 */
const PLACE = '(-?\\d{1,17}|\\d{18})_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}';

/** By time and request: of a restaurant's. */
export const BY_TIME = new RegExp(`^${PLACE}$`);

/** In at most two parts, one after the other, each by time and request. */
export const IN_PARTS = new RegExp(`^[01]_${PLACE}$`);

/** The same, then by two names as hexadecimal UTF-8 without NUL. */
export const IN_PARTS_BY_NAMES = new RegExp(`^[01]_${PLACE}(_((?!00)[0-9a-f]{2})*){2}$`);

/** A place in a list, as the list itself has given it. */
export const Cursor = (pattern: RegExp): PropertyDecorator =>
  rule({
    name: 'cursor',
    constraints: [pattern],
    holds: (value) => typeof value === 'string' && pattern.test(value),
    message: 'must be what a page of the same list has given to go on at',
  });

/** SQL: a time as the microseconds of a cursor. */
export const microsecondsOf = (time: string): string => `(extract(epoch FROM ${time}) * 1000000)::bigint`;

/**
 * SQL: the time that the microseconds of a cursor are. Whole seconds apart from the rest: an interval is multiplied by a double, which
 * has no room for every microsecond from the year 2255 on.
 */
export const timeOf = (microseconds: string): string =>
  `timestamptz 'epoch' + ${microseconds} / 1000000 * interval '1 second' + ${microseconds} % 1000000 * interval '1 microsecond'`;

export const toHex = (text: string): string => Buffer.from(text).toString('hex');

export const fromHex = (hex: string): string => Buffer.from(hex, 'hex').toString();
