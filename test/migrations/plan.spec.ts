import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type Client } from 'pg';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { LOCK_OR_STOP } from '../../src/migrator/migration-lock';
import { revert } from '../../src/migrator/migrator';
import { type MigrationPlan, planMigrations } from '../../src/migrator/plan';
import { cliProcess } from '../support/processes/cli';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, levelOf, MigrationChain, readRows } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { type DatabaseOfFile, useTestDatabase } from '../support/database/use-test-database';

const STOPPED = 3;
const HISTORY = 'SELECT name, checksum, package_version FROM payment_events_db_migrations ORDER BY id';

/** Sends statements as any driver would: the extended protocol takes one at a time, not a text of several. */
async function runByHand(client: Client, { preparation, migrations }: MigrationPlan): Promise<void> {
  for (const text of [preparation, ...migrations.map(({ statements }) => statements)].flat()) {
    await client.query({ text, queryMode: 'extended' } as { text: string });
  }
}

/** psql as the plan's head says to run it. */
async function psql(url: string, plan: string): Promise<{ code: number; stderr: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'plan-'));
  try {
    const [, options] = /^-- +psql (.+) plan\.sql$/m.exec(plan)!;
    await writeFile(join(folder, 'plan.sql'), plan);
    const finished = promisify(execFile)('psql', [...options!.split(' '), join(folder, 'plan.sql'), url]);
    return await finished.then(
      ({ stderr }) => ({ code: 0, stderr }),
      ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function stateOf(database: DatabaseOfFile) {
  const dataSource = await database.dataSource();
  return {
    catalog: await readCatalog(dataSource),
    history: await database.query(HISTORY),
    rows: await readRows(dataSource),
  };
}

describe.each([
  { start: 'an empty database', level: 0, command: ['plan'] },
  { start: 'a legacy database with rows', level: LEGACY_LEVEL, command: ['migrate', '--dry-run'] },
])('the plan for $start', ({ level, command }) => {
  const migrated = useTestDatabase({ empty: true });
  const byDriver = useTestDatabase({ empty: true });
  const byPsql = useTestDatabase({ empty: true });
  let text: string;

  beforeAll(async () => {
    if (level > 0) await Promise.all([migrated, byDriver, byPsql].map(loadLegacyDatabase));
  });

  test(`is printed by ${command.join(' ')}, which changes nothing`, async () => {
    const before = await new MigrationChain(byPsql).catalog();
    const { stdout, ...rest } = await cliProcess(byPsql.url, command);
    expect(rest).toEqual({ stderr: '', exitCode: 0 });
    expect(stdout.match(/^-- Run \w+$/gm)).toHaveLength(LATEST_LEVEL - level);
    expect(await new MigrationChain(byPsql).catalog()).toBe(before);
    text = stdout;
  });

  test('run by hand, by a driver or by psql, gives the database that migrate gives', async () => {
    const plan = await planMigrations(await byDriver.dataSource());
    await new MigrationChain(migrated).upTo(LATEST_LEVEL);
    await runByHand(await byDriver.connect(), plan);
    // A SET LOCAL that is in no transaction is a warning.
    expect(await psql(byPsql.url, text)).toEqual({ code: 0, stderr: expect.not.stringContaining('WARNING') as string });

    const expected = await stateOf(migrated);
    expect(expected.catalog).toBe(targetCatalog);
    expect(expected.history).toHaveLength(LATEST_LEVEL);
    expect(await stateOf(byDriver)).toEqual(expected);
    expect(await stateOf(byPsql)).toEqual(expected);
    expect(await planMigrations(await byPsql.dataSource())).toEqual({
      direction: 'up',
      preparation: [],
      migrations: [],
    });
  });

  test('of the way back gives what revert gives', async () => {
    const to = 'LegacyMockProcessor';
    const plan = await planMigrations(await byDriver.dataSource(), { direction: 'down', to });
    // Lets go of the migration lock.
    await byDriver.closeSessions();
    const reverting = await quietDataSource({ url: migrated.url });
    const reverted = await revert(reverting, { to, say: () => undefined }).finally(() => reverting.destroy());
    expect(plan.migrations.map(({ name }) => name)).toEqual(reverted);
    await runByHand(await byDriver.connect(), plan);
    expect(await stateOf(byDriver)).toEqual(await stateOf(migrated));
    expect(await byDriver.query(HISTORY)).toHaveLength(LEGACY_LEVEL);
  });
});

describe('a plan', () => {
  const database = useTestDatabase({ empty: true });
  let dataSource: PaymentEventsDataSource;
  beforeAll(async () => {
    dataSource = await database.dataSource();
  });

  test('ends with the migration that it is asked to end with, and goes on from there', async () => {
    const names = (plan: MigrationPlan) => plan.migrations.map(({ name }) => name.replace(/\d+$/, ''));
    const plan = await planMigrations(dataSource, { to: 'LegacyMockProcessor' });
    expect(names(plan)).toEqual(['LegacySchema', 'LegacyMockProcessor']);
    await runByHand(await database.connect(), plan);
    await database.closeSessions();
    dataSource = await database.dataSource();
    expect(names(await planMigrations(dataSource, { to: 'ExpandIndexes' }))).toEqual([
      'ExpandColumns',
      'ExpandIndexes',
    ]);
    expect(names(await planMigrations(dataSource, { to: 'LegacySchema' }))).toEqual([]);
    expect(names(await planMigrations(dataSource, { direction: 'down' }))).toEqual(['LegacyMockProcessor']);
    await expect(planMigrations(dataSource, { to: 'ExpandEverything' })).rejects.toMatchObject({
      code: 'NO_SUCH_MIGRATION',
      message: expect.stringContaining('ExpandIndexes') as string,
    });
  });

  test('is not run while another session migrates', async () => {
    const plan = await planMigrations(dataSource);
    await (await database.connect()).query(LOCK_OR_STOP);
    await expect(runByHand(await database.connect(), plan)).rejects.toThrow('Another session migrates this database.');
    await database.closeSessions();
    dataSource = await database.dataSource();
  });

  test('that a lock time-out stopped is not run again: a new one goes on where it stopped', async () => {
    const { stdout: text } = await cliProcess(database.url, ['plan', '--to', 'ExpandIndexes']);
    const reader = await database.connect();
    await reader.query('BEGIN; LOCK TABLE restaurant_payment_configs IN ACCESS SHARE MODE');
    expect(await psql(database.url, text)).toEqual({
      code: STOPPED,
      stderr: expect.stringContaining('canceling statement due to lock timeout') as string,
    });
    await reader.query('ROLLBACK');
    await new MigrationChain(database).upTo(levelOf('ExpandColumns'));
    expect(await psql(database.url, text)).toEqual({
      code: STOPPED,
      stderr: expect.stringContaining('Migrations have run since this plan was made. Make it again.') as string,
    });
    await runByHand(await database.connect(), await planMigrations(dataSource));
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
  });
});

describe('where migrate refuses', () => {
  const database = useTestDatabase({ empty: true });

  test.each([
    ['a migration that was changed', `UPDATE payment_events_db_migrations SET checksum = 'x'`, 'CHANGED_MIGRATIONS'],
    [
      'a migration that the code does not know',
      `UPDATE payment_events_db_migrations SET checksum = NULL, name = 'AddRefunds1795500000000' WHERE name ~ 'Expand'`,
      'UNKNOWN_MIGRATIONS',
    ],
    [
      'a database of Alembic',
      `DROP TABLE payment_events_db_migrations;
       CREATE TABLE alembic_version AS SELECT '09c2b295afcd' AS version_num`,
      'ALEMBIC_DATABASE',
    ],
  ])('there is no plan: %s', async (_, change, code) => {
    await new MigrationChain(database).upTo(levelOf('ExpandColumns'));
    await database.query(change);
    await expect(planMigrations(await database.dataSource())).rejects.toMatchObject({ code });
    await database.query('DROP SCHEMA public CASCADE; CREATE SCHEMA public');
  });
});
