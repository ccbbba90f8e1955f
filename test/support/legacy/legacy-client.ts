import { randomUUID } from 'node:crypto';
import { type Client, type QueryResult } from 'pg';

/**
 * What the legacy services send, statement by statement, prepared once and used for as long as the session lives, as
 * their driver does. Works one request through: accepted, queued, locked, authorized, released.
 */
export class LegacyClient {
  /** The longest that it waited for an answer, in milliseconds. */
  longestMs = 0;

  constructor(private readonly client: Client) {}

  async workThroughOneRequest(): Promise<void> {
    const [request, restaurant, event] = [randomUUID(), randomUUID(), randomUUID()];
    const bytes = Buffer.from('message');

    await this.#send('upsertConfig', [restaurant, 'v1', 'stripe', '{"api_key": "sk_test_1"}']);
    await this.#send('upsertConfig', [restaurant, 'v2', 'chase', '{"terminal": 1}']);
    const config = await this.#send('selectConfig', [restaurant]);
    expect(config.rows).toEqual([{ config_version: 'v2', processor_name: 'chase', processor_config: { terminal: 1 } }]);

    await this.#begin();
    // Event 1 comes before its state row.
    await this.#send('appendEvent', [event, request, 'auth_request', 'AuthRequestCreated', bytes, 1, '{}']);
    await this.#send('insertState', [
      request,
      restaurant,
      'tok',
      'PENDING',
      1050,
      'USD',
      '2026-11-20 10:00:00',
      '{}',
      1,
      event,
    ]);
    await this.#send('enqueue', [request, 'auth_request_queued', bytes, '2026-11-20 10:00:00']);
    await this.#send('insertKey', [`key-${request}`, restaurant, request, '2026-11-21 10:00:00']);
    await this.#commit();

    await this.#relay(request);

    const lock = [request, 'worker-1', '2036-01-01 00:00:00'];
    expect(await this.#send('acquireLock', lock)).toMatchObject({ rowCount: 1 });
    expect(await this.#send('acquireLock', lock)).toMatchObject({ rowCount: 0 });

    await this.#begin();
    await this.#send('appendEvent', [randomUUID(), request, 'auth_request', 'AuthAttemptStarted', bytes, 2, '"{}"']);
    await this.#send('startAttempt', [request, 2]);
    await this.#commit();
    await this.#begin();
    await this.#send('appendEvent', [randomUUID(), request, 'auth_request', 'AuthResponseReceived', bytes, 3, '"{}"']);
    await this.#send('authorize', [request, 3, 'pi_1', 'stripe', 1050, '2026-11-20 10:00:01']);
    await this.#commit();
    const state = await this.#send('selectState', [request]);
    expect(state.rows).toEqual([{ status: 'AUTHORIZED', last_event_sequence: 3 }]);
    expect(await this.#send('releaseLock', [request, 'worker-1'])).toMatchObject({ rowCount: 1 });
  }

  /** Until its message is delivered: another relay may hold it at the moment. */
  async #relay(request: string): Promise<void> {
    for (let delivered = false; !delivered;) {
      await this.#begin();
      const pending = (await this.#send('selectPending', [1000])).rows as { id: string; aggregate_id: string }[];
      const mine = pending.find((row) => row.aggregate_id === request);
      if (mine) await this.#send('markProcessed', [mine.id]);
      await this.#commit();
      delivered = mine !== undefined;
    }
  }

  async #begin(): Promise<void> {
    await this.client.query('BEGIN');
  }

  async #commit(): Promise<void> {
    await this.client.query('COMMIT');
  }

  async #send(name: keyof typeof STATEMENTS, values: unknown[]): Promise<QueryResult> {
    const sent = performance.now();
    const result = await this.client.query({ name, text: STATEMENTS[name], values });
    this.longestMs = Math.max(this.longestMs, performance.now() - sent);
    return result;
  }
}

const STATEMENTS = {
  upsertConfig: `
    INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (restaurant_id) DO UPDATE SET config_version = EXCLUDED.config_version,
      processor_name = EXCLUDED.processor_name, processor_config = EXCLUDED.processor_config`,
  selectConfig: `
    SELECT config_version, processor_name, processor_config FROM restaurant_payment_configs
    WHERE restaurant_id = $1 AND is_active = true`,
  appendEvent: `
    INSERT INTO payment_events (event_id, aggregate_id, aggregate_type, event_type, event_data, sequence_number, metadata)
    VALUES ($1, $2, $3, $4, $5, $6, $7)`,
  insertState: `
    INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency,
      created_at, metadata, last_event_sequence, last_event_id)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
  enqueue: `INSERT INTO outbox (aggregate_id, message_type, payload, created_at) VALUES ($1, $2, $3, $4)`,
  insertKey: `
    INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, expires_at)
    VALUES ($1, $2, $3, $4)`,
  selectPending: `
    SELECT id, aggregate_id, message_type, payload FROM outbox
    WHERE processed_at IS NULL ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
  markProcessed: `UPDATE outbox SET processed_at = NOW() WHERE id = $1`,
  acquireLock: `
    INSERT INTO auth_processing_locks (auth_request_id, worker_id, expires_at) VALUES ($1, $2, $3)
    ON CONFLICT (auth_request_id) DO NOTHING`,
  releaseLock: `DELETE FROM auth_processing_locks WHERE auth_request_id = $1 AND worker_id = $2`,
  startAttempt: `
    UPDATE auth_request_state SET status = 'PROCESSING', last_event_sequence = $2, updated_at = NOW()
    WHERE auth_request_id = $1`,
  authorize: `
    UPDATE auth_request_state SET status = 'AUTHORIZED', last_event_sequence = $2, processor_auth_id = $3,
      processor_name = $4, authorized_amount_cents = $5, completed_at = $6, updated_at = NOW()
    WHERE auth_request_id = $1`,
  selectState: `SELECT status, last_event_sequence FROM auth_request_state WHERE auth_request_id = $1`,
};
