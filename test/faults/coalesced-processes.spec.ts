import { setTimeout as delay } from 'node:timers/promises';
import { type Left } from '../fixtures/coalescing/leaving';
import { type Told } from '../fixtures/coalescing/crowd';
import { useTestDatabase } from '../support/database/use-test-database';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { FixtureProcess } from '../support/processes/fixture-process';
import { within } from '../support/processes/within';
import { RESTAURANT } from '../support/requests/auth-requests';
import { expectKept } from '../support/requests/callers';
import { atOnce, eventually } from '../support/requests/races';

const LIMIT_MS = 120_000;

const database = useTestDatabase();
const query = <Row>(sql: string, params?: unknown[]) => database.query<Row>(sql, params);
const requireWhole = async () => expectNothingHalfDone(query, await database.dataSource());

const PROCESSES = 8;
/** Each with a pool and calls of its own, as a process of its own has: 64 processes take minutes to start on two cores. */
const DATA_SOURCES = 8;
const ROUNDS = 8;
const KEYS = 100;

it(`${PROCESSES * DATA_SOURCES} at once with the same keys, each in an order of its own, never meet a deadlock and make each request once`, async () => {
  // Less than a statement for many waits for a lock: it would give up before anybody looks for a deadlock.
  await query(`ALTER DATABASE ${database.name} SET deadlock_timeout = '10ms'`);
  // Keys of every other round are there and have expired.
  await query(
    `INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, operation, created_at, expires_at)
     SELECT format('round %s, key %s', round, key), $1, gen_random_uuid(), 'authorize', now() - interval '2 days', now() - interval '1 day'
     FROM generate_series(1, $2::integer, 2) AS round, generate_series(0, $3 - 1) AS key`,
    [RESTAURANT, ROUNDS - 1, KEYS],
  );
  const processes = Array.from(
    { length: PROCESSES },
    () => new FixtureProcess('coalescing/crowd', database.url, DATA_SOURCES, ROUNDS, KEYS),
  );
  await within(LIMIT_MS, 'the start', Promise.all(processes.map((each) => each.printed(1))));
  for (const each of processes) each.tell('go');
  expect(await within(LIMIT_MS, 'the end', Promise.all(processes.map(({ ended }) => ended)))).toEqual(
    Array(PROCESSES).fill(0),
  );

  const told = processes.map(({ lines }) => JSON.parse(lines[1]!) as Told);
  for (const key of Object.keys(told[0]!)) {
    const outcomes: Record<string, number> = {};
    for (const [outcome, count] of told.flatMap((each) => Object.entries(each[key]!))) {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
    }
    const [id] = Object.keys(outcomes)[0]!.split(' ');
    expect({ key, outcomes }).toEqual({
      key,
      outcomes: { [`${id} new`]: 1, [`${id} replayed`]: PROCESSES * DATA_SOURCES - 1 },
    });
  }
  await requireWhole();
  const [{ deadlocks }] = (await query(
    `SELECT deadlocks::integer FROM pg_stat_database WHERE datname = current_database()`,
  )) as [{ deadlocks: number }];
  expect(deadlocks).toBe(0);
});

it('a client that is killed while calls travel together loses none that was confirmed, and does none by halves', async () => {
  const confirmed = new Map<string, string>();
  const name = 'killed with company';
  await atOnce(4, async () => {
    const client = new FixtureProcess('coalescing/callers', database.url, name);
    await within(LIMIT_MS, 'the client', client.printed(200));
    await delay(Math.random() * 200);
    expect(await client.kill()).toBe('SIGKILL');
    // The last line may be cut.
    for (const line of client.lines) if (line.length === 73) confirmed.set(line.slice(0, 36), line.slice(37));
  });
  const sessions = () => query('SELECT pid FROM pg_stat_activity WHERE application_name = $1', [name]);
  expect(await eventually(async () => (await sessions()).length === 0)).toBe(true);

  expect(confirmed.size).toBeGreaterThan(800);
  await expectKept(query, confirmed);
  await requireWhole();
});

it.each([1, 500, 1_400])(
  'a DataSource that is destroyed after %i answers leaves nobody without an answer or an error, and lets its process end',
  async (answers) => {
    const prefix = `destroyed after ${answers}`;
    const leaving = new FixtureProcess('coalescing/leaving', database.url, prefix, 1_000, answers);
    expect(await within(LIMIT_MS, 'the process', leaving.ended)).toBe(0);
    const { answered, refused } = JSON.parse(leaving.lines[0]!) as Left;
    expect(Object.keys({ ...answered, ...refused })).toHaveLength(1_001);
    expect(new Set(Object.values(refused))).toEqual(new Set(['DATA_SOURCE_NOT_OPEN']));
    expect(refused).toHaveProperty(`${prefix}, the end`);
    await expectKept(query, new Map(Object.entries(answered)));
    // What was refused was not sent.
    const written = await query<{ count: number }>(
      `SELECT count(*)::integer FROM auth_idempotency_keys WHERE idempotency_key LIKE $1 || ', %'`,
      [prefix],
    );
    expect(written).toEqual([{ count: Object.keys(answered).length }]);
    await requireWhole();
  },
);
