import { migrations } from '../../src/migrations';
import { plannedSql } from '../../src/migrator/planned-sql';
import { digestLegacyColumns, lastingDigests, loadLegacyDatabase } from '../support/legacy-fixture';
import { LATEST_LEVEL, LEGACY_LEVEL, MigrationChain } from '../support/migration-chain';
import { MigratorProcess } from '../support/migrator-process';
import { useTestDatabase } from '../support/use-test-database';

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

/** Has a process run one migration, and kills it half-way; then has another run it to its end. */
async function killInTheMiddleOf(level: number, direction: 'up' | 'down'): Promise<void> {
  const Migration = migrations[level - 1]!;
  const statements = (await plannedSql(new Migration()))[direction].filter(
    (sql) => !/^(SET|RESET) (?!LOCAL)/.test(sql),
  );
  const migrator = await next;
  next = MigratorProcess.start();
  const after = Math.floor(statements.length / 2);
  const to = direction === 'up' ? Migration.name : undefined;
  migrator.send({ url: database.url, direction, to, haltIn: { name: Migration.name, after } });
  expect(await migrator.nextLine()).toBe('halted');
  await migrator.kill();

  await (direction === 'up' ? chain.upTo(level) : chain.downTo(level - 1));
  expect(await chain.catalog()).toBe(catalogs[direction === 'up' ? level : level - 1]);
}

const levels = migrations.map(({ name }, index) => ({ name, level: index + 1 }));

test.each(levels)('killed in the middle of $name, it ends in the right catalog when run again', async ({ level }) => {
  await killInTheMiddleOf(level, 'up');
  // What the legacy services leave to the later ones.
  if (level === LEGACY_LEVEL) await loadLegacyDatabase(database);
});

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
