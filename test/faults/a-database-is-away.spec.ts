import { randomUUID } from 'node:crypto';
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseUnavailableError } from '../../src';
import { setFence } from '../../src/fence/set-fence';
import { setSequenceRange } from '../../src/fence/sequence-range';
import { shardMapFile } from '../../src/shards/map-sources';
import { Shards } from '../../src/shards/shards';
import { EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { quietDataSource, Silence } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { DocPage } from '../support/docs/doc-page';
import { PageShell } from '../support/docs/page-shell';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, untilAvailable } from '../support/shards/shards';

// A server of its own, and commands that take seconds to start.
jest.setTimeout(300_000);

const PAGE = new DocPage('docs/how-to/a-database-is-away.md');
const a = useTestDatabase();
const folder = new TemporaryDirectory();
const shell = new PageShell();
let server: EmbeddedServer;

/** Of what is committed it loses nothing when it is killed: without `synchronous_commit`, the fence could be lost. */
const start = () =>
  EmbeddedServer.start({ dataDirectory: folder.dataDirectory, settings: { fsync: 'off' }, notice: () => undefined });

beforeAll(async () => {
  server = await start();
  const dataSource = await quietDataSource({ url: server.url });
  await dataSource.runMigrations();
  await setFence(dataSource, ODD);
  await setSequenceRange(dataSource, 1);
  await dataSource.destroy();
  await fence(a, EVEN);
});
afterAll(async () => {
  await folder.remove();
  shell.remove();
});

const map = (version: number) => mapOf(version, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: server.url } });

test('the page has no block that nothing here runs', () => {
  expect(PAGE.blocks.map(({ section, language }) => `${section}: ${language}`)).toEqual([
    '1. Which one, and how?: bash',
    '3. Put it right: bash',
    '4. The end: bash',
  ]);
});

test('a database that is away stops its own restaurants alone, and services follow its replica to another address', async () => {
  const path = join(shell.folder, 'shards.json');
  shell.write('shards.json', JSON.stringify(map(1)));
  const shards = await new Shards(shardMapFile(path), { reloadEveryMs: 100, logger: new Silence() }).open();
  const [here, there] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];
  const accept = (restaurantId: string) =>
    shards.run(restaurantId, ({ requests }) =>
      requests.authorize(anAuthorizeCommand({ restaurantId, idempotencyKey: randomUUID() })),
    );
  try {
    const before = await accept(there);
    await accept(here);

    await server.kill();
    await expect(accept(there)).rejects.toThrow(DatabaseUnavailableError);
    await accept(here);
    const { items, away } = await shards.all().listStuck({ olderThanMs: 0 });
    expect(items.map(({ restaurantId }) => restaurantId)).toEqual([here, here]);
    expect(away.map(({ shard }) => shard)).toEqual(['b']);

    const [which] = PAGE.blocksOf('1. Which one, and how?', 'bash');
    const told = await shell.run(`export PAYMENT_EVENTS_DB_SHARDS=shards.json\n{ ${which} } || true`);
    expect(told).toMatch(/^a .* 0 done$/m);
    expect(told).toMatch(/^b .* 3 no server/m);

    server = await start();
    shell.write('failover.json', JSON.stringify(map(2)));
    const [look] = PAGE.blocksOf('3. Put it right', 'bash');
    expect(await shell.run(look!)).toContain('Version 2.');
    renameSync(join(shell.folder, 'failover.json'), path);
    await untilAvailable(() => accept(there));
    expect(shards.map.version).toBe(2);
    const { requests } = await shards.of(there);
    expect(await requests.get({ restaurantId: there, authRequestId: before.authRequestId })).toMatchObject({
      status: 'PENDING',
    });

    const [end] = PAGE.blocksOf('4. The end', 'bash');
    await shell.run(`export PAYMENT_EVENTS_DB_SHARDS=shards.json\n${end}`);
  } finally {
    await shards.destroy();
  }
});

test('what the page says not to do is refused', async () => {
  const [first] = map(3).shards;
  shell.write('less.json', JSON.stringify({ version: 3, shards: [first] }));
  await expect(shell.run('PAYMENT_EVENTS_DB_SHARDS=less.json npx payment-events-db shard map')).rejects.toThrow(
    'no database has class 1 of 2',
  );
  shell.write('whole.json', JSON.stringify({ version: 3, shards: [{ ...first, modulus: 1, remainder: 0 }] }));
  await expect(shell.run('PAYMENT_EVENTS_DB_SHARDS=whole.json npx payment-events-db shard fence')).rejects.toThrow(
    'The fence was not set',
  );
});
