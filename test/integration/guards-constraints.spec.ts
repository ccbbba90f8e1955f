import { randomUUID } from 'node:crypto';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

type Values = Record<string, unknown>;

const insert = (table: string, row: Values) => {
  const columns = Object.keys(row);
  const places = columns.map((_column, index) => `$${index + 1}`);
  return database.query(
    `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${places.join(', ')}) RETURNING *`,
    Object.values(row),
  );
};

const CORRECT: Record<string, () => Values> = {
  payment_events: () => ({
    aggregate_id: randomUUID(),
    aggregate_type: 'auth_request',
    event_type: 'AuthRequestCreated',
    event_data: Buffer.of(1),
    metadata: {},
    sequence_number: 1,
    restaurant_id: randomUUID(),
  }),
  auth_request_state: () => ({
    auth_request_id: randomUUID(),
    restaurant_id: randomUUID(),
    payment_token: 'tok',
    status: 'AUTHORIZED',
    amount_cents: 1050,
    currency: 'USD',
    processor_auth_id: 'pi_1',
    authorized_amount_cents: 1050,
    created_at: new Date(),
    completed_at: new Date(),
  }),
  outbox: () => ({
    aggregate_id: randomUUID(),
    restaurant_id: randomUUID(),
    message_type: 'auth_request_queued',
    payload: Buffer.of(1),
  }),
  auth_idempotency_keys: () => ({ idempotency_key: 'key', restaurant_id: randomUUID(), auth_request_id: randomUUID() }),
  restaurant_payment_configs: () => ({
    restaurant_id: randomUUID(),
    config_version: 'v1',
    processor_name: 'stripe',
    processor_config: {},
  }),
  auth_processing_locks: () => ({ auth_request_id: randomUUID(), restaurant_id: randomUUID(), worker_id: 'worker' }),
};

const [EARLIER, LATER] = [new Date('2026-01-01'), new Date('2026-01-02')];

test.each(Object.entries(CORRECT))('%s takes a row that keeps every rule', async (table, row) => {
  expect(await insert(table, row())).toHaveLength(1);
});

test.each<[what: string, table: string, wrong: Values, constraint: string]>([
  ['an event without metadata', 'payment_events', { metadata: null }, 'payment_events_metadata_present'],
  [
    'a zero amount',
    'auth_request_state',
    { amount_cents: 0, authorized_amount_cents: null, status: 'PENDING' },
    'auth_request_state_amount_positive',
  ],
  [
    'a negative amount',
    'auth_request_state',
    { amount_cents: -1, authorized_amount_cents: null, status: 'PENDING' },
    'auth_request_state_amount_positive',
  ],
  ['the currency usd', 'auth_request_state', { currency: 'usd' }, 'auth_request_state_currency_iso'],
  ['the currency US', 'auth_request_state', { currency: 'US' }, 'auth_request_state_currency_iso'],
  [
    'more than was asked for',
    'auth_request_state',
    { authorized_amount_cents: 1051 },
    'auth_request_state_authorized_amount_within',
  ],
  [
    'nothing authorized',
    'auth_request_state',
    { authorized_amount_cents: 0 },
    'auth_request_state_authorized_amount_within',
  ],
  [
    'AUTHORIZED without processor_auth_id',
    'auth_request_state',
    { processor_auth_id: null },
    'auth_request_state_authorized_complete',
  ],
  [
    'AUTHORIZED without an amount',
    'auth_request_state',
    { authorized_amount_cents: null },
    'auth_request_state_authorized_complete',
  ],
  [
    'AUTHORIZED without completed_at',
    'auth_request_state',
    { completed_at: null },
    'auth_request_state_settled_completed',
  ],
  [
    'VOIDED without completed_at',
    'auth_request_state',
    { status: 'VOIDED', completed_at: null },
    'auth_request_state_settled_completed',
  ],
  [
    'a message discarded by nobody',
    'outbox',
    { processed_at: LATER, discarded_at: LATER, discard_reason: 'r' },
    'outbox_discard_attributed',
  ],
  [
    'a message discarded for no reason',
    'outbox',
    { processed_at: LATER, discarded_at: LATER, discarded_by: 'jo' },
    'outbox_discard_attributed',
  ],
  [
    'a message discarded and still pending',
    'outbox',
    { discarded_at: LATER, discarded_by: 'jo', discard_reason: 'r' },
    'outbox_discard_attributed',
  ],
  ['an empty key', 'auth_idempotency_keys', { idempotency_key: '' }, 'auth_idempotency_keys_key_present'],
  [
    'a key that expired before it was created',
    'auth_idempotency_keys',
    { created_at: LATER, expires_at: EARLIER },
    'auth_idempotency_keys_expires_after_created',
  ],
  ['a key for no operation', 'auth_idempotency_keys', { operation: '' }, 'auth_idempotency_keys_operation_present'],
  [
    'a fingerprint that is no SHA-256',
    'auth_idempotency_keys',
    { request_fingerprint: Buffer.alloc(31) },
    'auth_idempotency_keys_fingerprint_sha256',
  ],
  [
    'a lock that expires when it begins',
    'auth_processing_locks',
    { locked_at: LATER, expires_at: LATER },
    'check_expires_after_locked',
  ],
])('%s is refused', async (_what, table, wrong, constraint) => {
  const refused = await refusal(insert(table, { ...CORRECT[table]?.(), ...wrong }));
  expect(refused).toMatchObject({ code: '23514', constraint });
});

describe('the versions of a configuration', () => {
  const config = CORRECT.restaurant_payment_configs as () => Values;

  test('at most one of a restaurant is active', async () => {
    const row = config();
    await insert('restaurant_payment_configs', row);
    const refused = await refusal(insert('restaurant_payment_configs', { ...row, config_version: 'v2' }));
    expect(refused).toMatchObject({ code: '23505', constraint: 'restaurant_payment_configs_one_active' });
    await insert('restaurant_payment_configs', { ...row, config_version: 'v2', is_active: false });
  });

  test('each has a name of its own', async () => {
    const row = { ...config(), is_active: false };
    await insert('restaurant_payment_configs', row);
    const refused = await refusal(insert('restaurant_payment_configs', row));
    expect(refused).toMatchObject({ code: '23505', constraint: 'restaurant_payment_configs_pkey' });
  });
});
