import { randomUUID } from 'node:crypto';
import { type Client } from 'pg';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();

const REQUEST = randomUUID();
const RESTAURANT = randomUUID();
const event = (sequence: number, aggregate = REQUEST, restaurant = RESTAURANT) =>
  `('${aggregate}', 'auth_request', 'AuthRequestCreated', '\\x01'::bytea, ${sequence}, '${restaurant}'::uuid)`;
const INSERT = `INSERT INTO payment_events
  (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)`;

const CHANGES = {
  UPDATE: `UPDATE payment_events SET event_data = '' WHERE aggregate_id = '${REQUEST}'`,
  'an UPDATE of nothing but metadata': `UPDATE payment_events SET metadata = metadata`,
  DELETE: `DELETE FROM payment_events`,
  TRUNCATE: `TRUNCATE payment_events`,
  'TRUNCATE beside another table': `TRUNCATE outbox, payment_events CASCADE`,
  MERGE: `MERGE INTO payment_events USING (SELECT '${REQUEST}'::uuid AS id) AS source ON aggregate_id = source.id
    WHEN MATCHED THEN UPDATE SET event_type = 'x'`,
  'MERGE that deletes': `MERGE INTO payment_events USING (SELECT '${REQUEST}'::uuid AS id) AS source ON aggregate_id = source.id
    WHEN MATCHED THEN DELETE`,
  'ON CONFLICT DO UPDATE': `${INSERT} VALUES ${event(1)}
    ON CONFLICT (aggregate_id, sequence_number) DO UPDATE SET event_data = EXCLUDED.event_data`,
  'an UPDATE in a WITH': `WITH changed AS (UPDATE payment_events SET event_type = 'x' RETURNING 1) SELECT * FROM changed`,
};

const APPEND_ONLY = {
  code: '23001',
  constraint: expect.stringMatching(/^payment_events_(append_only|no_truncate)$/) as string,
  message: expect.stringContaining('payment_events is append-only') as string,
};

/** Before any trigger is asked: rows of auth_holds refer to events. */
const REFERENCED = { code: '0A000', message: expect.stringContaining('referenced in a foreign key') as string };

/** A role that has every privilege on the events that can be granted, and does not own them. */
const GRANTEE = `grantee_${randomUUID().slice(0, 8)}`;
/** A role that owns them. */
const OWNER = `owner_${randomUUID().slice(0, 8)}`;

beforeAll(async () => {
  await database.query(`
    CREATE ROLE ${GRANTEE};
    CREATE ROLE ${OWNER};
    GRANT ALL ON ALL TABLES IN SCHEMA public TO ${GRANTEE}, ${OWNER};
    GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${GRANTEE}, ${OWNER};
    GRANT CREATE ON SCHEMA public TO ${OWNER};
    ALTER TABLE payment_events OWNER TO ${OWNER}`);
  await database.query(`${INSERT} VALUES ${event(1)}, ${event(2)}`);
});
afterAll(() =>
  database.query(`
  REASSIGN OWNED BY ${OWNER} TO CURRENT_USER;
  DROP OWNED BY ${GRANTEE}, ${OWNER};
  DROP ROLE ${GRANTEE}, ${OWNER}`),
);

describe.each([
  { who: 'a role with every privilege', become: `SET ROLE ${GRANTEE}` },
  { who: 'the owner', become: `SET ROLE ${OWNER}` },
  { who: 'a superuser', become: 'RESET ROLE' },
  { who: 'a superuser who replicates', become: `SET session_replication_role = replica` },
])('an event is for good: $who', ({ become }) => {
  let session: Client;
  beforeAll(async () => {
    session = await database.connect();
    await session.query(become);
  });

  test.each(Object.entries(CHANGES))('cannot change it by %s', async (_how, statement) => {
    const before = await database.query('SELECT * FROM payment_events ORDER BY id');
    expect(before).toHaveLength(2);
    expect(await refusal(session.query(statement))).toMatchObject(
      statement === CHANGES.TRUNCATE ? REFERENCED : APPEND_ONLY,
    );
    expect(await database.query('SELECT * FROM payment_events ORDER BY id')).toEqual(before);
  });
});

describe('a stream has no gaps', () => {
  const gap = { code: '23514', constraint: 'payment_events_no_gaps' };

  test.each([
    ['that begins with 2', [2]],
    ['that leaves one out', [1, 3]],
    ['whose many rows are in the wrong order', [1, 3, 2]],
  ])('refuses one %s', async (_what, sequence) => {
    const aggregate = randomUUID();
    const rows = sequence.map((number) => event(number, aggregate));
    expect(await refusal(database.query(`${INSERT} VALUES ${rows.join(', ')}`))).toMatchObject(gap);
    expect(await database.query('SELECT FROM payment_events WHERE aggregate_id = $1', [aggregate])).toEqual([]);
  });

  test('takes many events in one statement, and goes on after them', async () => {
    const aggregate = randomUUID();
    const rows = Array.from({ length: 100 }, (_none, index) => event(index + 1, aggregate));
    await database.query(`${INSERT} VALUES ${rows.join(', ')}`);
    expect(await refusal(database.query(`${INSERT} VALUES ${event(102, aggregate)}`))).toMatchObject(gap);
    await database.query(`${INSERT} VALUES ${event(101, aggregate)}`);
  });

  test("does not take another stream's events, or those of a temporary table, for its own", async () => {
    const session = await database.connect();
    const aggregate = randomUUID();
    await session.query('CREATE TEMP TABLE payment_events (LIKE public.payment_events INCLUDING ALL)');
    await session.query(`${INSERT} VALUES ${event(1, aggregate)}`);
    const statement = `${INSERT.replace('payment_events', 'public.payment_events')} VALUES ${event(2, aggregate)}`;
    expect(await refusal(session.query(statement))).toMatchObject(gap);
  });

  test('belongs to one restaurant', async () => {
    const aggregate = randomUUID();
    await database.query(`${INSERT} VALUES ${event(1, aggregate)}`);
    const foreign = { code: '23514', constraint: 'payment_events_one_restaurant' };
    const another = event(2, aggregate, randomUUID());
    expect(await refusal(database.query(`${INSERT} VALUES ${another}`))).toMatchObject(foreign);
    const together = `${INSERT} VALUES ${event(2, aggregate)}, ${event(3, aggregate, randomUUID())}`;
    expect(await refusal(database.query(together))).toMatchObject(foreign);
    await database.query(`${INSERT} VALUES ${event(2, aggregate)}`);
  });

  test.each([0, -1])('does not begin with %i', async (sequence) => {
    const refused = await refusal(database.query(`${INSERT} VALUES ${event(sequence, randomUUID())}`));
    expect(refused).toMatchObject({ code: '23514', constraint: 'check_sequence_positive' });
  });

  test('has no number twice', async () => {
    const refused = await refusal(database.query(`${INSERT} VALUES ${event(2)}`));
    expect(refused).toMatchObject({ code: '23505', constraint: 'unique_aggregate_sequence' });
  });
});
