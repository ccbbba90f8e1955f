import { adopt, type LegacyTimeZoneError } from '../../src';
import { loadAlembicDatabase } from '../support/legacy/alembic-database';
import { digestLegacyColumns, lastingDigests } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { refusal } from '../support/database/refusal';
import { loadTwoClockDatabase, pastTheTrigger } from '../support/database/two-clocks';
import { useTestDatabase } from '../support/database/use-test-database';

/** Expired locks do not last. */
const lasting = (digests: Record<string, string>) =>
  Object.fromEntries(Object.entries(digests).filter(([table]) => table !== 'auth_processing_locks'));

const REQUESTS = 152;
const COMPLETED = 111;

/** Every value of every request, as it is written there. */
const WRITTEN = 'SELECT to_jsonb(request) AS row FROM auth_request_state AS request ORDER BY auth_request_id';

describe.each(['America/New_York', 'Asia/Kolkata', 'Pacific/Auckland'])(
  'rows of services that write UTC, on a server in %s',
  (legacyTimeZone) => {
    const database = useTestDatabase({ empty: true });
    const chain = () => new MigrationChain(database);
    let written: unknown;
    let digests: Record<string, string>;
    beforeAll(async () => {
      await loadTwoClockDatabase(database, legacyTimeZone);
      written = await database.query(WRITTEN);
      digests = await digestLegacyColumns(database);
      // Up to the end and back no session is in UTC.
      await database.query(`ALTER DATABASE ${database.name} SET TimeZone = 'Asia/Tokyo'`);
      await database.closeSessions();
    });

    test('are told by their events, column by column', async () => {
      expect(await adopt(await database.dataSource(), { legacyTimeZone })).toMatchObject({
        legacyTimeZone,
        legacyClocks: [
          { column: 'created_at', zone: 'UTC', compared: REQUESTS },
          { column: 'completed_at', zone: 'UTC', compared: COMPLETED },
        ],
      });
    });

    test('become the instants at which they were written, every one, updated_at as well', async () => {
      await chain().upTo(LATEST_LEVEL);
      expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
    });

    test('come back as they were written, every one', async () => {
      await chain().downTo(LEGACY_LEVEL);
      expect(await database.query(WRITTEN)).toEqual(written);
      expect(await digestLegacyColumns(database)).toMatchObject(lasting(digests));
    });

    test('and are converted once, however often the conversion runs', async () => {
      const level = levelOf('ContractTimestamps');
      await chain().upTo(level - 1);
      await chain().byHand(level, async (migration, session) => {
        await migration.up(session);
        await migration.up(session);
        expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
        await migration.down(session);
        await migration.down(session);
      });
      await chain().downTo(LEGACY_LEVEL);
      expect(await database.query(WRITTEN)).toEqual(written);
    });
  },
);

describe('a server in London, whose clocks show UTC in winter', () => {
  const database = useTestDatabase({ empty: true });

  test('has its rows of summer tell; but of the hour that autumn has twice, now() is taken for the second', async () => {
    await loadTwoClockDatabase(database, 'Europe/London');
    expect(await adopt(await database.dataSource(), { legacyTimeZone: 'Europe/London' })).toMatchObject({
      legacyClocks: [{ zone: 'UTC' }, { zone: 'UTC' }],
    });
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    const [later] = await database.query(`
      SELECT count(*)::integer AS requests,
        count(*) FILTER (WHERE request.created_at <> meant.created_at AT TIME ZONE 'UTC')::integer AS created,
        count(*) FILTER (WHERE request.completed_at <> meant.completed_at AT TIME ZONE 'UTC')::integer AS completed,
        array_agg(meant.updated_at::text || ' ' || (request.updated_at - meant.updated_at AT TIME ZONE 'UTC'))
          FILTER (WHERE request.updated_at <> meant.updated_at AT TIME ZONE 'UTC') AS updated
      FROM requests_in_utc AS meant JOIN auth_request_state AS request USING (auth_request_id)`);
    const updated = ['2026-10-25 00:58:17.138605 01:00:00'];
    expect(later).toEqual({ requests: REQUESTS, created: 0, completed: 0, updated });
  });
});

describe('a column that services write by the clock of the server', () => {
  const database = useTestDatabase({ empty: true });
  const legacyTimeZone = 'America/New_York';

  test('is converted by its own zone, though the one beside it is in UTC', async () => {
    await loadTwoClockDatabase(database, legacyTimeZone);
    await database.query(
      pastTheTrigger(
        `UPDATE auth_request_state SET completed_at = completed_at AT TIME ZONE 'UTC' AT TIME ZONE '${legacyTimeZone}'`,
      ),
    );
    const written = await database.query(WRITTEN);
    expect(await adopt(await database.dataSource(), { legacyTimeZone })).toMatchObject({
      legacyClocks: [{ zone: 'UTC' }, { zone: legacyTimeZone }],
    });
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
    await new MigrationChain(database).downTo(LEGACY_LEVEL);
    expect(await database.query(WRITTEN)).toEqual(written);
  });
});

describe('where the rows speak against the zone, nothing is adopted:', () => {
  const database = useTestDatabase({ empty: true });
  beforeEach(async () => {
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await loadTwoClockDatabase(database, 'America/New_York');
  });
  const refused = async (legacyTimeZone: string) => {
    const error = await refusal(adopt(await database.dataSource(), { legacyTimeZone }));
    expect(await database.query(`SELECT to_regclass('payment_events_db_migrations') AS history`)).toEqual([
      { history: null },
    ]);
    expect(error).toMatchObject({ code: 'LEGACY_TIME_ZONE' });
    return (error as unknown as LegacyTimeZoneError).message;
  };
  const some = (number: number) =>
    `auth_request_id IN (SELECT auth_request_id FROM auth_request_state ORDER BY auth_request_id LIMIT ${number})`;

  test('it is another zone, which the message helps to find', async () => {
    expect(await refused('Europe/Berlin')).toMatch(
      /created_at: of 152 rows 0 in UTC, 0 in Europe\/Berlin, 152 in neither \(as written, most are 4 h from their event\), such as [0-9a-f-]{36}/,
    );
    expect(await refused('UTC')).toMatch(/completed_at: of 111 rows 105 in another \(as written, most are 4 h from/);
  });

  test('some services write UTC and some do not', async () => {
    await database.query(
      pastTheTrigger(
        `UPDATE auth_request_state
         SET created_at = created_at AT TIME ZONE 'UTC' AT TIME ZONE 'America/New_York' WHERE ${some(3)}`,
      ),
    );
    expect(await refused('America/New_York')).toMatch(
      /created_at: of 152 rows 149 in UTC, 3 in America\/New_York, 0 in neither, such as/,
    );
  });

  test('a few rows are of neither zone', async () => {
    await database.query(
      pastTheTrigger(`UPDATE auth_request_state SET created_at = created_at + interval '2 hours' WHERE ${some(2)}`),
    );
    expect(await refused('America/New_York')).toMatch(
      /created_at: of 152 rows 150 in UTC, 0 in America\/New_York, 2 in neither/,
    );
  });
});

describe('a server in UTC', () => {
  const database = useTestDatabase({ empty: true });
  const files = async () =>
    await database.query(
      `SELECT relname, pg_relation_filenode(oid) AS file FROM pg_class
       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname !~ 'alembic|migrations' ORDER BY 1`,
    );

  test('has one clock, and no table is rewritten', async () => {
    await loadAlembicDatabase(database);
    const before = await files();
    expect(before).toHaveLength(6);
    expect(await adopt(await database.dataSource())).toMatchObject({
      legacyClocks: [{ zone: 'UTC' }, { zone: 'UTC' }],
    });
    await new MigrationChain(database).upTo(LATEST_LEVEL);
    await new MigrationChain(database).downTo(LEGACY_LEVEL);
    expect(await files()).toEqual(before);
  });
});

describe('an empty database of a server in another zone', () => {
  const database = useTestDatabase({ empty: true });

  test('is taken for one of the legacy services, which write UTC', async () => {
    await loadAlembicDatabase(database);
    await database.query(`TRUNCATE payment_events, auth_request_state`);
    expect(await adopt(await database.dataSource(), { legacyTimeZone: 'Asia/Kolkata' })).toMatchObject({
      legacyClocks: [
        { column: 'created_at', zone: 'UTC', compared: 0 },
        { column: 'completed_at', zone: 'UTC', compared: 0 },
      ],
    });
  });
});

describe('an expired lock whose two times the conversion turns round', () => {
  const database = useTestDatabase({ empty: true });
  const lock = (lockedAt: string, expiresAt: string, more = '') => `
    INSERT INTO auth_processing_locks (auth_request_id, worker_id, locked_at, expires_at ${more && ', restaurant_id'})
    VALUES (gen_random_uuid(), 'worker-dead', '${lockedAt}', '${expiresAt}' ${more})`;
  const level = levelOf('ContractTimestamps');

  test('is purged, and stops the way neither up nor down', async () => {
    await loadTwoClockDatabase(database, 'America/New_York');
    await adopt(await database.dataSource(), { legacyTimeZone: 'America/New_York' });
    await database.query(lock('2026-03-08 02:30:00', '2026-03-08 03:00:10'));
    await new MigrationChain(database).upTo(level);
    await database.query(lock('2026-11-01 05:59:50+00', '2026-11-01 06:00:20+00', ', gen_random_uuid()'));
    await new MigrationChain(database).downTo(level - 1);
    const dead = `SELECT FROM auth_processing_locks WHERE worker_id = 'worker-dead'`;
    expect(await database.query(dead)).toEqual([]);
  });
});
