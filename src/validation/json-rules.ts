import { types } from 'node:util';
import { rule } from './rule';
import { isText } from './rules';

/** More than any request needs, and less than PostgreSQL, protobuf or this process could choke on. */
const MOST = { levels: 100, values: 100_000, characters: 1_000_000 };

const BOUNDS =
  `at most ${MOST.values} values and ${MOST.characters} characters in all, texts well-formed and without NUL, ` +
  'no key called __proto__';

/** An object that is the same after a round trip through JSON and that PostgreSQL can store as jsonb. */
export const JsonObject = (): PropertyDecorator =>
  rule({
    name: 'jsonObject',
    holds: (value) => isPlainObject(value) && isJson(value, MOST.levels, { ...MOST }, isJsonScalar),
    message: `must be a plain object of JSON values, at most ${MOST.levels} levels deep, ${BOUNDS}`,
  });

/** The same, and every number in it is the one that was written: JSON.parse changes integers beyond ±(2^53 − 1). */
export const ExactJsonObject = (): PropertyDecorator =>
  rule({
    name: 'exactJsonObject',
    holds: isExactJsonObject,
    message:
      `must be a plain object of JSON values without integers beyond ±(2^53 − 1), at most ${MOST.levels} levels deep, ` +
      BOUNDS,
  });

/** Whether it keeps the rule {@link ExactJsonObject}. */
export const isExactJsonObject = (value: unknown): value is Record<string, unknown> =>
  isPlainObject(value) && isJson(value, MOST.levels, { ...MOST }, isExactJsonScalar);

/** An object whose values are text. */
export const TextMap = (): PropertyDecorator =>
  rule({
    name: 'textMap',
    holds: (value) => isPlainObject(value) && isJson(value, 1, { ...MOST }, isText),
    message: `must be a plain object of texts, ${BOUNDS}`,
  });

/** What may still come. */
interface Left {
  values: number;
  characters: number;
}

/**
 * Runs into a bound where a value is circular, or holds one object many times over.
 *
 * @param isScalar what may stand where no object or array does
 */
function isJson(value: unknown, levels: number, left: Left, isScalar: (value: unknown) => boolean): boolean {
  if (--left.values < 0) return false;
  if (typeof value === 'string' && (left.characters -= value.length) < 0) return false;
  if (isScalar(value)) return true;
  if (levels === 0) return false;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlainObject(value)) return false;
  if (types.isProxy(value) || hasToJson(value) || Object.getOwnPropertySymbols(value).length > 0) return false;
  if (isArray && value.length > left.values) return false;
  const names = isArray ? Object.keys(value) : Object.getOwnPropertyNames(value);
  // A hole in an array would become null, what it has beside its elements be left out.
  if (isArray && names.length !== value.length) return false;
  for (const name of names) {
    if (!isArray && !isKey(name, left)) return false;
    // What is not enumerable would be left out; a getter may give something else when it is asked again.
    const held = Object.getOwnPropertyDescriptor(value, name)!;
    if (!held.enumerable || !isJson(held.value, levels - 1, left, isScalar)) return false;
  }
  return true;
}

const isKey = (name: string, left: Left): boolean =>
  isText(name) && name !== '__proto__' && (left.characters -= name.length) >= 0;

/** Minus zero would come back as zero. */
const isJsonScalar = (value: unknown): boolean =>
  value === null ||
  typeof value === 'boolean' ||
  (typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0)) ||
  isText(value);

const isExactJsonScalar = (value: unknown): boolean =>
  isJsonScalar(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));

/** It would have itself written as something else. */
const hasToJson = (value: object): boolean => typeof (value as { toJSON?: unknown }).toJSON === 'function';

/** Not an instance of any class; `Object` itself is another one in another realm, such as that of a test runner. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
