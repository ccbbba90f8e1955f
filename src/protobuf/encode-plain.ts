import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { UnencodableMessageError } from '../errors';
import { isTime } from './plain-message';

type Fields = Readonly<Record<string, unknown>>;

/**
 * Writes the value of a field, unless it is the field's default, which protobuf leaves out. False where the field's type
 * cannot carry it: `BinaryWriter` would turn some values into others, a number into text, half of a character into U+FFFD.
 */
type Write = (writer: BinaryWriter, value: unknown) => boolean;

/** One serves all, since memory for a new one takes longer than writing to it. It keeps what its largest message took. */
let writer = new BinaryWriter();
const MOST_KEPT = 65_536;

/**
 * The bytes of a message: those of `toBinary`, without a generated message in between.
 *
 * @throws {UnencodableMessageError} a field holds what its type cannot carry
 */
export function encodePlain(message: DescMessage, data: object): Uint8Array {
  if (!isObject(data)) throw new UnencodableMessageError(message.name, 'data');
  try {
    writeFields(writer, message, data);
    const bytes = writer.finish();
    if (bytes.length > MOST_KEPT) writer = new BinaryWriter();
    return bytes;
  } catch (error) {
    writer = new BinaryWriter(); // half a message is in the other
    // What a getter throws may say anything.
    throw error instanceof UnencodableMessageError ? error : new UnencodableMessageError(message.name, 'data');
  }
}

function writeFields(writer: BinaryWriter, message: DescMessage, data: Fields): void {
  for (const { localName, write } of fieldsOf(message)) {
    if (!write(writer, data[localName])) throw new UnencodableMessageError(message.name, localName);
  }
}

const known = new WeakMap<DescMessage, readonly { localName: string; write: Write }[]>();

function fieldsOf(message: DescMessage) {
  let fields = known.get(message);
  if (!fields) {
    fields = message.fields.map((field) => ({ localName: field.localName, write: writeOf(field) }));
    known.set(message, fields);
  }
  return fields;
}

function writeOf(field: DescField): Write {
  switch (field.fieldKind) {
    case 'enum': {
      const numbers = new Map<unknown, number>(field.enum.values.map(({ localName, number }) => [localName, number]));
      return (writer, value) => {
        const number = numbers.get(value);
        if (number) writer.tag(field.number, WireType.Varint).int32(number);
        return number !== undefined;
      };
    }
    case 'message':
      return (writer, value) => {
        if (value === undefined) return true;
        if (!isObject(value)) return false;
        writer.tag(field.number, WireType.LengthDelimited).fork();
        writeFields(writer, field.message, value);
        writer.join();
        return true;
      };
    case 'map':
      return (writer, value) => isObject(value) && writeTexts(writer, field.number, value);
    case 'scalar': {
      const write = isTime(field) ? writeTime : scalars[field.scalar];
      return (writer, value) => write?.(writer, field.number, value) ?? false;
    }
    case 'list':
      return () => false; // no message has one
  }
}

function writeTexts(writer: BinaryWriter, field: number, texts: Fields): boolean {
  for (const [key, text] of Object.entries(texts)) {
    if (!isText(key) || !isText(text)) return false;
    // The entry of a map is a message of key and value, neither left out.
    writer.tag(field, WireType.LengthDelimited).fork();
    writer.tag(1, WireType.LengthDelimited).string(key);
    writer.tag(2, WireType.LengthDelimited).string(text);
    writer.join();
  }
  return true;
}

type WriteScalar = (writer: BinaryWriter, field: number, value: unknown) => boolean;

/** The scalar types that the definitions use. */
const scalars: { readonly [T in ScalarType]?: WriteScalar } = {
  [ScalarType.STRING]: (writer, field, value) => {
    if (!isText(value)) return false;
    if (value !== '') writer.tag(field, WireType.LengthDelimited).string(value);
    return true;
  },
  [ScalarType.BOOL]: (writer, field, value) => {
    if (value === true) writer.tag(field, WireType.Varint).bool(value);
    return typeof value === 'boolean';
  },
  [ScalarType.INT32]: (writer, field, value) =>
    typeof value === 'number' && value === (value | 0) && writeInteger(writer, field, value),
  [ScalarType.INT64]: writeInteger,
};

function writeInteger(writer: BinaryWriter, field: number, value: unknown): boolean {
  if (!Number.isSafeInteger(value)) return false;
  if (value !== 0) writer.tag(field, WireType.Varint).int64(value as number);
  return true;
}

/** In Unix seconds. */
function writeTime(writer: BinaryWriter, field: number, value: unknown): boolean {
  if (value === undefined) return true;
  return value instanceof Date && writeInteger(writer, field, Math.floor(value.getTime() / 1000));
}

const isText = (value: unknown): value is string => typeof value === 'string' && value.isWellFormed();
const isObject = (value: unknown): value is Fields => typeof value === 'object' && value !== null;
