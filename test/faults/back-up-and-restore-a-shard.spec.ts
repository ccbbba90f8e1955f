import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { AuthRequests, DatabaseUnavailableError, WrongShardError } from '../../src';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { setFence } from '../../src/fence/set-fence';
import { setSequenceRange } from '../../src/fence/sequence-range';
import { shardMapFile } from '../../src/shards/map-sources';
import { Shards } from '../../src/shards/shards';
import {
  createTemplateDatabase,
  createTestDatabase,
  EmbeddedServer,
  TemporaryDirectory,
  type TestDatabase,
  UNSAFE_BUT_FAST,
} from '../../src/testing';
import { quietDataSource, Silence } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { DocPage } from '../support/docs/doc-page';
import { PageShell } from '../support/docs/page-shell';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, untilAvailable } from '../support/shards/shards';

// A server of its own, and commands that take seconds to start.
jest.setTimeout(300_000);

const PAGE = new DocPage('docs/how-to/back-up-and-restore-a-shard.md');

const a = useTestDatabase();
const folder = new TemporaryDirectory();
let [b, restored]: TestDatabase[] = [];
let shell: PageShell;

beforeAll(async () => {
  // No newer than the oldest pg_dump that is installed where tests run.
  const { url } = await EmbeddedServer.start({
    ...{ dataDirectory: folder.dataDirectory, version: 15, settings: UNSAFE_BUT_FAST, notice: () => undefined },
  });
  await createTemplateDatabase(url, 'shard');
  [b, restored] = [await createTestDatabase(url, { template: 'shard' }), await createTestDatabase(url)];
  shell = new PageShell({ SHARD_B: b.url, RESTORED: restored.url }, { payments_b: b.name });
});
afterAll(async () => {
  shell.remove();
  await folder.remove();
});

const writeMap = (name: string, version: number, urlOfB: string) =>
  shell.write(name, JSON.stringify(mapOf(version, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: urlOfB } })));

const restaurantsOfMessages = async (database: PaymentEventsDataSource) => {
  const rows = await database.query<{ id: string }[]>(
    'SELECT restaurant_id AS id FROM outbox WHERE processed_at IS NULL',
  );
  return rows.map(({ id }) => id);
};

const lastOf = async (database: PaymentEventsDataSource, table: string) => {
  const [row] = await database.query<{ last: string }[]>(`SELECT last_value AS last FROM ${table}_id_seq`);
  return BigInt(row!.last);
};

test('the page has no block that nothing here runs', () => {
  expect(PAGE.blocks.map(({ section, language }) => `${section}: ${language}`)).toEqual([
    'Back up: bash',
    ...['Restore: sql', 'Restore: bash', 'Restore: bash', 'Restore: sql', 'Restore: sql'],
  ]);
});

test('a backup that is taken during a split has no password, and nothing of the split', async () => {
  const end = await quietDataSource({ url: b!.url });
  await end.query('CREATE PUBLICATION payment_events_split');
  await end.query(`CREATE SUBSCRIPTION payment_events_split CONNECTION 'host=127.0.0.1 password=hunter' PUBLICATION payment_events_split
    WITH (connect = false)`);
  const [dump] = PAGE.blocksOf('Back up', 'bash');
  await shell.run(dump!);
  expect(await shell.run('pg_restore --file=- b.dump')).not.toMatch(/hunter|payment_events_split/);
  await end.query('ALTER SUBSCRIPTION payment_events_split SET (slot_name = NONE)');
  await end.query('DROP SUBSCRIPTION payment_events_split');
  await end.query('DROP PUBLICATION payment_events_split');
  await end.destroy();
});

test('a shard is restored to an older moment while the others go on, and services follow without a restart', async () => {
  const [dump] = PAGE.blocksOf('Back up', 'bash');
  const [bring, make] = PAGE.blocksOf('Restore', 'bash') as [string, string];
  const [close, disown, skip] = PAGE.blocksOf('Restore', 'sql') as [string, string, string];
  const [here, there] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];
  const old = await quietDataSource({ url: b!.url });
  await fence(a, EVEN);
  await setSequenceRange(old, 1);

  // The backup is from before a split: b has the restaurants of both, and one of them moves afterwards.
  const ofBefore = { restaurantId: here, idempotencyKey: 'before the split' };
  const moved = await new AuthRequests(old).authorize(anAuthorizeCommand(ofBefore));
  await shell.run(dump!);
  await setFence(old, ODD);
  await old.query('DELETE FROM outbox WHERE restaurant_id = $1', [here]);

  // A service is no superuser.
  await old.query(`CREATE ROLE service LOGIN PASSWORD 'of a test'`);
  await old.query('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO service');
  await old.query('GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO service');
  writeMap('shards.json', 1, Object.assign(new URL(b!.url), { username: 'service', password: 'of a test' }).href);
  const path = join(shell.folder, 'shards.json');
  const shards = await new Shards(shardMapFile(path), { reloadEveryMs: 100, logger: new Silence() }).open();
  const accept = (restaurantId: string) =>
    shards.run(restaurantId, ({ requests }) =>
      requests.authorize(anAuthorizeCommand({ restaurantId, idempotencyKey: randomUUID() })),
    );
  const target = await quietDataSource({ url: restored!.url });
  try {
    const lost = await accept(there);
    await old.destroy();
    for (const statement of shell.fill(close).trim().split(';\n')) await target.query(statement);
    await expect(accept(there)).rejects.toThrow(DatabaseUnavailableError);
    await accept(here);

    await shell.run(bring);
    writeMap('restored.json', 2, restored!.url);
    expect(await restaurantsOfMessages(target)).toEqual([here]);
    await shell.run(make);
    await target.query(disown);
    expect(await restaurantsOfMessages(target)).toEqual([]);
    const positions = async () => [await lastOf(target, 'payment_events'), await lastOf(target, 'outbox')];
    const before = await positions();
    for (const statement of skip.trim().split('\n')) await target.query(statement);
    expect(await positions()).toEqual(before.map((last) => last + 10_000_000n));
    await shell.run('npx payment-events-db check --shard b');

    renameSync(join(shell.folder, 'restored.json'), path);
    await untilAvailable(() => accept(there));
    expect(shards.map.version).toBe(2);
    const { requests } = await shards.of(there);
    expect(await requests.get({ restaurantId: there, authRequestId: lost.authRequestId })).toBeNull();
    // The fence is that of the map, and not that of the backup.
    const foreign = requests.expire({ restaurantId: here, authRequestId: moved.authRequestId, reason: 'nobody waits' });
    await expect(foreign).rejects.toThrow(WrongShardError);
  } finally {
    await shards.destroy();
    await target.destroy();
    if (old.isInitialized) await old.destroy();
  }
});
