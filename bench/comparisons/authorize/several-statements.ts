import { randomUUID } from 'node:crypto';
import { type Pool, type PoolClient } from 'pg';
import { anyOf, PREPARED, REQUEST } from './request';

/** One statement a table, prepared once a connection, as the legacy services' driver does by itself. */
export interface Statements {
  readonly event: string;
  readonly state: string;
  readonly message: string;
  readonly key: string;
}

/** Word for word what the legacy services send to their schema. */
export const ON_LEGACY_SCHEMA: Statements = {
  event: `INSERT INTO payment_events
            (event_id, aggregate_id, aggregate_type, event_type, event_data, sequence_number, metadata)
          VALUES ($1, $2, 'auth_request', 'AuthRequestCreated', $3, 1, $4)`,
  state: `INSERT INTO auth_request_state
            (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, metadata,
             last_event_sequence, last_event_id)
          VALUES ($1, $2, $3, 'PENDING', $4, $5, $6, $7, 1, $8)`,
  message: `INSERT INTO outbox (aggregate_id, message_type, payload, created_at)
            VALUES ($1, 'auth_request_queued', $2, $3)`,
  key: `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, expires_at)
        VALUES ($1, $2, $3, $4)`,
};

/** The same with the columns that the target schema requires on top. */
export const ON_TARGET_SCHEMA: Statements = {
  ...ON_LEGACY_SCHEMA,
  event: `INSERT INTO payment_events
            (event_id, aggregate_id, aggregate_type, event_type, event_data, sequence_number, metadata, restaurant_id)
          VALUES ($1, $2, 'auth_request', 'AuthRequestCreated', $3, 1, $4, $5)`,
  message: `INSERT INTO outbox (aggregate_id, message_type, payload, created_at, restaurant_id)
            VALUES ($1, 'auth_request_queued', $2, $3, $4)`,
};

const SELECT_KEY = `
  SELECT auth_request_id FROM auth_idempotency_keys WHERE idempotency_key = $1 AND restaurant_id = $2`;

/** Six round trips: BEGIN, event, state, message, key, COMMIT. */
export function oneTransaction(
  pool: Pool,
  restaurants: readonly string[],
  statements: Statements,
): () => Promise<unknown> {
  return () =>
    withClient(pool, (client) => write(client, statements, { key: randomUUID(), restaurantId: anyOf(restaurants) }));
}

/**
 * Nine round trips in two transactions, as the legacy API handles a request: BEGIN, look the key up, COMMIT; then the six
 * above. Its ids are random, UUIDv4.
 */
export function legacySequence(
  pool: Pool,
  restaurants: readonly string[],
  statements: Statements,
): () => Promise<unknown> {
  return () =>
    withClient(pool, async (client) => {
      const request = { key: randomUUID(), restaurantId: anyOf(restaurants) };
      await client.query('BEGIN');
      await client.query({ name: 'select_key', text: SELECT_KEY, values: [request.key, request.restaurantId] });
      await client.query('COMMIT');
      await write(client, statements, request);
    });
}

async function write(
  client: PoolClient,
  statements: Statements,
  { key, restaurantId }: { key: string; restaurantId: string },
): Promise<void> {
  const [id, eventId, now] = [randomUUID(), randomUUID(), new Date()];
  const restaurant = statements === ON_TARGET_SCHEMA ? [restaurantId] : [];
  const { paymentToken, amountCents, currency } = REQUEST;
  const values: Record<keyof Statements, unknown[]> = {
    event: [eventId, id, PREPARED.event, PREPARED.eventMetadata, ...restaurant],
    state: [id, restaurantId, paymentToken, amountCents, currency, now, PREPARED.metadata, eventId],
    message: [id, PREPARED.message, now, ...restaurant],
    key: [key, restaurantId, id, new Date(now.getTime() + 86_400_000)],
  };
  await client.query('BEGIN');
  for (const name of ['event', 'state', 'message', 'key'] as const) {
    await client.query({ name: `insert_${name}`, text: statements[name], values: values[name] });
  }
  await client.query('COMMIT');
}

async function withClient(pool: Pool, use: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  let failed = true;
  try {
    await use(client);
    failed = false;
  } finally {
    client.release(failed);
  }
}
