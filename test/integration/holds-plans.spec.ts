import { type DataSource } from 'typeorm';
import { Holds } from '../../src/auth-requests/holds/holds';
import { operations } from '../../src/database/operation';
import { IS_OWNED } from '../../src/fence/owned';
import { remainderOf } from '../../src/fence/residue';
import { aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const ENDED = 100_000;
const NEEDED = 100_001;

const database = useTestDatabase();
let dataSource: DataSource;
let holds: Holds;

/** Holds of one request, which no operation could make: for plans and sums alone. */
const fill = (count: number, state: string, isNeeded: boolean, expires = 'NULL') =>
  database.query(
    `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
       authorized_at, hold_expires_at, state, is_needed, is_answered, first_event_sequence, last_event_sequence)
     SELECT auth_request_id, $1, 'stripe', gen_random_uuid(), 10, 'USD', now(), ${expires}, $3, $4::boolean, true, 1, 1
     FROM generate_series(1, $2::integer) AS n, (SELECT auth_request_id FROM auth_request_state LIMIT 1) AS request`,
    [RESTAURANT, count, state, isNeeded],
  );

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  Plans?: Plan[];
}

const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** How the server runs an operation: planned for these values, and by the plan for any that it may keep. */
async function plansOf(name: string, values: string, rewritten = (text: string) => text): Promise<Plan[][]> {
  const client = await database.connect();
  const [, operation] = [...operations].find(([digested]) => digested.startsWith(`${name}_`))!;
  await client.query(`PREPARE prepared AS ${rewritten(operation.one.text)}`);
  const plans: Plan[][] = [];
  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    await client.query(`SET plan_cache_mode = ${mode}`);
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE prepared (${values})`,
    );
    plans.push(nodesOf(rows[0]!['QUERY PLAN'][0]!.Plan));
  }
  await client.end();
  return plans;
}

/** As what follows the limit: from the first on. */
const FIRST = `NULL, NULL, NULL, '', ''`;
/** From a time on, among those that are needed or not. */
const after = (isNeeded: boolean, time: string) =>
  `${isNeeded}, (extract(epoch FROM ${time}) * 1000000)::bigint, gen_random_uuid(), '73', '70'`;

const NO_FENCE = 'NULL::bigint, NULL::bigint';
/** The restaurant of the rows is in the first class, and has moved away by the second. */
const FENCES = [0, 1].map((moved) => `1, ${remainderOf(RESTAURANT, 2) ^ moved}`);

const ASKED: [string, string][] = [
  ['list_holds', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 100, ${FIRST}`],
  ['list_holds', `'{void_failed}', true, 60000, NULL, NULL, ${NO_FENCE}, 100, ${FIRST}`],
  ['list_holds', `NULL, NULL, NULL, 3600000, NULL, ${NO_FENCE}, 100, ${FIRST}`],
  ['list_holds', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 100, ${after(false, `now() - interval '1 hour'`)}`],
  ['hold_totals', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}`],
  ['hold_stats', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 86400000`],
];

/** How rows are looked for, and by which index. */
const shapeOf = (nodes: Plan[]) =>
  nodes
    .filter((node) => node['Actual Loops']! > 0 && (node['Relation Name'] ?? node['Index Name']))
    .map((node) => [node['Node Type'], node['Index Name']]);

/** Rows of holds that were fetched, also those that a filter dropped. */
const rowsRead = (nodes: Plan[]) =>
  nodes
    .filter((node) => node['Relation Name'] === 'auth_holds')
    .reduce(
      (sum, node) => sum + (node['Actual Rows']! + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']!,
      0,
    );

beforeAll(async () => {
  dataSource = await database.dataSource();
  holds = new Holds(dataSource);
  await aRequest(dataSource);
  await database.query(
    `INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at,
       metadata, last_event_sequence, last_event_id)
     SELECT gen_random_uuid(), restaurant_id, payment_token, status, amount_cents, currency, created_at, metadata,
       last_event_sequence, last_event_id FROM auth_request_state, generate_series(1, 20000)`,
  );
  await database.query('ANALYZE auth_request_state');
  // Else what is tested depends on when it runs.
  await database.query('ALTER TABLE auth_holds SET (autovacuum_enabled = off)');
  await fill(ENDED / 2, 'voided', false);
  await fill(ENDED / 2, 'captured', true);
  await fill(10, 'void_failed', false);
  await fill(10, 'voiding', false);
  await fill(10, 'held', true, `now() + n * interval '10 minutes'`);
  await fill(10, 'held', false);
});

describe.each([
  ['on statistics of an empty table', () => Promise.resolve()],
  ['when the statistics know of them', () => database.query('VACUUM (ANALYZE) auth_holds')],
])('with 100,000 ended holds beside, %s', (_when, prepare) => {
  beforeAll(prepare);

  const asked = [NO_FENCE, ...FENCES].flatMap((fence) =>
    ASKED.map(([name, values]) => [name, values.replace(NO_FENCE, fence)] as const),
  );
  test.each(asked)('%s (%s) reads by the partial indexes what may stand, and no other hold', async (name, values) => {
    for (const nodes of await plansOf(name, values)) {
      expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
      const scans = nodes.flatMap((node) =>
        node['Index Name']?.startsWith('idx_auth_holds') ? node['Index Name'] : [],
      );
      expect(scans).toContain('idx_auth_holds_open');
      expect(new Set([...scans, 'idx_auth_holds_held']).size).toBe(2);
      expect(rowsRead(nodes)).toBeLessThanOrEqual(100);
    }
  });

  test.each(ASKED)('%s (%s) runs without a fence as if there were none', async (name, values) => {
    const unfenced = await plansOf(name, values, (text) => {
      expect(text).toContain(IS_OWNED);
      return text.replaceAll(IS_OWNED, 'true');
    });
    expect((await plansOf(name, values)).map(shapeOf)).toEqual(unfenced.map(shapeOf));
  });
});

describe('with 100,000 holds that their requests need', () => {
  beforeAll(() => fill(NEEDED, 'held', true));

  test.each([
    ['on statistics from before', () => Promise.resolve()],
    ['when the statistics know of them', () => database.query('VACUUM (ANALYZE) auth_holds')],
  ])('a list reads as many as it lists and no more, %s', async (_when, prepare) => {
    await prepare();
    for (const nodes of await plansOf('list_holds', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 100, ${FIRST}`)) {
      expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
      expect(rowsRead(nodes)).toBeLessThanOrEqual(300);
    }
    expect(await holds.list()).toHaveLength(100);
  });

  test('a further page reads what comes after its cursor and no more', async () => {
    const lapsing = (minutes: number) =>
      `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 100, ${after(true, `now() + interval '${minutes} minutes'`)}`;
    await fill(NEEDED, 'held', true, `now() + interval '1 day' + n * interval '1 second'`);
    try {
      for (const prepare of [() => Promise.resolve(), () => database.query('VACUUM (ANALYZE) auth_holds')]) {
        await prepare();
        for (const minutes of [5, 2_000, 10_000]) {
          for (const nodes of await plansOf('list_holds', lapsing(minutes))) {
            expect(nodes.filter((node) => node['Node Type'] === 'Seq Scan')).toEqual([]);
            const executed = nodes.filter((node) => node['Actual Loops']! > 0);
            expect(executed.map((node) => node['Index Name'])).not.toContain('idx_auth_holds_open');
            expect(rowsRead(nodes)).toBeLessThanOrEqual(310);
          }
        }
      }
    } finally {
      await database.query(`DELETE FROM auth_holds WHERE hold_expires_at > now() + interval '12 hours'`);
      await database.query('VACUUM (ANALYZE) auth_holds');
    }
  });

  test('totals count them to 100,000, and say that there may be more; the others are counted all', async () => {
    const { totals, isAtLeast } = await holds.totals();
    expect(totals.map(({ because, count, amountCents }) => [because, count, amountCents])).toEqual([
      ['never_voided', 10, 100],
      ['void_failed', 10, 100],
      ['voiding', 10, 100],
      ['needed', 100_000, 1_000_000],
    ]);
    expect(isAtLeast).toBe(true);
    expect((await holds.stats()).isAtLeast).toBe(true);
    for (const [name, values] of [ASKED[4]!, ASKED[5]!]) {
      for (const nodes of await plansOf(name, values)) expect(rowsRead(nodes)).toBeLessThanOrEqual(200_100);
    }
  });

  test('those that the processor has let go long ago cost a list nothing', async () => {
    await database.query(`UPDATE auth_holds SET hold_expires_at = now() - interval '1 day'
                          WHERE is_needed AND state = 'held' AND hold_expires_at IS NULL`);
    await database.query('VACUUM (ANALYZE) auth_holds');
    for (const nodes of await plansOf('list_holds', `NULL, NULL, NULL, NULL, NULL, ${NO_FENCE}, 100, ${FIRST}`)) {
      expect(rowsRead(nodes)).toBeLessThanOrEqual(100);
    }
    expect((await holds.totals()).isAtLeast).toBe(false);
  });
});
