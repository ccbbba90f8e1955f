import { setTimeout as delay } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { Outbox, Shards, type ShardMap } from '../../../src';
import { PaymentEventsDbModule, ShardsHealth, type ShardsModuleOptions } from '../../../src/nest';
import { masterOf } from '../../../src/database/connections';
import { addFence, FENCED_TABLES } from '../../../src/fence/fence-sql';
import { GRACE_MS, MOST_LOOKS } from '../../../src/nest/shards.health';
import { RecordingPublisher } from '../../../src/testing/recording-publisher';
import { aConfig, TestKeyring } from '../../support/configs/configs';
import { Proxy } from '../../support/database/proxy';
import { useTestDatabase } from '../../support/database/use-test-database';
import { NestLog } from '../../support/nest/nest-log';
import { until } from '../../support/relay/relayed';
import { anAuthorizeCommand } from '../../support/requests/auth-requests';
import {
  aRestaurantOf,
  empty as clear,
  EVEN,
  fence,
  mapOf,
  ODD,
  ReplaceableSource,
  WHOLE,
} from '../../support/shards/shards';

const a = useTestDatabase();
const b = useTestDatabase();
const empty = useTestDatabase({ empty: true });
const keyring = new TestKeyring();
beforeAll(async () => {
  await fence(a, EVEN);
  await fence(b, ODD);
});
beforeEach(async () => {
  await clear(a);
  await clear(b);
});

/** Probes wait for every database: without it, what is slow here would be late. */
beforeEach(() => {
  const real = setTimeout;
  const changed = (run: () => void, after?: number) => real(run, after === GRACE_MS ? 2_147_483_647 : after);
  jest.spyOn(globalThis, 'setTimeout').mockImplementation(changed);
});
afterEach(() => jest.restoreAllMocks());

const start = (options: ShardsModuleOptions, logger: NestLog | false = false) =>
  NestFactory.createApplicationContext(PaymentEventsDbModule.forShards(options) as never, {
    logger,
    abortOnError: false,
  });
const both = (urlOfB = b.url): ShardMap => mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: urlOfB } });
const sourceOf = (map: ShardMap) => new ReplaceableSource(map);

class ClosingPublisher extends RecordingPublisher {
  closed = 0;
  close() {
    this.closed++;
    return Promise.resolve();
  }
}

/** Through a proxy that leads nowhere yet. */
async function awayDatabase(): Promise<{ proxy: Proxy; url: string }> {
  const proxy = await Proxy.start('postgresql://127.0.0.1:1/nowhere');
  const url = new URL(b.url);
  url.host = new URL(proxy.url).host;
  return { proxy, url: url.href };
}

test('gives Shards to inject, and closes them with the application', async () => {
  const app = await start({ shards: sourceOf(both()) });
  const shards = app.get(Shards);
  for (const shard of [EVEN, ODD]) {
    const restaurantId = aRestaurantOf(shard);
    await shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  }
  await expect(app.get(ShardsHealth).database('databases')).resolves.toEqual({
    databases: { status: 'up', shards: { a: { status: 'up' }, b: { status: 'up' } } },
  });
  await app.close();
  await expect(shards.of(aRestaurantOf(EVEN))).rejects.toMatchObject({ code: 'DATA_SOURCE_NOT_OPEN' });
});

test('takes the map and the settings of the environment where it is given none', async () => {
  const environment = { ...process.env };
  delete process.env.DATABASE_URL;
  process.env.NODE_ENV = 'production';
  process.env.PAYMENT_EVENTS_DB_SHARDS = JSON.stringify(both());
  process.env.PAYMENT_EVENTS_DB_APPLICATION_NAME = 'of the environment';
  const app = await start({});
  process.env = environment;
  const { dataSource } = await app.get(Shards).of(aRestaurantOf(ODD));
  await expect(dataSource.query(`SELECT current_setting('application_name') AS name`)).resolves.toEqual([
    { name: 'of the environment' },
  ]);
  await app.close();
});

test('starts although a database is away, stays up for the rest, and opens it when it is back', async () => {
  const { proxy, url } = await awayDatabase();
  const log = new NestLog();
  const publisher = new ClosingPublisher();
  const relay = { publishers: publisher, pollIntervalMs: 5, maxReconnectDelayMs: 5 };
  const [even, odd] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];
  const queue = async () => {
    await shards.run(even, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId: even })));
  };
  const app = await start({ shards: sourceOf(both(url)), relay }, log);
  const shards = app.get(Shards);
  expect(log.of('Shards')).toEqual([expect.stringMatching(/^warn: Shard b is away: /)]);
  const health = app.get(ShardsHealth);
  const down = { status: 'down', code: 'DATABASE_UNAVAILABLE', message: expect.any(String) as unknown };
  for (const indicator of ['database', 'migrations'] as const) {
    await expect(health[indicator]('it')).resolves.toMatchObject({
      it: { status: 'up', shards: { a: { status: 'up' }, b: down } },
    });
  }
  await queue();
  await until('the relay of the rest delivers', () => publisher.published.length === 1);
  await expect(shards.of(odd)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });

  proxy.repoint(b.url);
  await shards.run(odd, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId: odd })));
  await until('its relay begins when it is back', () => publisher.published.length === 2);
  await expect(health.database('it')).resolves.toMatchObject({ it: { status: 'up', shards: { b: { status: 'up' } } } });
  // Away again, while it is open.
  proxy.repoint('postgresql://127.0.0.1:1/nowhere');
  proxy.cut();
  for (const indicator of ['database', 'migrations', 'outbox', 'holds'] as const) {
    await expect(health[indicator]('it')).resolves.toMatchObject({ it: { status: 'up', shards: { b: down } } });
  }
  await app.close();
  expect(publisher.closed).toBe(1);
  await proxy.close();
});

test('a probe waits neither for a database that hangs nor for one that hangs while it is opened', async () => {
  jest.restoreAllMocks();
  const proxy = await Proxy.start(b.url);
  // Nothing else ends the wait: neither a statement nor a connection is given up.
  const dataSource = { statementTimeoutMs: 0, connectTimeoutMs: 2_147_483_647 };
  const source = sourceOf(both(proxy.url));
  const app = await start({ shards: source, dataSource });
  const health = app.get(ShardsHealth);
  const late = { status: 'down', code: 'DATABASE_TIMEOUT', message: 'It had not answered when others had.' };
  const answer = { it: { status: 'up', shards: { a: { status: 'up' }, b: late } } };
  const bothHang = async () => {
    for (const indicator of ['database', 'migrations'] as const) {
      await expect(health[indicator]('it')).resolves.toEqual(answer);
    }
  };
  const { dataSource: opened } = await app.get(Shards).of(aRestaurantOf(ODD));
  proxy.swallow = 'answers';
  // Nor does each probe take one more of its connections.
  for (let probe = 0; probe < MOST_LOOKS + 2; probe++) await bothHang();
  expect(masterOf(opened)!.totalCount).toBeLessThanOrEqual(2 * MOST_LOOKS);
  // Another address of the same, to which no connection is open yet.
  const another = new URL(proxy.url);
  another.searchParams.set('application_name', 'another');
  source.map = { ...both(another.href), version: 2 };
  await app.get(Shards).reload();
  await bothHang();
  proxy.swallow = 'nothing';
  proxy.cut();
  await app.close();
  await proxy.close();
});

test('a connection that the network has forgotten keeps the only database from no probe but the first', async () => {
  jest.restoreAllMocks();
  const proxy = await Proxy.start(b.url);
  // No statement is ever given up.
  const dataSource = { statementTimeoutMs: 0 };
  const app = await start({ shards: sourceOf(mapOf(1, { b: { ...WHOLE, url: proxy.url } })), dataSource });
  const health = app.get(ShardsHealth);
  const up = { it: { status: 'up', shards: { b: { status: 'up' } } } };
  let answered = 0;
  const waiting: Promise<unknown>[] = [];
  for (const indicator of ['database', 'migrations'] as const) {
    await expect(health[indicator]('it')).resolves.toEqual(up);
    proxy.forget();
    waiting.push(health[indicator]('it').then(() => answered++));
    await delay(2 * GRACE_MS);
    await expect(health[indicator]('it')).resolves.toEqual(up);
  }
  expect(answered).toBe(0);
  proxy.cut();
  await Promise.all(waiting);
  await app.close();
  await proxy.close();
});

test('is down where no database answers, and outbox and holds where one that answers is not well', async () => {
  const away = 'postgresql://postgres@127.0.0.1:1/nowhere';
  const none = await start({ shards: sourceOf(mapOf(1, { a: { ...WHOLE, url: away } })) });
  await expect(none.get(ShardsHealth).database('it')).resolves.toMatchObject({
    it: { status: 'down', shards: { a: { status: 'down' } } },
  });
  await none.close();
  const app = await start({ shards: sourceOf(both()) });
  const restaurantId = aRestaurantOf(ODD);
  await app.get(Shards).run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  await b.query('UPDATE outbox SET failed_at = now(), attempts = 1');
  await expect(app.get(ShardsHealth).outbox('it')).resolves.toMatchObject({
    it: { status: 'down', shards: { a: { status: 'up' }, b: { status: 'down', failed: 1 } } },
  });
  await expect(app.get(ShardsHealth).outbox('it', { maxFailed: 1 })).resolves.toMatchObject({ it: { status: 'up' } });
  await expect(app.get(ShardsHealth).outbox('it', { maxFailed: -1 })).rejects.toMatchObject({
    code: 'INVALID_COMMAND',
  });
  await app.close();
});

test('does not start where a database that answers lacks migrations or its fence', async () => {
  for (const [url, code] of [
    [empty.url, 'CONFIGURATION'],
    [b.url.replace(b.name, a.name), 'CONFIGURATION'],
  ] as const) {
    const error: unknown = await start({ shards: sourceOf(both(url)) }).then(
      (app) => app.close(),
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code });
  }
  for (const table of FENCED_TABLES) {
    await empty.query(`CREATE TABLE ${table} (restaurant_id uuid)`);
    await empty.query(addFence(table, ODD));
  }
  await expect(start({ shards: sourceOf(both(empty.url)) })).rejects.toMatchObject({ code: 'PENDING_MIGRATIONS' });
});

test('what is wrong with an option is told before any database is opened', async () => {
  await expect(start({ shards: {} as never })).rejects.toThrow(/ShardsModuleOptions: shards must be a source/);
  await expect(start({ shards: sourceOf(both()), relay: {} as never })).rejects.toMatchObject({
    code: 'CONFIGURATION',
  });
  await expect(start({ shards: sourceOf(both()), sweeper: { maxSweeps: -1 } })).rejects.toThrow(/maxSweeps/);
  await expect(start({ shards: sourceOf(both()), dataSource: { poolSize: 0 } })).rejects.toThrow(/poolSize/);
  const source = sourceOf(both());
  await expect(start({ shards: source, configs: { keys: {} as never } })).rejects.toMatchObject({
    code: 'CONFIGURATION',
    message: expect.stringContaining('keys must be') as string,
  });
  expect(source.loads).toBe(0);
});

test('each database of Shards has configs where the module has the keys', async () => {
  const app = await start({ shards: sourceOf(both()), configs: { keys: await keyring.keys() } });
  const restaurantId = aRestaurantOf(ODD);
  const content = aConfig();
  const config = await app.get(Shards).run(restaurantId, async ({ configs }) => {
    await configs!.activate(restaurantId, content, { by: 'kim' });
    return await configs!.getActive(restaurantId);
  });
  expect(config!.secrets.api_key!.reveal()).toBe(content.secrets!.api_key);
  expect(await b.query('SELECT FROM restaurant_payment_configs')).toHaveLength(1);
  await app.close();
});

test('each database has its relay and its sweeper, those of a new map too; those of one that left end', async () => {
  const log = new NestLog();
  const publisher = new ClosingPublisher();
  const swept = jest.fn();
  const source = sourceOf(mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } }));
  const app = await start(
    {
      shards: source,
      dataSource: { reloadEveryMs: 1 },
      relay: { publishers: publisher, pollIntervalMs: 5 },
      sweeper: { hooks: { swept } },
    },
    log,
  );
  const shards = app.get(Shards);
  for (const shard of [EVEN, ODD]) {
    const restaurantId = aRestaurantOf(shard);
    await shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  }
  await until('both deliver', () => publisher.published.length === 2);
  await until('both sweep', () => swept.mock.calls.length === 2);
  const { dataSource: left } = await shards.of(aRestaurantOf(EVEN));
  // The first database is renamed, and the map has one address of it more.
  const moved = new URL(a.url);
  moved.searchParams.set('application_name', 'moved');
  source.map = mapOf(2, { c: { ...EVEN, url: moved.href }, b: { ...ODD, url: b.url } });
  await until('the DataSource that left is closed', () => !left.isInitialized);
  const restaurantId = aRestaurantOf(EVEN);
  await shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  await until('the new one delivers', () => publisher.published.length === 3);
  await app.close();
  expect(publisher.closed).toBe(1);
  // It was told to end, and did not look for its database any more.
  expect(log.of('OutboxRelay of a')).toEqual([]);
  await expect(new Outbox(await a.dataSource()).stats()).resolves.toMatchObject({ pending: 0 });
});

test('a database that hangs and is given another address has its relay there, without the end of that at the old one', async () => {
  const proxy = await Proxy.start(b.url);
  const publisher = new ClosingPublisher();
  const source = sourceOf(both(proxy.url));
  const app = await start({
    shards: source,
    // No statement is ever given up.
    dataSource: { reloadEveryMs: 1, statementTimeoutMs: 0 },
    relay: { publishers: publisher, pollIntervalMs: 5 },
  });
  const restaurantId = aRestaurantOf(ODD);
  const authorize = () =>
    app.get(Shards).run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  await authorize();
  await until('it delivers', () => publisher.published.length === 1);
  proxy.swallow = 'answers';
  source.map = { ...both(), version: 2 };
  await until('the map is loaded', () => app.get(Shards).map.version === 2);
  await authorize();
  await until('it delivers at the new address', () => publisher.published.length === 2);
  expect(publisher.closed).toBe(0);
  proxy.cut();
  await app.close();
  expect(publisher.closed).toBe(1);
  await proxy.close();
});

test('a look that goes wrong is logged, and ends neither the process nor the work at the databases', async () => {
  const log = new NestLog();
  const publisher = new ClosingPublisher();
  const app = await start({ shards: sourceOf(both()), relay: { publishers: publisher, pollIntervalMs: 5 } }, log);
  const shards = app.get(Shards);
  const each = shards.each.bind(shards);
  let looks = 0;
  shards.each = () => Promise.reject(new RangeError(`look ${++looks}`));
  await until('the databases are looked at again', () => looks > 0);
  await until('it is told', () => log.of('Shards').length > 0);
  expect(log.of('Shards')[0]).toBe('error: The databases could not be looked at: RangeError');
  shards.each = each;
  const restaurantId = aRestaurantOf(ODD);
  await shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  await until('the relay delivers', () => publisher.published.length === 1);
  await app.close();
});
