import { AUTHORIZE } from '../../src/auth-requests/authorize';
import { type InputOf } from '../../src/database/columns';
import { newId } from '../../src/database/new-id';
import { type Operation } from '../../src/database/operation';
import { type Session, sessionOf } from '../../src/database/session';
import { decodeEvent } from '../../src/event-store/event-codec';
import { RESTAURANT } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

type Request = typeof AUTHORIZE extends Operation<infer Input, unknown> ? Input : InputOf<never>;

const database = useTestDatabase();
let session: Session;
beforeAll(async () => {
  session = sessionOf(await database.dataSource());
});

function aRow(idempotency_key: string = newId()): Request {
  const auth_request_id = newId();
  const createdAt = new Date();
  const request = { authRequestId: auth_request_id, restaurantId: RESTAURANT, createdAt };
  return {
    idempotency_key,
    restaurant_id: RESTAURANT,
    auth_request_id,
    request_fingerprint: Buffer.alloc(32, 1),
    payment_token: `token of ${idempotency_key}`,
    amount_cents: 1050,
    currency: 'USD',
    request_metadata: { table: [1, '"'] },
    event_id: newId(),
    event: {
      ...request,
      paymentToken: 'token',
      amountCents: 1050,
      currency: 'USD',
      metadata: { key: idempotency_key },
    },
    event_metadata: { idempotency_key },
    message: request,
    headers: undefined,
  };
}

const written = async (rows: readonly Request[]) =>
  (await session.rowsOfMany(AUTHORIZE, rows.map(AUTHORIZE.valuesOf))).map((row) => row.auth_request_id).toSorted();
const idsOf = (rows: readonly Request[]) => rows.map(({ auth_request_id }) => auth_request_id).toSorted();

const stored = (rows: readonly Request[]) =>
  database.query<Record<string, unknown>>(
    `SELECT state.auth_request_id, state.payment_token, state.status, state.amount_cents, state.currency, state.metadata,
            state.last_event_id, event.event_id, event.event_type, event.event_data, event.metadata AS event_metadata,
            event.sequence_number, message.message_type, message.payload, key.idempotency_key, key.operation
     FROM auth_request_state AS state
     JOIN payment_events AS event ON event.aggregate_id = state.auth_request_id
     JOIN outbox AS message ON message.aggregate_id = state.auth_request_id
     JOIN auth_idempotency_keys AS key ON key.auth_request_id = state.auth_request_id
     WHERE state.auth_request_id = ANY ($1)`,
    [idsOf(rows)],
  );

/** Without what differs from request to request. */
const shapeOf = ({ payload, event_data, ...row }: Record<string, unknown>) => ({
  ...row,
  auth_request_id: expect.any(String) as string,
  payment_token: expect.any(String) as string,
  last_event_id: expect.any(String) as string,
  event_id: expect.any(String) as string,
  event_metadata: expect.any(Object) as object,
  idempotency_key: expect.any(String) as string,
  payload: expect.any(payload!.constructor) as object,
  event_data: expect.any(event_data!.constructor) as object,
});

test('many at once are written as one is, each with its own values', async () => {
  const alone = aRow();
  expect(await session.write(AUTHORIZE, alone)).toBe(1);
  const together = Array.from({ length: 64 }, () => aRow());
  expect(await written(together)).toEqual(idsOf(together));

  const [one] = await stored([alone]);
  const many = await stored(together);
  expect(many).toHaveLength(64);
  for (const row of many) {
    expect(row).toEqual(shapeOf(one!));
    expect(row.payment_token).toBe(`token of ${row.idempotency_key as string}`);
    expect(row.last_event_id).toBe(row.event_id);
    const { data } = decodeEvent('AuthRequestCreated', row.event_data as Buffer, { eventId: row.event_id as string });
    expect(data).toMatchObject({ metadata: { key: row.idempotency_key } });
  }
});

test('a key that is live writes nothing, one that has expired is taken over, and the others are written', async () => {
  const [live, expired] = [aRow(), aRow()];
  await written([live, expired]);
  await database.query(
    `UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 second'
     WHERE idempotency_key = $1`,
    [expired.idempotency_key],
  );
  const [replayed, again, fresh] = [aRow(live.idempotency_key), aRow(expired.idempotency_key), aRow()];
  expect(await written([fresh, replayed, again])).toEqual(idsOf([fresh, again]));
  expect(await stored([replayed])).toEqual([]);
  expect(await stored([again, fresh])).toHaveLength(2);
});

test('one row that is refused refuses all of them', async () => {
  const rows = [aRow(), { ...aRow(), currency: 'US' }, aRow()];
  await expect(written(rows)).rejects.toMatchObject({ code: 'CONSTRAINT_VIOLATION' });
  expect(await stored(rows)).toEqual([]);
});
