import { type DatabaseOfFile } from '../database/use-test-database';

/** Settled requests as the legacy services left them, some with a void: $1 of them. Made up, many at once. */
const GENERATE = `
  WITH request AS MATERIALIZED (
    SELECT n, md5('request' || n)::uuid AS id, md5('restaurant' || n % 200)::uuid AS restaurant_id,
           now()::timestamp - ($1 - n) * interval '30 days' / $1 AS at
    FROM generate_series(1, $1::integer) AS n
  ), event AS (
    INSERT INTO payment_events
      (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, created_at)
    SELECT md5('event' || number || '/' || n)::uuid, id, 'auth_request',
           (ARRAY['AuthRequestCreated', 'AuthAttemptStarted', 'AuthResponseReceived', 'AuthVoidRequested'])[number],
           sha256(id::text::bytea), CASE WHEN number = 1 THEN '{"source": "api"}'::jsonb ELSE '"{}"'::jsonb END, number, at
    FROM request, generate_series(1, CASE WHEN n % 10 = 0 THEN 4 ELSE 3 END) AS number
  ), state AS (
    INSERT INTO auth_request_state
      (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, processor_name, processor_auth_id,
       authorized_amount_cents, created_at, updated_at, completed_at, last_event_sequence)
    SELECT id, restaurant_id, 'pt_' || md5('token' || n), CASE WHEN n % 10 = 0 THEN 'VOIDED' ELSE 'AUTHORIZED' END, 1050,
           'USD', 'stripe', 'pi_' || n, 1050, at, at, at, CASE WHEN n % 10 = 0 THEN 4 ELSE 3 END
    FROM request
  ), message AS (
    INSERT INTO outbox (aggregate_id, message_type, payload, created_at, processed_at)
    SELECT id, 'auth_request_queued', sha256(id::text::bytea), at, at FROM request
  )
  INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, created_at, expires_at)
  SELECT 'key ' || n, restaurant_id, id, at, at + interval '24 hours' FROM request`;

/** Fills a database that has the legacy schema. */
export async function generateLegacyRows(database: DatabaseOfFile, requests: number): Promise<void> {
  await database.query(GENERATE, [requests]);
  await database.query('ANALYZE');
}
