import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { randomUUID } from 'node:crypto';
import { Client, Pool } from 'pg';
import { EmbeddedServer, TemporaryDirectory, UNSAFE_BUT_FAST } from '../../src/testing';
import { LATEST_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { aConfig, aDataKey, type ConfigRow, insertConfig, sealed, sealedUnder } from '../support/configs/config-rows';

// A server of its own, whose log is read: what is refused, and how, is in guards-configs.spec.ts.

/** Stands in every column of a row that can hold it. Of no more characters than a name of a version may have. */
const MARK = 'sk_live_4eC39HqLyjWDarjtT1zdp7dc';

const folder = new TemporaryDirectory();
let server: EmbeddedServer;
let pool: Pool;
let dataKey: string;
const log = () => readFileSync(join(server.dataDirectory, 'server.log'), 'utf8');

beforeAll(async () => {
  const settings = {
    ...UNSAFE_BUT_FAST,
    log_statement: 'none',
    log_min_error_statement: 'error',
    log_error_verbosity: 'verbose',
  };
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, settings, notice: () => undefined });
  await new MigrationChain(server).upTo(LATEST_LEVEL);
  pool = new Pool({ connectionString: server.url, application_name: 'test' });
  dataKey = await aDataKey(pool);
});
afterAll(async () => {
  await pool.end();
  await folder.remove();
});

/** A version that holds the mark wherever it may, and is correct. */
const marked = (given: ConfigRow = {}): ConfigRow =>
  aConfig({
    processor_config: { statement_descriptor: MARK },
    created_by: MARK,
    ...sealed(dataKey),
    sealed_secrets: sealedUnder(dataKey, Buffer.from(MARK)),
    ...given,
  });

const insert = (row: ConfigRow) => insertConfig(pool, row);
const changing = (row: ConfigRow, change: string, values: unknown[]) =>
  pool.query(`UPDATE restaurant_payment_configs SET ${change} WHERE restaurant_id = $1 AND config_version = $2`, [
    row.restaurant_id,
    row.config_version,
    ...values,
  ]);

/** As text, and as PostgreSQL prints bytes. */
const shows = (text: string, mark = MARK) => text.includes(mark) || text.includes(Buffer.from(mark).toString('hex'));

/** Everything that the error holds, and that the server has logged since. */
async function told(statement: () => Promise<unknown>): Promise<string> {
  const before = log().length;
  const error = await statement().then(
    () => undefined,
    (reason: unknown) => reason as Error,
  );
  if (!error) throw new Error('The database accepted it.');
  const fields = Object.getOwnPropertyNames(error).map((name) => `${name}: ${String((error as never)[name])}`);
  // The server logs before it answers.
  const logged = log().slice(before);
  expect(logged).toMatch(/ERROR: {2}[0-9A-Z]{5}: /);
  expect(logged).toContain('STATEMENT:');
  return [...fields, logged].join('\n');
}

const REQUIRED = [
  ...['restaurant_id', 'config_version', 'processor_name', 'processor_config', 'is_active', 'updated_at', 'created_at'],
];
const MANY = MARK.repeat(10);

const ROWS: Record<string, () => ConfigRow> = {
  ...Object.fromEntries(REQUIRED.map((column) => [`no ${column}`, () => marked({ [column]: null })])),
  'a version that is too long': () => marked({ config_version: MANY }),
  'a processor that is too long': () => marked({ processor_name: MANY }),
  'a creator who is too long': () => marked({ created_by: MANY }),
  'a copy_of that is too long': () => marked({ copy_of: MANY }),
  'a switched_off_by that is too long': () => marked({ switched_off_by: MANY, is_active: false }),
  'a processor that nobody knows': () => marked({ processor_name: MARK }),
  'settings that are a text': () => marked({ processor_config: MARK }),
  'settings that are a list': () => marked({ processor_config: [MARK, { api_key: MARK }] }),
  'a secret among the settings': () => marked({ processor_config: { api_key: MARK } }),
  'a secret deep down': () => marked({ processor_config: { [MARK]: [{ password: MARK }] } }),
  'settings that the processor does not know': () => marked({ processor_config: { [MARK]: MARK } }),
  'secrets without their names': () => marked({ sealed_fields: null }),
  'secrets without a data key': () => marked({ data_key_id: null }),
  'names without secrets': () => marked({ sealed_secrets: null }),
  'another data key in the header': () => marked({ sealed_secrets: Buffer.from(MARK) }),
  'a data key that is not there': () => marked({ ...sealed(randomUUID()) }),
  'a sealed field that is none': () => marked({ sealed_fields: [MARK] }),
  'a sealed field without a name': () => marked({ sealed_fields: [null] }),
  'sealed fields in a table of two columns': () => marked({ sealed_fields: [['api_key', MARK]] }),
  'a copy of nothing': () => marked({ copy_of: MARK }),
  'somebody who has switched off what is on': () => marked({ switched_off_by: MARK }),
};

test.each(Object.keys(ROWS))('a new version that holds a secret is refused without a word of it: %s', async (what) => {
  expect(shows(await told(() => insert(ROWS[what]!())))).toBe(false);
});

test('these are all columns that have to have a value', async () => {
  const { rows } = await pool.query<{ name: string }>(
    `SELECT attname AS name FROM pg_attribute
     WHERE attrelid = 'restaurant_payment_configs'::regclass AND attnum > 0 AND attnotnull AND NOT attisdropped`,
  );
  expect(rows.map(({ name }) => name).toSorted()).toEqual(REQUIRED.toSorted());
});

test('a duplicate, and a second one that is active, are refused by their keys alone', async () => {
  const row = marked();
  await insert(row);
  for (const given of [{}, { config_version: 'v2' }, { config_version: 'v1', is_active: false }]) {
    const text = await told(() => insert({ ...row, ...given }));
    expect(text).toContain('code: 23505');
    expect(shows(text)).toBe(false);
  }
});

test('what is changed is refused without a word of what is there or was to be', async () => {
  const row = marked();
  await insert(row);
  const sealing = [sealedUnder(dataKey, Buffer.from(`${MARK}, another`)), ['api_key'], dataKey];
  const changes: [string, unknown[]][] = [
    // The time is the database's, whatever is said.
    ...REQUIRED.filter((column) => column !== 'updated_at').map((column): [string, unknown[]] => [
      `${column} = NULL`,
      [],
    ]),
    [`created_by = $3`, [`${MARK}.`]],
    [`created_by = $3`, [MANY]],
    [`config_version = $3`, [MARK]],
    [`processor_name = $3`, [MARK]],
    [`processor_config = $3`, [JSON.stringify({ api_key: MARK })]],
    [`processor_config = $3`, [JSON.stringify(MARK)]],
    [`sealed_secrets = $3, sealed_fields = $4, data_key_id = $5`, sealing],
    [`sealed_secrets = NULL`, []],
    [`data_key_id = $3`, [randomUUID()]],
    [`is_active = false`, []],
    [`is_active = false, switched_off_by = $3`, [MANY]],
    [`is_active = false, switched_off_by = 'jo', processor_config = $3`, [JSON.stringify({ api_key: MARK })]],
  ];
  for (const [change, values] of changes) {
    expect({ change, shows: shows(await told(() => changing(row, change, values))) }).toEqual({ change, shows: false });
  }
});

test('a legacy version that is sealed wrongly is refused without a word of it', async () => {
  const row = aConfig({ processor_config: { api_key: MARK, webhook_secret: MARK, made_up: MARK }, created_by: MARK });
  const session = new Client({ connectionString: server.url, application_name: 'test' });
  await session.connect();
  await session.query('SET session_replication_role = replica');
  await insertConfig(session, row);
  // Taken as the time that is there, and not refused with the row.
  await session.query('UPDATE restaurant_payment_configs SET updated_at = NULL WHERE restaurant_id = $1', [
    row.restaurant_id,
  ]);
  await session.end();
  const bytes = sealedUnder(dataKey, Buffer.from(MARK));
  const seal =
    'sealed_secrets = $3, sealed_fields = $4, data_key_id = $5, processor_config = processor_config - $4::text[]';
  for (const values of [
    [bytes, ['api_key'], dataKey],
    [bytes, ['api_key', 'webhook_secret', 'made_up'], dataKey],
    [bytes, null, dataKey],
    [bytes, ['api_key', 'webhook_secret'], randomUUID()],
    [Buffer.from(MARK), ['api_key', 'webhook_secret'], dataKey],
    [sealedUnder(randomUUID(), Buffer.from(MARK)), ['api_key', 'webhook_secret'], null],
  ]) {
    expect(shows(await told(() => changing(row, seal, values)))).toBe(false);
  }
  await changing(row, seal, [bytes, ['api_key', 'webhook_secret'], dataKey]);
});

test('the version that another one is a copy of is kept without a word of either', async () => {
  const row = marked({ is_active: false });
  await insert(row);
  await insert({ ...row, config_version: 'v2', copy_of: 'v1' });
  const text = await told(() =>
    pool.query(`DELETE FROM restaurant_payment_configs WHERE restaurant_id = $1 AND config_version = 'v1'`, [
      row.restaurant_id,
    ]),
  );
  expect(text).toContain('restaurant_payment_configs_copy_of_fkey');
  expect(shows(text)).toBe(false);
});

describe('what the guard is for', () => {
  test('without it PostgreSQL prints the row, in the error and in the log', async () => {
    const mark = 'sk_live_without_guard';
    const before = log().length;
    const session = new Client({ connectionString: server.url, application_name: 'test' });
    await session.connect();
    await session.query('SET session_replication_role = replica');
    const row = aConfig({ processor_config: { api_key: mark }, is_active: null });
    const error = (await insertConfig(session, row).catch((reason: unknown) => reason)) as { detail: string };
    await session.end();
    expect(error.detail).toContain(mark);
    expect(log().slice(before)).toContain(mark);
  });

  test('what is no JSON or no UUID is quoted before there is a row: clients have to look themselves', async () => {
    const mark = 'sk_live_before_a_row';
    const insertText = (restaurant: string, config: string) =>
      told(() =>
        pool.query(
          `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
           VALUES ($1, 'v1', 'stripe', $2)`,
          [restaurant, config],
        ),
      );
    expect(shows(await insertText(mark, '{}'), mark)).toBe(true);
    expect(shows(await insertText(randomUUID(), `{"api_key": ${mark}}`), mark)).toBe(true);
  });
});
