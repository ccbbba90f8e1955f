import fc from 'fast-check';
import { int64Field, textField } from '../../src/protobuf/append-fields';
import { decodeEvent, encodeEvent, type PaymentEventBody } from '../../src/event-store/event-codec';
import { decodeOutboxMessage, encodeOutboxMessage } from '../../src/outbox/message-codec';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const failed: PaymentEventBody<'AuthAttemptFailed'> = {
  type: 'AuthAttemptFailed',
  data: {
    ...{ authRequestId: 'id', errorCode: 'E', errorMessage: 'm', isRetryable: true, retryCount: 0 },
    ...{ nextRetryAt: undefined, failedAt: new Date(1_000) },
  },
};
const queued = {
  ...{ authRequestId: 'id', restaurantId: 'r', reason: 'why', createdAt: new Date(1_000) },
  ...{ processorName: '', processorAuthId: '', amountCents: 0, currency: '' },
};

/** Both sides of every length of a varint, and the ends. */
const EDGES = [0, 1, ...Array.from({ length: 7 }, (_, index) => 128 ** (index + 1)).flatMap((n) => [n - 1, n, n + 1])];
const INTEGERS = [...EDGES, 16_383, 16_384, 2 ** 31 - 1, Number.MAX_SAFE_INTEGER];

it('a count that the database appends reads back over the whole range of its column', async () => {
  for (const retryCount of INTEGERS.filter((value) => value < 2 ** 31)) {
    const [row] = await database.query<{ data: Buffer }>(
      `SELECT $1::bytea || ${int64Field(5, 'n')} AS data FROM (SELECT $2::integer) AS value (n)`,
      [encodeEvent(failed), retryCount],
    );
    const expected = { ...failed, data: { ...failed.data, retryCount } };
    expect(decodeEvent('AuthAttemptFailed', row!.data, { eventId: 'e' })).toEqual(expected);
  }
});

it('an amount that the database appends reads back over the whole range of safe integers', async () => {
  for (const amountCents of INTEGERS) {
    const [row] = await database.query<{ payload: Buffer }>(
      `SELECT $1::bytea || ${int64Field(7, 'n')} AS payload FROM (SELECT $2::bigint) AS value (n)`,
      [encodeOutboxMessage({ type: 'void_request_queued', data: queued }), amountCents],
    );
    expect(decodeOutboxMessage('void_request_queued', row!.payload).data).toEqual({ ...queued, amountCents });
  }
});

it('the bytes of any text or number are those that the encoder writes', async () => {
  const text = fc
    .string({ unit: 'grapheme', maxLength: 400 })
    .filter((value) => !value.includes('\0') && value.isWellFormed());
  await fc.assert(
    fc.asyncProperty(text, fc.nat({ max: Number.MAX_SAFE_INTEGER }), async (processorAuthId, amountCents) => {
      const [row] = await database.query<{ payload: Buffer }>(
        `SELECT $1::bytea || ${textField(6, 't')} || ${int64Field(7, 'n')} AS payload
         FROM (SELECT $2::text, $3::bigint) AS value (t, n)`,
        [encodeOutboxMessage({ type: 'void_request_queued', data: queued }), processorAuthId, amountCents],
      );
      const data = { ...queued, processorAuthId, amountCents };
      expect(row!.payload).toEqual(Buffer.from(encodeOutboxMessage({ type: 'void_request_queued', data })));
    }),
    { numRuns: 300 },
  );
});

it('what is not set is left out', async () => {
  const [row] = await database.query<{ payload: Buffer }>(
    `SELECT ''::bytea || ${textField(6, 't')} || ${int64Field(7, 'n')} AS payload
     FROM (SELECT NULL::text, NULL::bigint) AS value (t, n)`,
  );
  expect(row!.payload).toHaveLength(0);
});
