import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { AuthRequests, LockLostError, Outbox, OutboxRelay, WrongShardError } from '../../src';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { addFence, dropFence, FENCED_TABLES } from '../../src/fence/fence-sql';
import { setFence } from '../../src/fence/set-fence';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { type RelayMessage } from '../../src/outbox/publisher';
import { SplitRefusedError } from '../../src/shards/split/errors';
import {
  createTemplateDatabase,
  createTestDatabase,
  databaseUrl,
  EmbeddedServer,
  holdIn,
  RecordingPublisher,
  requestIn,
  TemporaryDirectory,
  type TestRequest,
} from '../../src/testing';
import { quietDataSource } from '../support/database/quiet-data-source';
import { ReplicatedServers } from '../support/database/replicated-servers';
import { freePort } from '../support/processes/bound-process';
import { DocPage } from '../support/docs/doc-page';
import { PageShell } from '../support/docs/page-shell';
import { failureOf } from '../support/processes/within';
import { aRestaurantOf, EVEN, ODD } from '../support/shards/shards';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

jest.setTimeout(240_000);

const PAGE = new DocPage('docs/how-to/split-a-shard.md');
const SECTION = 'Very large databases';
/** That of the pg_basebackup that is installed where tests run. */
const VERSION = 15;
const PASSWORD = 'not to be seen';

const [stays, moves] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];

let server: SplitServer;
let folder: TemporaryDirectory;
let shell: PageShell;
let pair: SplitPair;
const published: RelayMessage[] = [];

/** Delivers what there is. */
async function relay(dataSource: PaymentEventsDataSource): Promise<void> {
  const publisher = new RecordingPublisher();
  publisher.answer = (message) => {
    published.push(message);
    return { published: true };
  };
  await new OutboxRelay(dataSource, publisher).runOnce();
}

/** Beside an open lease and messages that wait, what has any state of a request or a hold. */
async function fill(dataSource: PaymentEventsDataSource): Promise<TestRequest[]> {
  const made: TestRequest[] = [];
  for (const restaurantId of [stays, moves]) {
    made.push(
      await requestIn(dataSource, 'PENDING', { restaurantId }),
      await holdIn(dataSource, 'voiding', { restaurantId }),
      await holdIn(dataSource, 'held', { restaurantId }),
    );
  }
  return made;
}

const leaseOf = (dataSource: PaymentEventsDataSource, { restaurantId, authRequestId }: TestRequest) =>
  new ProcessingLocks(dataSource).acquire({ restaurantId, authRequestId, workerId: 'w1', ttlMs: 3_600_000 });

const enqueue = (dataSource: PaymentEventsDataSource, restaurantId: string) =>
  dataSource.transaction((manager) =>
    new Outbox(dataSource).enqueue(manager, {
      ...{ restaurantId, aggregateId: randomUUID(), messageType: 'refund_queued', payload: Buffer.from('{}') },
    }),
  );

const refusalOf = async (work: Promise<unknown>): Promise<string> => {
  const failure = await failureOf(work);
  expect(failure).toBeInstanceOf(SplitRefusedError);
  return (failure as Error).message;
};

beforeAll(async () => {
  server = await SplitServer.start(VERSION);
  folder = new TemporaryDirectory();
});
afterAll(async () => {
  await pair?.end();
  shell?.remove();
  await folder?.remove();
  await server?.remove();
});

test('the page, by a clone: no message goes out twice, no number is given out twice, and a request is at one place', async () => {
  const source = await server.database();
  const port = await freePort();
  const target = Object.assign(new URL(source), { port: String(port) }).href;
  const [copy, promote, handOver] = PAGE.blocksOf(SECTION, 'bash') as [string, string, string];
  const [cleanUp] = PAGE.blocksOf('4. Clean up', 'bash') as [string];
  shell = new PageShell(
    { SHARD_A: source, PAYMENT_EVENTS_DB_SPLIT_TO: target, PAYMENT_EVENTS_DB_SHARDS: 'map.json' },
    { '--pgdata=clone': `--pgdata=${folder.dataDirectory}` },
  );
  const before = await SplitPair.of({ source, target: source });
  const atSource = before.source;
  const requests = await fill(atSource);
  await relay(atSource);
  shell.write('map.json', JSON.stringify(before.oldMap));

  await shell.run(copy);
  const { uid, gid } = statSync(server.server.dataDirectory);
  spawnSync('chown', ['-R', `${uid}:${gid}`, folder.dataDirectory]);
  const settings = { fsync: 'off' };
  await EmbeddedServer.start({
    dataDirectory: folder.dataDirectory,
    version: VERSION,
    password: PASSWORD,
    port,
    settings,
  });
  pair = await SplitPair.of({ source, target });
  requests.push(...(await fill(atSource)));
  const waiting = requests.filter((_, index) => index >= 6);
  const [stayed, moved] = [await leaseOf(atSource, waiting[0]!), await leaseOf(atSource, waiting[3]!)];
  expect(await refusalOf(pair.split.takeClone())).toMatch('The target is a standby');

  await shell.run(promote);
  // After the clone has its last: the source still takes what stays, and messages of anybody.
  const late = await requestIn(atSource, 'PENDING', { restaurantId: stays });
  requests.push(late);
  const lateMessage = await enqueue(atSource, moves);
  const fences = (shard: typeof EVEN) => FENCED_TABLES.flatMap((table) => [dropFence(table), addFence(table, shard)]);
  for (const statement of FENCED_TABLES.map(dropFence)) await pair.target.query(statement);
  expect(await refusalOf(pair.split.takeClone())).toMatch('promoted before it had the fence');
  await pair.target.query(fences(EVEN).join('; '));

  await shell.run(handOver);
  expect(await pair.split.takeClone({ dryRun: true })).not.toEqual([]);
  await pair.end();
  pair = await SplitPair.of({ source, target });
  const locks = { source: new ProcessingLocks(pair.source), target: new ProcessingLocks(pair.target) };
  await locks.source.renew(stayed!, 60_000);
  await locks.target.renew(moved!, 60_000);
  expect(await failureOf(locks.source.renew(moved!, 60_000))).toBeInstanceOf(LockLostError);
  expect(await failureOf(locks.target.renew(stayed!, 60_000))).toBeInstanceOf(LockLostError);

  for (const [here, there, restaurantId] of [
    [pair.source, pair.target, stays],
    [pair.target, pair.source, moves],
  ] as const) {
    requests.push(await holdIn(here, 'voiding', { restaurantId }));
    expect(await failureOf(requestIn(there, 'PENDING', { restaurantId }))).toBeInstanceOf(WrongShardError);
  }
  for (const dataSource of [pair.source, pair.target, pair.source, pair.target]) await relay(dataSource);
  expect(published.map(({ id }) => id).toSorted()).toEqual([...new Set(published.map(({ id }) => id))].toSorted());
  expect(published.filter(({ id }) => String(id) === String(lateMessage))).toHaveLength(1);
  // Each PENDING request once, each hold that is voided once for its request, once for its void, each other once.
  const sent = (id: string) => published.filter(({ aggregateId }) => aggregateId === id).length;
  expect(requests.filter(({ authRequestId }) => sent(authRequestId) === 0)).toEqual([]);
  const numbers = async (dataSource: PaymentEventsDataSource) => {
    const rows = await dataSource.query<{ id: string; event: string }[]>(
      'SELECT id, event_id AS event FROM payment_events',
    );
    return new Map(rows.map(({ id, event }) => [id, event]));
  };
  const [ofSource, ofTarget] = [await numbers(pair.source), await numbers(pair.target)];
  const both = [...ofSource].filter(([id, event]) => ofTarget.has(id) && ofTarget.get(id) !== event);
  expect(both).toEqual([]);
  expect([...ofTarget.keys()].filter((id) => Number(id) > 2 ** 40).length).toBeGreaterThan(0);

  const cleaned = await shell.run(cleanUp.replace('verify --shard a', 'verify --all'));
  expect(cleaned).toMatch('done  clean-up');
  expect((await pair.split.status(pair.newMap)).next).toBeUndefined();
  const idsAt = async (dataSource: PaymentEventsDataSource) =>
    (await dataSource.query<{ id: string }[]>('SELECT auth_request_id AS id FROM auth_request_state ORDER BY 1')).map(
      ({ id }) => id,
    );
  const idsOf = (restaurant: string) =>
    requests
      .filter(({ restaurantId }) => restaurantId === restaurant)
      .map(({ authRequestId }) => authRequestId)
      .toSorted();
  expect([await idsAt(pair.source), await idsAt(pair.target)]).toEqual([idsOf(stays), idsOf(moves)]);
  for (const { authRequestId, restaurantId, idempotencyKey, paymentToken, amountCents, currency } of requests) {
    const command = { restaurantId, idempotencyKey, paymentToken, amountCents, currency };
    const replayed = new AuthRequests(restaurantId === moves ? pair.target : pair.source).authorize(command);
    expect(await replayed).toMatchObject({ authRequestId, replayed: true });
  }
});

describe('where it is not so simple', () => {
  let servers: ReplicatedServers;
  let clone: SplitPair;

  beforeAll(async () => {
    servers = await ReplicatedServers.start({ wal_level: 'logical', fsync: 'off' });
    await createTemplateDatabase(servers.primary.url, 'clone');
    const { name, url } = await createTestDatabase(servers.primary.url, { template: 'clone' });
    const source = await quietDataSource({ url });
    await fill(source);
    await setFence(source, EVEN);
    await source.destroy();
    await servers.setSynchronous(false);
    await servers.promote();
    clone = await SplitPair.of({ source: url, target: databaseUrl(servers.standby.url, name) });
  }, 120_000);
  afterAll(async () => {
    await clone?.end();
    await servers?.remove();
  });

  test('what is no clone, or of another number, is refused before anything is changed', async () => {
    const empty = await createTestDatabase(servers.primary.url, { template: 'clone' });
    const other = await SplitPair.of({ source: clone.urls.source, target: empty.url });
    expect(await refusalOf(other.split.takeClone())).toMatch('no clone of the server of the source');
    await other.end();
    expect(await refusalOf(clone.splitWith({ number: 0 }).takeClone())).toMatch('Number 0 is too small');
    await clone.source.query(FENCED_TABLES.map(dropFence).join('; '));
    const refused = await refusalOf(clone.split.takeClone());
    expect(refused).toMatch('must refuse what moves before the clone is promoted');
    await setFence(clone.source, EVEN);
    expect(await refusalOf(clone.split.cleanUp(clone.newMap))).toMatch('cut-over comes first');
    expect(await clone.target.query('SELECT FROM outbox')).toHaveLength(8);
  });

  test('a clone that has taken over is undone as any target', async () => {
    const before = (await clone.rows()).source;
    await clone.split.takeClone();
    expect((await clone.split.status()).next).toBe('switch');
    expect((await clone.rows()).source).not.toEqual(before);
    await clone.split.undo(clone.oldMap);
    expect((await clone.rows()).source).toEqual(before);
    await requestIn(clone.source, 'AUTHORIZED', { restaurantId: moves });
    const late = requestIn(clone.target, 'AUTHORIZED', { restaurantId: moves });
    await expect(late).rejects.toBeInstanceOf(WrongShardError);
    expect((await clone.rows()).source.auth_request_state).toHaveLength(4);
  });
});
