import { type MessageAttributeValue } from '@aws-sdk/client-sqs';
import { type RelayMessage } from '../../outbox/publisher';

/** Limits of SQS, from its API reference. */
const MAX_ATTRIBUTES = 10;
const ATTRIBUTE_NAME = /^(?!(aws|amazon)\.)[\w-]+(\.[\w-]+)*$/i;
const MAX_ATTRIBUTE_NAME_LENGTH = 256;
/** What an XML document cannot hold. */
const FORBIDDEN_CHARACTER = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

/** A message in the form of SQS, but for the queue and its place in a batch. */
export interface SqsMessage {
  readonly body: string;
  readonly attributes: Record<string, MessageAttributeValue>;
  /** As SQS counts: body and attributes, in UTF-8. */
  readonly bytes: number;
}

/** The payload in Base64, since SQS carries text only; the headers as attributes, with three of our own. */
export function toSqsMessage({ id, messageType, payload, headers }: RelayMessage): SqsMessage {
  const texts = {
    'content-type': 'application/x-protobuf',
    ...headers,
    'message-type': messageType,
    'outbox-id': id.toString(),
  };
  const body = Buffer.from(payload).toString('base64');
  const attributes = Object.entries(texts).map(
    ([name, StringValue]) => [name, { DataType: 'String', StringValue }] as const,
  );
  return {
    body,
    attributes: Object.fromEntries(attributes),
    bytes: body.length + Buffer.byteLength(Object.entries(texts).flat().join('')) + attributes.length * 'String'.length,
  };
}

/** Whether it keeps the limits that a message breaks by having too much. */
export const isSmallEnough = ({ attributes, bytes }: SqsMessage, maxBytes: number): boolean =>
  bytes <= maxBytes && Object.keys(attributes).length <= MAX_ATTRIBUTES;

/** Why SQS would never take a message: asked here, where it can be told apart from the others of its batch. */
export function whyImpossible({ body, attributes, bytes }: SqsMessage, maxBytes: number): string | undefined {
  if (body === '') return 'Its payload is empty, and SQS takes no empty message: discard it.';
  if (bytes > maxBytes) {
    return (
      `It has ${bytes} bytes as SQS counts, and ${maxBytes} are allowed: raise maxBytes of the publisher and ` +
      'MaximumMessageSize of the queue (to 1048576 at most) and requeue it, or discard it.'
    );
  }
  const names = Object.keys(attributes);
  if (names.length > MAX_ATTRIBUTES) {
    return `It has ${names.length - 3} headers, and SQS takes ${MAX_ATTRIBUTES - 3} beside three of our own: discard it, and enqueue it with fewer.`;
  }
  const unfit = names.find(
    (name) =>
      !ATTRIBUTE_NAME.test(name) ||
      name.length > MAX_ATTRIBUTE_NAME_LENGTH ||
      !attributes[name]?.StringValue ||
      FORBIDDEN_CHARACTER.test(attributes[name].StringValue),
  );
  if (unfit === undefined) return undefined;
  return `SQS does not take its header ${JSON.stringify(unfit)} as an attribute (letters, digits, _ - . and a value of plain text): discard it, and enqueue it without.`;
}
