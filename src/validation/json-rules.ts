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
    holds: (value) => isPlainObject(value) && isJson(value, { ...MOST }),
    message: `must be a plain object of JSON values, at most ${MOST.levels} levels deep, ${BOUNDS}`,
  });

/** An object whose values are text. */
export const TextMap = (): PropertyDecorator =>
  rule({
    name: 'textMap',
    holds: (value) => isPlainObject(value) && isJson(value, { ...MOST, levels: 1 }, isText),
    message: `must be a plain object of texts, ${BOUNDS}`,
  });

/** What may still come. */
interface Left {
  readonly levels: number;
  values: number;
  characters: number;
}

/**
 * Runs into a bound where a value is circular, or holds one object many times over.
 *
 * @param isScalar what may stand where no object or array does
 */
function isJson(value: unknown, left: Left, isScalar = isJsonScalar): boolean {
  if (--left.values < 0) return false;
  if (typeof value === 'string' && (left.characters -= value.length) < 0) return false;
  if (isScalar(value)) return true;
  if (left.levels === 0) return false;
  const isArray = Array.isArray(value);
  if (!isArray && !isPlainObject(value)) return false;
  if (types.isProxy(value) || hasToJson(value)) return false;
  if (isArray && value.length > left.values) return false;
  const keys = Reflect.ownKeys(value);
  // Of an array these are its indexes and `length`: a hole would become null, anything else be left out.
  if (isArray && keys.length !== value.length + 1) return false;
  const inner = { ...left, levels: left.levels - 1 };
  for (const key of keys) {
    if (isArray && key === 'length') continue;
    if (!isArray && !isKey(key, inner)) return false;
    // What is not enumerable would be left out; a getter may give something else when it is asked again.
    const held = Object.getOwnPropertyDescriptor(value, key)!;
    if (!held.enumerable || !isJson(held.value, inner, isScalar)) return false;
  }
  left.values = inner.values;
  left.characters = inner.characters;
  return true;
}

const isKey = (key: string | symbol, left: Left): boolean =>
  isText(key) && key !== '__proto__' && (left.characters -= key.length) >= 0;

/** Minus zero would come back as zero. */
const isJsonScalar = (value: unknown): boolean =>
  value === null ||
  typeof value === 'boolean' ||
  (typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0)) ||
  isText(value);

/** It would have itself written as something else. */
const hasToJson = (value: object): boolean => typeof (value as { toJSON?: unknown }).toJSON === 'function';

/** Not an instance of any class; `Object` itself is another one in another realm, such as that of a test runner. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
