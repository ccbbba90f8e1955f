import { inspect } from 'node:util';
import { Inject, Injectable, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken, getRepositoryToken, InjectRepository } from '@nestjs/typeorm';
import { DataSource, type Repository } from 'typeorm';
import * as api from '../../../src';
import {
  AuthRequests,
  BUILT_IN_PROCESSORS,
  entities,
  OutboxRelay,
  PaymentEventsDataSource,
  type PaymentEventsDbError,
  PaymentProcessor,
  RestaurantPaymentConfig,
  RestaurantPaymentConfigs,
  Sweeper,
} from '../../../src';
import {
  PaymentEventsDbHealth,
  PaymentEventsDbModule,
  type PaymentEventsDbModuleAsyncOptions,
  type PaymentEventsDbModuleOptions,
} from '../../../src/nest';
import { TestKeyring } from '../../support/configs/configs';
import { until } from '../../support/relay/relayed';
import { NestLog } from '../../support/nest/nest-log';
import { RESTAURANT } from '../../support/requests/auth-requests';
import { Proxy } from '../../support/database/proxy';
import { useTestDatabase } from '../../support/database/use-test-database';

const database = useTestDatabase();
const keyring = new TestKeyring();
const start = (module: object, logger: NestLog | false = false) =>
  NestFactory.createApplicationContext(module as never, { logger, abortOnError: false });
const settings = (more: PaymentEventsDbModuleOptions = {}) => ({ dataSource: { url: database.url }, ...more });

/** What was thrown, and what the log says. A connection that stayed open fails the file. */
async function failedStart(options: PaymentEventsDbModuleOptions, log = new NestLog()) {
  const error = await start(PaymentEventsDbModule.forRoot(options), log).then(
    (app) => app.close(),
    (thrown: PaymentEventsDbError) => thrown,
  );
  return { error: error as PaymentEventsDbError, log };
}

describe('a module with its options', () => {
  test('gives to inject: our DataSource, all that is made of it, and a repository of each entity', async () => {
    const app = await start(PaymentEventsDbModule.forRoot(settings()));
    expect(app.get(DataSource)).toBeInstanceOf(PaymentEventsDataSource);
    expect(app.get(PaymentEventsDataSource)).toBe(app.get(DataSource));
    const operations = (Object.values(api) as unknown[]).filter(isOfDataSource);
    expect(operations.length).toBeGreaterThan(6);
    for (const Operation of [...operations, PaymentEventsDbHealth]) {
      expect(app.get<object>(Operation)).toBeInstanceOf(Operation);
    }
    for (const entity of entities) {
      const rows = entity === PaymentProcessor ? BUILT_IN_PROCESSORS.length : 0;
      expect(await app.get<Repository<object>>(getRepositoryToken(entity)).count()).toBe(rows);
    }
    expect([app.get(OutboxRelay), app.get(Sweeper)]).toEqual([undefined, undefined]);
    await app.close();
  });

  test('takes the environment where it has none', async () => {
    const before = process.env.DATABASE_URL;
    process.env.DATABASE_URL = database.url;
    const app = await start(PaymentEventsDbModule.forRoot());
    if (before === undefined) delete process.env.DATABASE_URL;
    else process.env.DATABASE_URL = before;
    expect(await app.get(AuthRequests).list({ restaurantId: RESTAURANT })).toMatchObject({ requests: [] });
    await app.close();
  });

  test('takes the database by its parts, and asks for the password again where that has failed', async () => {
    const { hostname, port, username, password } = new URL(database.url);
    const failed: () => string = () => {
      throw new Error('hunter2');
    };
    const asked = jest.fn(() => decodeURIComponent(password)).mockImplementationOnce(failed);
    const parts = { host: hostname, port: Number(port), database: database.name, user: username };
    const log = new NestLog();
    const options = { dataSource: { ...parts, password: asked }, connectAttempts: 2, connectRetryDelayMs: 0 };
    const app = await start(PaymentEventsDbModule.forRoot(options), log);
    expect(await app.get(AuthRequests).list({ restaurantId: RESTAURANT })).toMatchObject({ requests: [] });
    expect(asked).toHaveBeenCalledTimes(2);
    expect(inspect(log, { depth: 10 })).toContain('The function that gives the password has failed (Error)');
    expect(inspect(log, { depth: 10 })).not.toContain('hunter2');
    await app.close();
  });

  test('gives RestaurantPaymentConfigs where it has the keys, and tells what is wrong with these before it connects', async () => {
    const without = await start(PaymentEventsDbModule.forRoot(settings()));
    expect(without.get(RestaurantPaymentConfigs)).toBeUndefined();
    await without.close();
    const configs = { keys: await keyring.keys(), cacheTtlMs: 1_000 };
    const app = await start(PaymentEventsDbModule.forRoot(settings({ configs })));
    expect(await app.get(RestaurantPaymentConfigs).getActive(RESTAURANT)).toBeNull();
    await app.close();
    const { error } = await failedStart(settings({ configs: { keys: {} as never } }));
    expect(error).toMatchObject({ code: 'CONFIGURATION', message: expect.stringContaining('keys must be') as string });
  });

  test('asks its factory once, with what that injects', async () => {
    @Module({ providers: [{ provide: 'url', useFactory: () => database.url }], exports: ['url'] })
    class UrlModule {}
    const useFactory = jest.fn((url: string) => Promise.resolve({ dataSource: { url } }));
    const options: PaymentEventsDbModuleAsyncOptions = { imports: [UrlModule], inject: ['url'], useFactory };
    const app = await start(PaymentEventsDbModule.forRootAsync(options));
    expect(useFactory.mock.calls).toEqual([[database.url]]);
    expect(app.get(DataSource).isInitialized).toBe(true);
    await app.close();
  });
});

describe('where it is not said otherwise, it is for every module', () => {
  @Injectable()
  class Payments {
    constructor(
      @Inject(AuthRequests) readonly requests: AuthRequests,
      @InjectRepository(RestaurantPaymentConfig) readonly configs: Repository<RestaurantPaymentConfig>,
    ) {}
  }
  @Module({ providers: [Payments] })
  class PaymentsModule {}

  test('a module need not import it', async () => {
    @Module({ imports: [PaymentEventsDbModule.forRoot(settings()), PaymentsModule] })
    class AppModule {}
    const app = await start(AppModule);
    expect(app.get(Payments).requests).toBe(app.get(AuthRequests));
    expect(await app.get(Payments).configs.count()).toBe(0);
    await app.close();
  });

  test('with isGlobal: false one that does not import it cannot inject it', async () => {
    // Its options never come, so that nothing is opened which a start that fails would leave open.
    const useFactory = () => new Promise<never>(() => undefined);
    @Module({ imports: [PaymentEventsDbModule.forRootAsync({ useFactory, isGlobal: false }), PaymentsModule] })
    class AppModule {}
    await expect(start(AppModule)).rejects.toThrow("Nest can't resolve dependencies of the Payments");
  });
});

describe('two databases in one application', () => {
  const other = useTestDatabase();

  test('have a name each, and a module has the operations of the one that it imports', async () => {
    const [first, second] = [database.url, other.url].map((url, index) =>
      PaymentEventsDbModule.forRoot({ dataSource: { url }, dataSourceName: `shard${index}`, isGlobal: false }),
    );
    @Injectable()
    class Shard {
      constructor(@Inject(PaymentEventsDataSource) readonly dataSource: PaymentEventsDataSource) {}
    }
    @Module({ imports: [first!], providers: [{ provide: 'first', useClass: Shard }] })
    class First {}
    @Module({ imports: [second!], providers: [{ provide: 'second', useClass: Shard }] })
    class Second {}
    @Module({ imports: [First, Second] })
    class AppModule {}
    const app = await start(AppModule);
    const shards = ['first', 'second'].map((name) => app.get<Shard>(name).dataSource);
    expect(['shard0', 'shard1'].map((name) => app.get<DataSource>(getDataSourceToken(name) as string))).toEqual(shards);
    const names = await Promise.all(
      shards.map((shard) => shard.query<{ name: string }[]>('SELECT current_database() AS name')),
    );
    expect(names.flat().map(({ name }) => name)).toEqual([database.name, other.name]);
    expect(await app.get<Repository<object>>(getRepositoryToken(RestaurantPaymentConfig, 'shard1')).count()).toBe(0);
    await app.close();
    expect(shards.map(({ isInitialized }) => isInitialized)).toEqual([false, false]);
  });
});

describe('a start that cannot succeed', () => {
  const empty = useTestDatabase({ empty: true });

  test('ends at once where migrations are pending, names them, and runs none', async () => {
    const { error, log } = await failedStart({ dataSource: { url: empty.url } });
    expect(error).toMatchObject({ code: 'PENDING_MIGRATIONS' });
    expect(error.message).toContain('npx payment-events-db migrate');
    expect(log.of('TypeOrmModule')).toEqual([]);
    expect(await empty.query(`SELECT FROM pg_tables WHERE schemaname = 'public'`)).toEqual([]);
  });

  test('ends at once where one is half applied', async () => {
    await database.query(`UPDATE payment_events_db_migrations SET begun = jsonb_build_object(
      'name', (SELECT name FROM payment_events_db_migrations ORDER BY id DESC LIMIT 1), 'direction', 'down',
      'at', now(), 'by', 'jo', 'version', '1') WHERE id = (SELECT min(id) FROM payment_events_db_migrations)`);
    const { error } = await failedStart(settings());
    await database.query('UPDATE payment_events_db_migrations SET begun = NULL');
    expect(error).toMatchObject({ code: 'HALF_APPLIED' });
  });

  test.each([
    ['a database that is not there', { name: 'nowhere' }, /3D000.*does not exist/],
    ['a schema that is not there', { schema: 'elsewhere' }, /elsewhere/],
  ])('ends at once with %s, and says what to do', async (_what, { name, schema }: Place, message) => {
    const url = database.url.replace(database.name, name ?? database.name);
    const { error, log } = await failedStart({ dataSource: { url, schema } });
    expect(error.message).toMatch(message);
    expect(log.of('TypeOrmModule')).toEqual([]);
  });
  interface Place {
    name?: string;
    schema?: string;
  }

  test.each<[string, PaymentEventsDbModuleOptions]>([
    ['url', { dataSource: { url: 'x' } }],
    ['publishers', { relay: { publishers: undefined as never } }],
    ['batchSize', { relay: { publishers: { publish: () => Promise.resolve([]) }, batchSize: 0 } }],
    ['hooks', { relay: { publishers: { publish: () => Promise.resolve([]) }, hooks: { faild: () => 1 } as object } }],
    ['perMinute', { sweeper: { perMinute: -1 } }],
    ['connectAttempts', { connectAttempts: 0 }],
    ['conectAttempts', { conectAttempts: 1 } as object],
  ])('ends before it connects where %s is wrong', async (name, options) => {
    const { error } = await failedStart({ dataSource: { url: database.url }, ...options });
    expect(error).toMatchObject({ code: 'CONFIGURATION' });
    expect(error.message).toContain(`: ${name} `);
  });
});

describe('what may pass by itself', () => {
  test('is tried again, as often as is said, and told in the log without a password', async () => {
    const url = 'postgresql://jo:s3cret@127.0.0.1:1/payments';
    const options = { dataSource: { url }, connectAttempts: 3, connectRetryDelayMs: 1 };
    const { error, log } = await failedStart(options);
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', reason: 'ECONNREFUSED' });
    expect(log.of('TypeOrmModule')).toHaveLength(3);
    expect(JSON.stringify(log.lines)).not.toContain('s3cret');
  });

  test('ends in a start when it has passed', async () => {
    const nowhere = new URL(database.url);
    nowhere.host = '127.0.0.1:1';
    const proxy = await Proxy.start(nowhere.href);
    const log = new NestLog();
    const options = { dataSource: { url: proxy.url }, connectRetryDelayMs: 50, connectAttempts: 1_000 };
    const starting = start(PaymentEventsDbModule.forRoot(options), log);
    await until('it has failed once', () => log.of('TypeOrmModule').length > 0);
    proxy.repoint(database.url);
    const app = await starting;
    expect(await app.get(AuthRequests).list({ restaurantId: RESTAURANT })).toMatchObject({ requests: [] });
    await app.close();
    await proxy.close();
  });
});

describe('the log', () => {
  test("is Nest's: what fails is in it without its values", async () => {
    const log = new NestLog();
    const app = await start(PaymentEventsDbModule.forRoot(settings()), log);
    await app
      .get(DataSource)
      .query(`SELECT $1::int`, ['tok_secret'])
      .catch(() => undefined);
    await until('it is logged', () => log.of('PaymentEventsDataSource').length > 0);
    expect(log.of('PaymentEventsDataSource')).toEqual(['error: query failed (22P02): SELECT $1::int']);
    expect(JSON.stringify(log.lines)).not.toContain('tok_secret');
    await app.close();
  });

  test('goes elsewhere where the options say so', async () => {
    const app = await start(PaymentEventsDbModule.forRoot({ dataSource: { url: database.url, logger: 'debug' } }));
    expect(app.get(DataSource).options.logger).toBe('debug');
    await app.close();
  });
});

/** Classes that are made of a DataSource and nothing else. */
function isOfDataSource(value: unknown): value is new (dataSource: DataSource) => object {
  return typeof value === 'function' && /^class \w+ \{[^}]*constructor\(dataSource\)/s.test(String(value));
}
