import { randomUUID } from 'node:crypto';
import { type AuthRequests } from '../../../src/auth-requests/auth-requests';
import { newId } from '../../../src/database/new-id';
import { encodeEvent } from '../../../src/event-store/event-codec';
import { encodeOutboxMessage } from '../../../src/outbox/message-codec';
import { fingerprint } from '../../../src/idempotency/fingerprint';

/** A request as a restaurant's till sends it, but for its id and its key. */
export const REQUEST = {
  paymentToken: 'pt_5f2b8c1d9e3a4f60',
  amountCents: 1050,
  currency: 'USD',
  metadata: { order_id: 'order-20931', table: '12', channel: 'dine_in' },
} as const;

const restaurantId = randomUUID();
const createdAt = new Date();

/** What the operation works out anew for each request. Those that bypass it take it from here, worked out once. */
export const PREPARED = {
  fingerprint: fingerprint('authorize', restaurantId, ...Object.values(REQUEST)),
  event: encodeEvent({
    type: 'AuthRequestCreated',
    data: { ...REQUEST, authRequestId: randomUUID(), restaurantId, createdAt },
  }),
  eventMetadata: JSON.stringify({ idempotency_key: randomUUID() }),
  metadata: JSON.stringify(REQUEST.metadata),
  message: encodeOutboxMessage({
    type: 'auth_request_queued',
    data: { authRequestId: randomUUID(), restaurantId, createdAt },
  }),
  headers: '{}',
};

/** Any of them. */
export const anyOf = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T;

/**
 * What the operation's statement is given, worked out beforehand but for ids and key: in the order of its columns, and
 * encoded already.
 */
export const valuesOfOne = (restaurants: readonly string[]): unknown[] => [
  randomUUID(),
  anyOf(restaurants),
  newId(),
  PREPARED.fingerprint,
  REQUEST.paymentToken,
  REQUEST.amountCents,
  REQUEST.currency,
  PREPARED.metadata,
  newId(),
  PREPARED.event,
  PREPARED.eventMetadata,
  PREPARED.message,
  PREPARED.headers,
];

/** The operation itself, for a new request each time. */
export function authorizing(requests: AuthRequests, restaurants: readonly string[]): () => Promise<unknown> {
  return () =>
    requests.authorize({
      restaurantId: anyOf(restaurants),
      paymentToken: REQUEST.paymentToken,
      amountCents: REQUEST.amountCents,
      currency: REQUEST.currency,
      metadata: REQUEST.metadata,
      idempotencyKey: randomUUID(),
    });
}
