import { type MessageShape } from '@bufbuild/protobuf';
import { UndecodableEventError, UnencodableMessageError, UnknownEventTypeError } from '../errors';
import { encodePlain } from '../protobuf/encode-plain';
import {
  AuthAttemptFailedSchema,
  AuthAttemptStartedSchema,
  AuthHoldEndedSchema,
  AuthHoldReportedSchema,
  AuthRequestCreatedSchema,
  AuthRequestExpiredSchema,
  AuthResponseReceivedSchema,
  AuthVoidCompletedSchema,
  AuthVoidFailedSchema,
  AuthVoidRequestedSchema,
  AuthVoidRequeuedSchema,
} from '../protobuf/generated/payments/v1/events_pb';
import { decodePlain, type Plain } from '../protobuf/plain-message';

const schemas = {
  AuthRequestCreated: AuthRequestCreatedSchema,
  AuthAttemptStarted: AuthAttemptStartedSchema,
  AuthResponseReceived: AuthResponseReceivedSchema,
  AuthAttemptFailed: AuthAttemptFailedSchema,
  AuthVoidRequested: AuthVoidRequestedSchema,
  AuthRequestExpired: AuthRequestExpiredSchema,
  AuthHoldReported: AuthHoldReportedSchema,
  AuthHoldEnded: AuthHoldEndedSchema,
  AuthVoidCompleted: AuthVoidCompletedSchema,
  AuthVoidFailed: AuthVoidFailedSchema,
  AuthVoidRequeued: AuthVoidRequeuedSchema,
};

/** What `payment_events.event_type` holds: the name of the event's message. */
export type PaymentEventType = keyof typeof schemas;

/**
 * What happened to an authorization request, as `payment_events` stores it in `event_type` and `event_data`: one member
 * a type of event, told apart by `type`. The fields are those of `proto/payments/v1/events.proto`.
 *
 * Amounts are safe integers in the currency's minor unit. Times are by the clock of the client that wrote the event,
 * kept in whole seconds; `undefined` means not set. A text that is not set is `''`.
 *
 * @example
 * function describe(event: PaymentEventBody): string {
 *   switch (event.type) {
 *     case 'AuthResponseReceived': return `answered: ${event.data.status}`;
 *     case 'AuthAttemptFailed':    return `attempt failed: ${event.data.errorCode}`;
 *     default:                     return event.type;
 *   }
 * }
 */
export type PaymentEventBody<T extends PaymentEventType = PaymentEventType> = {
  [K in T]: { readonly type: K; readonly data: Plain<MessageShape<(typeof schemas)[K]>> };
}[T];

/** Whether this version has an event of that name. */
export const isPaymentEventType = (eventType: string): eventType is PaymentEventType =>
  Object.hasOwn(schemas, eventType);

/**
 * The bytes of an event for `payment_events.event_data`: protobuf, as every client of this database reads it.
 *
 * @example
 * encodeEvent({ type: 'AuthVoidRequested', data: { authRequestId, reason: 'customer_cancelled', requestedAt: new Date() } });
 *
 * @throws {UnencodableMessageError} a field holds what its type cannot carry, such as an amount that is not a safe
 *   integer, an invalid date or a text with half of a character; the error names the field
 */
export function encodeEvent(event: PaymentEventBody): Uint8Array {
  if (!isPaymentEventType(event?.type)) throw new UnencodableMessageError('PaymentEventBody', 'type');
  return encodePlain(schemas[event.type], event.data);
}

/**
 * Reads an event. Encoding it again gives an equal message, apart from fields that a newer version has added: those
 * are left out.
 *
 * @param eventType `payment_events.event_type`
 * @param bytes `payment_events.event_data`
 * @param source.eventId names the event in errors
 *
 * @throws {UnknownEventTypeError} this version has no such event
 * @throws {UndecodableEventError} the bytes are no such message, or hold what `PaymentEventBody` cannot say: an amount
 *   beyond the safe integers, a time beyond `Date`, a status that is not defined
 */
export function decodeEvent(eventType: string, bytes: Uint8Array, source: { eventId: string }): PaymentEventBody {
  if (!isPaymentEventType(eventType)) throw new UnknownEventTypeError(eventType, source.eventId);
  try {
    return { type: eventType, data: decodePlain(schemas[eventType], bytes) } as PaymentEventBody;
  } catch {
    throw new UndecodableEventError(eventType, source.eventId);
  }
}
