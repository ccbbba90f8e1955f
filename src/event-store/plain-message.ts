import {
  create,
  fromBinary,
  ScalarType,
  toBinary,
  type DescField,
  type DescMessage,
  type Message,
} from '@bufbuild/protobuf';
import { UnencodableMessageError } from '../errors';
import { type AuthStatus } from './generated/payments/v1/events_pb';

/** A status as events name it. `UNSPECIFIED` is what a message without a status reads as. */
export type AuthStatusName = keyof typeof AuthStatus;

/**
 * A generated message as plain data: amounts are safe integers, times are `Date` (whole seconds; `undefined` for a
 * time that is not set, which protobuf writes as 0), statuses are names. Everything else is as generated: a string or
 * number that is not set reads as `''` or 0, a map as an empty one.
 */
export type Plain<M extends Message> = {
  readonly [K in Exclude<keyof M, keyof Message>]: PlainField<K, M[K]>;
};

type PlainField<K, V> = V extends bigint
  ? K extends `${string}At`
    ? Date | undefined
    : number
  : V extends string | boolean | undefined
    ? V
    : 99 extends V // any number, and not the members of an enum
      ? V
      : V extends AuthStatus
        ? AuthStatusName
        : V extends Message
          ? Plain<V>
          : Readonly<V>;

type Fields = Readonly<Record<string, unknown>>;

/** @throws {UnencodableMessageError} a field holds what its type cannot carry */
export function encodePlain(message: DescMessage, data: object): Uint8Array {
  return toBinary(message, create(message, mapFields(message, data, toGenerated) as Record<string, unknown>));
}

/**
 * Fields that the definition does not know are left out.
 *
 * @throws what the runtime throws about malformed bytes; its text may quote them, so callers must replace the error
 */
export function decodePlain(message: DescMessage, bytes: Uint8Array): object {
  return mapFields(message, fromBinary(message, bytes), toPlain);
}

type Convert = (field: DescField, value: unknown) => unknown;

function mapFields(message: DescMessage, data: object, convert: Convert): Fields {
  const result: Record<string, unknown> = {};
  for (const field of message.fields) {
    const value = (data as Fields)[field.localName];
    const absent = value === undefined && (field.fieldKind === 'message' || isTime(field));
    result[field.localName] = absent ? undefined : convert(field, value);
  }
  return result;
}

function toPlain(field: DescField, value: unknown): unknown {
  if (value === 0n && isTime(field)) return undefined;
  const plain = plainValue(field, value);
  if (plain === undefined) throw new RangeError(`${field.toString()} holds what plain data cannot`);
  return plain;
}

function plainValue(field: DescField, value: unknown): unknown {
  if (field.fieldKind === 'enum') return field.enum.value[value as number]?.localName;
  if (field.fieldKind === 'message') return mapFields(field.message, value as object, toPlain);
  if (typeof value !== 'bigint') return value;
  return isTime(field) ? validDate(Number(value) * 1000) : safeInteger(Number(value));
}

/** Checks every value, for the runtime would turn some into others: a number into text, half of a character into U+FFFD. */
function toGenerated(field: DescField, value: unknown): unknown {
  const generated = generatedValue(field, value);
  if (generated === undefined) throw new UnencodableMessageError(field.parent.name, field.localName);
  return generated;
}

function generatedValue(field: DescField, value: unknown): unknown {
  switch (field.fieldKind) {
    case 'enum':
      return field.enum.values.find(({ localName }) => localName === value)?.number;
    case 'message':
      return isObject(value) ? mapFields(field.message, value, toGenerated) : undefined;
    case 'map':
      return isObject(value) && Object.entries(value).flat().every(isText) ? value : undefined;
    case 'scalar':
      return isTime(field) ? unixSeconds(value) : scalars[field.scalar]?.(value);
    case 'list':
      return undefined; // no message has one
  }
}

/** The scalar types that the definitions use; `undefined` for what the type cannot carry. */
const scalars: { readonly [T in ScalarType]?: (value: unknown) => unknown } = {
  [ScalarType.STRING]: (value) => (isText(value) ? value : undefined),
  [ScalarType.BOOL]: (value) => (typeof value === 'boolean' ? value : undefined),
  [ScalarType.INT32]: (value) => (value === Number(value) && value === (value | 0) ? value : undefined),
  [ScalarType.INT64]: (value) => (safeInteger(value) === undefined ? undefined : BigInt(value as number)),
};

/** The naming rule of the definitions, which `PlainField` follows too: an int64 `*_at` is in Unix seconds. */
const isTime = (field: DescField) => field.localName.endsWith('At');

function unixSeconds(value: unknown): bigint | undefined {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) return undefined;
  return BigInt(Math.floor(value.getTime() / 1000));
}

function validDate(milliseconds: number): Date | undefined {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

const safeInteger = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : undefined);
const isText = (value: unknown) => typeof value === 'string' && value.isWellFormed();
const isObject = (value: unknown) => typeof value === 'object' && value !== null;
