import { type Client } from 'pg';
import { findDrift } from '../../../src/check/drift';
import { reportingStatus } from '../../../src/reporting/reporting-status';
import { REPORTING_VIEWS } from '../../../src/reporting/views';
import { withClient } from '../../../src/testing/with-client';
import { useDatabaseOf } from '../../support/database/database-of';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { planOf, useReporting } from '../../support/reporting/reporting-world';
import { aRestaurantOf, EVEN, mapOf, ODD } from '../../support/shards/shards';

const ICU = "LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C'";
// Before the world, which drops its roles at the end.
const [other, dictionary] = [useDatabaseOf(ICU), useDatabaseOf(ICU)];
const world = useReporting();
const { a } = world;
const R = 'payment_events_reporting';

const NAMES = ['stripe', 'Adyen', 'adyen', 'Stripe'];
const HOLDS = 4_000;
/** Of each database the same, in an order that a byte and a dictionary do not agree on. */
const idOf = (hold: number) => `${['a', 'B', 'c', 'D'][hold % 4]}${hold % 500}`;
const IDS = [...new Set(Array.from({ length: HOLDS }, (_, hold) => idOf(hold)))].toSorted();

/** Holds and requests of processors, whose names and ids differ in little but their case. */
async function fill(url: string, shard: typeof EVEN): Promise<void> {
  const restaurants = Array.from({ length: 20 }, () => aRestaurantOf(shard));
  const holds = Array.from({ length: HOLDS }, (_, hold) => hold);
  await withClient(url, async (client) => {
    await client.query('SET session_replication_role = replica');
    await client.query(
      `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, state,
         state_since, is_needed, is_answered, first_event_sequence, last_event_sequence, authorized_at)
       SELECT gen_random_uuid(), ($1::uuid[])[1 + place % 20], name, id, 100, 'USD', 'held', now(), true, true, 1, 1, now()
       FROM unnest($2::integer[], $3::text[], $4::text[]) AS hold (place, name, id)`,
      [restaurants, holds, holds.map((hold) => NAMES[hold % 4]), holds.map(idOf)],
    );
    await client.query(
      `INSERT INTO auth_request_state (auth_request_id, restaurant_id, status, amount_cents, currency, payment_token, created_at,
         updated_at, last_event_sequence, last_event_id, attempt_open, unanswered_since, unanswered_versions, processor_name)
       SELECT gen_random_uuid(), ($1::uuid[])[1 + place % 20], 'PENDING', 100, 'USD', 'token', now(), now(), 1, gen_random_uuid(),
         true, now(), ARRAY[name], name
       FROM unnest($2::integer[], $3::text[]) AS request (place, name)`,
      [restaurants, holds, holds.map((hold) => NAMES[hold % 4])],
    );
  });
}

beforeAll(async () => {
  const dataSource = await quietDataSource({ url: other.url });
  await dataSource.runMigrations();
  await dataSource.destroy();
  await fill(a.url, EVEN);
  await fill(other.url, ODD);
  world.source.map = mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: other.url } });
});

// The databases are of two locales. So whatever the reporting database is of, one of them is of another.
describe.each([
  ['bytes', () => world.reporting.url],
  ['a dictionary', () => dictionary.url],
])('with a reporting database that sorts by %s', (_, url) => {
  let report: Client;
  const status = () => reportingStatus(world.source, { ...world.place, url: url() });
  const rows = async (sql: string) => (await report.query<Record<string, unknown>>({ text: sql })).rows;
  const only = async (sql: string) => Object.values((await rows(sql))[0]!)[0];

  beforeAll(async () => {
    await world.renew({ url: url() });
    const own = new URL(url());
    report = await world.as({ url: own.href } as typeof a, world.analyst, 'test');
  });
  afterAll(() => report.end());

  test('count(DISTINCT) of a text counts each once, although the databases have sorted it', async () => {
    expect(await only(`SELECT count(DISTINCT processor_auth_id)::integer FROM ${R}.holds`)).toBe(IDS.length);
    expect(await only(`SELECT count(DISTINCT unanswered_versions)::integer FROM ${R}.requests`)).toBe(4);
  });

  test.each(['holds', 'requests'])(
    'GROUP BY and ORDER BY of a text have each group of %s once, whole',
    async (table) => {
      const groups = NAMES.toSorted().map((name) => ({ name, rows: HOLDS / 2 }));
      const sql = `SELECT processor_name AS name, count(*)::integer AS rows FROM ${R}.${table} GROUP BY 1 ORDER BY 1`;
      for (const hashed of ['on', 'off']) {
        await report.query(`SET enable_hashagg = ${hashed}`);
        expect(await rows(sql)).toEqual(groups);
      }
      await report.query('RESET enable_hashagg');
    },
  );

  test('sums by a text of the tables of counts are whole', async () => {
    expect(
      await rows(
        `SELECT processor_name AS name, sum(holds)::integer AS rows FROM ${R}.holds_by_state GROUP BY 1 ORDER BY 1`,
      ),
    ).toEqual(NAMES.toSorted().map((name) => ({ name, rows: HOLDS / 2 })));
  });

  test('ORDER BY … LIMIT has the first, and min, max and comparisons are in the same order', async () => {
    const first = await rows(`SELECT DISTINCT processor_auth_id AS id FROM ${R}.holds ORDER BY 1 LIMIT 3`);
    expect(first.map(({ id }) => id)).toEqual(IDS.slice(0, 3));
    const sorted = await planOf(report, `SELECT processor_auth_id FROM ${R}.holds ORDER BY 1 LIMIT 1`);
    expect(sorted.match(/Remote SQL: .* ORDER BY processor_auth_id/g)).toHaveLength(2);
    const last = await rows(`SELECT processor_auth_id AS id FROM ${R}.holds ORDER BY 1 DESC LIMIT 1`);
    expect(last).toEqual([{ id: IDS.at(-1) }]);
    expect(await rows(`SELECT min(processor_auth_id), max(processor_auth_id) FROM ${R}.holds`)).toEqual([
      { min: IDS[0], max: IDS.at(-1) },
    ]);
    const above = IDS.filter((id) => id > 'a').length * 2 * (HOLDS / IDS.length);
    const conditions = ["> 'a'", "BETWEEN 'a' AND 'z'"];
    for (const condition of conditions) {
      expect(await only(`SELECT count(*)::integer FROM ${R}.holds WHERE processor_auth_id ${condition}`)).toBe(above);
    }
  });

  test('a condition on text is the work of the databases', async () => {
    const sql = `SELECT restaurant_id FROM ${R}.holds WHERE processor_name IN ('stripe', 'Adyen') AND state = 'held' AND currency <> 'EUR'`;
    const plan = await planOf(report, sql);
    expect(plan).not.toMatch(/^ *Filter:/m);
    expect(await rows(sql)).toHaveLength(HOLDS);
  });

  test('a merge join by a text finds each partner', async () => {
    await report.query('SET enable_hashjoin = off; SET enable_nestloop = off');
    const found = await only(`
      SELECT count(*)::integer FROM ${R}.holds AS one
      JOIN (SELECT DISTINCT processor_auth_id FROM ${R}.holds) AS id USING (processor_auth_id)`);
    await report.query('RESET enable_hashjoin; RESET enable_nestloop');
    expect(found).toBe(2 * HOLDS);
  });

  test('every column that can be sorted by a locale is in one collation, by its name, at both ends', async () => {
    const collations = `
      SELECT nspname, relname, attname, collname FROM pg_attribute
      JOIN pg_class ON pg_class.oid = attrelid JOIN pg_namespace ON pg_namespace.oid = relnamespace
      JOIN pg_collation ON pg_collation.oid = attcollation
      WHERE starts_with(nspname, '${R}') AND attnum > 0`;
    for (const at of [a.url, other.url, url()]) {
      const { rows: columns } = await withClient(at, (client) => client.query<{ collname: string }>(collations));
      expect(columns).not.toEqual([]);
      expect(columns.filter(({ collname }) => collname !== 'C')).toEqual([]);
    }
  });

  /** As the first version of the views had them: each end sorts by its own locale. */
  const asBefore = {
    views: (at: string) =>
      withClient(at, async (client) => {
        const { rows: views } = await client.query<{ name: string; definition: string }>(
          `SELECT oid::regclass::text AS name, pg_get_viewdef(oid) AS definition FROM pg_class
           WHERE relkind = 'v' AND starts_with(relnamespace::regnamespace::text, '${R}')`,
        );
        expect(views).toHaveLength(REPORTING_VIEWS.length);
        for (const { name, definition } of views) {
          const plain = definition.replaceAll(' COLLATE "C"', '');
          expect(plain).not.toBe(definition);
          await client.query(
            `DROP VIEW ${name}; CREATE VIEW ${name} AS ${plain}; GRANT SELECT ON ${name} TO ${world.role}`,
          );
        }
      }),
    tables: () =>
      withClient(url(), async (client) => {
        for (const { name, columns } of REPORTING_VIEWS) {
          const changes = columns
            .filter(({ type }) => /char|text/.test(type))
            .map((column) => `ALTER COLUMN ${column.name} TYPE ${column.type} COLLATE "default"`);
          await client.query(`ALTER TABLE ${R}.${name} ${changes.join(', ')}`);
        }
      }),
  };

  test('reports that an earlier version has made are not current, are drift to check, and are renewed', async () => {
    for (const at of [a.url, other.url]) await asBefore.views(at);
    await asBefore.tables();
    expect(await status()).toMatchObject({
      current: false,
      shards: [
        { shard: 'a', views: 'changed', tables: 'changed', answers: 'yes' },
        { shard: 'b', views: 'changed', tables: 'changed', answers: 'yes' },
      ],
    });
    const drift = await findDrift(await a.dataSource(), { rolePrefix: world.prefix });
    expect(drift).toContainEqual(
      expect.objectContaining({
        kind: 'different',
        object: `view ${R}_0_of_2.holds`,
        remedy: 'npx payment-events-db reporting renew',
      }),
    );
    expect(await world.renew({ url: url() })).toMatchObject({ shards: [{ made: true }, { made: true }] });
    expect(await status()).toMatchObject({ current: true });
    expect(await only(`SELECT count(DISTINCT processor_auth_id)::integer FROM ${R}.holds`)).toBe(IDS.length);
  });

  test('nor are they current where a renewal has died between the views and the tables', async () => {
    await asBefore.tables();
    expect(await status()).toMatchObject({
      current: false,
      shards: [
        { views: 'current', tables: 'changed' },
        { views: 'current', tables: 'changed' },
      ],
    });
    await world.renew({ url: url() });
    expect(await status()).toMatchObject({ current: true });
  });
});
