import { encodeEvent } from '../../src/event-store/event-codec';
import { encodeOutboxMessage } from '../../src/outbox/message-codec';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { poolOf } from './lab';

/** Like an id that a client drew at that time: UUIDv7, its random part made from a number. */
const DEFINE_ID = `
  CREATE OR REPLACE FUNCTION pg_temp.id_of(kind text, n bigint, at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
            || '7' || substr(md5(kind || n), 1, 3) || '8' || substr(md5(kind || n), 4, 15))::uuid
  $$`;

/**
 * Requests number $1 to $2 of $3, spread over the last 30 days. Settled ones are AUTHORIZED, with three events and their
 * message delivered; others PENDING, with one event and a message that waits. Keys are kept, though purges would have
 * removed most: they are what arrives in random order.
 */
const GENERATE = `
  WITH request AS MATERIALIZED (
    SELECT n, at, pg_temp.id_of('request', n, at) AS id, ($5::uuid[])[1 + n % cardinality($5::uuid[])] AS restaurant_id
    FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT now() - ($3 - n) * interval '30 days' / $3) AS t (at)
  ), key AS (
    INSERT INTO auth_idempotency_keys
      (idempotency_key, restaurant_id, auth_request_id, request_fingerprint, created_at, expires_at)
    SELECT md5('key' || n)::uuid, restaurant_id, id, sha256(n::text::bytea), at, at + interval '24 hours' FROM request
  ), event AS (
    INSERT INTO payment_events
      (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id, created_at)
    SELECT pg_temp.id_of('event' || number, n, at), id, 'auth_request',
           (ARRAY['AuthRequestCreated', 'AuthAttemptStarted', 'AuthResponseReceived'])[number], ($6::bytea[])[number],
           jsonb_build_object('idempotency_key', md5('key' || n)), number, restaurant_id, at
    FROM request, generate_series(1, CASE WHEN $4 THEN 3 ELSE 1 END) AS number
  ), state AS (
    INSERT INTO auth_request_state
      (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, processor_name, processor_auth_id,
       authorized_amount_cents, created_at, completed_at, last_event_sequence)
    SELECT id, restaurant_id, 'pt_' || md5('token' || n), CASE WHEN $4 THEN 'AUTHORIZED' ELSE 'PENDING' END, 1050, 'USD',
           settled.processor, settled.processor || n, settled.cents, at, CASE WHEN $4 THEN at END, CASE WHEN $4 THEN 3 ELSE 1 END
    FROM request LEFT JOIN (VALUES ('stripe', 1050)) AS settled (processor, cents) ON $4
  ), message AS (
    INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, created_at, processed_at)
    SELECT id, restaurant_id, 'auth_request_queued', $7, at, CASE WHEN $4 THEN at END FROM request
  )
  SELECT id, restaurant_id FROM request WHERE NOT $4`;

export interface PendingRequest {
  id: string;
  restaurant_id: string;
}

export interface GenerateOptions {
  readonly from: number;
  readonly to: number;
  /** Settled ones are only counted; of pending ones the ids are returned. */
  readonly settled: boolean;
  readonly restaurants: readonly string[];
  readonly progress?: (done: number) => void;
}

const CHUNK = 50_000;

/** Writes requests as they would lie there, past the operations: millions of them in minutes. All indexes are kept. */
export async function generateRequests(
  dataSource: PaymentEventsDataSource,
  { from, to, settled, restaurants, progress }: GenerateOptions,
): Promise<PendingRequest[]> {
  const [restaurantId, authRequestId] = [restaurants[0] as string, restaurants[1] as string];
  const payload = encodeOutboxMessage({
    type: 'auth_request_queued',
    data: { authRequestId, restaurantId, createdAt: new Date() },
  });
  const client = await poolOf(dataSource).connect();
  try {
    await client.query('SET statement_timeout = 0');
    await client.query(DEFINE_ID);
    const pending: PendingRequest[] = [];
    for (let first = from; first <= to; first += CHUNK) {
      const last = Math.min(first + CHUNK - 1, to);
      const values = [first, last, to, settled, restaurants, eventsOf(authRequestId, restaurantId), payload];
      pending.push(...(await client.query<PendingRequest>(GENERATE, values)).rows);
      progress?.(last - from + 1);
    }
    // What autovacuum would do in the middle of a sample.
    await client.query('VACUUM (ANALYZE)');
    return pending;
  } finally {
    client.release(true);
  }
}

/** The bytes are the same for all requests: nothing that is measured reads them. */
function eventsOf(authRequestId: string, restaurantId: string): Uint8Array[] {
  const at = new Date();
  return [
    encodeEvent({
      type: 'AuthRequestCreated',
      data: {
        authRequestId,
        restaurantId,
        paymentToken: 'pt_1',
        amountCents: 1050,
        currency: 'USD',
        metadata: {},
        createdAt: at,
      },
    }),
    encodeEvent({
      type: 'AuthAttemptStarted',
      data: { authRequestId, workerId: 'w1', restaurantPaymentConfigVersion: 'v1', startedAt: at },
    }),
    encodeEvent({
      type: 'AuthResponseReceived',
      data: {
        authRequestId,
        status: 'AUTHORIZED',
        result: {
          processorAuthId: 'pi_1',
          processorName: 'stripe',
          authorizedAmountCents: 1050,
          currency: 'USD',
          authorizationCode: '',
          authorizedAt: at,
          denialCode: '',
          denialReason: '',
          processorMetadata: {},
          holdExpiresAt: undefined,
        },
        receivedAt: at,
      },
    }),
  ];
}
