import { type DataSource } from 'typeorm';
import { type Statement } from '../../src/database/statement';
import { Outbox } from '../../src/outbox/outbox';
import { CLAIM } from '../../src/outbox/relay-turn';
import { RESTAURANT } from '../support/auth-requests';
import { useTestDatabase } from '../support/use-test-database';

jest.setTimeout(120_000);

const PROCESSED = 300_000;
const BURST = 200_000;
const ONE_AGGREGATE = 100_000;

const database = useTestDatabase();
let dataSource: DataSource;

interface Plan {
  'Node Type': string;
  'Index Name'?: string;
  'Index Cond'?: string;
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

/** In the order of ids along the pending messages, with a look into the index of aggregates for each. */
function isProbePerRow(nodes: Plan[]): boolean {
  const types = new Set(nodes.map((node) => node['Node Type']));
  const walk = nodes.find((node) => node['Index Name'] === 'idx_outbox_pending');
  const probe = nodes.find((node) => node['Index Name'] === 'idx_outbox_unprocessed_aggregate');
  const isSubPlan = nodes.some(
    (node) => node['Parent Relationship'] === 'SubPlan' && probe !== undefined && nodesOf(node).includes(probe),
  );
  return (
    [...types].every((type) => ['Limit', 'LockRows', 'Index Scan', 'Index Only Scan', 'Result'].includes(type)) &&
    walk?.['Node Type'] === 'Index Scan' &&
    isSubPlan &&
    /aggregate_id = message\.aggregate_id\) AND \(id < message\.id/.test(probe?.['Index Cond'] ?? '')
  );
}

const claims = async (statement: Statement = CLAIM) => (await plansOf(statement, [100, '{}'])).map(isProbePerRow);

const fill = (count: number, { aggregate = 'gen_random_uuid()', processed = false } = {}) =>
  database.query(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, created_at, processed_at)
     SELECT ${aggregate}, $2, 'auth_request_queued', '\\x00', at, CASE WHEN $3 THEN at END
     FROM (SELECT now() - (365 * (1 - n::float8 / $1)) * interval '1 day' AS at FROM generate_series(1, $1) AS n) AS year`,
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
      new Set(['idx_outbox_pending', 'idx_outbox_unprocessed_aggregate', 'idx_outbox_processed_at']),
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
    expect(CLAIM.text).toContain('OFFSET 0');
    expect(await claims({ text: CLAIM.text.replace('OFFSET 0', '') })).not.toContain(true);
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
