import { isPlainObject } from '../validation/json-rules';
import { maskPayload } from './in-payload';
import { maskText, textHolds } from './in-text';

/** No number with fewer digits is a card's; beyond the other bound a number has lost its last digits. */
const SMALLEST = 1e13;
const LARGEST = 1e19;

/**
 * Whether a value holds what looks like a card number: a text, a whole number, a key or a value of an object, an element of a
 * list, a payload. Other values, such as dates, hold none. A value as deep as commands may be: 100 levels.
 */
export function holdsCardNumber(value: unknown): boolean {
  if (typeof value === 'string') return textHolds(value);
  if (typeof value === 'number') return numberHolds(value);
  if (Array.isArray(value)) return value.some(holdsCardNumber);
  if (value instanceof Uint8Array) return maskPayload(value) !== value;
  if (!isPlainObject(value)) return false;
  for (const key of Object.keys(value)) if (textHolds(key) || holdsCardNumber(value[key])) return true;
  return false;
}

const numberHolds = (value: number): boolean =>
  value >= SMALLEST && value < LARGEST && Number.isInteger(value) && textHolds(String(value));

/** What was found in a value. */
export interface Masked {
  /** The value with each card number masked. */
  readonly value: unknown;
  /** Where they were, such as `metadata.items[2].note`. A card number that is a key is masked there as well. */
  readonly paths: readonly string[];
}

/** Masks what {@link holdsCardNumber} tells. A number becomes text, since digits and X are no number. */
export function maskValue(value: unknown, path: string): Masked {
  const paths: string[] = [];
  return { value: masked(value, path, paths), paths };
}

function masked(value: unknown, path: string, paths: string[]): unknown {
  if (!holdsCardNumber(value)) return value;
  if (Array.isArray(value)) return value.map((each, index) => masked(each, `${path}[${index}]`, paths));
  if (isPlainObject(value)) return maskedObject(value, path, paths);
  paths.push(path);
  return value instanceof Uint8Array ? maskPayload(value) : maskText(String(value));
}

/** Keys that are the same once they are masked are told apart by a number, in the order of what they were. */
function maskedObject(value: Record<string, unknown>, path: string, paths: string[]): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  const [others, found] = [false, true].map((holds) => Object.keys(value).filter((key) => textHolds(key) === holds));
  for (const key of others!) copy[key] = masked(value[key], pathTo(path, key), paths);
  for (const key of found!.toSorted()) {
    const name = maskText(key);
    let free = name;
    for (let count = 2; Object.hasOwn(copy, free); count++) free = `${name} (${count})`;
    paths.push(pathTo(path, name));
    copy[free] = masked(value[key], pathTo(path, name), paths);
  }
  return copy;
}

/** The longest key that a path shows whole. */
const LONGEST_KEY = 64;

const pathTo = (path: string, key: string): string => {
  const name = maskText(key);
  if (/^[A-Za-z_$][\w$]*$/.test(name) && name.length <= LONGEST_KEY) return `${path}.${name}`;
  const shown = name.length > LONGEST_KEY ? `${name.slice(0, LONGEST_KEY)}…` : name;
  return `${path}[${JSON.stringify(shown)}]`;
};
