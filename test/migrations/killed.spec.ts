import { migrations } from '../../src/migrations';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { halfApplied, readHistory } from '../../src/migrator/history';
import { migrate, revert } from '../../src/migrator/migrator';
import { plannedSql } from '../../src/migrator/planned-sql';
import { digestLegacyColumns, lastingDigests, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { MigratorProcess } from '../support/processes/migrator-process';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

jest.setTimeout(180_000);

const undisturbed = useTestDatabase({ empty: true });
const database = useTestDatabase({ empty: true });
const chain = new MigrationChain(database);

/** By level: what `readCatalog` says when nobody is killed. */
const catalogs: string[] = [];
/** Started ahead of its use, since that takes longer than what it is to do. */
let next = MigratorProcess.start();

beforeAll(async () => {
  const reference = new MigrationChain(undisturbed);
  for (let level = 0; level <= LATEST_LEVEL; level++) {
    if (level > 0) await reference.upTo(level);
    catalogs.push(await reference.catalog());
  }
});
afterAll(async () => (await next).kill());

/** Has a process run one migration, and kills it half-way; then has another take it back, or up again, and run it to its end. */
async function killInTheMiddleOf(level: number, direction: 'up' | 'down'): Promise<void> {
  const Migration = migrations[level - 1]!;
  const statements = (await plannedSql(new Migration()))[direction].filter(
    (sql) => !/^(SET|RESET) (?!LOCAL)/.test(sql),
  );
  const after = Math.floor(statements.length / 2);
  const to = direction === 'up' ? Migration.name : undefined;
  const kill = async () => {
    const migrator = await next;
    next = MigratorProcess.start();
    migrator.send({ url: database.url, direction, to, haltIn: { name: Migration.name, after } });
    expect(await migrator.nextLine()).toBe('halted');
    await migrator.kill();
  };
  await kill();
  const steps = await goTheOtherWay(Migration.name, direction);
  expect(steps).toEqual('transaction' in new Migration() ? [Migration.name] : []);
  const drift = compareCatalogs(catalogs[direction === 'up' ? level - 1 : level]!, await chain.catalog());
  expect(drift).toEqual([]);

  await kill();
  await (direction === 'up' ? chain.upTo(level) : chain.downTo(level - 1));
  const end = catalogs[direction === 'up' ? level : level - 1]!;
  expect(compareCatalogs(end, await chain.catalog())).toEqual([]);
}

/** What is half applied is the one step of a revert, and of a migrate that ends with it. */
async function goTheOtherWay(name: string, direction: 'up' | 'down'): Promise<string[]> {
  const dataSource = await quietDataSource({ url: database.url });
  try {
    const isHalfApplied = halfApplied(await readHistory(dataSource)) !== undefined;
    if (!isHalfApplied) return [];
    if (direction === 'up') return await revert(dataSource, { say: () => undefined });
    return (await migrate(dataSource, { to: name, say: () => undefined })).map((migration) => migration.name);
  } finally {
    await dataSource.destroy();
  }
}

const levels = migrations.map(({ name }, index) => ({ name, level: index + 1 }));

test.each(levels)(
  'killed in the middle of $name, it is taken back, and ends in the right catalog when run again',
  async ({ level }) => {
    await killInTheMiddleOf(level, 'up');
    // What the legacy services leave to the later ones.
    if (level === LEGACY_LEVEL) await loadLegacyDatabase(database);
  },
);

test('the rows are the same as before', async () => {
  expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
});

test.each(levels.toReversed())('killed while it reverts $name, the same', async ({ level }) => {
  if (level === LEGACY_LEVEL) {
    expect(await digestLegacyColumns(database)).toMatchObject(lastingDigests);
    // Below it there is no place for it.
    await database.query(`DELETE FROM restaurant_payment_configs WHERE processor_name = 'mock'`);
  }
  if (level === 1) await database.query('TRUNCATE payment_events');
  await killInTheMiddleOf(level, 'down');
});
