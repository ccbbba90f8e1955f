import { findDrift } from '../../../src/check/drift';
import { grantPrivileges } from '../../../src/grants/grant-privileges';
import { MigrationObstaclesError } from '../../../src/migrator/obstacles';
import { migrate, revert } from '../../../src/migrator/migrator';
import { dropReporting } from '../../../src/reporting/drop-reporting';
import { renewReporting } from '../../../src/reporting/renew-reporting';
import { reportingStatus } from '../../../src/reporting/reporting-status';
import { createTestDatabase } from '../../../src/testing';
import { withClient } from '../../../src/testing/with-client';
import { debianPostgres, DebianServer } from '../../support/database/debian-server';
import { quietDataSource } from '../../support/database/quiet-data-source';
import { useRoles } from '../../support/database/use-roles';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf } from '../../support/processes/within';
import { QUIET, REFUSE_MAPPINGS, useReporting } from '../../support/reporting/reporting-world';
import { EVEN, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const world = useReporting();
const { a, b } = world;
const SCHEMA = 'payment_events_reporting_0_of_2';
const silent = { say: () => undefined };
const drift = async (database = a) => findDrift(await database.dataSource(), { rolePrefix: world.prefix });

test('views for reports are no drift, at no database', async () => {
  const before = [await drift(a), await drift(b)];
  expect(before).toEqual([[], []]);
  await world.renew();
  expect([await drift(a), await drift(b)]).toEqual(before);
});

describe('what is changed about them is drift', () => {
  afterEach(async () => {
    await world.renew();
    expect(await drift()).toEqual([]);
  });
  const remedy = 'npx payment-events-db reporting renew';

  test('a view that shows a token', async () => {
    await a.query(`ALTER VIEW ${SCHEMA}.configurations RENAME TO other;
      CREATE VIEW ${SCHEMA}.configurations AS SELECT restaurant_id, payment_token FROM auth_request_state`);
    const found = await drift();
    expect(found).toContainEqual(
      expect.objectContaining({ kind: 'different', object: `view ${SCHEMA}.configurations`, remedy }),
    );
    expect(found).toContainEqual(expect.objectContaining({ kind: 'unexpected', object: `relation ${SCHEMA}.other` }));
    // And nothing that reads our tables goes unsaid.
    expect(found).toContainEqual(expect.objectContaining({ actual: `read by ${SCHEMA}.other` }));
    await a.query(`DROP VIEW ${SCHEMA}.configurations, ${SCHEMA}.other`);
  });

  test('a view of all rows, or of another class', async () => {
    const [{ text }] = (await a.query(`SELECT pg_get_viewdef('${SCHEMA}.requests'::regclass) AS text`)) as [
      { text: string },
    ];
    for (const [from, to] of [
      [/WHERE [^;]*/, ''],
      [/= 0\)/, '= 1)'],
      [/&/, '|'],
    ] as const) {
      const changed = text.replace(from, to);
      expect(changed).not.toBe(text);
      await a.query(`CREATE OR REPLACE VIEW ${SCHEMA}.requests AS ${changed}`);
      expect((await drift()).map(({ object }) => object)).toContain(`view ${SCHEMA}.requests`);
    }
  });

  test('a view that is gone, has options, or belongs to another', async () => {
    await a.query(`DROP VIEW ${SCHEMA}.holds; ALTER VIEW ${SCHEMA}.events SET (security_invoker = true);
      ALTER VIEW ${SCHEMA}.messages OWNER TO ${world.reader}`);
    expect((await drift()).map(({ kind, object, actual }) => ({ kind, object, actual }))).toEqual(
      expect.arrayContaining([
        { kind: 'missing', object: `view ${SCHEMA}.holds`, actual: null },
        { kind: 'different', object: `view ${SCHEMA}.events: options`, actual: 'security_invoker=true' },
        { kind: 'different', object: `view ${SCHEMA}.messages: options`, actual: `owned by ${world.reader}` },
      ]),
    );
  });

  test('a privilege of somebody else on it, of which --ignore-privileges says nothing', async () => {
    await a.query(
      `GRANT SELECT ON ${SCHEMA}.requests TO PUBLIC; GRANT UPDATE (status) ON ${SCHEMA}.requests TO ${world.role}`,
    );
    expect((await drift()).map(({ object }) => object)).toEqual([
      `view ${SCHEMA}.requests: grant SELECT to PUBLIC`,
      `view ${SCHEMA}.requests: grant UPDATE on column status to ${world.role}`,
    ]);
    expect(await findDrift(await a.dataSource(), { rolePrefix: world.prefix, ignorePrivileges: true })).toEqual([]);
  });

  test('views of a second class, which a renewal that was cut off leaves', async () => {
    await a.query(`CREATE SCHEMA payment_events_reporting_0_of_4`);
    expect((await drift()).map(({ object }) => object)).toContain('schema payment_events_reporting_0_of_4');
  });
});

test('a view of somebody else that reads our tables is told of as before', async () => {
  await a.query('CREATE VIEW theirs AS SELECT auth_request_id FROM auth_request_state');
  expect((await drift()).map(({ actual }) => actual)).toEqual(['read by theirs']);
  await a.query('DROP VIEW theirs');
});

test('a migration that they are in the way of says so before it begins, runs without them, and renew brings them back', async () => {
  const dataSource = await quietDataSource({ url: a.url });
  try {
    const to = 'CommentOnObjects';
    const error = await failureOf(revert(dataSource, { to, ...silent }));
    expect(error).toBeInstanceOf(MigrationObstaclesError);
    expect((error as Error).message).toContain(`view ${SCHEMA}.holds depends on table auth_holds`);
    expect((error as Error).message).toContain('npx payment-events-db reporting drop --views-only');

    expect(await dropReporting(world.source, { ...world.place, viewsOnly: true })).toEqual({
      views: ['a', 'b'],
      reportingTables: false,
    });
    const report = await world.report();
    await expect(report.query('SELECT FROM payment_events_reporting.requests')).rejects.toThrow(/does not exist/);
    await revert(dataSource, { to, ...silent });
    await migrate(dataSource, silent);
    await world.renew();
    expect((await report.query('SELECT FROM payment_events_reporting.requests')).rows).toEqual([]);
    await report.end();
    expect(await drift()).toEqual([]);
  } finally {
    await dataSource.destroy();
  }
});

describe('where the owner is no superuser, and the services have their roles', () => {
  const own = useTestDatabase();
  const roles = useRoles(own);

  test('the views are made by the owner and belong to it, and neither grants nor check stumbles over them', async () => {
    await roles.setUp();
    const owner = await roles.as('owner');
    const source = new ReplaceableSource(mapOf(9, { own: { ...WHOLE, url: roles.url('owner') } }));
    const settings = { ...world.settings, rolePrefix: roles.prefix };
    try {
      await renewReporting(source, settings);
      const reading = () => findDrift(owner, { rolePrefix: roles.prefix });
      expect(await reading()).toEqual([]);
      await grantPrivileges(owner, { rolePrefix: roles.prefix });
      expect(await reading()).toEqual([]);
      expect(await renewReporting(source, settings)).toMatchObject({ shards: [{ made: false }] });
      // The views of a superuser become the owner's.
      await own.query('DROP VIEW payment_events_reporting_0_of_1.events');
      source.map = mapOf(9, { own: { ...WHOLE, url: own.url } });
      expect(await renewReporting(source, settings)).toMatchObject({ shards: [{ made: true }] });
      expect(await reading()).toEqual([]);
    } finally {
      await world.reporting.query(`DROP OWNED BY ${roles.prefix}_reporting`);
    }
  });
});

const binaries = debianPostgres('postgres_fdw');
if (!binaries && !process.env.CI) {
  process.stderr.write('Reports from an older PostgreSQL are not tested: Debian has none here.\n');
}

(binaries || process.env.CI ? describe : describe.skip)('on the PostgreSQL of Debian, which is older', () => {
  const PASSWORD = 'hush-hush';
  let server: DebianServer;
  const urls: string[] = [];
  beforeAll(async () => {
    if (!binaries) throw new Error('PostgreSQL is not installed: apt-get install postgresql-15');
    server = await DebianServer.start(binaries, { log_statement: 'all', log_min_duration_statement: '0' });
    for (let one = 0; one < 3; one++) urls.push((await createTestDatabase(server.url)).url);
  });
  afterAll(() => server?.remove());

  test('reports are made, status is current, check finds nothing, and a log of everything has no password', async () => {
    const [one, other, reporting] = urls as [string, string, string];
    const dataSource = await quietDataSource({ url: one });
    const second = await quietDataSource({ url: other });
    try {
      for (const each of [dataSource, second]) await each.runMigrations();
      await withClient(one, async (client) => {
        await client.query(`SET log_statement = 'none'; SET log_min_duration_statement = -1`);
        await client.query(`CREATE ROLE payment_events_reporting NOLOGIN;
          CREATE ROLE reader LOGIN PASSWORD '${PASSWORD}' IN ROLE payment_events_reporting`);
      });
      const source = new ReplaceableSource(mapOf(1, { a: { ...EVEN, url: one }, b: { ...ODD, url: other } }));
      await renewReporting(source, { url: reporting, reader: 'reader', readerPassword: PASSWORD, ...silent });
      expect(await reportingStatus(source, { url: reporting })).toMatchObject({ current: true });
      for (const each of [dataSource, second]) expect(await findDrift(each)).toEqual([]);
      expect(server.log()).toContain('CREATE USER MAPPING');
      // Where it fails as well: what the server logs of an error quotes the statement that it happened in.
      await withClient(reporting, (client) => client.query(REFUSE_MAPPINGS));
      const settings = { url: reporting, reader: 'reader', readerPassword: PASSWORD, dataSource: QUIET, ...silent };
      await expect(renewReporting(source, settings)).rejects.toMatchObject({ sqlState: 'P0001' });
      expect(server.log()).toContain('The user mapping of a foreign server cannot be made.');
      expect(server.log()).not.toContain(PASSWORD);
    } finally {
      await dataSource.destroy();
      await second.destroy();
    }
  });
});
