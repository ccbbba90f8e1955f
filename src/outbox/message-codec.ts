import { type MessageShape } from '@bufbuild/protobuf';
import { UndecodableOutboxMessageError, UnencodableMessageError } from '../errors';
import { encodePlain } from '../protobuf/encode-plain';
import {
  AuthRequestQueuedMessageSchema,
  VoidRequestQueuedMessageSchema,
} from '../protobuf/generated/payments/v1/outbox_pb';
import { decodePlain, type Plain } from '../protobuf/plain-message';

const schemas = {
  auth_request_queued: AuthRequestQueuedMessageSchema,
  void_request_queued: VoidRequestQueuedMessageSchema,
};

/** What `outbox.message_type` holds for the messages of this package. Services may enqueue others of their own. */
export type OutboxMessageType = keyof typeof schemas;

/**
 * What `outbox` holds in `message_type` and `payload`, and a queue's consumer receives; told apart by `type`. The
 * fields are those of `proto/payments/v1/outbox.proto`; times are whole seconds by the writing client's clock.
 */
export type OutboxMessageBody<T extends OutboxMessageType = OutboxMessageType> = {
  [K in T]: { readonly type: K; readonly data: Plain<MessageShape<(typeof schemas)[K]>> };
}[T];

/** Whether `encodeOutboxMessage` and `decodeOutboxMessage` know that type. */
export const isOutboxMessageType = (messageType: string): messageType is OutboxMessageType =>
  Object.hasOwn(schemas, messageType);

/**
 * The bytes of a message for `outbox.payload`.
 *
 * @example
 * encodeOutboxMessage({ type: 'auth_request_queued', data: { authRequestId, restaurantId, createdAt: new Date() } });
 *
 * @throws {UnencodableMessageError} a field holds what its type cannot carry; the error names it
 */
export function encodeOutboxMessage(message: OutboxMessageBody): Uint8Array {
  if (!isOutboxMessageType(message?.type)) throw new UnencodableMessageError('OutboxMessageBody', 'type');
  return encodePlain(schemas[message.type], message.data);
}

/**
 * Reads a message, as a queue's consumer does.
 *
 * @throws {UndecodableOutboxMessageError} this package has no message of that type, or the payload is not one
 */
export function decodeOutboxMessage(messageType: string, payload: Uint8Array): OutboxMessageBody {
  if (!isOutboxMessageType(messageType)) throw new UndecodableOutboxMessageError(messageType);
  try {
    return { type: messageType, data: decodePlain(schemas[messageType], payload) } as OutboxMessageBody;
  } catch {
    throw new UndecodableOutboxMessageError(messageType);
  }
}
