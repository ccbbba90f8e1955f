import { randomUUID } from 'node:crypto';
import {
  adopt,
  migrate,
  type MigrationObstaclesError,
  type PaymentEventsDataSource,
  planMigrations,
  revert,
} from '../../src';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { loadTwoClockDatabase } from '../support/database/two-clocks';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const say = () => undefined;
const CONTRACT = 'ContractTimestamps1795367842073';
const RESTAURANTS = 'ContractRestaurants1795367990317';

describe('an object in the way', () => {
  const database = useTestDatabase({ empty: true });
  const chain = () => new MigrationChain(database);
  let dataSource: PaymentEventsDataSource;
  const reasons = async (run: Promise<unknown>) => {
    const error = (await failureOf(run)) as MigrationObstaclesError;
    expect(error).toMatchObject({ code: 'MIGRATION_OBSTACLES', retryable: false });
    return error.obstacles;
  };
  beforeAll(async () => {
    await loadLegacyDatabase(database);
    await database.query('CREATE VIEW report AS SELECT created_at FROM outbox');
    dataSource = await quietDataSource({ url: database.url });
  });
  afterAll(() => dataSource.destroy());

  test('is named with its column by migrate and by plan, before the first statement', async () => {
    const before = { catalog: await chain().catalog(), rows: await chain().rows() };
    const inTheWay = [{ migration: CONTRACT, reason: 'view report depends on outbox.created_at' }];
    expect(await reasons(migrate(dataSource, { say }))).toEqual(inTheWay);
    expect(await reasons(planMigrations(dataSource))).toEqual(inTheWay);
    expect({ catalog: await chain().catalog(), rows: await chain().rows() }).toEqual(before);
    expect(await database.query('SELECT FROM payment_events_db_migrations')).toHaveLength(LEGACY_LEVEL);
  });

  test('begins its message with what matters', async () => {
    const { message } = (await failureOf(migrate(dataSource, { say }))) as Error;
    expect(message.split('\n', 2)).toEqual([
      'These would stop the migrations. None has run:',
      `  ${CONTRACT}: view report depends on outbox.created_at`,
    ]);
  });

  test('does not keep back the migrations before', async () => {
    await migrate(dataSource, { to: 'ExpandIndexes', say });
    expect(await planMigrations(dataSource, { to: 'ExpandIndexes' })).toMatchObject({ migrations: [] });
  });

  test('is named by revert, which reverts nothing', async () => {
    await database.query('DROP VIEW report');
    await migrate(dataSource, { say });
    await database.query('CREATE VIEW report AS SELECT restaurant_id FROM outbox');
    const inTheWay = [
      { migration: 'ExpandColumns1795367529418', reason: 'view report depends on outbox.restaurant_id' },
    ];
    const back = { to: 'LegacyMockProcessor', say };
    expect(await reasons(revert(dataSource, back))).toEqual(inTheWay);
    expect(await reasons(planMigrations(dataSource, { to: back.to, direction: 'down' }))).toEqual(inTheWay);
    expect(await database.query('SELECT FROM payment_events_db_migrations')).toHaveLength(LATEST_LEVEL);
    await database.query('DROP VIEW report');
    await revert(dataSource, back);
  });

  test('is the replica identity that the new key would take away', async () => {
    await database.query(
      'ALTER TABLE restaurant_payment_configs REPLICA IDENTITY USING INDEX restaurant_payment_configs_pkey',
    );
    expect(await reasons(migrate(dataSource, { say }))).toEqual([
      {
        migration: 'ContractKeysAndIndexes1795368131744',
        reason: 'the replica identity of table restaurant_payment_configs is the index of its primary key',
      },
    ]);
  });
});

describe('adopt --dry-run tells what later steps will meet:', () => {
  const database = useTestDatabase({ empty: true });
  const request = randomUUID();
  beforeEach(async () => {
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await loadAlembicDatabase(database);
  });
  const told = async (legacyTimeZone = 'UTC', url = database.url) => {
    const dataSource = await quietDataSource({ url });
    return (await adopt(dataSource, { dryRun: true, legacyTimeZone }).finally(() => dataSource.destroy())).obstacles;
  };

  test('objects of others, whatever step they stop', async () => {
    await database.query(`
      CREATE PUBLICATION feed FOR TABLE outbox WHERE (processed_at IS NULL);
      CREATE TABLE archive (snapshot auth_request_state)`);
    const stores = 'column snapshot of table archive stores rows of auth_request_state';
    expect(await told()).toEqual([
      { migration: 'ExpandColumns1795367529418', reason: stores },
      { migration: CONTRACT, reason: stores },
      { migration: CONTRACT, reason: 'publication of table outbox in publication feed depends on outbox.processed_at' },
      { migration: 'AddHolds1795775136521', reason: stores },
    ]);
  });

  test('rows whose restaurant nothing tells', async () => {
    await database.query(`INSERT INTO outbox (aggregate_id, message_type, payload) VALUES ('${request}', 'other', '')`);
    expect(await told()).toEqual([
      {
        migration: RESTAURANTS,
        reason: expect.stringContaining(`The restaurant is unknown for: outbox of request ${request}. `) as string,
      },
    ]);
  });

  test('times that no conversion can take, and times that the clocks of the zone never showed', async () => {
    await database.query(`
      INSERT INTO outbox (aggregate_id, message_type, payload, created_at)
        SELECT aggregate_id, 'other', '', time::timestamp FROM outbox,
          unnest('{294276-12-31 23:00:00,2026-03-08 02:30:00}'::text[]) AS time WHERE id = 1;
      INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id, expires_at)
        VALUES ('forever', '${request}', '${request}', 'infinity')`);
    expect(await told('America/New_York')).toEqual([
      { migration: CONTRACT, reason: '1 rows of outbox have a created_at that is out of range once it is in UTC' },
      {
        migration: CONTRACT,
        reason: '1 rows of outbox have a created_at that the clocks of America/New_York never showed',
      },
    ]);
    expect(await told()).toEqual([]);
  });

  test('rights that are missing', async () => {
    const role = `poor_${database.name}`;
    const { href } = Object.assign(new URL(database.url), { username: role, password: 'password' });
    await database.query(`
      REVOKE TEMPORARY ON DATABASE ${database.name} FROM PUBLIC;
      CREATE ROLE ${role} LOGIN PASSWORD 'password';
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role};
      GRANT USAGE ON SCHEMA public TO ${role}`);
    try {
      const reasons = (await told('UTC', href)).map(({ reason }) => reason);
      expect(reasons).toHaveLength(8);
      expect(reasons).toEqual(
        expect.arrayContaining([
          `table outbox belongs to postgres, as whom migrations have to run; this is ${role}`,
          `${role} may not create objects in schema public: GRANT CREATE ON SCHEMA public TO ${role}`,
          `${role} may not create temporary tables: GRANT TEMPORARY ON DATABASE ${database.name} TO ${role}`,
        ]),
      );
    } finally {
      await database.query(`REASSIGN OWNED BY ${role} TO CURRENT_USER; DROP OWNED BY ${role}; DROP ROLE ${role}`);
    }
  });
});

describe('rows that legacy services write between adopt and contract', () => {
  const database = useTestDatabase({ empty: true });

  test('stop contract before it begins, where they are of another clock', async () => {
    await loadTwoClockDatabase(database, 'America/New_York');
    const dataSource = await quietDataSource({ url: database.url });
    try {
      await adopt(dataSource, { legacyTimeZone: 'America/New_York' });
      await migrate(dataSource, { to: 'ExpandIndexes', say });
      await database.query(`
        ALTER TABLE auth_request_state DISABLE TRIGGER USER;
        UPDATE auth_request_state SET created_at = created_at + interval '1 hour' WHERE status = 'DENIED'`);
      expect(await failureOf(migrate(dataSource, { say }))).toMatchObject({
        obstacles: [
          { migration: CONTRACT, reason: expect.stringMatching(/created_at: of 152 rows .* in neither/) as string },
        ],
      });
    } finally {
      await dataSource.destroy();
    }
  });
});

describe('what does no harm', () => {
  const database = useTestDatabase({ empty: true });
  const INDEXES = `SELECT indexdef, indisvalid FROM pg_indexes JOIN pg_index ON indexrelid = indexname::regclass
    WHERE indexname ~ '^mine' ORDER BY indexname`;

  test('is taken over as it is, and an index of one’s own survives all migrations and the way back', async () => {
    await loadAlembicDatabase(database);
    await database.query(`
      ALTER TABLE outbox SET (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 70);
      ALTER TABLE payment_events REPLICA IDENTITY FULL;
      ALTER TABLE auth_request_state REPLICA IDENTITY USING INDEX auth_request_state_pkey;
      ALTER TABLE payment_events ALTER COLUMN event_data SET STORAGE EXTERNAL;
      ALTER INDEX idx_created_at SET (fillfactor = 70);
      CREATE INDEX mine ON outbox (message_type);
      CREATE INDEX mine_of_times ON payment_events (event_type, created_at);
      CREATE INDEX mine_in_part ON outbox (message_type) WHERE processed_at IS NULL;
      CREATE VIEW report AS SELECT id, event_type FROM payment_events;
      CREATE TABLE notes (id uuid CONSTRAINT noted REFERENCES auth_request_state)`);
    const before = await database.query(INDEXES);
    const dataSource = await quietDataSource({ url: database.url });
    try {
      const { kept, obstacles } = await adopt(dataSource);
      expect(kept).toEqual([
        'table auth_request_state: index auth_request_state_pkey',
        expect.stringContaining('table auth_request_state: referenced by notes noted') as string,
        'table outbox',
        'table outbox: index mine',
        'table outbox: index mine_in_part',
        'table payment_events',
        'table payment_events: column event_data',
        'table payment_events: index idx_created_at',
        'table payment_events: index mine_of_times',
        'table payment_events: read by report',
      ]);
      expect(obstacles).toEqual([]);
      await migrate(dataSource, { say });
      expect(await database.query(INDEXES)).toEqual(before);
      await revert(dataSource, { to: 'LegacyMockProcessor', say });
      expect(await database.query(INDEXES)).toEqual(before);
    } finally {
      await dataSource.destroy();
    }
  });

  test.each([
    ['a unique index', 'CREATE UNIQUE INDEX mine ON outbox (aggregate_id, id)', 'index mine'],
    ['an index that has a name of ours', 'CREATE INDEX idx_outbox_pending ON outbox (id)', 'index idx_outbox_pending'],
    ['an unlogged table', 'ALTER TABLE outbox SET UNLOGGED', 'table outbox'],
    ['a check', `ALTER TABLE outbox ADD CONSTRAINT mine CHECK (payload <> '')`, 'constraint mine'],
    [
      'a trigger',
      `CREATE TRIGGER mine BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION update_updated_at_column()`,
      'TRIGGER mine',
    ],
    [
      'a foreign key to the key that changes',
      `CREATE TABLE terminals (id uuid CONSTRAINT mine REFERENCES restaurant_payment_configs)`,
      'mine',
    ],
    ['a column', 'ALTER TABLE outbox ADD COLUMN mine text', 'column mine'],
  ])('is not %s, which is refused', async (_what, sql, object) => {
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await loadAlembicDatabase(database);
    await database.query(sql);
    const dataSource = await quietDataSource({ url: database.url });
    const error = await failureOf(adopt(dataSource).finally(() => dataSource.destroy()));
    expect(error).toMatchObject({ code: 'SCHEMA_DRIFT', message: expect.stringContaining(object) as string });
  });
});
