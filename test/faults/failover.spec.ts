import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { Client } from 'pg';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { RestaurantPaymentConfig } from '../../src/entities/restaurant-payment-config.entity';
import { DatabaseUnavailableError } from '../../src/errors';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { createTestDatabase } from '../../src/testing';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { Callers } from '../support/requests/callers';
import { Load } from '../support/requests/load';
import { Proxy } from '../support/database/proxy';
import { quietDataSource } from '../support/database/quiet-data-source';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { ReplicatedServers } from '../support/database/replicated-servers';
import { failureOf, within } from '../support/processes/within';

const LIMIT_MS = 60_000;
const POOL_SIZE = 6;

let servers: ReplicatedServers;
let databaseName: string;
let proxy: Proxy;
const dataSources: PaymentEventsDataSource[] = [];

/** The database on one of the servers. */
function on(server: { url: string }): string {
  const url = new URL(server.url);
  url.pathname = `/${databaseName}`;
  return url.href;
}

async function aDataSource(poolSize = POOL_SIZE): Promise<PaymentEventsDataSource> {
  const dataSource = await quietDataSource({ url: proxy.url, poolSize });
  dataSources.push(dataSource);
  return dataSource;
}

async function query<Row>(sql: string, params?: unknown[]): Promise<Row[]> {
  const client = new Client({ connectionString: on(servers.standby) });
  await client.connect();
  try {
    return (await client.query(sql, params)).rows as Row[];
  } finally {
    await client.end();
  }
}

const authorizeMany = (dataSource: DataSource, many: number) =>
  Promise.allSettled(Array.from({ length: many }, () => new AuthRequests(dataSource).authorize(anAuthorizeCommand())));

/** Fills the pool with connections to whatever the proxy leads to. */
async function connectAll(dataSource: DataSource): Promise<void> {
  await Promise.all(Array.from({ length: POOL_SIZE }, () => dataSource.query('SELECT pg_sleep(0.1)')));
}

beforeAll(async () => {
  servers = await ReplicatedServers.start();
  const { url } = await createTestDatabase(servers.primary.url);
  databaseName = new URL(url).pathname.slice(1);
  const owner = await quietDataSource({ url });
  await owner.runMigrations();
  await owner.destroy();
  proxy = await Proxy.start(url);
}, 120_000);

afterAll(async () => {
  for (const dataSource of dataSources) await dataSource.destroy();
  await proxy?.close();
  await servers?.remove();
});

describe('connections to a server that takes no writes', () => {
  async function leadingToStandby(): Promise<PaymentEventsDataSource> {
    proxy.repoint(on(servers.standby));
    const dataSource = await aDataSource();
    await connectAll(dataSource);
    return dataSource;
  }

  it.each<[string, (dataSource: DataSource) => Promise<unknown>]>([
    ['an operation', (dataSource) => new AuthRequests(dataSource).authorize(anAuthorizeCommand())],
    [
      'an operation in a transaction of the caller',
      (dataSource) =>
        dataSource.transaction((manager) => new AuthRequests(dataSource).authorize(anAuthorizeCommand(), manager)),
    ],
    [
      'a transaction of an entity repository',
      (dataSource) =>
        dataSource.transaction((manager) =>
          manager.getRepository(RestaurantPaymentConfig).delete({ restaurantId: RESTAURANT }),
        ),
    ],
    ['a turn of the relay', (dataSource) => new OutboxRelay(dataSource, new RecordingPublisher()).runOnce()],
  ])('are left at once, idle ones as well, when %s meets one', async (_what, write) => {
    const dataSource = await leadingToStandby();
    proxy.repoint(on(servers.primary));
    const failure = await failureOf(write(dataSource));
    expect(failure).toEqual(new DatabaseUnavailableError('25006'));
    expect(failure).toMatchObject({ retryable: true });
    const all = await authorizeMany(dataSource, 3 * POOL_SIZE);
    expect(all.filter(({ status }) => status === 'rejected')).toEqual([]);
  });

  it('are left when they are given back, where they were in use', async () => {
    const dataSource = await leadingToStandby();
    let finish = () => {};
    const finished = new Promise<void>((resolve) => (finish = resolve));
    let reading = 0;
    const readers = Array.from({ length: POOL_SIZE - 1 }, () =>
      dataSource.transaction(async (manager) => {
        await manager.query('SELECT 1');
        reading++;
        await finished;
        await manager.query('SELECT 1');
      }),
    );
    while (reading < POOL_SIZE - 1) await delay(5);
    // The one that is left is the youngest or not: whoever is older than it goes.
    const read = () => dataSource.query<{ standby: boolean }[]>('SELECT pg_is_in_recovery() AS standby');
    proxy.repoint(on(servers.primary));
    for (let call = 0; call < POOL_SIZE; call++) await authorizeMany(dataSource, 1);
    finish();
    await Promise.all(readers);
    await authorizeMany(dataSource, 3 * POOL_SIZE);
    await authorizeMany(dataSource, 3 * POOL_SIZE);
    const where = await Promise.all(Array.from({ length: 3 * POOL_SIZE }, read));
    expect(where.flat().filter(({ standby }) => standby)).toEqual([]);
  });

  it('still serve what only reads', async () => {
    const dataSource = await leadingToStandby();
    expect(await new Outbox(dataSource).stats()).toMatchObject({ failed: 0 });
    proxy.repoint(on(servers.primary));
  });
});

it('a failover under load loses nothing that was confirmed, and workers, API and relay go on by themselves', async () => {
  const [api, relaying] = [await aDataSource(), await aDataSource(3)];
  const publisher = new RecordingPublisher();
  let down = 0;
  let up = 0;
  const hooks = { unavailable: () => void down++, recovered: () => void up++ };
  const relay = new OutboxRelay(relaying, publisher, { maxReconnectDelayMs: 500, hooks });
  relay.start();
  const load = new Load(api, POOL_SIZE);
  // Enough for their calls to travel together.
  const callers = new Callers(api, 60);
  await within(LIMIT_MS, 'the load', load.progress(200));
  await within(LIMIT_MS, 'the callers', callers.progress(200));

  // The address moves to the standby before it is promoted, as it does where nobody waits for anybody.
  await servers.primary.kill();
  proxy.repoint(on(servers.standby));
  const isReadOnly = (failure: unknown) => (failure as DatabaseUnavailableError).reason === '25006';
  const refused = (async () => {
    while (!load.failures.some(isReadOnly)) await delay(20);
  })();
  await within(LIMIT_MS, 'a refusal by the standby', refused);
  await servers.promote();

  await within(LIMIT_MS, 'the load', load.progress(300));
  await within(LIMIT_MS, 'the callers', callers.progress(300));
  await Promise.all([load.stop(), callers.stop()]);
  await callers.expectKept(query);
  expect(
    [...load.failures, ...callers.failures].filter((failure) => !(failure instanceof DatabaseUnavailableError)),
  ).toEqual([]);
  await load.expectKept(query);
  await expectNothingHalfDone(query, api);
  const emptied = (async () => {
    while ((await new Outbox(api).stats()).pending > 0) await delay(20);
  })();
  await within(LIMIT_MS, 'the relay', emptied);
  await relay.stop();
  expect([down > 0, up > 0]).toEqual([true, true]);
  const sent = new Set(publisher.published.map(({ aggregateId }) => aggregateId));
  const asked = await query<{ id: string }>('SELECT DISTINCT aggregate_id AS id FROM outbox');
  expect(asked.map(({ id }) => id).filter((id) => !sent.has(id))).toEqual([]);
}, 240_000);
