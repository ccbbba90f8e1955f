import { AbstractLogger, DataSource } from 'typeorm';
import { type Command } from 'commander';
import { checkCommand } from '../../src/cli/commands/check';
import { statusCommand } from '../../src/cli/commands/status';
import { createDataSourceOptions, type PaymentEventsDataSource } from '../../src/data-source';
import { migrations } from '../../src/migrations';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { assertNonePending, nameOf, readHistory } from '../../src/migrator/history';
import { migrate, revert } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { stamp } from '../../src/migrator/stamp';
import { VERSION } from '../../src/migrator/version';
import { cliHere } from '../support/processes/cli';
import { interceptQueries } from '../support/database/intercept-queries';
import { LegacyClient } from '../support/legacy/legacy-client';
import { loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(300_000);

const silent = { say: () => undefined };
const NAMES = migrations.map(({ name }) => name);
const MARK = 'SELECT begun FROM payment_events_db_migrations WHERE begun IS NOT NULL';

class CutOff extends Error {}

class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

/** Has a migration of a DataSource end after so many statements that do something, until it is let go. */
function cutIn(dataSource: DataSource, level: number, after: number): () => void {
  const migration = dataSource.migrations.find((known) => nameOf(known) === NAMES[level - 1])!;
  for (const direction of ['up', 'down'] as const) {
    const run = migration[direction].bind(migration);
    let sent = 0;
    const cut = async (sql: string, send: () => Promise<unknown>) => {
      if (sent >= after) throw new CutOff();
      if (!/^((SET|RESET) (?!LOCAL)|-- Only looks)/.test(sql)) sent++;
      return await send();
    };
    // What only writes the statements down, for a plan or a checksum, sees them all.
    migration[direction] = (session) =>
      'release' in session ? interceptQueries(session, cut, () => run(session)) : run(session);
  }
  return () => {
    delete (migration as Partial<typeof migration>).up;
    delete (migration as Partial<typeof migration>).down;
  };
}

const database = useTestDatabase({ empty: true });
const chain = () => new MigrationChain(database);
const cli = (command: Command, ...args: string[]) => cliHere(database.url, command, args);
let dataSource: PaymentEventsDataSource;
/** By level. */
const catalogs: string[] = [];
beforeAll(async () => {
  await loadLegacyDatabase(database);
  for (let level = LEGACY_LEVEL; level <= LATEST_LEVEL; level++) {
    await chain().upTo(level);
    catalogs[level] = await chain().catalog();
  }
  dataSource = await quietDataSource({ url: database.url, migrationLockBudgetMs: 1 });
});
afterAll(() => dataSource.destroy());

/** Begins a migration and has it cut off: the chain stands right below it, or right above. */
async function begin(level: number, direction: 'up' | 'down', after: number): Promise<void> {
  await migrate(dataSource, { ...silent, to: NAMES[level - (direction === 'up' ? 2 : 1)]! });
  await revert(dataSource, { ...silent, to: NAMES[level - (direction === 'up' ? 2 : 1)]! });
  const letGo = cutIn(dataSource, level, after);
  const run = direction === 'up' ? migrate(dataSource, silent) : revert(dataSource, silent);
  await expect(run).rejects.toThrow(CutOff);
  letGo();
}

describe.each([
  { name: 'ExpandColumns', direction: 'up', after: 3 },
  { name: 'ExpandColumns', direction: 'down', after: 1 },
  { name: 'ContractTimestamps', direction: 'up', after: 12 },
  { name: 'ContractTimestamps', direction: 'down', after: 9 },
  { name: 'ContractRestaurants', direction: 'up', after: 7 },
  { name: 'ContractKeysAndIndexes', direction: 'down', after: 9 },
  { name: 'ContractChecks', direction: 'up', after: 4 },
  { name: 'ContractChecks', direction: 'down', after: 5 },
] as const)('$name, cut off on its way $direction', ({ name, direction, after }) => {
  const level = levelOf(name);
  const full = NAMES[level - 1]!;

  test('is marked, and half applied to all who ask', async () => {
    await begin(level, direction, after);
    const [user] = await database.query<{ name: string }>('SELECT session_user AS name');
    const begun = {
      name: full,
      direction,
      at: expect.stringMatching(/^20\d\d-/) as string,
      by: user!.name,
      version: VERSION,
    };
    expect(await database.query(MARK)).toEqual([{ begun }]);
    const history = await readHistory(dataSource);
    expect(history.filter(({ state }) => state === 'half_applied')).toEqual([
      expect.objectContaining({ name: full, begun }),
    ]);
    expect(() => assertNonePending(history)).toThrow(`${full} is half applied`);

    const status = await cli(statusCommand());
    expect(status.stdout).toMatch(new RegExp(`^${full} +half applied$`, 'm'));
    expect(status.stderr).toContain(`Finish it: npx payment-events-db ${direction === 'up' ? 'migrate' : 'revert'}.`);
    expect(status.exitCode).toBe(direction === 'up' ? 2 : 1);
    expect(JSON.parse((await cli(statusCommand(), '--json')).stdout)).toMatchObject({ halfApplied: begun });
    const check = await cli(checkCommand());
    expect(check).toMatchObject({ stdout: '', exitCode: 4 });
    expect(check.stderr).toContain(`Or undo it: npx payment-events-db ${direction === 'up' ? 'revert' : 'migrate'}.`);
  });

  test('is refused what would leave it so', async () => {
    const below = { ...silent, to: NAMES[level - 2]! };
    await expect(migrate(dataSource, below)).rejects.toMatchObject({ code: 'HALF_APPLIED', begun: { name: full } });
    await expect(planMigrations(dataSource, { to: below.to })).rejects.toMatchObject({ code: 'HALF_APPLIED' });
    await expect(revert(dataSource, { ...silent, to: full })).rejects.toMatchObject({ code: 'HALF_APPLIED' });
    expect(await database.query(MARK)).toHaveLength(1);
  });

  test('is taken back by revert, as the one step of it, and nothing is left', async () => {
    expect(await revert(dataSource, silent)).toEqual([full]);
    expect(await database.query(MARK)).toEqual([]);
    expect((await readHistory(dataSource)).filter(({ state }) => state === 'applied')).toHaveLength(level - 1);
    expect(await drift(level - 1)).toEqual([]);
  });

  test('is finished or turned by migrate, which says that it has run it', async () => {
    await begin(level, direction, after);
    const applied = (await migrate(dataSource, silent)).map((migration) => migration.name);
    expect(applied).toEqual(NAMES.slice(level - 1));
    expect(await database.query(MARK)).toEqual([]);
    expect(await drift(LATEST_LEVEL)).toEqual([]);
    expect((await cli(statusCommand())).exitCode).toBe(0);
  });

  test('goes on either way by the stock command, which calls runMigrations and undoLastMigration', async () => {
    await begin(level, direction, after);
    await dataSource.undoLastMigration({ transaction: 'each' });
    expect(await drift(level - 1)).toEqual([]);
    await begin(level, direction, after);
    await dataSource.runMigrations({ transaction: 'each' });
    expect(await drift(LATEST_LEVEL)).toEqual([]);
  });

  test('goes on either way by a plan, which is not run again where another migrator has ended it', async () => {
    for (const way of ['up', 'down'] as const) {
      await begin(level, direction, after);
      const plan = await planMigrations(dataSource, { direction: way });
      expect(plan.migrations[0]!.name).toBe(full);
      const session = await database.connect();
      for (const sql of [plan.preparation, ...plan.migrations.map(({ statements }) => statements)].flat()) {
        await session.query(sql);
      }
      await session.end();
      expect(await database.query(MARK)).toEqual([]);
      expect(await drift(way === 'up' ? LATEST_LEVEL : level - 1)).toEqual([]);
    }
    await begin(level, direction, after);
    const stale = await planMigrations(dataSource);
    await (direction === 'up' ? revert : migrate)(dataSource, {
      ...silent,
      to: NAMES[level - (direction === 'up' ? 2 : 1)]!,
    });
    const session = await database.connect();
    await expect(
      (async () => {
        for (const sql of stale.preparation) await session.query(sql);
      })(),
    ).rejects.toThrow('Make it again');
    await session.end();
  });
});

describe('a half-applied migration', () => {
  const level = levelOf('ContractRestaurants');
  const full = NAMES[level - 1]!;

  test('that gave up leaves nothing in the way of legacy clients once it is reverted', async () => {
    await begin(level, 'up', 7);
    expect(await revert(dataSource, { ...silent, to: 'ExpandIndexes' })).toEqual([full, NAMES[level - 2]]);
    await new LegacyClient(await database.connect()).workThroughOneRequest();
    await database.closeSessions();
  });

  test('whose revert gave up lets nothing wrong in once it is migrated', async () => {
    await begin(levelOf('ContractChecks'), 'down', 5);
    await migrate(dataSource, silent);
    const ofNothing = `INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
      VALUES (gen_random_uuid(), gen_random_uuid(), 't', 'PENDING', -5, 'USD', now())`;
    await expect(database.query(ofNothing)).rejects.toMatchObject({ constraint: 'auth_request_state_amount_positive' });
  });

  test('counts as ended where only the history is written: by a stamp, and by --fake', async () => {
    await begin(level, 'up', 7);
    expect(await stamp(dataSource, full, { dryRun: true })).toMatchObject({
      recorded: [full],
      ended: [full],
      removed: [],
    });
    expect(await stamp(dataSource, full, silent)).toMatchObject({ recorded: [full], ended: [full], removed: [] });
    expect(await database.query(MARK)).toEqual([]);
    await stamp(dataSource, NAMES[level - 2]!, silent);
    await migrate(dataSource, silent);

    await begin(level, 'down', 2);
    expect((await migrate(dataSource, { ...silent, fake: true, to: full })).map(({ name }) => name)).toEqual([full]);
    expect(await database.query(MARK)).toEqual([]);
    expect(await revert(dataSource, { ...silent, fake: true })).toEqual([full]);
    expect(await migrate(dataSource, silent)).toHaveLength(LATEST_LEVEL - level + 1);
    expect(await drift(LATEST_LEVEL)).toEqual([]);
  });

  test('that this version does not know is unknown to it, as one that was applied is', async () => {
    await begin(level, 'up', 7);
    await database.query(
      `UPDATE payment_events_db_migrations SET begun = begun || '{"name": "AddRefunds1795500000000"}' WHERE begun IS NOT NULL`,
    );
    for (const run of [migrate, revert, (one: DataSource) => planMigrations(one)]) {
      await expect(run(dataSource, silent)).rejects.toMatchObject({
        code: 'UNKNOWN_MIGRATIONS',
        names: ['AddRefunds1795500000000'],
      });
    }
    expect((await cli(statusCommand())).exitCode).toBe(1);
    await database.query(
      `UPDATE payment_events_db_migrations SET begun = begun || '{"name": "${full}"}' WHERE begun IS NOT NULL`,
    );
    await migrate(dataSource, silent);
  });

  test('that plain TypeORM has brought to its end, which keeps no marks, is no longer', async () => {
    const options = createDataSourceOptions({ url: database.url, logger: new Silence() });
    const typeorm = await new DataSource(options).initialize();
    await begin(level, 'up', 7);
    await typeorm.runMigrations();
    expect((await readHistory(dataSource)).filter(({ state }) => state !== 'applied')).toEqual([]);
    expect(await migrate(dataSource, silent)).toEqual([]);
    expect(await database.query(MARK)).toEqual([]);

    await begin(level, 'down', 2);
    await typeorm.undoLastMigration({ transaction: 'none' });
    const plan = await planMigrations(dataSource);
    expect(plan.preparation.join()).toContain('SET begun = NULL');
    expect(await migrate(dataSource, silent)).toHaveLength(LATEST_LEVEL - level + 1);
    expect(await drift(LATEST_LEVEL)).toEqual([]);
    await typeorm.destroy();
  });
});

describe('not half applied is a migration', () => {
  test('whose revert refused, as it names rows that would be lost, and left everything as it was', async () => {
    const level = levelOf('ExpandColumns');
    await revert(dataSource, { ...silent, to: NAMES[level - 1]! });
    await database.query(
      `INSERT INTO outbox (aggregate_id, message_type, payload, failed_at) VALUES (gen_random_uuid(), 'm', '', now())`,
    );
    await expect(revert(dataSource, silent)).rejects.toThrow('Cannot go back');
    expect(await database.query(MARK)).toEqual([]);
    expect((await cli(statusCommand())).stdout).not.toContain('half');
    await database.query('DELETE FROM outbox WHERE failed_at IS NOT NULL');
  });

  test('that did not get its first lock', async () => {
    const holder = await database.connect();
    await holder.query('BEGIN; SELECT FROM outbox');
    await revert(dataSource, { ...silent, to: NAMES[levelOf('ExpandColumns') - 1]! });
    await expect(revert(dataSource, silent)).rejects.toMatchObject({ code: 'MIGRATION_BLOCKED' });
    await holder.end();
    expect(await database.query(MARK)).toEqual([]);
    await migrate(dataSource, silent);
  });

  test('that has a transaction, which leaves nothing when it is cut off', async () => {
    const fresh = await quietDataSource({ url: empty.url });
    const letGo = cutIn(fresh, 1, 3);
    await expect(migrate(fresh, silent)).rejects.toThrow(CutOff);
    letGo();
    expect((await readHistory(fresh)).filter(({ state }) => state !== 'pending')).toEqual([]);
    expect(await migrate(fresh, silent)).toHaveLength(LATEST_LEVEL);
    await fresh.destroy();
  });
  const empty = useTestDatabase({ empty: true });
});

/** How the schema differs from what the first migrations make when none is cut off. */
async function drift(level: number) {
  return compareCatalogs(catalogs[level]!, await chain().catalog());
}
