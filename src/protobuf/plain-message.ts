import { fromBinary, type DescField, type DescMessage, type Message } from '@bufbuild/protobuf';
import { type AuthStatus, type HoldEnd } from './generated/payments/v1/events_pb';

/** A status as events name it. `UNSPECIFIED` is what a message without a status reads as. */
export type AuthStatusName = keyof typeof AuthStatus;

/** How a hold ended, as events name it. */
export type HoldEndName = keyof typeof HoldEnd;

/**
 * A generated message as plain data: amounts are safe integers, times are `Date` (whole seconds; `undefined` for a
 * time that is not set, which protobuf writes as 0), statuses and ends are names. Everything else is as generated: a string or
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
        : V extends HoldEnd
          ? HoldEndName
          : V extends Message
            ? Plain<V>
            : Readonly<V>;

type Fields = Readonly<Record<string, unknown>>;

/**
 * Fields that the definition does not know are left out.
 *
 * @throws what the runtime throws about malformed bytes; its text may quote them, so callers must replace the error
 */
export function decodePlain(message: DescMessage, bytes: Uint8Array): object {
  return toPlain(message, fromBinary(message, bytes));
}

function toPlain(message: DescMessage, data: Fields): Fields {
  const plain: Record<string, unknown> = {};
  for (const field of message.fields) plain[field.localName] = plainField(field, data[field.localName]);
  return plain;
}

function plainField(field: DescField, value: unknown): unknown {
  if (value === undefined || (value === 0n && isTime(field))) return undefined;
  const plain = plainValue(field, value);
  if (plain === undefined) throw new RangeError(`${field.toString()} holds what plain data cannot`);
  return plain;
}

function plainValue(field: DescField, value: unknown): unknown {
  if (field.fieldKind === 'enum') return field.enum.value[value as number]?.localName;
  if (field.fieldKind === 'message') return toPlain(field.message, value as Fields);
  if (typeof value !== 'bigint') return value;
  return isTime(field) ? validDate(Number(value) * 1000) : safeInteger(Number(value));
}

/** The naming rule of the definitions, which `PlainField` follows too: an int64 `*_at` is in Unix seconds. */
export const isTime = (field: DescField) => field.localName.endsWith('At');

function validDate(milliseconds: number): Date | undefined {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

const safeInteger = (value: number) => (Number.isSafeInteger(value) ? value : undefined);
