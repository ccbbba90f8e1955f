import { type DataSource } from 'typeorm';
import { ReadModel } from '../../../src/read-model/read-model';

/** Runs SQL past the code under test. */
export type Query = <Row>(sql: string, params?: unknown[]) => Promise<Row[]>;

/**
 * Every trace that an operation done by halves would leave: events with a gap, a row that does not stand at its last
 * event, a request without its message or key, a key without its event, a key that stands for two requests.
 */
const HALF_DONE = `
  WITH stream AS (
    SELECT aggregate_id AS id, count(*) AS events, min(sequence_number) AS first, max(sequence_number) AS last,
           (array_agg(event_id ORDER BY sequence_number DESC))[1] AS last_event_id,
           -- A failure that finds a retry waiting names the time of that one.
           count(DISTINCT metadata ->> 'next_retry_at') FILTER (WHERE metadata ->> 'retry_by' = 'outbox') AS retries
    FROM payment_events GROUP BY aggregate_id
  ), keyed AS (
    SELECT aggregate_id AS id, restaurant_id, metadata ->> 'idempotency_key' AS idempotency_key,
           CASE event_type WHEN 'AuthRequestCreated' THEN 'authorize' ELSE 'void' END AS operation
    FROM payment_events WHERE event_type IN ('AuthRequestCreated', 'AuthVoidRequested')
  ), message AS (
    SELECT aggregate_id AS id, count(*) FILTER (WHERE message_type = 'auth_request_queued') AS queued,
           count(*) FILTER (WHERE message_type = 'void_request_queued') AS voided
    FROM outbox GROUP BY aggregate_id
  ), released AS (
    SELECT auth_request_id AS id, count(*) AS voided FROM auth_idempotency_keys
    WHERE operation = 'void' AND outcome = 'queued' GROUP BY auth_request_id
  )
  SELECT id, 'its events have gaps' AS problem FROM stream WHERE first <> 1 OR last <> events
  UNION ALL
  SELECT coalesce(id, auth_request_id), 'row and events do not match' FROM stream
  FULL JOIN auth_request_state AS state ON state.auth_request_id = id
  WHERE (last, stream.last_event_id) IS DISTINCT FROM (state.last_event_sequence, state.last_event_id)
  UNION ALL
  SELECT coalesce(stream.id, message.id), 'it was not queued once, and once for each retry'
  FROM stream FULL JOIN message USING (id)
  WHERE queued IS DISTINCT FROM 1 + retries
  UNION ALL
  SELECT coalesce(message.id, released.id), 'its void was not queued once' FROM message FULL JOIN released USING (id)
  WHERE coalesce(message.voided, 0) <> coalesce(released.voided, 0)
  UNION ALL
  SELECT coalesce(id, auth_request_id), 'key and event do not match' FROM keyed
  FULL JOIN auth_idempotency_keys AS key
    ON (key.idempotency_key, key.restaurant_id, key.auth_request_id, key.operation)
     = (keyed.idempotency_key, keyed.restaurant_id, keyed.id, keyed.operation)
  WHERE key.idempotency_key IS NULL OR keyed.id IS NULL`;

/** Expects that all that was ever written is whole, and that the rows say what the events say. */
export async function expectNothingHalfDone(query: Query, dataSource: DataSource): Promise<void> {
  expect(await query(HALF_DONE)).toEqual([]);
  const differences = [];
  for await (const difference of new ReadModel(dataSource).verify()) differences.push(difference);
  expect(differences).toEqual([]);
}
