import { AUTHORIZE } from '../../../src/auth-requests/authorize';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { type Contestant } from '../../contestant';
import { poolOf } from '../../lab/lab';
import { Histogram } from '../../measure/histogram';
import { PREPARED, REQUEST } from './request';

/** About what one backend writes a second. */
const ROWS_PER_SECOND = 20_000;

const rowsIn = (seconds: number) => Math.ceil(seconds * ROWS_PER_SECOND);

/** The operation's statement, with an `input` of many rows that lie in a table: nothing is sent, and nobody waits. */
const STATEMENT = AUTHORIZE.one.text.replace(
  /NOT MATERIALIZED \([^)]*\)/,
  'MATERIALIZED (SELECT * FROM given ORDER BY idempotency_key, restaurant_id)',
);

const CREATE = `
  CREATE UNLOGGED TABLE given (
    idempotency_key text, restaurant_id uuid, auth_request_id uuid, request_fingerprint bytea, payment_token text,
    amount_cents bigint, currency text, request_metadata jsonb, event_id uuid, event bytea, event_metadata jsonb,
    message bytea, headers jsonb)`;

/** The ids are of version 7, as those that clients make; this server has a function for them. */
const FILL = `
  INSERT INTO given
  SELECT gen_random_uuid(), ($1::uuid[])[1 + n % cardinality($1::uuid[])], uuidv7(), $2, $3, $4, $5, $6, uuidv7(), $7, $8,
         $9, $10
  FROM generate_series(1, $11::integer) AS n`;

/** The limit: one backend that accepts all requests of a sample in one statement. */
export async function setBased(
  dataSource: PaymentEventsDataSource,
  restaurants: readonly string[],
): Promise<Contestant> {
  const pool = poolOf(dataSource);
  await pool.query(CREATE);
  return {
    name: 'set-based',
    title: 'limit: all in one statement of one backend',
    load: { callers: 1 },
    async beforeSample(seconds) {
      const { fingerprint, metadata, event, eventMetadata, message, headers } = PREPARED;
      const { paymentToken, amountCents, currency } = REQUEST;
      const request = [
        fingerprint,
        paymentToken,
        amountCents,
        currency,
        metadata,
        event,
        eventMetadata,
        message,
        headers,
      ];
      await pool.query('TRUNCATE given');
      await pool.query(FILL, [restaurants, ...request, rowsIn(seconds)]);
      await pool.query('ANALYZE given');
    },
    async run(seconds) {
      const start = performance.now();
      const { rowCount } = await pool.query(STATEMENT);
      const elapsedMs = performance.now() - start;
      if (rowCount !== rowsIn(seconds)) throw new Error('the statement did not write all requests');
      return { operations: rowCount, elapsedMs, latencies: new Histogram() };
    },
  };
}
