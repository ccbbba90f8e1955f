import { type PaymentEventsDataSource } from '../../src/data-source';
import { poolOf } from './lab';

/** Each of a request of its own, as most are; processed ones over the last year. */
const FILL = `
  INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, created_at, processed_at)
  SELECT gen_random_uuid(), gen_random_uuid(), 'auth_request_queued', decode(repeat('0a', 80), 'hex'), at, CASE WHEN $2 THEN at END
  FROM generate_series(1, $1::bigint) AS n, LATERAL (SELECT now() - ($1 - n) * interval '1 year' / $1) AS t (at)`;

/** Messages as they are after, or before, a relay has seen them; then what autovacuum would do in the middle of a sample. */
export async function fillOutbox(
  dataSource: PaymentEventsDataSource,
  { messages, processed }: { messages: number; processed: boolean },
): Promise<void> {
  const client = await poolOf(dataSource).connect();
  try {
    await client.query('SET statement_timeout = 0');
    await client.query(FILL, [messages, processed]);
    await client.query('VACUUM (ANALYZE) outbox');
  } finally {
    client.release(true);
  }
}
