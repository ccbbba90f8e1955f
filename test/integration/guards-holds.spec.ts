import { randomUUID } from 'node:crypto';
import { type Client } from 'pg';
import { HOLD_STATES, HOLD_TRANSITIONS, type HoldState } from '../../src/auth-requests/holds/states';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const APPLICATION = `application_${randomUUID().slice(0, 8)}`;
const RESTAURANT = randomUUID();

const PAIRS = HOLD_STATES.flatMap((from) => HOLD_STATES.map((to) => [from, to] as const));

const EVENTS = `
  INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
  SELECT $1, 'auth_request', 'AuthRequestCreated', '', number, '${RESTAURANT}' FROM generate_series(1, 5) AS number`;

const INSERT = `
  INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
    authorized_at, state, state_since, is_needed, is_answered, first_event_sequence, last_event_sequence)
  VALUES ($1, '${RESTAURANT}', 'stripe', 'pi_1', $2, 'USD', '2026-01-01Z', $3, '2026-01-01Z', $4, $5, 2, 3)`;

interface Hold {
  state?: string;
  isNeeded?: boolean;
  isAnswered?: boolean;
  amountCents?: number;
}

async function hold({ state = 'held', isNeeded = false, isAnswered = true, amountCents = 100 }: Hold = {}) {
  const id = randomUUID();
  await database.query(EVENTS, [id]);
  await database.query(INSERT, [id, amountCents, state, isNeeded, isAnswered]);
  return id;
}

const changing = (change: string) => `UPDATE auth_holds SET ${change} WHERE auth_request_id = $1`;
const update = (id: string, change: string) => database.query(`${changing(change)} RETURNING *`, [id]);

beforeAll(() =>
  database.query(`CREATE ROLE ${APPLICATION}; GRANT ALL ON ALL TABLES IN SCHEMA public TO ${APPLICATION}`),
);
afterAll(() => database.query(`DROP OWNED BY ${APPLICATION}; DROP ROLE ${APPLICATION}`));

describe.each([
  { how: 'an application', become: `SET ROLE ${APPLICATION}` },
  { how: 'the owner', become: 'RESET ROLE' },
  { how: 'an owner who replicates', become: 'SET session_replication_role = replica' },
])('changes of state by $how', ({ become }) => {
  let session: Client;
  const change = async (from: HoldState, to: HoldState) =>
    session.query(changing(`state = '${to}', last_event_sequence = 4`), [await hold({ state: from })]);

  beforeAll(async () => {
    session = await database.connect();
    await session.query(become);
  });

  /** Arrow by arrow what states.ts says, besides staying as it is. */
  const mayBecome = ([from, to]: (typeof PAIRS)[number]) =>
    from === to || (HOLD_TRANSITIONS[from] as readonly HoldState[]).includes(to);

  test.each(PAIRS.filter(mayBecome))('%s may become %s', async (from, to) => {
    expect(await change(from, to)).toMatchObject({ rowCount: 1 });
  });

  test.each(PAIRS.filter((pair) => !mayBecome(pair)))('%s may not become %s', async (from, to) => {
    expect(await refusal(change(from, to))).toEqual({
      code: '23514',
      constraint: 'auth_holds_state_change',
      message: `a hold does not go from ${from} to ${to}`,
    });
  });

  test('what a hold is does not change', async () => {
    for (const what of [
      'auth_request_id = gen_random_uuid()',
      'restaurant_id = gen_random_uuid()',
      `processor_name = 'adyen'`,
      `processor_auth_id = 'pi_2'`,
      'first_event_sequence = 1',
      'amount_cents = 99',
      `currency = 'EUR'`,
      'is_answered = false',
    ]) {
      const refused = await refusal(session.query(changing(`${what}, last_event_sequence = 4`), [await hold()]));
      expect({ what, ...refused }).toMatchObject({ what, code: '23514', constraint: 'auth_holds_immutable' });
    }
  });
});

test('amount and currency stand once a worker has recorded them, and not before', async () => {
  const id = await hold({ isAnswered: false });
  await update(id, `amount_cents = 99, currency = 'EUR', last_event_sequence = 4`);
  await update(id, `amount_cents = 98, is_answered = true, last_event_sequence = 5`);
  expect(await refusal(update(id, 'amount_cents = 97'))).toMatchObject({ constraint: 'auth_holds_immutable' });
});

test('the person who has seen to it stays', async () => {
  const id = await hold({ state: 'captured' });
  await update(id, `closed_by = 'ann', last_event_sequence = 4`);
  for (const closedBy of [`'bob'`, 'NULL']) {
    const refused = await refusal(update(id, `closed_by = ${closedBy}, last_event_sequence = 5`));
    expect(refused).toMatchObject({ code: '23514', constraint: 'auth_holds_immutable' });
  }
});

describe('a hold changes only with an event', () => {
  const needsEvent = { code: '23514', constraint: 'auth_holds_need_event' };

  test.each([
    `state = 'voided'`,
    'is_needed = false',
    'is_answered = true',
    'amount_cents = 99',
    'ended_amount_cents = 99',
    `ended_by = 'w'`,
    `closed_by = 'ann'`,
  ])('%s', async (change) => {
    const id = await hold({ isNeeded: true, isAnswered: false });
    expect(await refusal(update(id, change))).toMatchObject(needsEvent);
    expect(await refusal(update(id, `${change}, last_event_sequence = 2`))).toMatchObject(needsEvent);
    await update(id, `${change}, last_event_sequence = 4`);
  });

  test('which is there', async () => {
    const id = await hold();
    const refused = await refusal(update(id, `state = 'voided', last_event_sequence = 6`));
    expect(refused).toMatchObject({ code: '23503', constraint: 'auth_holds_last_event_fkey' });
    const unknown = await refusal(database.query(INSERT, [randomUUID(), 100, 'held', false, true]));
    expect(unknown).toMatchObject({ code: '23503', constraint: 'auth_holds_last_event_fkey' });
  });

  test('but for what the sweeper and a failed void write', async () => {
    const id = await hold({ state: 'voiding' });
    const change = `sweeps = 1, swept_at = now(), void_failures = 1, last_void_error = 'E', next_void_at = now()`;
    expect(await update(id, change)).toHaveLength(1);
  });
});

test('a hold that is not needed any more is not needed again', async () => {
  const id = await hold({ isNeeded: true });
  await update(id, 'is_needed = false, last_event_sequence = 4');
  expect(await refusal(update(id, 'is_needed = true, last_event_sequence = 5'))).toMatchObject({
    code: '23514',
    constraint: 'auth_holds_unneeded_for_good',
  });
});

test('state_since is when the state changed, by the database, whatever a client says', async () => {
  const id = await hold();
  const [same] = await update(id, 'sweeps = 1');
  expect(same!.state_since).toEqual(new Date('2026-01-01Z'));
  const isNow = `state_since = now() AS "isNow"`;
  const change = changing(`state = 'voiding', state_since = '2000-01-01Z', last_event_sequence = 4`);
  expect(await database.query(`${change} RETURNING ${isNow}`, [id])).toEqual([{ isNow: true }]);
});

describe('a row that is none', () => {
  test('of another state', async () => {
    expect(await refusal(hold({ state: 'refunded' }))).toMatchObject({ code: '23514', constraint: 'auth_holds_state' });
  });

  test.each(['voiding', 'void_failed'])('%s, and needed', async (state) => {
    const refused = { code: '23514', constraint: 'auth_holds_voiding_unneeded' };
    expect(await refusal(hold({ state, isNeeded: true }))).toMatchObject(refused);
  });

  test('of less than nothing', async () => {
    const refused = { code: '23514', constraint: 'auth_holds_amount_not_negative' };
    expect(await refusal(hold({ amountCents: -1 }))).toMatchObject(refused);
    await hold({ amountCents: 0 });
  });

  test('twice', async () => {
    const refused = await refusal(database.query(INSERT, [await hold(), 100, 'held', false, true]));
    expect(refused).toMatchObject({ code: '23505', constraint: 'auth_holds_pkey' });
  });
});

test('an event about which a hold is cannot go, not even by TRUNCATE', async () => {
  await hold();
  const refused = await refusal(database.query('TRUNCATE payment_events'));
  expect(refused.code).toMatch(/^(0A000|23001)$/);
  expect(await refusal(database.query('TRUNCATE payment_events, auth_holds'))).toMatchObject({
    code: '23001',
    constraint: 'payment_events_no_truncate',
  });
});
