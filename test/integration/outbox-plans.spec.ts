import { type DataSource } from 'typeorm';
import { type Statement } from '../../src/database/statement';
import { Outbox } from '../../src/outbox/outbox';
import { CLAIM } from '../../src/outbox/relay-turn';
import { RESTAURANT } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const PROCESSED = 300_000;
const BURST = 200_000;
const ONE_AGGREGATE = 100_000;
const WAITING = 100_000;

const database = useTestDatabase();
let dataSource: DataSource;

interface Plan {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Index Cond'?: string;
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Parent Relationship'?: string;
  Plans?: Plan[];
}

const nodesOf = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodesOf)];

/** The plans of a statement as it is prepared: for these values, and the one for any that the server may keep. */
async function plansOf({ text }: Statement, values: unknown[]): Promise<Plan[][]> {
  const client = await database.connect();
  await client.query(`PREPARE prepared AS ${text}`);
  const literals = values.map((value) => client.escapeLiteral(String(value)));
  const execute = `EXPLAIN (FORMAT JSON) EXECUTE prepared ${literals.length > 0 ? `(${literals.join(', ')})` : ''}`;
  const plans: Plan[][] = [];
  for (const mode of ['force_custom_plan', 'force_generic_plan']) {
    await client.query(`SET plan_cache_mode = ${mode}`);
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(execute);
    plans.push(nodesOf(rows[0]!['QUERY PLAN'][0]!.Plan));
  }
  await client.end();
  return plans;
}

/** Everything that an operation sends, with its values. */
async function statementsOf(operation: () => Promise<unknown>): Promise<{ text: string; values: unknown[] }[]> {
  type Connection = { query(query: unknown): unknown };
  const pool = (dataSource.driver as unknown as { master: { connect(): Promise<Connection> } }).master;
  const connect = pool.connect.bind(pool);
  const sent: { text: string; values: unknown[] }[] = [];
  pool.connect = async () => {
    const client = await connect();
    const query = client.query.bind(client);
    client.query = (statement) => {
      sent.push(statement as { text: string; values: unknown[] });
      client.query = query;
      return query(statement);
    };
    return client;
  };
  await operation();
  pool.connect = connect;
  return sent;
}

/**
 * Along the pending messages in the order of ids and along those with a time in the order of times, with a look into the
 * index of aggregates for each, and nothing else of the table.
 */
function isProbePerRow(nodes: Plan[]): boolean {
  const scans = nodes.filter((node) => node['Relation Name'] === 'outbox');
  const walks = nodes.filter((node) => node['Node Type'] === 'LockRows').map((node) => node.Plans![0]!);
  const probes = nodes
    .filter((node) => node['Parent Relationship'] === 'SubPlan')
    .flatMap(nodesOf)
    .filter((node) => node['Index Name'] === 'idx_outbox_unprocessed_aggregate');
  return (
    scans.every((node) => ['Index Scan', 'Index Only Scan'].includes(node['Node Type'])) &&
    new Set(scans.map((node) => node['Index Name'])).size === 3 &&
    walks.map((node) => node['Node Type']).join() === 'Index Scan,Index Scan' &&
    walks
      .map((node) => node['Index Name'])
      .sort()
      .join() === 'idx_outbox_next_attempt,idx_outbox_pending' &&
    probes.length === 2 &&
    probes.every((node) =>
      /aggregate_id = message[\w]*\.aggregate_id\) AND \(id < message[\w]*\.id/.test(node['Index Cond'] ?? ''),
    )
  );
}

const claims = async (statement: Statement = CLAIM.one) => (await plansOf(statement, [100, '{}'])).map(isProbePerRow);

const fill = (count: number, { aggregate = 'gen_random_uuid()', processed = false, next = 'NULL' } = {}) =>
  database.query(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, created_at, processed_at, next_attempt_at)
     SELECT ${aggregate}, $2, 'auth_request_queued', '\\x00', at, CASE WHEN $3 THEN at END, ${next}
     FROM (SELECT n, now() - (365 * (1 - n::float8 / $1)) * interval '1 day' AS at FROM generate_series(1, $1) AS n) AS year`,
    [count, RESTAURANT, processed],
  );

beforeAll(async () => {
  dataSource = await database.dataSource();
  // Else what is tested depends on when it runs.
  await database.query('ALTER TABLE outbox SET (autovacuum_enabled = off)');
  await fill(PROCESSED, { processed: true });
  await database.query('VACUUM (ANALYZE) outbox');
});

test('a turn reads nothing of a year of processed messages', async () => {
  expect(await claims()).toEqual([true, true]);
});

test('stats() reads the partial indexes, and of the processed messages what the BRIN index points at', async () => {
  const [statement] = await statementsOf(() => new Outbox(dataSource).stats());
  for (const nodes of await plansOf(statement!, [])) {
    expect(nodes.map((node) => node['Node Type'])).not.toContain('Seq Scan');
    const indexes = nodes.flatMap((node) => node['Index Name'] ?? []);
    expect(new Set(indexes)).toEqual(
      new Set(['idx_outbox_pending', 'idx_outbox_next_attempt', 'idx_outbox_refused', 'idx_outbox_processed_at']),
    );
  }
});

test('purgeProcessed() walks ranges of ids', async () => {
  const olderThanMs = 364 * 86_400_000;
  const statements = await statementsOf(() => new Outbox(dataSource).purgeProcessed({ olderThanMs }));
  expect(statements).toHaveLength(2);
  for (const { text, values } of statements) {
    for (const nodes of await plansOf({ text }, values)) {
      expect(nodes.map((node) => node['Node Type'])).not.toContain('Seq Scan');
      expect(nodes.some((node) => node['Index Name'])).toBe(true);
    }
  }
});

describe('with a burst of pending messages that the statistics know nothing of', () => {
  beforeAll(() => fill(BURST));

  test('a turn still looks once into the index for each message', async () => {
    expect(await claims()).toEqual([true, true]);
  });

  test('which it would not without OFFSET 0', async () => {
    expect(CLAIM.one.text).toContain('OFFSET 0');
    expect(await claims({ text: CLAIM.one.text.replace('OFFSET 0', '') })).not.toContain(true);
  });
});

test('with as many more on one aggregate as well', async () => {
  await fill(ONE_AGGREGATE, { aggregate: `'${RESTAURANT}'::uuid` });
  expect(await claims()).toEqual([true, true]);
});

test('and when the statistics know of them all', async () => {
  await database.query('ANALYZE outbox');
  expect(await claims()).toEqual([true, true]);
});

describe('with 100,000 messages that wait for a time to come', () => {
  beforeAll(() => fill(WAITING, { next: `now() + interval '1 hour' + n * interval '1 second'` }));

  /** Pages that a turn looks at, each time as the server runs it, nothing claimed for good. */
  async function pagesOf(plan: 'custom' | 'generic'): Promise<{ pages: number; rows: number }> {
    const client = await database.connect();
    await client.query(`PREPARE claim AS ${CLAIM.one.text}; SET plan_cache_mode = force_${plan}_plan; BEGIN`);
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Counted }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE claim (100, '{}')`,
    );
    await client.query('ROLLBACK');
    await client.end();
    const root = rows[0]!['QUERY PLAN'][0]!.Plan;
    return { pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'], rows: root['Actual Rows'] };
  }
  interface Counted {
    'Shared Hit Blocks': number;
    'Shared Read Blocks': number;
    'Actual Rows': number;
  }

  describe.each([
    ['on stale statistics', () => Promise.resolve()],
    ['when the statistics know of them', () => database.query('ANALYZE outbox')],
    [
      'when they are all there is, and the statistics believe that none is',
      async () => {
        await database.query('DELETE FROM outbox WHERE next_attempt_at IS NULL');
        await database.query('UPDATE outbox SET processed_at = now()');
        await database.query('VACUUM (ANALYZE) outbox');
        await fill(WAITING, { next: `now() + interval '1 hour' + n * interval '1 second'` });
      },
    ],
  ])('%s', (_when, prepare) => {
    beforeAll(prepare);

    test('a turn walks its two indexes and looks once for each message', async () => {
      expect(await claims()).toEqual([true, true]);
    });

    test('a turn reads none of them', async () => {
      // They are 100,000 entries on some 300 pages, and rows on some 1,500 more.
      for (const plan of ['custom', 'generic'] as const) expect((await pagesOf(plan)).pages).toBeLessThan(1_200);
    });
  });

  test('an idle turn looks at a few pages, however many wait', async () => {
    await database.query('DELETE FROM outbox WHERE next_attempt_at IS NULL');
    await database.query('VACUUM outbox');
    for (const plan of ['custom', 'generic'] as const) {
      const { pages, rows } = await pagesOf(plan);
      expect(rows).toBe(0);
      expect(pages).toBeLessThan(10);
    }
  });

  test('a full turn, half of it due, looks at a few pages a message', async () => {
    await fill(500);
    await database.query(`UPDATE outbox SET next_attempt_at = now() - interval '1 second'
                          WHERE id IN (SELECT id FROM outbox WHERE next_attempt_at IS NOT NULL ORDER BY id LIMIT 500)`);
    for (const plan of ['custom', 'generic'] as const) {
      const { pages, rows } = await pagesOf(plan);
      expect(rows).toBe(100);
      expect(pages).toBeLessThan(2_000);
    }
  });
});

describe('in trouble, with as many messages pending, waiting, refused, given up and just processed', () => {
  beforeAll(async () => {
    await database.query('TRUNCATE outbox');
    await fill(PROCESSED, { processed: true });
    await database.query('VACUUM (ANALYZE) outbox');
    await database.query(`UPDATE outbox SET processed_at = now() WHERE id % 3 = 0`);
    await fill(ONE_AGGREGATE);
    await fill(ONE_AGGREGATE, { next: `now() + n * interval '1 hour'` });
    await fill(ONE_AGGREGATE, { next: `now() + n * interval '1 second'` });
    await database.query(`UPDATE outbox SET attempts = 1 WHERE next_attempt_at < now() + interval '30 hours'`);
    await fill(ONE_AGGREGATE / 5, { next: `'epoch'::timestamptz` });
    await database.query(
      `UPDATE outbox SET attempts = 10, failed_at = now(), next_attempt_at = NULL WHERE next_attempt_at = 'epoch'`,
    );
  });

  /** Rows that stats() fetched from the table, by what the server counted. */
  async function rowsRead(): Promise<number> {
    const [statement] = await statementsOf(() => new Outbox(dataSource).stats());
    const client = await database.connect();
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${statement!.text}`,
    );
    await client.end();
    return nodesOf(rows[0]!['QUERY PLAN'][0]!.Plan)
      .filter((node) => node['Relation Name'] === 'outbox')
      .reduce((sum, node) => sum + node['Actual Rows']! * node['Actual Loops']!, 0);
  }

  test.each([
    ['on statistics from before', () => Promise.resolve()],
    ['when the statistics know of it', () => database.query('ANALYZE outbox')],
  ])('stats() reads so many of each and no more, %s', async (_when, prepare) => {
    await prepare();
    expect(await rowsRead()).toBeLessThanOrEqual(6 * 10_001);
    const stats = await new Outbox(dataSource).stats();
    expect(stats).toEqual({
      ...{ pending: 10_000, waiting: 10_000, failed: 10_000, processedLastMinute: expect.any(Number) as number },
      oldestPendingAgeMs: expect.any(Number) as number,
      atLeast: expect.arrayContaining(['pending', 'waiting', 'failed']) as string[],
    });
  });
});
