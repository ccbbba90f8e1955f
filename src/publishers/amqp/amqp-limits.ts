import { type PublishOutcome } from '../../outbox/publisher';
import { longRoutingKey, uncarried } from './amqp-outcomes';
import { type AmqpMessage } from './amqp-link';

/** A "short string" of AMQP has one byte for its length: names, the routing key, all properties that are text. */
export const SHORT_STRING_BYTES = 255;

/** What amqplib has room for to write a table of headers down. */
const TABLE_BYTES = 65_536;
/** Of a table: its length. Of each field: the length of its name, its type and the length of its text. */
const TABLE_OVERHEAD_BYTES = 4;
const FIELD_OVERHEAD_BYTES = 6;
/** Of the frame with the properties: begin and end of a frame, class, weight, size of the content, which properties there are. */
const FRAME_OVERHEAD_BYTES = 22;
const DELIVERY_MODE_BYTES = 1;
const TIMESTAMP_BYTES = 8;

/**
 * Why AMQP cannot carry a message; undefined where it can. To be asked before anything is sent: the broker would end the
 * connection over it, and with it all that is under way. amqplib before 2.3 goes on counting confirms for a message that it has
 * refused, so that each later one is told the answer of its neighbour.
 */
export function misfit({ routingKey, options }: AmqpMessage): PublishOutcome | undefined {
  const { type, contentType, headers } = options;
  if (isLong(type)) return uncarried('its type has');
  if (isLong(contentType)) return uncarried('its header content-type has');
  if (isLong(routingKey)) return longRoutingKey;
  return Object.keys(headers).some(isLong) ? uncarried('the name of one of its headers has') : undefined;
}

/**
 * Whether the properties fit into the one frame that they must travel in.
 *
 * @param frameMax what publisher and broker have agreed upon, in bytes
 */
export function fitsFrame({ options }: AmqpMessage, frameMax: number): boolean {
  const table = tableBytes(options.headers);
  const texts = [options.messageId, options.type, options.contentType].map((text) => 1 + Buffer.byteLength(text));
  const fixed = FRAME_OVERHEAD_BYTES + DELIVERY_MODE_BYTES + TIMESTAMP_BYTES;
  return table <= TABLE_BYTES && texts.reduce((sum, bytes) => sum + bytes, fixed + table) <= frameMax;
}

const isLong = (text: string): boolean => Buffer.byteLength(text) > SHORT_STRING_BYTES;

const tableBytes = (headers: Readonly<Record<string, string>>): number =>
  Object.entries(headers).reduce(
    (sum, [name, value]) => sum + FIELD_OVERHEAD_BYTES + Buffer.byteLength(name) + Buffer.byteLength(value),
    TABLE_OVERHEAD_BYTES,
  );
