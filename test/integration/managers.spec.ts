import { type DataSource, type EntityManager, type QueryRunner } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../src/data-source';
import { DataSourceNotOpenError, TransactionRequiredError } from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { IdempotencyKeys } from '../../src/idempotency/idempotency-keys';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { ReadModel } from '../../src/read-model/read-model';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { quietDataSource } from '../support/database/quiet-data-source';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;
beforeAll(async () => {
  dataSource = await quietDataSource({ url: database.url });
});
afterAll(() => dataSource.destroy());

const aMessage = () => ({
  ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: 'auth_request_queued' },
  payload: Buffer.from('p'),
});
const aKey = () => ({
  ...{ idempotencyKey: uuidv4(), restaurantId: RESTAURANT, authRequestId: uuidv4(), operation: 'refund' },
  request: {},
});
const aLock = () => ({ restaurantId: RESTAURANT, authRequestId: uuidv4(), workerId: 'w1', ttlMs: 60_000 });
const anEvent = (authRequestId: string) => ({
  type: 'AuthVoidRequested' as const,
  data: { authRequestId, reason: 'r', requestedAt: new Date() },
});

/** One operation of each class that takes a manager, reading ones among them. */
const operations: Record<string, (source: DataSource, manager: EntityManager) => Promise<unknown>> = {
  authorize: (source, manager) => new AuthRequests(source).authorize(anAuthorizeCommand(), manager),
  list: (source, manager) => new AuthRequests(source).list({ restaurantId: RESTAURANT }, manager),
  acquire: (source, manager) => new ProcessingLocks(source).acquire(aLock(), manager),
  append: (source, manager) => {
    const authRequestId = uuidv4();
    const stream = { authRequestId, restaurantId: RESTAURANT };
    return new EventStore(source).append(stream, 0, [anEvent(authRequestId)], {}, manager);
  },
  enqueue: (source, manager) => new Outbox(source).enqueue(manager, aMessage()),
  requeueAll: (source, manager) => new Outbox(source).requeueAll(manager),
  claim: (source, manager) => new IdempotencyKeys(source).claim(aKey(), manager),
  verify: async (source, manager) => {
    for await (const difference of new ReadModel(source).verify({}, manager)) expect(difference).toBeUndefined();
  },
};

const WRITTEN = `
  SELECT (SELECT count(*) FROM payment_events) + (SELECT count(*) FROM outbox)
       + (SELECT count(*) FROM auth_idempotency_keys) + (SELECT count(*) FROM auth_processing_locks) AS rows`;

async function expectRefused(name: string, given: unknown, Class: new (...args: never[]) => Error): Promise<Error> {
  const before = await database.query(WRITTEN);
  const failure = await failureOf(operations[name]!(dataSource, given as EntityManager));
  expect([name, failure]).toEqual([name, expect.any(Class)]);
  expect(await database.query(WRITTEN)).toEqual(before);
  return failure as Error;
}

describe.each(Object.keys(operations))('%s writes nothing beside the transaction that its caller meant:', (name) => {
  async function withRunner(source: DataSource, work: (queryRunner: QueryRunner) => Promise<void>): Promise<void> {
    const queryRunner = source.createQueryRunner();
    try {
      await work(queryRunner);
    } finally {
      await queryRunner.release();
    }
  }

  it('given a QueryRunner in place of its manager', async () => {
    await withRunner(dataSource, async (queryRunner) => {
      await queryRunner.startTransaction();
      const failure = await expectRefused(name, queryRunner, TransactionRequiredError);
      expect(failure.message).toContain('a QueryRunner');
      expect(failure.message).toContain('queryRunner.manager');
      await queryRunner.rollbackTransaction();
    });
  });

  it('given null, dataSource.manager, a DataSource or something else', async () => {
    for (const given of [null, dataSource.manager, dataSource, {}, 'manager', 5]) {
      await expectRefused(name, given, TransactionRequiredError);
    }
  });

  it('given a manager whose transaction has not begun, or is over', async () => {
    await withRunner(dataSource, async (queryRunner) => {
      await expectRefused(name, queryRunner.manager, TransactionRequiredError);
      await queryRunner.startTransaction();
      await queryRunner.commitTransaction();
      await expectRefused(name, queryRunner.manager, TransactionRequiredError);
      await queryRunner.startTransaction();
      await queryRunner.rollbackTransaction();
      await expectRefused(name, queryRunner.manager, TransactionRequiredError);
    });
  });

  it('given a manager that was released', async () => {
    const leaked = await dataSource.transaction((manager) => Promise.resolve(manager));
    await expectRefused(name, leaked, TransactionRequiredError);
  });

  it('given the manager of another database', async () => {
    const url = Object.assign(new URL(database.url), { pathname: '/postgres' }).href;
    const other = await quietDataSource({ url });
    try {
      await other.transaction((manager) => expectRefused(name, manager, TransactionRequiredError));
    } finally {
      await other.destroy();
    }
  });

  it('and works with the manager of an open transaction, which alone decides', async () => {
    const before = await database.query(WRITTEN);
    await withRunner(dataSource, async (queryRunner) => {
      await queryRunner.startTransaction();
      await operations[name]!(dataSource, queryRunner.manager);
      await queryRunner.rollbackTransaction();
    });
    expect(await database.query(WRITTEN)).toEqual(before);
  });
});

describe('a DataSource that is not open is told as such', () => {
  const closed = () => new PaymentEventsDataSource(createDataSourceOptions({ url: database.url }));
  const destroyed = async () => {
    const source = await closed().initialize();
    await source.destroy();
    return source;
  };

  it.each([
    ['not yet open', () => Promise.resolve(closed())],
    ['closed again', destroyed],
    ['missing', () => Promise.resolve(undefined as unknown as PaymentEventsDataSource)],
  ])('by every operation: %s', async (_what, make) => {
    const source = await make();
    const all = [
      () => new AuthRequests(source).authorize(anAuthorizeCommand()),
      () => new ProcessingLocks(source).acquire(aLock()),
      () => new ProcessingLocks(source).purgeExpired(),
      () => new EventStore(source).readStream({ authRequestId: uuidv4(), restaurantId: RESTAURANT }),
      () => new Outbox(source).stats(),
      () => new OutboxRelay(source, new RecordingPublisher()).runOnce(),
    ];
    for (const operation of all) {
      expect(await failureOf(operation())).toEqual(new DataSourceNotOpenError());
    }
  });

  it('by its own transactions and statements', async () => {
    for (const source of [closed(), await destroyed()]) {
      expect(await failureOf(source.transaction(() => Promise.resolve()))).toBeInstanceOf(DataSourceNotOpenError);
      expect(await failureOf(source.query('SELECT 1'))).toBeInstanceOf(DataSourceNotOpenError);
    }
  });

  it('and leaves no connection behind when it could not be opened', async () => {
    const url = new URL(database.url);
    url.pathname = '/no_such_database';
    const source = new PaymentEventsDataSource(createDataSourceOptions({ url: url.href }));
    expect(await failureOf(source.initialize())).toMatchObject({ code: '3D000' });
    expect(source.isInitialized).toBe(false);
    expect(await failureOf(source.query('SELECT 1'))).toBeInstanceOf(DataSourceNotOpenError);
  });

  it('but one that is being closed lets a transaction that runs come to its end', async () => {
    const source = await quietDataSource({ url: database.url });
    const command = anAuthorizeCommand();
    let closing: Promise<void> | undefined;
    const before = await database.query<{ rows: string }>(WRITTEN);
    await source
      .transaction(async (manager) => {
        closing = source.destroy();
        await new AuthRequests(source).authorize(command, manager);
      })
      .catch(() => undefined);
    await closing;
    const after = await database.query<{ rows: string }>(WRITTEN);
    // TypeORM takes the connection away: all of it or nothing.
    expect([0, 3]).toContain(Number(after[0]!.rows) - Number(before[0]!.rows));
  });
});
