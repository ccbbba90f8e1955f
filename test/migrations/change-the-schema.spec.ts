import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MigrationInterface } from 'typeorm';
import { readCatalog } from '../../src/schema/catalog';
import { targetCatalog } from '../../src/schema/catalogs';
import { compareCatalogs } from '../../src/schema/compare-catalogs';
import { migrate, revert } from '../../src/migrator/migrator';
import { checksumOf } from '../../src/migrator/planned-sql';
import { isCutOff } from '../support/migrations/cut-off';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';

const ROOT = join(__dirname, '../..');
const PAGE = readFileSync(join(ROOT, 'docs/how-to/change-the-schema.md'), 'utf8');

/** A checkout with the migrations of the page, each in a file of its own. */
const folder = mkdtempSync(join(tmpdir(), 'docs-'));
const database = useTestDatabase();

beforeAll(() => {
  mkdirSync(join(folder, 'src/migrations'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  symlinkSync(join(ROOT, 'src/migrations/helpers'), join(folder, 'src/migrations/helpers'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function migrationOf(block: string): Promise<MigrationInterface> {
  const [, code] = new RegExp('^```ts ' + block + '\\n([\\s\\S]*?)^```$', 'm').exec(PAGE)!;
  const file = join(folder, `src/migrations/${block}.ts`);
  writeFileSync(file, code!);
  const [Migration] = Object.values((await import(file)) as Record<string, new () => MigrationInterface>);
  return new Migration!();
}

test('the migrations of the how-to expand and contract, keep old rows and old clients, and go back', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  const say = () => undefined;
  const [expand, contract] = [await migrationOf('expand'), await migrationOf('contract')];
  expect(await checksumOf(expand)).not.toBe(await checksumOf(contract));
  const insert = `
    INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'token', 'PENDING', 1, 'USD', now())`;
  await database.query(insert);

  dataSource.migrations.push(expand);
  await migrate(dataSource, { say });
  await database.query(insert);
  dataSource.migrations.push(contract);
  await migrate(dataSource, { say });
  expect(await database.query('SELECT DISTINCT terminal_id FROM auth_request_state')).toEqual([
    { terminal_id: 'unknown' },
  ]);
  await expect(database.query(insert)).rejects.toMatchObject({ code: '23502' });

  await revert(dataSource, { say });
  await database.query(insert);
  await revert(dataSource, { say });
  expect(await readCatalog(dataSource)).toBe(targetCatalog);
  expect(await database.query('SELECT FROM auth_request_state')).toHaveLength(3);
  await dataSource.destroy();
});

test('they come to either end from wherever a run or a revert was cut off', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  const session = dataSource.createQueryRunner();
  const catalogs = [targetCatalog];
  for (const block of ['expand', 'contract']) {
    const migration = await migrationOf(block);
    await migration.up(session);
    const [below, above] = [catalogs.at(-1)!, await readCatalog(session)];
    const differs = async (other: string) => compareCatalogs(other, await readCatalog(session));
    for (let n = 1, isMore = true; isMore; n++) {
      await migration.down(session);
      isMore = await isCutOff(session, n, () => migration.up(session));
      await migration.down(session);
      expect({ block, n, differs: await differs(below) }).toEqual({ block, n, differs: [] });
      await migration.up(session);
      isMore = (await isCutOff(session, n, () => migration.down(session))) || isMore;
      await migration.up(session);
      expect({ block, n, differs: await differs(above) }).toEqual({ block, n, differs: [] });
    }
    catalogs.push(above);
  }
  await session.release();
  await dataSource.destroy();
});
