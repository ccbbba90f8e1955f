import { alembicCatalogs, targetCatalog } from '../../src/migrator/catalogs';
import { readCatalog } from '../../src/migrator/catalog';
import { MigrationChain } from '../support/migration-chain';
import { useTestDatabase } from '../support/use-test-database';

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

describe('a migrated database', () => {
  const database = useTestDatabase();

  test('has the committed schema', async () => {
    expect(await readCatalog(await database.dataSource())).toBe(targetCatalog);
  });

  test('has nothing that the entities do not declare, and all they do', async () => {
    const { upQueries, downQueries } = await (await database.dataSource()).driver.createSchemaBuilder().log();
    expect([...upQueries, ...downQueries].map(({ query }) => query)).toEqual([]);
  });

  test.each([
    [
      'a check that was loosened',
      `ALTER TABLE outbox DROP CONSTRAINT outbox_attempts_not_negative,
       ADD CONSTRAINT outbox_attempts_not_negative CHECK (attempts >= -1)`,
    ],
    ['a guard that was switched off', 'ALTER TABLE payment_events DISABLE TRIGGER payment_events_append_only'],
    [
      'a guard that a restore left as an ordinary one',
      'ALTER TABLE payment_events ENABLE TRIGGER payment_events_append_only',
    ],
    [
      'a guard whose body was changed',
      `CREATE OR REPLACE FUNCTION refuse_payment_events_change() RETURNS trigger
       LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'`,
    ],
    [
      'an index with another condition',
      `DROP INDEX idx_outbox_pending;
       CREATE INDEX idx_outbox_pending ON outbox (id) WHERE processed_at IS NULL`,
    ],
    ['a table that is not logged', 'ALTER TABLE auth_processing_locks SET UNLOGGED'],
    ['a grant', 'GRANT UPDATE (status) ON auth_request_state TO PUBLIC'],
    ['a column default', 'ALTER TABLE outbox ALTER COLUMN attempts SET DEFAULT 1'],
  ])('does not have the committed schema after %s', async (_what, change) => {
    const dataSource = await database.dataSource();
    await dataSource.transaction(async (manager) => {
      await manager.query(change);
      expect(await readCatalog(manager)).not.toBe(targetCatalog);
      await manager.query('ROLLBACK; BEGIN');
    });
    expect(await readCatalog(dataSource)).toBe(targetCatalog);
  });
});
