import { type Client } from 'pg';
import { planOf, useReporting } from '../../support/reporting/reporting-world';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { EVEN, ODD, WHOLE } from '../../support/shards/shards';

const world = useReporting();
const { a, b } = world;
const R = 'payment_events_reporting';
let restaurants: { a: string[]; b: string[] };
let report: Client;

beforeAll(async () => {
  // All were at one database, with reports of that; then one class has moved, as a split does it: the source keeps all
  // that it had of it but the messages.
  restaurants = { a: await world.authorize(a, EVEN, 5), b: await world.authorize(a, ODD, 4) };
  world.mapTo(1, { a: WHOLE });
  await world.renew();
  await moveRestaurants({ from: a, keeps: EVEN, to: b, moves: ODD });
  await b.query(
    `SELECT setval(pg_get_serial_sequence(name, 'id'), 1000000) FROM unnest('{payment_events,outbox}'::text[]) AS name`,
  );
  report = await world.report();
});

const rows = async (sql: string, values: unknown[] = []) => (await report.query(sql, values)).rows as object[];

const count = async (database: typeof a, table: string) =>
  (await database.query<{ count: number }>(`SELECT count(*)::integer FROM ${table}`))[0]!.count;
const shown = async (name: string) =>
  ((await rows(`SELECT count(*)::integer FROM ${R}.${name}`)) as [{ count: number }])[0].count;

test('between a split and the renewal reports show what was before it, each row once', async () => {
  expect(await shown('requests')).toBe(9);
  expect(await count(b, 'auth_request_state')).toBe(4);
});

test('one query reads the requests of all restaurants, also what happens where they are now', async () => {
  world.mapTo(2, { a: EVEN, b: ODD });
  await world.renew();
  restaurants.a.push(...(await world.authorize(a, EVEN, 1)));
  restaurants.b.push(...(await world.authorize(b, ODD, 1)));
  const found = await rows(`SELECT restaurant_id AS id FROM ${R}.requests ORDER BY id`);
  expect(found).toEqual([...restaurants.a, ...restaurants.b].toSorted().map((id) => ({ id })));
});

test.each([
  ['requests', 'auth_request_state', 'requests_by_day', 'requests'],
  ['events', 'payment_events', undefined, ''],
  ['holds', 'auth_holds', 'holds_by_state', 'holds'],
  ['messages', 'outbox', 'messages_by_state', 'messages'],
])('of %s none is there twice that a restaurant has left behind', async (name, table, counts, column) => {
  const [{ left }] = (await a.query(`SELECT count(*)::integer AS left FROM ${table} WHERE restaurant_id = ANY ($1)`, [
    restaurants.b,
  ])) as [{ left: number }];
  if (table !== 'outbox') expect(left).toBeGreaterThan(0);
  const all = (await count(a, table)) - left + (await count(b, table));
  expect(await shown(name)).toBe(all);
  if (counts) expect(await rows(`SELECT sum(${column})::integer AS all FROM ${R}.${counts}`)).toEqual([{ all }]);
});

describe('the counts', () => {
  test('by restaurant, day and status are those of the requests', async () => {
    const counted = await rows(`
      SELECT restaurant_id, day::text, status, currency, requests::integer, amount_cents::integer, authorized_amount_cents::integer
      FROM ${R}.requests_by_day ORDER BY restaurant_id`);
    expect(counted).toEqual(
      await rows(`
        SELECT restaurant_id, (created_at AT TIME ZONE 'UTC')::date::text AS day, status, currency, count(*)::integer AS requests,
          sum(amount_cents)::integer AS amount_cents, sum(authorized_amount_cents)::integer AS authorized_amount_cents
        FROM ${R}.requests GROUP BY 1, 2, 3, 4 ORDER BY restaurant_id`),
    );
    expect(counted.length).toBe(restaurants.a.length + restaurants.b.length);
  });

  test('of holds and messages by state are those of the holds and messages', async () => {
    expect(
      await rows(`SELECT state, is_needed, sum(holds)::integer AS holds, sum(amount_cents)::integer AS cents,
                    min(oldest_since) AS oldest FROM ${R}.holds_by_state GROUP BY 1, 2 ORDER BY 1, 2`),
    ).toEqual(
      await rows(`SELECT state, is_needed, count(*)::integer AS holds, sum(amount_cents)::integer AS cents,
                    min(state_since) AS oldest FROM ${R}.holds GROUP BY 1, 2 ORDER BY 1, 2`),
    );
    for (const database of [a, b]) await database.query('UPDATE outbox SET processed_at = NULL, failed_at = NULL');
    await b.query(`
      UPDATE outbox SET processed_at = now() WHERE id = (SELECT min(id) FROM outbox);
      UPDATE outbox SET failed_at = now(), attempts = 1 WHERE id = (SELECT max(id) FROM outbox);
      UPDATE outbox SET processed_at = now(), discarded_at = now(), discarded_by = 'jo', discard_reason = 'a test'
      WHERE id = (SELECT min(id) FROM outbox WHERE processed_at IS NULL)`);
    const states = await rows(
      `SELECT state, sum(messages)::integer AS messages FROM ${R}.messages_by_state GROUP BY 1 ORDER BY 1`,
    );
    const [{ messages }] = (await rows(`SELECT count(*)::integer AS messages FROM ${R}.messages`)) as [
      { messages: number },
    ];
    expect(states).toEqual([
      { state: 'delivered', messages: 1 },
      { state: 'discarded', messages: 1 },
      { state: 'failed', messages: 1 },
      { state: 'pending', messages: messages - 3 },
    ]);
  });
});

describe('the plan', () => {
  const foreign = (plan: string) => [...plan.matchAll(/Foreign Scan/g)].length;

  test("of a restaurant's query asks one database", async () => {
    for (const [name, ids] of Object.entries(restaurants)) {
      const plan = await planOf(report, `SELECT * FROM ${R}.requests WHERE restaurant_id = '${ids[0]}'`);
      expect(foreign(plan)).toBe(1);
      expect(plan).toContain(`requests_${name}`);
    }
  });

  test.each(['*', 'count(*)'])(
    'of a prepared SELECT %s asks one database, whatever restaurant it is told',
    async (what) => {
      const session = await world.report();
      await session.query(`PREPARE of_one (uuid) AS SELECT ${what} FROM ${R}.requests WHERE restaurant_id = $1`);
      // Often enough for a plan that fits all, which PostgreSQL otherwise makes from the sixth time on.
      for (let time = 0; time < 8; time++) {
        for (const [name, ids] of Object.entries(restaurants)) {
          const plan = await planOf(session, `EXECUTE of_one('${ids[0]}')`);
          expect(foreign(plan)).toBe(1);
          expect(plan).toContain(`requests_${name}`);
          expect((await session.query(`EXECUTE of_one('${ids[0]}')`)).rows).toHaveLength(1);
        }
      }
      await session.end();
    },
  );

  test('of GROUP BY restaurant_id has each database group its own', async () => {
    const plan = await planOf(
      report,
      `SELECT restaurant_id, count(*), sum(amount_cents) FROM ${R}.requests GROUP BY restaurant_id`,
    );
    expect(
      plan.match(/Remote SQL: SELECT restaurant_id, count\(\*\), sum\(amount_cents\) FROM .* GROUP BY 1/g),
    ).toHaveLength(2);
  });

  test('of counts asks all databases at once, and fetches what they have counted', async () => {
    const plan = await planOf(
      report,
      `SELECT status, sum(requests), sum(amount_cents) FROM ${R}.requests_by_day GROUP BY status`,
    );
    expect(plan.match(/Async Foreign Scan/g)).toHaveLength(2);
    expect(
      plan.match(
        /Remote SQL: SELECT status, requests, amount_cents FROM payment_events_reporting_\d_of_2\.requests_by_day$/gm,
      ),
    ).toHaveLength(2);
  });

  test('of another aggregate fetches every row: what the page warns of', async () => {
    const plan = await planOf(report, `SELECT status, count(*) FROM ${R}.requests GROUP BY status`);
    expect(plan).not.toContain('GROUP BY');
    expect(plan.match(/Remote SQL: SELECT status FROM/g)).toHaveLength(2);
  });
});

test('one database for all restaurants has reports as well', async () => {
  world.mapTo(3, { a: WHOLE });
  await world.renew();
  const [{ shown }] = (await rows(`SELECT count(*)::integer AS shown FROM ${R}.requests`)) as [{ shown: number }];
  expect(shown).toBe(Number((await a.query<{ count: string }>('SELECT count(*) FROM auth_request_state'))[0]!.count));
});
