import {
  digestLegacyColumns,
  lastingDigests,
  legacy,
  loadLegacyDatabase,
  type LegacyRequest,
} from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase({ empty: true });
const chain = () => new MigrationChain(database);

/** A legacy request that was voided while a worker was asking the processor: VOIDED, and without completed_at. */
const VOIDED_DURING_ATTEMPT = 'a0000000-0000-4000-8000-000000000001';

/** Locks as they were loaded but for those that had expired when the migrations ran. */
const LOCKS_LOST_OR_MADE_UP = (type: 'timestamptz' | 'timestamp') => `
  WITH loaded AS (
    SELECT auth_request_id, worker_id, locked_at, expires_at
    FROM loaded_locks WHERE expires_at > (SELECT migrated_at FROM migration)
  ), kept AS (
    SELECT auth_request_id, worker_id, ${type === 'timestamp' ? 'locked_at, expires_at' : `locked_at AT TIME ZONE 'UTC', expires_at AT TIME ZONE 'UTC'`}
    FROM auth_processing_locks
  )
  (TABLE loaded EXCEPT ALL TABLE kept) UNION ALL (TABLE kept EXCEPT ALL TABLE loaded)`;

const requests: LegacyRequest[] = [...legacy.requests, ...legacy.broken];

beforeAll(() => loadLegacyDatabase(database));

test('the legacy rows are loaded as they are described', async () => {
  expect(await digestLegacyColumns(database)).toEqual(legacy.sha256.value);
  for (const [table, count] of Object.entries(legacy.counts)) {
    expect({ table, rows: await database.query(`SELECT FROM ${table}`) }).toMatchObject({ rows: { length: count } });
  }
});

describe('migrated to the end', () => {
  beforeAll(async () => {
    await database.query(`
      CREATE TABLE loaded_locks AS TABLE auth_processing_locks;
      CREATE TABLE migration AS SELECT clock_timestamp() AT TIME ZONE 'UTC' AS migrated_at`);
    await chain().upTo(LATEST_LEVEL);
  });

  test('every row is there, and every value is the same', async () => {
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
  });

  test('of the locks those that had expired are gone, also the one without a request', async () => {
    expect(await database.query(LOCKS_LOST_OR_MADE_UP('timestamptz'))).toEqual([]);
    const [before] = await database.query<{ count: number }>('SELECT count(*)::integer FROM loaded_locks');
    const locks = await database.query<{ auth_request_id: string }>(
      'SELECT auth_request_id FROM auth_processing_locks',
    );
    expect(locks.length).toBeGreaterThan(0);
    expect(locks.length).toBeLessThan(before?.count ?? 0);
    expect(locks).not.toContainEqual({ auth_request_id: legacy.notes.ghost_lock });
  });

  test('each live lock has its restaurant and a token of its own', async () => {
    const locks = await database.query<{ auth_request_id: string; restaurant_id: string; fencing_token: string }>(
      'SELECT auth_request_id, restaurant_id, fencing_token FROM auth_processing_locks',
    );
    for (const lock of locks) expect(lock.restaurant_id).toBe(restaurantOf.get(lock.auth_request_id));
    expect(new Set(locks.map((lock) => lock.fencing_token)).size).toBe(locks.length);
  });

  test.each(['payment_events', 'outbox'])('every row of %s has the restaurant of its request', async (table) => {
    const rows = await database.query<{ aggregate_id: string; restaurants: string[] }>(
      `SELECT aggregate_id, array_agg(DISTINCT restaurant_id::text) AS restaurants FROM ${table} GROUP BY 1`,
    );
    expect(rows.length).toBeGreaterThanOrEqual(legacy.requests.length);
    expect(new Map(rows.map((row) => [row.aggregate_id, row.restaurants]))).toEqual(
      new Map(rows.map((row) => [row.aggregate_id, [restaurantOf.get(row.aggregate_id)]])),
    );
    // The damaged ones, of which one has no state row to tell it, are among them.
    expect(rows.map((row) => row.aggregate_id)).toEqual(
      expect.arrayContaining(legacy.broken.map((r) => r.authRequestId)),
    );
  });

  test('a request knows of its retries, and of an attempt whose answer nobody recorded, as its events tell', async () => {
    const rows = await database.query<{ auth_request_id: string; status: string } & Attempts>(
      'SELECT auth_request_id, status, attempt_unanswered, unanswered_versions, retry_count FROM auth_request_state',
    );
    const expected = requests.filter((request) => request.status);
    expect(new Map(rows.map(({ auth_request_id, status: _, ...attempts }) => [auth_request_id, attempts]))).toEqual(
      new Map(expected.map((request) => [request.authRequestId, attemptsOf(request)])),
    );
    const open = rows.filter((row) => row.attempt_unanswered || row.unanswered_versions.length > 0);
    const count = (status: string) => open.filter((row) => row.status === status).length;
    expect({ open: open.length, ...Object.fromEntries(STATUSES.map((status) => [status, count(status)])) }).toEqual({
      ...{ open: 33, AUTHORIZED: 9, DENIED: 1, FAILED: 6, PROCESSING: 17 },
    });
    expect(rows.filter((row) => row.retry_count > 1).length).toBeGreaterThan(5);
  });
});

describe('reverted to the legacy schema', () => {
  beforeAll(() => chain().downTo(LEGACY_LEVEL));

  test('all is as it was loaded, but for the expired locks', async () => {
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
    expect(await database.query(LOCKS_LOST_OR_MADE_UP('timestamp'))).toEqual([]);
  });

  test('ids go on where they were', async () => {
    for (const [sequence, last] of Object.entries(legacy.sequences)) {
      expect(await database.query(`SELECT last_value::integer AS last FROM ${sequence}`)).toEqual([{ last }]);
    }
  });
});

describe('a legacy row that breaks a rule of the new schema', () => {
  const state = () =>
    database.query(
      `SELECT status, attempt_open, completed_at, (updated_at AT TIME ZONE 'UTC')::text AS updated_at
       FROM auth_request_state WHERE auth_request_id = $1`,
      [VOIDED_DURING_ATTEMPT],
    );

  test('stays as it is, and still gets to know of its open attempt', async () => {
    await database.query(`
      INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at,
        updated_at, last_event_sequence)
      VALUES ('${VOIDED_DURING_ATTEMPT}', gen_random_uuid(), 'tok', 'VOIDED', 100, 'USD', now(), '2026-05-01 12:00:00', 3);
      INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number)
      SELECT '${VOIDED_DURING_ATTEMPT}', 'auth_request', type, '', number
      FROM unnest('{AuthRequestCreated,AuthAttemptStarted,AuthVoidRequested}'::text[]) WITH ORDINALITY AS t (type, number)`);
    await chain().upTo(LATEST_LEVEL);
    const voided = { status: 'VOIDED', attempt_open: true, completed_at: null, updated_at: '2026-05-01 12:00:00' };
    expect(await state()).toEqual([voided]);
  });

  test('keeps an attempt open that new services left open, when their schema is reverted in part and comes back', async () => {
    await database.query(`
      INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
      SELECT aggregate_id, 'auth_request', 'AuthAttemptFailed', '', 4, restaurant_id
      FROM payment_events WHERE aggregate_id = '${VOIDED_DURING_ATTEMPT}' AND sequence_number = 1`);
    await chain().downTo(LEGACY_LEVEL + 1);
    await chain().upTo(LATEST_LEVEL);
    expect(await state()).toMatchObject([{ attempt_open: true }]);
  });
});

const restaurantOf = new Map(requests.map((request) => [request.authRequestId, request.restaurantId]));

interface Attempts {
  attempt_unanswered: boolean;
  unanswered_versions: string[];
  retry_count: number;
}

const STATUSES = ['AUTHORIZED', 'DENIED', 'FAILED', 'PROCESSING'];

/** After any other failure of a legacy worker the processor may hold money. */
const NOT_ASKED = [
  'TOKEN_SERVICE_TIMEOUT',
  'TokenNotFound',
  'TokenExpired',
  'Forbidden',
  'NOT_FOUND',
  'CONFIG_NOT_FOUND',
];

/** An attempt ends with its own answer, or with a failure that did not ask, and with nothing else. */
function attemptsOf({ events }: LegacyRequest): Attempts {
  const open: boolean[] = [];
  let retries = 0;
  for (const { eventType, decoded } of events) {
    const { error_code: code = '', is_retryable: retryable } = decoded as {
      error_code?: string;
      is_retryable?: boolean;
    };
    if (eventType === 'AuthAttemptStarted') open.push(true);
    if (eventType === 'AuthResponseReceived' || (eventType === 'AuthAttemptFailed' && NOT_ASKED.includes(code))) {
      open.splice(-1, 1, false);
    }
    if (eventType === 'AuthAttemptFailed' && retryable) retries += 1;
  }
  const current = open.pop() ?? false;
  return { attempt_unanswered: current, unanswered_versions: open.includes(true) ? [''] : [], retry_count: retries };
}
