import { isUtf8 } from 'node:buffer';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { hasEnoughDigits, maskText } from './in-text';

/**
 * A payload with each card number masked; the payload itself where it holds none. JSON is looked at text by text and number
 * by number, keys included, and what is not masked stays as it was written; protobuf field by field, also in messages
 * within it, and keeps every length; other bytes as the text that they are. Numbers of protobuf are no text, and stay.
 */
export function maskPayload(payload: Uint8Array): Uint8Array {
  const bytes = Buffer.from(payload);
  const text = bytes.toString('utf8');
  if (!hasEnoughDigits(text)) return payload;
  if (isUtf8(bytes) && isJson(text)) {
    const masked = maskJson(text);
    return masked === text ? payload : Buffer.from(masked);
  }
  maskBytes(bytes, MOST_LEVELS);
  return bytes.equals(payload) ? payload : bytes;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** A text, or a number. Nothing else in JSON has digits. */
const JSON_TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/g;

/** A text is read first, since an escape such as `\n` is no letter. A number becomes a text. */
const maskJson = (json: string): string =>
  json.replace(JSON_TOKEN, (token) => {
    const text = token.startsWith('"') ? (JSON.parse(token) as string) : token;
    const masked = maskText(text);
    return masked === text ? token : JSON.stringify(masked);
  });

/** As many as readers of protobuf follow. */
const MOST_LEVELS = 100;

/**
 * Masks bytes in place. What can be read as a message may be a text by chance: then it has no control characters, which the
 * tags and lengths of most messages are.
 */
function maskBytes(bytes: Uint8Array, levels: number): void {
  const fields = levels > 0 ? fieldsOf(bytes) : undefined;
  for (const field of fields ?? []) maskBytes(field, levels - 1);
  const encoding = isUtf8(bytes) ? 'utf8' : 'latin1';
  const text = Buffer.from(bytes).toString(encoding);
  if (fields && CONTROL.test(text)) return;
  bytes.set(
    Buffer.from(
      maskText(text, (part) => Buffer.byteLength(part, encoding)),
      encoding,
    ),
  );
}

// eslint-disable-next-line no-control-regex -- It is them that tell.
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;

/** The fields of a message that have a length: texts, bytes, messages. Undefined where it is none. */
function fieldsOf(message: Uint8Array): Uint8Array[] | undefined {
  const reader = new BinaryReader(message);
  const fields: Uint8Array[] = [];
  try {
    while (reader.pos < reader.len) {
      const [number, wireType] = reader.tag();
      if (wireType === WireType.LengthDelimited) fields.push(reader.bytes());
      else reader.skip(wireType, number);
    }
  } catch {
    return undefined;
  }
  return fields;
}
