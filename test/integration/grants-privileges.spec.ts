import { type Role, ROLES } from '../../src/grants/privileges';
import { codeBlocks } from '../support/docs/doc-code';
import { docTable } from '../support/docs/doc-table';
import { refusal } from '../support/database/refusal';
import { useRoles } from '../support/database/use-roles';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
const roles = useRoles(database);

beforeAll(() => roles.setUp());

describe('the privileges that the server sees', () => {
  /** Of a login, hence with what it inherits. */
  const READ_PRIVILEGES = `
    SELECT relname AS on, privilege, CASE WHEN whole THEN 'all' ELSE columns END AS columns
    FROM pg_class
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES', 'DELETE', 'TRUNCATE', 'TRIGGER', 'USAGE']
      || CASE WHEN current_setting('server_version_num')::integer >= 170000 THEN '{MAINTAIN}' ELSE '{}' END::text[])
      WITH ORDINALITY AS kind (privilege, position)
    CROSS JOIN LATERAL (SELECT CASE
      WHEN relkind = 'S' THEN privilege IN ('SELECT', 'UPDATE', 'USAGE') AND has_sequence_privilege($1, pg_class.oid, privilege)
      ELSE privilege <> 'USAGE' AND has_table_privilege($1, pg_class.oid, privilege) END AS whole) AS table_privilege
    CROSS JOIN LATERAL (
      SELECT string_agg(attname, ', ' ORDER BY attnum) AS columns FROM pg_attribute
      WHERE attrelid = pg_class.oid AND relkind = 'r' AND NOT attisdropped
        AND privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_column_privilege($1, pg_class.oid, attnum, privilege)
    ) AS column_privilege
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') AND (whole OR columns IS NOT NULL)
    ORDER BY relname COLLATE "C", position`;

  test('are those that the page lists, column by column', async () => {
    const found: string[][] = [];
    for (const role of ROLES) {
      const rows = await database.query<{ on: string; privilege: string; columns: string }>(READ_PRIVILEGES, [
        roles.user(role),
      ]);
      found.push(...rows.map(({ on, privilege, columns }) => [role, on, privilege, columns]));
    }
    expect(docTable('docs/reference/privileges.md', 'Every privilege')).toEqual(found);
  });

  test('let them connect, and make nothing', async () => {
    for (const role of ROLES) {
      expect(
        await database.query(
          `SELECT has_database_privilege($1, current_database(), 'CONNECT') AS connect,
             has_database_privilege($1, current_database(), 'CREATE') AS make_schema,
             has_database_privilege($1, current_database(), 'TEMPORARY') AS make_temporary,
             has_schema_privilege($1, 'public', 'USAGE') AS use,
             has_schema_privilege($1, 'public', 'CREATE') AS make,
             (SELECT count(*)::integer FROM pg_proc WHERE pronamespace = 'public'::regnamespace
              AND has_function_privilege($1, oid, 'EXECUTE')) AS functions`,
          [roles.user(role)],
        ),
      ).toEqual([{ connect: true, make_schema: false, make_temporary: false, use: true, make: false, functions: 0 }]);
    }
  });
});

describe('an attempt is denied', () => {
  const all = [...ROLES];
  const but = (...able: Role[]) => ROLES.filter((role) => !able.includes(role));

  test.each<[string, readonly Role[]]>([
    [`UPDATE payment_events SET metadata = '{}'`, all],
    [`UPDATE payment_events SET event_data = '' WHERE false`, all],
    ['DELETE FROM payment_events', all],
    ['TRUNCATE payment_events', all],
    ['SELECT FROM payment_events FOR UPDATE', all],
    ['ALTER TABLE payment_events DISABLE TRIGGER ALL', all],
    ['DROP TRIGGER payment_events_append_only ON payment_events', all],
    ['SET session_replication_role = replica', all],
    ['CREATE TABLE mine (id integer)', all],
    ['CREATE TEMPORARY TABLE mine (id integer)', all],
    ['CREATE SCHEMA mine', all],
    [`CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'`, all],
    ['CREATE INDEX ON outbox (payload)', all],
    ['ALTER TABLE outbox ADD COLUMN mine text', all],
    ['DROP TABLE outbox', all],
    ['CREATE ROLE mine', all],
    [`SELECT setval('payment_events_id_seq', 1)`, all],
    [`UPDATE payment_events_db_migrations SET checksum = NULL`, all],
    [`UPDATE restaurant_payment_configs SET processor_config = '{}'`, but('secrets')],
    [
      `UPDATE restaurant_payment_configs SET sealed_secrets = NULL, sealed_fields = NULL, data_key_id = NULL`,
      but('secrets'),
    ],
    ['UPDATE restaurant_payment_configs SET is_active = false', but('configs')],
    ['UPDATE restaurant_payment_configs SET updated_at = now()', all],
    [`UPDATE restaurant_payment_configs SET created_by = 'me'`, all],
    [`UPDATE restaurant_payment_configs SET processor_name = 'mock'`, all],
    ['INSERT INTO restaurant_payment_configs (restaurant_id) VALUES (gen_random_uuid())', but('configs')],
    ['INSERT INTO restaurant_payment_configs (created_at) VALUES (now())', all],
    ['INSERT INTO restaurant_payment_configs (is_active) VALUES (false)', all],
    ['DELETE FROM restaurant_payment_configs', all],
    ['SELECT processor_config FROM restaurant_payment_configs', but('worker', 'configs', 'secrets')],
    ['SELECT sealed_secrets FROM restaurant_payment_configs', but('worker', 'configs', 'secrets')],
    ['SELECT sealed_fields FROM restaurant_payment_configs', but('worker', 'configs', 'secrets', 'readonly')],
    ['SELECT data_key_id FROM data_keys', but('worker', 'configs', 'secrets')],
    ['INSERT INTO data_keys (data_key_id) VALUES (gen_random_uuid())', but('configs', 'secrets')],
    [`UPDATE data_keys SET wrapped = ''`, but('secrets')],
    ['UPDATE data_keys SET created_at = now()', all],
    ['DELETE FROM data_keys', all],
    ['SELECT processor_name FROM processors', but('worker', 'configs', 'secrets', 'readonly')],
    [`UPDATE processors SET secret_fields = '{}'`, all],
    [`INSERT INTO processors (processor_name) VALUES ('mine')`, all],
    ['DELETE FROM processors', all],
    ['SELECT payment_token FROM auth_request_state', but('worker')],
    ['SELECT * FROM auth_request_state', but('worker')],
    ['SELECT event_data FROM payment_events', but('worker')],
    ['SELECT metadata FROM payment_events', but('worker')],
    ['SELECT idempotency_key FROM auth_idempotency_keys', but('api')],
    ['SELECT payload FROM outbox', but('relay')],
    ['SELECT fencing_token FROM auth_processing_locks', but('worker', 'sweeper')],
    [`SELECT nextval('auth_processing_fencing_tokens')`, all],
    [`UPDATE auth_request_state SET amount_cents = 1`, all],
    [`UPDATE auth_request_state SET processor_auth_id = 'x'`, but('worker')],
    ['DELETE FROM auth_request_state', all],
    ['UPDATE outbox SET processed_at = now()', but('relay')],
    ['DELETE FROM outbox', but('relay', 'sweeper')],
    [`UPDATE outbox SET payload = ''`, all],
  ])('%s', async (sql, denied) => {
    for (const role of denied) {
      // By itself, since a SET that were let through would stay with its connection.
      const statement = (await roles.as(role)).transaction((manager) => manager.query(sql));
      expect(await refusal(statement)).toMatchObject({ code: '42501' });
    }
  });

  test('SET ROLE to the owner', async () => {
    for (const role of ROLES) {
      expect(await refusal((await roles.as(role)).query(`SET ROLE ${roles.owner}`))).toMatchObject({ code: '42501' });
    }
  });
});

test('the queries of the page "The outbox is growing" run as the role of people on call', async () => {
  const queries = codeBlocks('docs/how-to/the-outbox-is-growing.md', 'sql').split(/(?<=;)\n/);
  expect(queries.length).toBeGreaterThan(4);
  for (const query of queries) await (await roles.as('readonly')).query(query);
});
