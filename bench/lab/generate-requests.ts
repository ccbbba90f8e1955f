import { type PoolClient } from 'pg';
import { encodeEvent } from '../../src/event-store/event-codec';
import { encodeOutboxMessage } from '../../src/outbox/message-codec';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { poolOf } from './lab';

/**
 * Requests number $1 to $2 of $3, spread over the last 30 days. Settled ones are AUTHORIZED, with three events and their
 * message delivered; others PENDING, with one event and a message that waits. Keys are kept, though purges would have
 * removed most: they are what arrives in random order. Ids are UUIDv7s of their time, as clients would have drawn them.
 */
const GENERATE = `
  WITH request AS MATERIALIZED (
    SELECT n, at, uuidv7(at - now()) AS id, ($5::uuid[])[1 + n % cardinality($5::uuid[])] AS restaurant_id
    FROM generate_series($1::bigint, $2::bigint) AS n, LATERAL (SELECT now() - ($3 - n) * interval '30 days' / $3) AS t (at)
  ), key AS (
    INSERT INTO auth_idempotency_keys
      (idempotency_key, restaurant_id, auth_request_id, request_fingerprint, created_at, expires_at)
    SELECT md5('key' || n)::uuid, restaurant_id, id, sha256(n::text::bytea), at, at + interval '24 hours' FROM request
  ), event AS (
    INSERT INTO payment_events
      (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id, created_at)
    SELECT uuidv7(at - now()), id, 'auth_request',
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
/** Chunks that are written at once. */
const WRITERS = 2;

/** Writes requests as they would lie there, past operations and triggers: millions of them in minutes. All indexes are kept. */
export async function generateRequests(
  dataSource: PaymentEventsDataSource,
  { from, to, settled, restaurants, progress }: GenerateOptions,
): Promise<PendingRequest[]> {
  const [restaurantId, authRequestId] = [restaurants[0] as string, restaurants[1] as string];
  const payload = encodeOutboxMessage({
    type: 'auth_request_queued',
    data: { authRequestId, restaurantId, createdAt: new Date() },
  });
  const constant = [to, settled, restaurants, eventsOf(authRequestId, restaurantId), payload];
  const pending: PendingRequest[] = [];
  let next = from;
  const write = async (client: PoolClient) => {
    await client.query('SET session_replication_role = replica');
    while (next <= to) {
      const [first, last] = [next, Math.min(next + CHUNK - 1, to)];
      next = last + 1;
      pending.push(...(await client.query<PendingRequest>(GENERATE, [first, last, ...constant])).rows);
      progress?.(last - from + 1);
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, () => patiently(dataSource, write)));
  // What autovacuum would do in the middle of a sample.
  await patiently(dataSource, (client) => client.query('VACUUM (ANALYZE)'));
  return pending;
}

async function patiently(dataSource: PaymentEventsDataSource, use: (client: PoolClient) => Promise<unknown>) {
  const client = await poolOf(dataSource).connect();
  try {
    await client.query('SET statement_timeout = 0');
    await use(client);
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
