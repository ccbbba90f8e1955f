import { buildMessage, ValidateBy, type ValidationOptions } from 'class-validator';

/** Text that PostgreSQL can store: so many characters (code points), well-formed, without NUL. */
export const Text = (min: number, max: number, options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'text',
      constraints: [min, max],
      validator: {
        validate: (value) => isText(value) && hasCharacters(value, min, max),
        defaultMessage: () => `$property must be text of ${min} to ${max} characters, without NUL`,
      },
    },
    options,
  );

/** An object that is the same after a round trip through JSON and that PostgreSQL can store as jsonb. */
export const JsonObject = (options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'jsonObject',
      validator: {
        validate: (value) => isPlainObject(value) && isJson(value),
        defaultMessage: () => '$property must be a plain object of JSON values, its texts without NUL',
      },
    },
    options,
  );

/** An object whose values are text. */
export const TextMap = (options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'textMap',
      validator: {
        validate: (value) => isPlainObject(value) && Object.entries(value).flat().every(isText),
        defaultMessage: () => '$property must be an object of texts, without NUL',
      },
    },
    options,
  );

/** A UUID as PostgreSQL takes it: of any version, or of none, such as the all but empty one of the test restaurant. */
export const Uuid = (options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'uuid',
      validator: {
        validate: isUuid,
        defaultMessage: buildMessage((each) => `${each}$property must be a UUID`, options),
      },
    },
    options,
  );

/** Whether it is a UUID in the usual form, in either case. */
export const isUuid = (value: unknown): value is string =>
  typeof value === 'string' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);

/** A bigint from 0 to PostgreSQL's largest. */
export const FencingToken = (options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'fencingToken',
      validator: {
        validate: (value) => typeof value === 'bigint' && value >= 0n && value < 2n ** 63n,
        defaultMessage: () => '$property must be a bigint from 0 to 2^63 - 1',
      },
    },
    options,
  );

/** Bytes: a Buffer or another Uint8Array. */
export const Bytes = (options?: ValidationOptions): PropertyDecorator =>
  ValidateBy(
    {
      name: 'bytes',
      validator: {
        validate: (value) => value instanceof Uint8Array,
        defaultMessage: () => '$property must be a Uint8Array',
      },
    },
    options,
  );

const isText = (value: unknown): value is string =>
  typeof value === 'string' && !value.includes('\0') && value.isWellFormed();

/** In code points. A string counts those beyond U+FFFF, each a pair of surrogates, as two: it has half as many at least. */
function hasCharacters(text: string, min: number, max: number): boolean {
  if (text.length <= max && text.length >= 2 * min) return true;
  const characters = text.length - (text.match(/[\ud800-\udbff]/g)?.length ?? 0);
  return characters >= min && characters <= max;
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function isJson(value: unknown): boolean {
  if (value === null || typeof value === 'boolean') return true;
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value === 'string') return isText(value);
  if (Array.isArray(value)) return value.every(isJson);
  return isPlainObject(value) && Object.entries(value).every(([key, inner]) => isText(key) && isJson(inner));
}
