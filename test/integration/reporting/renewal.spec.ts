import { inspect } from 'node:util';
import { type Client } from 'pg';
import { PendingMigrationsError } from '../../../src/migrator/errors';
import { dropReporting } from '../../../src/reporting/drop-reporting';
import { ReportingRefusedError } from '../../../src/reporting/errors';
import { reportingStatus } from '../../../src/reporting/reporting-status';
import { withClient } from '../../../src/testing/with-client';
import { useDatabaseOf } from '../../support/database/database-of';
import { refusal } from '../../support/database/refusal';
import { failureOf } from '../../support/processes/within';
import { QUIET, REFUSE_MAPPINGS, useReporting } from '../../support/reporting/reporting-world';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { EVEN, ODD, WHOLE } from '../../support/shards/shards';

const latin = useDatabaseOf("ENCODING 'LATIN2' LOCALE 'C'");
const world = useReporting();
const { a, b, reporting } = world;
const R = 'payment_events_reporting';
const SCHEMAS = `SELECT nspname AS name FROM pg_namespace WHERE starts_with(nspname, '${R}') ORDER BY 1`;
const schemas = async (database: typeof a) => (await database.query<{ name: string }>(SCHEMAS)).map(({ name }) => name);
const status = () => reportingStatus(world.source, world.place);
const reasonsOf = async (work: Promise<unknown>) => {
  const error = await failureOf(work);
  expect(error).toBeInstanceOf(ReportingRefusedError);
  expect(JSON.stringify(error) + String(error)).not.toContain(world.password);
  return (error as ReportingRefusedError).reasons.join('\n');
};

let report: Client;
beforeAll(async () => {
  await world.authorize(a, EVEN, 5);
  await world.authorize(a, ODD, 5);
  world.mapTo(1, { a: WHOLE });
});

test('before the first renewal status says that there is nothing', async () => {
  expect(await status()).toEqual({
    ...{ version: 1, madeBy: null, current: false },
    shards: [{ shard: 'a', ...WHOLE, views: 'missing', tables: 'missing', answers: '–' }],
  });
});

test('renewed again, all stays as it is', async () => {
  expect(await world.renew()).toEqual({ version: 1, shards: [{ shard: 'a', ...WHOLE, made: true }] });
  report = await world.report();
  expect(await world.renew()).toEqual({ version: 1, shards: [{ shard: 'a', ...WHOLE, made: false }] });
  expect(await status()).toMatchObject({ madeBy: 1, current: true, shards: [{ answers: 'yes' }] });
});

test('while it is renewed after a split, over and over, every report has each restaurant once', async () => {
  await moveRestaurants({ from: a, keeps: EVEN, to: b, moves: ODD });
  const asked = await world.report();
  const [counts, errors]: [number[], unknown[]] = [[], []];
  let over = false;
  const reports = (async () => {
    while (!over) {
      await asked.query<{ all: number }>(`SELECT count(*)::integer AS all FROM ${R}.requests`).then(
        ({ rows }) => counts.push(rows[0]!.all),
        (error: unknown) => errors.push(error),
      );
    }
  })();
  for (let version = 2; version < 9; version++) {
    world.mapTo(version, version % 2 ? { a: WHOLE } : { a: EVEN, b: ODD });
    await world.renew();
  }
  over = true;
  await reports;
  await asked.end();
  expect(errors).toEqual([]);
  expect(counts.length).toBeGreaterThan(10);
  expect(new Set(counts)).toEqual(new Set([10]));
});

test('two renewals at once are one after the other', async () => {
  world.mapTo(12, { a: EVEN, b: ODD });
  expect(await Promise.all([world.renew(), world.renew(), world.renew()])).toHaveLength(3);
  expect(await status()).toMatchObject({ madeBy: 12, current: true });
});

test('one that died half-way leaves reports that are right, and the next one ends it', async () => {
  // The views of the new class are there, and the reporting database still reads the old ones.
  world.mapTo(13, { a: WHOLE });
  const lock = await reporting.connect();
  await lock.query(`BEGIN; LOCK TABLE ONLY ${R}.requests IN ACCESS SHARE MODE`);
  const impatient = { dataSource: { ...QUIET, migrationLockBudgetMs: 0 } };
  expect(await failureOf(world.renew(impatient))).toMatchObject({ retryable: true });
  await lock.query('ROLLBACK');
  expect(await schemas(a)).toEqual([`${R}_0_of_1`, `${R}_0_of_2`]);
  const { rows } = await report.query(`SELECT count(*)::integer AS all FROM ${R}.requests`);
  expect(rows).toEqual([{ all: 10 }]);
  await world.renew();
  expect(await schemas(a)).toEqual([`${R}_0_of_1`]);
  world.mapTo(14, { a: EVEN, b: ODD });
  await world.renew();
});

test('a map that is older than that of the reports is refused', async () => {
  const { map } = world.source;
  world.mapTo(13, { a: WHOLE });
  expect(await reasonsOf(world.renew())).toContain('made by version 14 of the map, and this is version 13');
  world.source.map = map;
});

test('what others have built upon the tables stays through a renewal, and stops a drop', async () => {
  await reporting.query(`CREATE VIEW public.mine AS SELECT restaurant_id, count(*) FROM ${R}.requests GROUP BY 1`);
  await world.renew();
  expect(await reporting.query('SELECT * FROM mine')).toHaveLength(10);
  expect(await reasonsOf(dropReporting(world.source, world.place))).toContain('something of yours hangs on');
  expect(await reporting.query('SELECT * FROM mine')).toHaveLength(10);
  await reporting.query('DROP VIEW mine');
});

test('a table whose columns are of another version is made again', async () => {
  await reporting.query(
    `DROP TABLE ${R}.holds CASCADE; CREATE TABLE ${R}.holds (restaurant_id uuid) PARTITION BY HASH (restaurant_id)`,
  );
  expect(await status()).toMatchObject({ current: false });
  await world.renew();
  expect((await report.query(`SELECT state FROM ${R}.holds`)).rows).toHaveLength(10);
});

describe('a database that is away', () => {
  const away = async (is: boolean) => {
    await reporting.query(`ALTER SERVER payment_events_shard_b OPTIONS (SET port '${is ? '1' : new URL(b.url).port}')`);
  };
  afterAll(() => away(false));

  test('fails reports over all with its name, and leaves those of other restaurants', async () => {
    await away(true);
    const session = await world.report();
    const told = await refusal(session.query(`SELECT count(*) FROM ${R}.requests`));
    expect(told).toMatchObject({ code: '08001', message: 'could not connect to server "payment_events_shard_b"' });
    const ids = (await a.query<{ id: string }>(`SELECT restaurant_id AS id FROM ${R}_0_of_2.requests`)).map(
      ({ id }) => id,
    );
    expect(ids).toHaveLength(5);
    for (const id of ids) {
      const { rows } = await session.query(`SELECT status FROM ${R}.requests WHERE restaurant_id = $1`, [id]);
      expect(rows).toHaveLength(1);
    }
    await session.end();
    expect(await status()).toMatchObject({
      current: false,
      shards: [
        { shard: 'a', answers: 'yes' },
        { shard: 'b', answers: '08001' },
      ],
    });
  });
});

describe('it is refused before anything is changed', () => {
  const before = async () => [await schemas(a), await schemas(b), await schemas(reporting)];

  test('where a migration is pending at one of the databases', async () => {
    const was = await before();
    const [last] = await b.query<{ name: string }>(
      `DELETE FROM payment_events_db_migrations WHERE id = (SELECT max(id) FROM payment_events_db_migrations) RETURNING *`,
    );
    world.mapTo(15, { a: ODD, b: EVEN });
    expect(await failureOf(world.renew())).toBeInstanceOf(PendingMigrationsError);
    expect(await before()).toEqual(was);
    await b.query(
      `INSERT INTO payment_events_db_migrations SELECT * FROM json_populate_record(NULL::payment_events_db_migrations, $1)`,
      [JSON.stringify(last)],
    );
    world.mapTo(14, { a: EVEN, b: ODD });
  });

  test('where the reporting database is one of the map', async () => {
    expect(await reasonsOf(world.renew({ url: a.url }))).toContain('The reporting database is database a of the map');
  });

  test('where the role is more than a group', async () => {
    await reporting.query(`ALTER ROLE ${world.role} CREATEDB`);
    const reasons = await reasonsOf(world.renew());
    expect(reasons).toContain(`Role ${world.role} is more than a group`);
    await reporting.query(`ALTER ROLE ${world.role} NOCREATEDB`);
  });

  test('where the reporting database has text in another encoding, whose bytes sort otherwise', async () => {
    const reasons = await reasonsOf(world.renew({ url: latin.url }));
    expect(reasons).toContain('Database a: Its encoding is UTF8, and that of the reporting database LATIN2');
    expect(reasons).toContain("ENCODING 'UTF8' TEMPLATE template0");
    expect(await withClient(latin.url, async (client) => (await client.query<object>(SCHEMAS)).rows)).toEqual([]);
  });

  test('where the user does not own the reporting database', async () => {
    const url = new URL(reporting.url);
    [url.username, url.password] = [world.analyst, 'test'];
    const reasons = await reasonsOf(world.renew({ url: url.href }));
    expect(reasons).toContain(`User ${world.analyst} is not the owner of database ${reporting.name}`);
    expect(reasons).toContain('may not use postgres_fdw');
  });
});

test('where the user mapping cannot be made, the error quotes no password', async () => {
  await reporting.query(REFUSE_MAPPINGS);
  const error = await failureOf(world.renew());
  await reporting.query('DROP EVENT TRIGGER refuse_mapping; DROP FUNCTION refuse_mapping');
  expect(error).toMatchObject({ code: 'DATABASE_ERROR', sqlState: 'P0001' });
  expect(inspect(error, { depth: 10 })).not.toContain('secret');
  await world.renew();
});

test('reports that read tables the other way round do not deadlock with a renewal', async () => {
  const [session, prints] = [await reporting.connect(), [] as unknown[]];
  const last = `SELECT count(*) FROM ${R}.configurations`;
  await session.query(`BEGIN; SELECT count(*) FROM ${R}.requests_by_day`);
  const renewing = world.renew();
  for (let one = 0; one < 20; one++) prints.push(await session.query(last));
  await session.query('COMMIT');
  await session.end();
  await renewing;
  expect(prints).toHaveLength(20);
});

test('dropped, nothing of it is left but roles and the extension; dropped again, nothing happens', async () => {
  expect(await dropReporting(world.source, world.place)).toEqual({ views: ['a', 'b'], reportingTables: true });
  for (const database of [a, b, reporting]) expect(await schemas(database)).toEqual([]);
  expect(await reporting.query('SELECT * FROM pg_foreign_server')).toEqual([]);
  expect(await dropReporting(world.source, world.place)).toEqual({ views: [], reportingTables: false });
  await world.renew();
});
