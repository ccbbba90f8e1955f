import { migrations } from '../../src/migrations';
import { alembicCatalogs, catalogAfter, targetCatalog } from '../../src/schema/catalogs';
import { readCatalog } from '../../src/schema/catalog';
import { LEGACY_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { useTestDatabase } from '../support/database/use-test-database';

// What differs is shown as a diff. Where it is meant to: npm run catalog:update, and look at the diff of the file.

describe('an empty database', () => {
  const database = useTestDatabase({ empty: true });

  test.each(
    Object.entries(alembicCatalogs).map(([revision, catalog], index) => ({ revision, catalog, level: index + 1 })),
  )('becomes what Alembic makes at revision $revision', async ({ catalog, level }) => {
    const chain = new MigrationChain(database);
    await chain.upTo(level);
    expect(await chain.catalog()).toBe(catalog);
  });
});

describe('a database between the first migration and the last', () => {
  const database = useTestDatabase({ empty: true });
  const between = migrations
    .slice(LEGACY_LEVEL, -1)
    .map(({ name }, index) => ({ name, level: LEGACY_LEVEL + index + 1 }));

  test.each(between)('has the committed schema of $name', async ({ name, level }) => {
    const chain = new MigrationChain(database);
    await chain.upTo(level);
    expect(await chain.catalog()).toBe(catalogAfter(name));
  });
});

describe('a migrated database', () => {
  const database = useTestDatabase();

  test('has the committed schema', async () => {
    expect(await readCatalog(await database.dataSource())).toBe(targetCatalog);
  });

  test('has nothing that the entities do not declare, and all they do', async () => {
    const { upQueries, downQueries } = await (await database.dataSource()).driver.createSchemaBuilder().log();
    expect([...upQueries, ...downQueries].map(({ query }) => query)).toEqual([]);
  });
});
