import { adopt } from '../../src';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { digestLegacyColumns, lastingDigests } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

const TIMES = [
  ['payment_events', 'id', 'created_at'],
  ['outbox', 'id', 'created_at'],
  ['outbox', 'id', 'processed_at'],
  ['auth_request_state', 'auth_request_id', 'created_at'],
  ['auth_request_state', 'auth_request_id', 'updated_at'],
  ['auth_request_state', 'auth_request_id', 'completed_at'],
  ['restaurant_payment_configs', 'restaurant_id', 'updated_at'],
  ['auth_idempotency_keys', '(idempotency_key, restaurant_id)', 'created_at'],
  ['auth_idempotency_keys', '(idempotency_key, restaurant_id)', 'expires_at'],
  ['auth_processing_locks', 'auth_request_id', 'locked_at'],
  ['auth_processing_locks', 'auth_request_id', 'expires_at'],
] as const;

/** Makes every session of the database, from then on, begin in a zone that is not UTC, in all the ways there are. */
function inAnotherZone(): void {
  const { PGOPTIONS, PGTZ } = process.env;
  beforeAll(() => Object.assign(process.env, { PGOPTIONS: '-c TimeZone=America/New_York', PGTZ: 'America/New_York' }));
  afterAll(() => {
    for (const [name, value] of Object.entries({ PGOPTIONS, PGTZ })) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });
}

/** Makes one table take longer to be rewritten, in both directions, than a lock may be held otherwise. */
const SLOW_TABLE = `
  CREATE FUNCTION slow(uuid) RETURNS uuid IMMUTABLE LANGUAGE sql AS 'SELECT $1';
  CREATE INDEX slow ON restaurant_payment_configs (slow(restaurant_id));
  CREATE OR REPLACE FUNCTION slow(uuid) RETURNS uuid IMMUTABLE LANGUAGE plpgsql AS $$
  BEGIN
    IF $1 = '00000000-0000-0000-0000-000000000001' THEN
      PERFORM pg_sleep(3.2);
    END IF;
    RETURN $1;
  END $$`;

describe.each(['UTC', 'America/New_York'])('times that legacy services wrote in %s', (legacyZone) => {
  inAnotherZone();
  const database = useTestDatabase({ empty: true });
  const chain = () => new MigrationChain(database);

  beforeAll(async () => {
    await loadAlembicDatabase(database);
    await database.query(`ALTER DATABASE ${database.name} SET timezone = 'Asia/Kolkata'`);
    await adopt(await database.dataSource(), { legacyTimeZone: legacyZone });
    for (const [table] of TIMES) await database.query(`CREATE TABLE IF NOT EXISTS loaded_${table} AS TABLE ${table}`);
    if (legacyZone !== 'UTC') await database.query(SLOW_TABLE);
    await chain().upTo(LATEST_LEVEL);
  });

  test.each(TIMES)(
    '%s by %s: %s is the same instant, though the session is in yet another zone',
    async (table, key, time) => {
      const session = await database.connect();
      expect((await session.query('SHOW TimeZone')).rows).toEqual([{ TimeZone: 'America/New_York' }]);
      const { rows } = await session.query<{ compared: number; wrong: number }>(
        `SELECT count(*)::integer AS compared,
              count(*) FILTER (WHERE row.${time} IS DISTINCT FROM loaded.${time} AT TIME ZONE $1)::integer AS wrong
       FROM ${table} AS row JOIN loaded_${table} AS loaded ON ${on(key)}`,
        [legacyZone],
      );
      expect(rows).toEqual([{ compared: expect.any(Number) as number, wrong: 0 }]);
      expect(rows[0]?.compared).toBeGreaterThan(0);
    },
  );

  test('come back as they were written', async () => {
    await chain().downTo(LEGACY_LEVEL);
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
  });
});

const on = (key: string) => {
  const columns = key.replace(/[()]/g, '').split(', ');
  return columns.map((column) => `row.${column} = loaded.${column}`).join(' AND ');
};
