import { randomUUID } from 'node:crypto';
import { type Client } from 'pg';
import { AUTH_REQUEST_STATUSES, type AuthRequestStatus, TRANSITIONS } from '../../src/auth-requests/statuses';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const PAIRS = AUTH_REQUEST_STATUSES.flatMap((from) => AUTH_REQUEST_STATUSES.map((to) => [from, to] as const));

const APPLICATION = `application_${randomUUID().slice(0, 8)}`;

/** As the owner inserts it, in whatever status. */
const INSERT = `
  INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at,
    updated_at, completed_at, processor_auth_id, authorized_amount_cents, last_event_sequence)
  VALUES ($1, '6f1c9a52-3b7e-4d08-9c41-0a5be1f27d10', 'tok', $2, 100, 'USD', '2026-01-01Z', '2026-01-01Z', '2026-01-02Z',
    'pi_1', 100, 5)`;

async function request(status: AuthRequestStatus = 'PENDING'): Promise<string> {
  const id = randomUUID();
  await database.query(INSERT, [id, status]);
  return id;
}

const update = (id: string, change: string) =>
  database.query(`UPDATE auth_request_state SET ${change} WHERE auth_request_id = $1 RETURNING *`, [id]);

beforeAll(() =>
  database.query(`CREATE ROLE ${APPLICATION}; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${APPLICATION}`),
);
afterAll(() => database.query(`DROP OWNED BY ${APPLICATION}; DROP ROLE ${APPLICATION}`));

describe.each([
  { how: 'ordinarily', become: 'SET session_replication_role = origin' },
  { how: 'by replication', become: 'SET session_replication_role = replica' },
])('changes of status, $how', ({ become }) => {
  let session: Client;
  const change = async (from: AuthRequestStatus, to: AuthRequestStatus) =>
    session.query('UPDATE auth_request_state SET status = $2 WHERE auth_request_id = $1', [await request(from), to]);

  beforeAll(async () => {
    session = await database.connect();
    await session.query(become);
  });

  /** Arrow by arrow what statuses.ts says, besides staying as it is. */
  const mayBecome = ([from, to]: (typeof PAIRS)[number]) =>
    from === to || (TRANSITIONS[from] as readonly AuthRequestStatus[]).includes(to);

  test.each(PAIRS.filter(mayBecome))('%s may become %s', async (from, to) => {
    expect(await change(from, to)).toMatchObject({ rowCount: 1 });
  });

  test.each(PAIRS.filter((pair) => !mayBecome(pair)))('%s may not become %s', async (from, to) => {
    expect(await refusal(change(from, to))).toEqual({
      code: '23514',
      constraint: 'auth_request_state_status_change',
      message: `a request does not go from ${from} to ${to}`,
    });
  });
});

test('there is no other status', async () => {
  const refused = await refusal(database.query(INSERT, [randomUUID(), 'REFUNDED']));
  expect(refused).toMatchObject({ code: '23514', constraint: 'check_status' });
});

describe('a request begins PENDING', () => {
  const settled = AUTH_REQUEST_STATUSES.filter((status) => status !== 'PENDING');

  test.each(settled)('an application cannot insert it %s', async (status) => {
    const session = await database.connect();
    await session.query(`SET ROLE ${APPLICATION}`);
    const refused = await refusal(session.query(INSERT, [randomUUID(), status]));
    expect(refused).toMatchObject({ code: '23514', constraint: 'auth_request_state_begins_pending' });
    await session.query(INSERT, [randomUUID(), 'PENDING']);
    await session.end();
  });

  test.each(settled)('the owner can insert it %s, to rebuild it', async (status) => {
    expect(await database.query(`${INSERT} RETURNING status`, [randomUUID(), status])).toEqual([{ status }]);
  });

  test('a temporary table named pg_class makes nobody the owner', async () => {
    const session = await database.connect();
    await database.query(`GRANT TEMP ON DATABASE ${database.name} TO ${APPLICATION}`);
    await session.query(`SET ROLE ${APPLICATION}`);
    await session.query(`CREATE TEMP TABLE pg_class AS
      SELECT oid, '${APPLICATION}'::regrole::oid AS relowner FROM pg_catalog.pg_class`);
    const refused = await refusal(session.query(INSERT, [randomUUID(), 'AUTHORIZED']));
    expect(refused).toMatchObject({ constraint: 'auth_request_state_begins_pending' });
    await session.end();
  });
});

test('the number of the last event never falls', async () => {
  const id = await request();
  const refused = await refusal(update(id, 'last_event_sequence = 4'));
  expect(refused).toMatchObject({ code: '23514', constraint: 'auth_request_state_sequence_never_falls' });
  expect(await update(id, 'last_event_sequence = 5')).toMatchObject([{ last_event_sequence: 5 }]);
  expect(await update(id, 'last_event_sequence = 6')).toMatchObject([{ last_event_sequence: 6 }]);
});

test.each([
  'auth_request_id = gen_random_uuid()',
  'restaurant_id = gen_random_uuid()',
  `payment_token = 'other'`,
  'amount_cents = 101',
  `currency = 'EUR'`,
  'created_at = now()',
])('what was asked for stays as it was: %s', async (change) => {
  const refused = await refusal(update(await request(), change));
  expect(refused).toMatchObject({ code: '23514', constraint: 'auth_request_state_request_immutable' });
});

test('updated_at is the time of the change by the database, whatever a client says', async () => {
  const id = randomUUID();
  const dayOld = `updated_at > now() - interval '1 day' AS recent`;
  expect(await database.query(`${INSERT} RETURNING ${dayOld}`, [id, 'PENDING'])).toEqual([{ recent: true }]);
  const changed = await database.query(
    `WITH moment AS (SELECT now() AS at)
     UPDATE auth_request_state SET updated_at = '1999-01-01', retry_count = 1 FROM moment
     WHERE auth_request_id = $1 RETURNING updated_at = moment.at AS by_the_database`,
    [id],
  );
  expect(changed).toEqual([{ by_the_database: true }]);
});

describe('under the replica role, as a subscriber and a restore of data write', () => {
  let session: Client;
  beforeAll(async () => {
    session = await database.connect();
    await session.query('SET session_replication_role = replica');
  });

  test('a row keeps the updated_at that it comes with, on insert and on update', async () => {
    const id = randomUUID();
    const day = `updated_at::date::text AS day`;
    const inserted = await session.query(`${INSERT} RETURNING ${day}`, [id, 'PROCESSING']);
    expect(inserted.rows).toEqual([{ day: '2026-01-01' }]);
    const change = `UPDATE auth_request_state SET status = 'AUTHORIZED', updated_at = '2026-02-03Z' WHERE auth_request_id = $1`;
    expect((await session.query(`${change} RETURNING ${day}`, [id])).rows).toEqual([{ day: '2026-02-03' }]);
  });

  test.each([
    ['restaurant_id = gen_random_uuid()', 'auth_request_state_request_immutable'],
    ['amount_cents = 101', 'auth_request_state_request_immutable'],
    ['last_event_sequence = 4', 'auth_request_state_sequence_never_falls'],
    [`attempt = 2, attempt_unanswered = true, attempt_open = true`, 'auth_request_state_attempts_need_event'],
  ])('it refuses what it refuses: %s', async (change, constraint) => {
    const update = `UPDATE auth_request_state SET ${change} WHERE auth_request_id = $1`;
    expect(await refusal(session.query(update, [await request()]))).toMatchObject({ code: '23514', constraint });
  });

  test('an application that may take that role still cannot insert a request that is settled', async () => {
    await database.query(`GRANT SET ON PARAMETER session_replication_role TO ${APPLICATION}`);
    const client = await database.connect();
    try {
      await client.query(`SET ROLE ${APPLICATION}; SET session_replication_role = replica`);
      const refused = await refusal(client.query(INSERT, [randomUUID(), 'AUTHORIZED']));
      expect(refused).toMatchObject({ code: '23514', constraint: 'auth_request_state_begins_pending' });
    } finally {
      await client.end();
      await database.query(`REVOKE SET ON PARAMETER session_replication_role FROM ${APPLICATION}`);
    }
  });
});
