import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError } from '../../src/errors';
import { ReplicaReads, type ReplicaReadsOptions } from '../../src/replica-reads/replica-reads';
import { createTestDatabase } from '../../src/testing';
import { withClient } from '../../src/testing/with-client';
import { Proxy } from '../support/database/proxy';
import { closedDataSource, quietDataSource } from '../support/database/quiet-data-source';
import { ReplicatedServers } from '../support/database/replicated-servers';
import { codeBlocks, DocProject, promisedOutput } from '../support/docs/doc-code';
import { failureOf, within } from '../support/processes/within';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { Restaurants } from '../support/requests/restaurants-that-read';

const LIMIT_MS = 120_000;
const DELAY = '50ms';
const READS = 10_000;

let servers: ReplicatedServers;
let databaseName: string;
/** The address of the primary, which moves at a failover. */
let proxy: Proxy;
let primary: PaymentEventsDataSource;
let replica: PaymentEventsDataSource;
/** Waits for the replica as long as it takes, as far as a test is concerned. */
let patient: ReplicaReads;
/** Waits for less than the replica is behind. */
let impatient: ReplicaReads;
/** Waits for less than a test has the replica stand still. */
let quick: ReplicaReads;
const closing: (() => Promise<unknown>)[] = [];

function at(server: { url: string }, name = databaseName): string {
  const url = new URL(server.url);
  url.pathname = `/${name}`;
  return url.href;
}

/** Not open: the first read opens it. */
const aReplica = (url: string) => closedDataSource({ url, poolSize: 6, connectTimeoutMs: 1_000 });

function readsOf(options: ReplicaReadsOptions, from = aReplica(at(servers.standby))): ReplicaReads {
  const reads = new ReplicaReads(primary, from, options);
  closing.push(() => reads.destroy());
  return reads;
}

/** Has the standby replay nothing while something is done. */
async function whilePaused<T>(work: () => Promise<T>): Promise<T> {
  return await withClient(servers.standby.url, async (client) => {
    await client.query('SELECT pg_wal_replay_pause()');
    try {
      return await work();
    } finally {
      await client.query('SELECT pg_wal_replay_resume()');
    }
  });
}

/** Waits until the standby shows what has been written so far. */
async function untilReplayed(): Promise<void> {
  const written = 'SELECT pg_current_wal_insert_lsn() AS lsn';
  const { rows } = await withClient(at(servers.primary), (client) => client.query<{ lsn: string }>(written));
  const replayed = 'SELECT WHERE pg_last_wal_replay_lsn() >= $1';
  const waiting = withClient(servers.standby.url, async (client) => {
    while (!(await client.query(replayed, [rows[0]!.lsn])).rowCount) await delay(20);
  });
  await within(LIMIT_MS, 'the standby', waiting);
}

/** Waits until the replica serves reads, which for a second after a failure it does not. */
async function untilServedBy(reads: ReplicaReads): Promise<void> {
  const { authRequestId } = await accept();
  const served = async () => {
    while ((await reads.get({ restaurantId: RESTAURANT, authRequestId }))?.from !== 'replica') await delay(20);
  };
  await within(LIMIT_MS, 'the replica', served());
}

const accept = () => new AuthRequests(primary).authorize(anAuthorizeCommand());

beforeAll(async () => {
  servers = await ReplicatedServers.start();
  await servers.setSynchronous(false);
  const { url } = await createTestDatabase(servers.primary.url);
  databaseName = new URL(url).pathname.slice(1);
  proxy = await Proxy.start(url);
  primary = await quietDataSource({ url: proxy.url, poolSize: 20 });
  closing.push(
    () => proxy.close(),
    () => primary.destroy(),
  );
  await primary.runMigrations();
  await withClient(servers.standby.url, async (client) => {
    await client.query(`ALTER SYSTEM SET recovery_min_apply_delay = '${DELAY}'`);
    await client.query('SELECT pg_reload_conf()');
  });
  await untilReplayed();
  replica = await quietDataSource({ url: at(servers.standby), poolSize: 6 });
  closing.push(() => replica.destroy());
  patient = readsOf({ withinMs: 60_000, pollMs: 20 });
  impatient = readsOf({ withinMs: 20, pollMs: 5 });
  quick = readsOf({ withinMs: 500 });
  // What takes too long the first time is opening them.
  for (const reads of [impatient, quick]) await untilServedBy(reads);
}, 120_000);

afterAll(async () => {
  for (const close of closing.reverse()) await close();
  await servers?.remove();
});

test(`of ${READS} reads of requests and pages from a replica that is ${DELAY} behind none is older than its caller has seen`, async () => {
  const restaurants = new Restaurants({ primary, replica, patient, impatient });
  const { tally } = restaurants;
  await restaurants.until(`${READS} reads`, () => tally.reads >= READS);
  await restaurants.stop();
  expect(tally.wrong).toEqual([]);
  expect(tally.unavailable).toBe(0);
  // The replica did serve, the primary stepped in, and without the numbers there would have been stale answers.
  expect(Math.min(tally.replica, tally.primary, tally.staleWithout)).toBeGreaterThan(100);
}, 300_000);

describe('a replica that cannot tell', () => {
  test('has the primary answer, as it is, where nobody has ever told the number that is asked for', async () => {
    const { authRequestId } = await accept();
    await untilReplayed();
    const ref = { restaurantId: RESTAURANT, authRequestId };
    const found = await quick.get(ref, { atLeast: 7 });
    expect(found).toMatchObject({ status: 'PENDING', lastEventSequence: 1, from: 'primary' });
    const page = await quick.list({ restaurantId: RESTAURANT }, { atLeast: { authRequestId, lastEventSequence: 7 } });
    expect(page).toMatchObject({
      from: 'primary',
      requests: expect.arrayContaining([expect.objectContaining(ref)]) as object,
    });
  });

  test("shows no request of another restaurant's, nor takes it for one that was seen", async () => {
    const { authRequestId, lastEventSequence } = await accept();
    await untilReplayed();
    const other = { restaurantId: uuidv4(), authRequestId };
    expect(await quick.get(other)).toBeNull();
    expect(await quick.get(other, { atLeast: lastEventSequence })).toBeNull();
    const page = await quick.list(other, { atLeast: { authRequestId, lastEventSequence } });
    expect(page).toEqual({ requests: [], next: undefined, from: 'primary' });
  });

  test('calls no request missing that the primary has, also where nothing was seen', async () => {
    await whilePaused(async () => {
      const { authRequestId } = await accept();
      const found = await patient.get({ restaurantId: RESTAURANT, authRequestId });
      expect(found).toMatchObject({ authRequestId, from: 'primary' });
    });
  });

  test('skips nothing between a page of the primary and the one after it', async () => {
    const restaurantId = uuidv4();
    const requests = new AuthRequests(primary);
    const first = await requests.authorize(anAuthorizeCommand({ restaurantId }));
    expect(await patient.get({ restaurantId, ...first }, { atLeast: 1 })).toMatchObject({ from: 'replica' });
    await whilePaused(async () => {
      const ids = [first.authRequestId];
      for (let n = 0; n < 5; n++) {
        ids.unshift((await requests.authorize(anAuthorizeCommand({ restaurantId }))).authRequestId);
      }
      const page = await requests.list({ restaurantId, limit: 2 });
      const next = await quick.list({ restaurantId, limit: 10, after: page.next });
      expect(next.from).toBe('primary');
      expect([...page.requests, ...next.requests].map(({ authRequestId }) => authRequestId)).toEqual(ids);
    });
  });

  test('is waited for no longer than it was said, and serves again when it has caught up', async () => {
    const receipt = await accept();
    const ref = { restaurantId: RESTAURANT, authRequestId: receipt.authRequestId };
    await untilReplayed();
    const voided = await whilePaused(async () => {
      const command = { ...ref, idempotencyKey: uuidv4(), reason: 'left' };
      const told = await new AuthRequests(primary).requestVoid(command);
      const options = { atLeast: told.lastEventSequence };
      expect(await quick.get(ref, options)).toMatchObject({ status: 'VOIDED', from: 'primary' });
      // What was seen before is good enough for who has seen no more.
      expect(await patient.get(ref, { atLeast: 1 })).toMatchObject({ status: 'PENDING', from: 'replica' });
      return told;
    });
    const again = await patient.get(ref, { atLeast: voided.lastEventSequence });
    expect(again).toMatchObject({ status: 'VOIDED', from: 'replica' });
  });

  test('is not asked for what it has no tables for yet', async () => {
    const { url, name } = await createTestDatabase(servers.primary.url);
    await untilReplayed();
    await whilePaused(async () => {
      const migrated = await quietDataSource({ url });
      await migrated.runMigrations();
      const { authRequestId } = await new AuthRequests(migrated).authorize(anAuthorizeCommand());
      const reads = new ReplicaReads(migrated, aReplica(at(servers.standby, name)), { withinMs: 10_000 });
      const found = await reads.get({ restaurantId: RESTAURANT, authRequestId }, { atLeast: 1 });
      expect(found).toMatchObject({ from: 'primary' });
      await Promise.all([reads.destroy(), migrated.destroy()]);
    });
  });

  test('that has never been there is opened when it comes, and none is asked after destroy', async () => {
    const road = await Proxy.start(at(servers.standby));
    const nowhere = await Proxy.start(at(servers.standby));
    road.repoint(nowhere.url);
    await nowhere.close();
    const reads = new ReplicaReads(primary, aReplica(road.url), { withinMs: 10_000 });
    const receipt = await accept();
    const ref = { restaurantId: RESTAURANT, authRequestId: receipt.authRequestId };
    expect(await reads.get(ref, { atLeast: 1 })).toMatchObject({ from: 'primary' });
    road.repoint(at(servers.standby));
    const served = async () => {
      while ((await reads.get(ref, { atLeast: 1 }))?.from !== 'replica') await delay(50);
    };
    await within(LIMIT_MS, 'the replica', served());
    await reads.destroy();
    expect(await reads.get(ref, { atLeast: 1 })).toMatchObject({ from: 'primary' });
    await road.close();
  });

  test('that is closed while it is waited for is not opened again', async () => {
    const receipt = await accept();
    const ref = { restaurantId: RESTAURANT, authRequestId: receipt.authRequestId };
    const dataSource = aReplica(at(servers.standby));
    const reads = new ReplicaReads(primary, dataSource, { pollMs: 300, withinMs: 10_000 });
    await untilReplayed();
    expect(await reads.get(ref, { atLeast: 1 })).toMatchObject({ from: 'replica' });
    const waiting = reads.get(ref, { atLeast: 1_000 });
    await delay(100);
    await reads.destroy();
    expect(await waiting).toMatchObject({ from: 'primary' });
    expect(dataSource.isInitialized).toBe(false);
  });

  test('that swallows what it is asked leaves it to the primary', async () => {
    const road = await Proxy.start(at(servers.standby));
    const reads = readsOf({ withinMs: 1_000 }, aReplica(road.url));
    closing.push(() => road.close());
    const receipt = await accept();
    const ref = { restaurantId: RESTAURANT, authRequestId: receipt.authRequestId };
    await untilReplayed();
    await within(
      LIMIT_MS,
      'the replica',
      (async () => {
        while ((await reads.get(ref))?.from !== 'replica') await delay(50);
      })(),
    );
    road.swallow = 'answers';
    const answers = await within(
      LIMIT_MS,
      'the primary',
      Promise.all(Array.from({ length: 50 }, () => reads.get(ref))),
    );
    expect(answers.map((answer) => answer?.from)).toEqual(Array(50).fill('primary'));
  });
});

describe('read from replicas', () => {
  const code = codeBlocks('docs/how-to/read-from-replicas.md', 'ts');
  const project = new DocProject({ page: code });
  afterAll(() => project.remove());

  test('runs and prints what it says', async () => {
    const env = { DATABASE_URL: at(servers.primary), REPLICA_URL: at(servers.standby) };
    expect(promisedOutput(code).length).toBeGreaterThan(0);
    expect(await project.run('page', env)).toEqual(promisedOutput(code));
  });
});

// The last, since nothing is as before afterwards.
test('no answer is older while the replica is killed and comes back, and while it becomes the primary', async () => {
  const restaurants = new Restaurants({ primary, replica, patient, impatient });
  const { tally } = restaurants;
  const goOn = async (what: string, from: 'replica' | 'primary', count = 200) => {
    const before = tally[from];
    await restaurants.until(what, () => tally[from] >= before + count);
  };
  await goOn('reads from the replica', 'replica');
  await servers.crashStandby(() => goOn('reads without the replica', 'primary'));
  await goOn('reads from the replica that has come back', 'replica');

  // From here on what is confirmed is on the standby, or a failover could lose it.
  await servers.setSynchronous(true);
  await goOn('reads from the replica', 'replica');
  const receipt = await accept();
  await untilReplayed();
  const ref = { restaurantId: RESTAURANT, authRequestId: receipt.authRequestId };
  await servers.primary.kill();
  // Without the primary the replica still serves what it has, and nothing else.
  const served = async () => {
    const ask = () => patient.get(ref, { atLeast: 1 }).catch(() => undefined);
    // Connections of before its crash may fail meanwhile, after each of which it is left alone for a second.
    for (let found = await ask(); found?.from !== 'replica'; found = await ask()) await delay(50);
  };
  await within(LIMIT_MS, 'the replica', served());
  expect(await failureOf(impatient.get(ref, { atLeast: 2 }))).toBeInstanceOf(DatabaseUnavailableError);
  proxy.repoint(at(servers.standby));
  await servers.promote();
  await goOn('reads from what was the replica', 'primary', 1_000);
  expect(await patient.get(ref, { atLeast: 1 })).toMatchObject({ from: 'primary' });
  const before = tally.replica;
  await goOn('reads from what was the replica', 'primary');
  expect(tally.replica).toBe(before);
  await restaurants.stop();
  expect(tally.wrong).toEqual([]);
  expect(tally.staleWithout).toBeGreaterThan(0);
}, 300_000);
