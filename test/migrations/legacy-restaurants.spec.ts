import { randomUUID } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { AuthRequestCreatedSchema } from '../../src/protobuf/generated/payments/v1/events_pb';
import { levelOf, LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { refusal } from '../support/database/refusal';
import { type DatabaseOfFile, useTestDatabase } from '../support/database/use-test-database';

/** A legacy request as it can be left behind, with a restaurant of its own in each place that may tell one. */
class LegacyLeftover {
  readonly id = randomUUID();
  readonly restaurant = { state: randomUUID(), key: randomUUID(), event: randomUUID() };

  constructor(private readonly database: DatabaseOfFile) {}

  inReadModel(): Promise<unknown> {
    return this.database.query(
      `INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
       VALUES ($1, $2, 'tok', 'PENDING', 100, 'USD', now())`,
      [this.id, this.restaurant.state],
    );
  }

  withKey(): Promise<unknown> {
    return this.database.query(
      'INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id) VALUES ($1, $2, $3)',
      [`key-${this.id}`, this.restaurant.key, this.id],
    );
  }

  withEvent(type: string, data: Uint8Array, sequence = 1): Promise<unknown> {
    return this.database.query(
      `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number)
       VALUES ($1, 'auth_request', $2, $3, $4)`,
      [this.id, type, Buffer.from(data), sequence],
    );
  }

  /** Before the restaurant come fields of every kind, some of them unknown, and a string whose length takes two bytes. */
  withCreatedEvent(restaurantId: string = this.restaurant.event): Promise<unknown> {
    const message = create(AuthRequestCreatedSchema, {
      authRequestId: this.id,
      paymentToken: 't'.repeat(200),
      restaurantId,
      amountCents: 2n ** 40n,
      currency: 'USD',
    });
    const data = Buffer.concat([UNKNOWN_FIELDS, toBinary(AuthRequestCreatedSchema, message)]);
    return this.withEvent('AuthRequestCreated', data);
  }

  inOutbox(): Promise<unknown> {
    return this.database.query(`INSERT INTO outbox (aggregate_id, message_type, payload) VALUES ($1, 'other', '')`, [
      this.id,
    ]);
  }

  locked(): Promise<unknown> {
    return this.database.query(
      `INSERT INTO auth_processing_locks (auth_request_id, worker_id, expires_at) VALUES ($1, 'w', '2036-01-01')`,
      [this.id],
    );
  }
}

/** Number 15, as a fixed32, a fixed64 and a varint of ten bytes. */
const UNKNOWN_FIELDS = Buffer.from('7dffffffff' + '79ffffffffffffffff' + '78ffffffffffffffffff01', 'hex');

/** A varint in place of the restaurant, and a group. */
const UNREADABLE = Buffer.from('1803' + '7b', 'hex');

describe('the restaurant of an event, a message and a lock', () => {
  const database = useTestDatabase({ empty: true });
  beforeAll(() => new MigrationChain(database).upTo(LEGACY_LEVEL));

  test('comes from the read model, else the idempotency key, else the first event', async () => {
    const byReadModel = new LegacyLeftover(database);
    await byReadModel.inReadModel();
    await byReadModel.withKey();
    await byReadModel.withCreatedEvent();
    const byKey = new LegacyLeftover(database);
    await byKey.withKey();
    await byKey.withCreatedEvent();
    const byEvent = new LegacyLeftover(database);
    await byEvent.withCreatedEvent();
    await byEvent.withEvent('SomethingElse', UNREADABLE, 2);
    for (const leftover of [byReadModel, byKey, byEvent]) {
      await leftover.inOutbox();
      await leftover.locked();
    }

    await new MigrationChain(database).upTo(LATEST_LEVEL);

    expect(await restaurantsOf(database, byReadModel.id)).toEqual([byReadModel.restaurant.state]);
    expect(await restaurantsOf(database, byKey.id)).toEqual([byKey.restaurant.key]);
    expect(await restaurantsOf(database, byEvent.id)).toEqual([byEvent.restaurant.event]);
  });
});

describe.each([
  ['an outbox row alone', 'outbox', (row: LegacyLeftover) => row.inOutbox()],
  ['an event of an unknown type', 'payment_events', (row: LegacyLeftover) => row.withEvent('RefundBegun', UNREADABLE)],
  ['an unreadable event', 'payment_events', (row: LegacyLeftover) => row.withEvent('AuthRequestCreated', UNREADABLE)],
  [
    'an event that is cut off',
    'payment_events',
    (row) => row.withEvent('AuthRequestCreated', Buffer.from('1a24ff', 'hex')),
  ],
  ['an event that names none', 'payment_events', (row: LegacyLeftover) => row.withCreatedEvent('not-a-restaurant')],
] satisfies [string, string, (row: LegacyLeftover) => Promise<unknown>][])(
  '%s whose restaurant nothing tells',
  (_what, table, leave) => {
    const database = useTestDatabase({ empty: true });
    let chain: MigrationChain;
    let leftover: LegacyLeftover;

    beforeAll(async () => {
      chain = new MigrationChain(database);
      leftover = new LegacyLeftover(database);
      await chain.upTo(LEGACY_LEVEL);
      await leave(leftover);
      await chain.upTo(levelOf('ContractTimestamps'));
    });

    test('stops contract, which names it, and the database stays as usable as it was', async () => {
      const before = { catalog: await chain.catalog(), rows: await chain.rows() };
      const { message } = await refusal(chain.upTo(LATEST_LEVEL));
      expect(message).toContain(`The restaurant is unknown for: ${table} of request ${leftover.id}.`);
      expect({ catalog: await chain.catalog(), rows: await chain.rows() }).toEqual(before);
    });

    test('is let through by the remedy that the message gives', async () => {
      const { message } = await refusal(chain.upTo(LATEST_LEVEL));
      const remedy = /UPDATE outbox SET restaurant_id = '<restaurant>' WHERE aggregate_id = '<request>'/.exec(message);
      const statement = (remedy?.[0] ?? 'no remedy').replace('outbox', table).replace('<request>', leftover.id);
      await database.query(statement.replace('<restaurant>', leftover.restaurant.state));
      await chain.upTo(LATEST_LEVEL);
      expect(await restaurantsOf(database, leftover.id)).toEqual([leftover.restaurant.state]);
    });
  },
);

async function restaurantsOf(database: DatabaseOfFile, request: string): Promise<(string | null)[]> {
  const rows = await database.query<{ restaurant_id: string | null }>(
    `SELECT restaurant_id FROM payment_events WHERE aggregate_id = $1
     UNION SELECT restaurant_id FROM outbox WHERE aggregate_id = $1
     UNION SELECT restaurant_id FROM auth_processing_locks WHERE auth_request_id = $1`,
    [request],
  );
  return rows.map((row) => row.restaurant_id);
}
