import { type Client } from 'pg';
import { LEFT_OUT, REPORTING_VIEWS } from '../../../src/reporting/views';
import { GRANTED } from '../../../src/schema/objects';
import { refusal } from '../../support/database/refusal';
import { useReporting } from '../../support/reporting/reporting-world';
import { EVEN, ODD } from '../../support/shards/shards';

const world = useReporting();
const { a, b, reporting } = world;
const R = 'payment_events_reporting';
const DENIED = '42501';
let [analyst, reader]: Client[] = [];

beforeAll(async () => {
  await world.authorize(a, EVEN, 2);
  await world.authorize(b, ODD, 2);
  await world.renew();
  analyst = await world.report();
  reader = await world.as(a, world.reader, world.password);
});

interface Column {
  readonly table: string;
  readonly column: string;
  readonly type: string;
}

const COLUMNS = `
  SELECT relname AS table, attname AS column, format_type(atttypid, atttypmod) AS type
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
  WHERE relnamespace = $1::regnamespace AND relkind IN ('r', 'p', 'v') ORDER BY relname, attnum`;

test('every column of every table is in a view, or is left out on purpose', async () => {
  const all = await a.query<Column>(COLUMNS, ['public']);
  expect([...new Set(all.map(({ table }) => table))]).toEqual(GRANTED.tables.toSorted());
  const shown = new Set(
    REPORTING_VIEWS.filter(({ aggregates }) => !aggregates).flatMap(({ table, columns }) =>
      columns.map(({ name }) => `${table}.${name}`),
    ),
  );
  const leftOut = (table: string, column: string) => LEFT_OUT[table] === 'whole' || LEFT_OUT[table]?.includes(column);
  for (const { table, column } of all) {
    const decided = [shown.has(`${table}.${column}`), leftOut(table, column)].filter(Boolean);
    expect({ table, column, decided }).toEqual({ table, column, decided: [true] });
  }
});

test('no secret is in a view, by whatever name', () => {
  const secrets = [
    ...['payment_token', 'event_data', 'payload', 'headers', 'metadata', 'idempotency_key', 'processor_config'],
    ...['sealed_secrets', 'wrapped', 'fencing_token', 'attempt_token', 'request_fingerprint'],
  ];
  for (const { columns } of REPORTING_VIEWS) {
    for (const { name, expression = '' } of columns) {
      expect(secrets).not.toContain(name);
      for (const secret of secrets) expect(expression).not.toContain(secret);
    }
  }
});

test('the views have the columns and types that the reporting database has', async () => {
  const ours = REPORTING_VIEWS.flatMap(({ name: table, columns }) =>
    columns.map(({ name: column, type }) => ({ table, column, type })),
  );
  const order = (one: Column, other: Column) => (one.table < other.table ? -1 : one.table > other.table ? 1 : 0);
  expect(await a.query<Column>(COLUMNS, ['payment_events_reporting_0_of_2'])).toEqual(ours.toSorted(order));
});

describe('who asks for reports', () => {
  test('reads every table of reports', async () => {
    for (const { name } of REPORTING_VIEWS) await analyst!.query(`SELECT * FROM ${R}.${name}`);
  });

  test.each(REPORTING_VIEWS.map(({ name }) => name))('cannot write %s', async (name) => {
    const [{ attname: column }] = (
      await analyst!.query<{ attname: string }>(
        `SELECT attname FROM pg_attribute WHERE attrelid = '${R}.${name}'::regclass AND attnum = 1`,
      )
    ).rows as [{ attname: string }];
    for (const write of [
      `DELETE FROM ${R}.${name}`,
      `UPDATE ${R}.${name} SET ${column} = ${column}`,
      `TRUNCATE ${R}.${name}`,
      `INSERT INTO ${R}.${name} SELECT * FROM ${R}.${name}`,
    ]) {
      expect(await refusal(analyst!.query(write))).toMatchObject({ code: DENIED });
    }
  });

  test('cannot see the password of the reader, use its servers otherwise, or make anything', async () => {
    await reporting.query(`CREATE SCHEMA mine AUTHORIZATION ${world.analyst}`);
    const { rows } = await analyst!.query<{ umoptions: unknown }>('SELECT umoptions FROM pg_user_mappings');
    expect(rows).toEqual([{ umoptions: null }, { umoptions: null }]);
    for (const attempt of [
      'SELECT * FROM pg_user_mapping',
      `CREATE FOREIGN TABLE mine.tokens (payment_token text) SERVER payment_events_shard_a OPTIONS (schema_name 'public', table_name 'auth_request_state')`,
      "CREATE USER MAPPING FOR CURRENT_USER SERVER payment_events_shard_a OPTIONS (user 'postgres')",
      "ALTER SERVER payment_events_shard_a OPTIONS (SET port '1')",
      `CREATE TABLE ${R}.mine (id integer)`,
      `SELECT * FROM ${R}.requests_a`,
    ]) {
      expect({ attempt, ...(await refusal(analyst!.query(attempt))) }).toMatchObject({ attempt, code: DENIED });
    }
  });
});

describe('whom the reporting database reads as', () => {
  test('reads the views, and none of the tables', async () => {
    for (const { name } of REPORTING_VIEWS)
      await reader!.query(`SELECT * FROM payment_events_reporting_0_of_2.${name}`);
    for (const table of GRANTED.tables) {
      expect(await refusal(reader!.query(`SELECT FROM public.${table}`))).toMatchObject({ code: DENIED });
    }
  });

  test('writes nothing, neither tables nor through the views', async () => {
    for (const { name, aggregates } of REPORTING_VIEWS) {
      const view = `payment_events_reporting_0_of_2.${name}`;
      const codes = aggregates ? [DENIED, '55000'] : [DENIED];
      expect(codes).toContain((await refusal(reader!.query(`DELETE FROM ${view}`))).code);
      expect(codes).toContain((await refusal(reader!.query(`UPDATE ${view} SET restaurant_id = restaurant_id`))).code);
      expect(codes).toContain(
        (await refusal(reader!.query(`INSERT INTO ${view} (restaurant_id) VALUES (gen_random_uuid())`))).code,
      );
    }
    for (const table of GRANTED.tables) {
      expect(await refusal(reader!.query(`DELETE FROM public.${table}`))).toMatchObject({ code: DENIED });
    }
  });

  test('gets at no token by a table or function of its own that a view would take instead', async () => {
    const session = await world.as(a, world.reader, world.password);
    await session.query(`CREATE TEMP TABLE auth_request_state (payment_token text);
      CREATE FUNCTION pg_temp.uuid_hash_extended(uuid, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 1 / 0::bigint';
      SET search_path = pg_temp, pg_catalog`);
    const { rows } = await session.query('SELECT * FROM payment_events_reporting_0_of_2.requests');
    expect(rows).toHaveLength(2);
    await session.end();
  });
});

test('not even the owner writes through the reporting database', async () => {
  for (const write of [
    `DELETE FROM ${R}.requests`,
    `TRUNCATE ${R}.requests`,
    `INSERT INTO ${R}.events SELECT * FROM ${R}.events`,
  ]) {
    expect((await refusal(reporting.query(write))).message).toMatch(/does not allow/);
  }
});

test("privileges that the owner's defaults give to all are taken back", async () => {
  await a.query('ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC');
  await reporting.query('ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC');
  await world.renew();
  await a.query('DROP VIEW payment_events_reporting_0_of_2.holds');
  await world.renew();
  await a.query('ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC');
  await reporting.query('ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC');
  for (const database of [a, reporting]) {
    const [{ open }] = (await database.query(`
      SELECT count(*)::integer AS open FROM pg_class CROSS JOIN LATERAL aclexplode(relacl)
      WHERE relnamespace::regnamespace::text LIKE '${R}%' AND grantee = 0`)) as [{ open: number }];
    expect(open).toBe(0);
  }
});
