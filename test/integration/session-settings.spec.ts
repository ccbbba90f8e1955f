import { types } from 'pg';
import { DataSource } from 'typeorm';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PostgresOptions } from '../../src/connection/data-source-settings';
import { createDataSourceOptions } from '../../src/data-source';
import { entities } from '../../src/entities';
import { OutboxMessage } from '../../src/entities/outbox-message.entity';
import { PaymentEvent } from '../../src/entities/payment-event.entity';
import { ConfigurationError } from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { findDrift } from '../../src/check/drift';
import { readHistory } from '../../src/migrator/history';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { ReadModel } from '../../src/read-model/read-model';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { quietDataSource } from '../support/database/quiet-data-source';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();

/** Takes a request through its life, looks at it in every way, and expects of each value that it is what its type says. */
async function expectRightValues(dataSource: DataSource): Promise<void> {
  const publisher = new RecordingPublisher();
  while ((await new OutboxRelay(dataSource, publisher).runOnce()).length > 0);
  const { requests, lease, authRequestId } = await aRequest(dataSource, { started: true });
  expect(lease.expiresAt).toBeInstanceOf(Date);
  expect(typeof lease.fencingToken).toBe('bigint');
  await requests.recordAuthorized(lease, anAuthorization());
  const ref = { restaurantId: RESTAURANT, authRequestId };
  const request = await requests.get(ref);
  expect(request).toMatchObject({ status: 'AUTHORIZED', attemptOpen: false, retryCount: 0 });
  expect(typeof request!.amountCents).toBe('number');
  expect(Math.abs(Date.now() - request!.createdAt.getTime())).toBeLessThan(60_000);
  expect(request!.completedAt).toBeInstanceOf(Date);
  expect(typeof request!.metadata).toBe('object');
  const page = await requests.list({ restaurantId: RESTAURANT, limit: 1 });
  expect(page.requests[0]!.createdAt).toBeInstanceOf(Date);
  const events = await new EventStore(dataSource).readStream(ref);
  expect(events.map(({ type }) => type)).toEqual(['AuthRequestCreated', 'AuthAttemptStarted', 'AuthResponseReceived']);
  expect(typeof events[0]!.position).toBe('bigint');
  expect(events[0]!.createdAt).toBeInstanceOf(Date);
  publisher.published.length = 0;
  await new OutboxRelay(dataSource, publisher).runOnce();
  const [message] = publisher.published;
  expect(message).toMatchObject({ aggregateId: authRequestId, attempts: 0, payload: expect.any(Buffer) as Buffer });
  expect(typeof message!.id).toBe('bigint');
  expect(message!.createdAt).toBeInstanceOf(Date);
  expect(await new Outbox(dataSource).stats()).toMatchObject({ pending: 0, failed: 0 });
  for await (const difference of new ReadModel(dataSource).verify()) expect(difference).toBeUndefined();
}

async function expectRightEntities(dataSource: DataSource): Promise<void> {
  const [event] = await dataSource.getRepository(PaymentEvent).find({ take: 1, order: { id: 'DESC' } });
  expect(event).toMatchObject({ createdAt: expect.any(Date) as Date, eventData: expect.any(Buffer) as Buffer });
  expect(typeof event!.id).toBe('bigint');
  const [message] = await dataSource.getRepository(OutboxMessage).find({ take: 1, order: { id: 'DESC' } });
  expect(message).toMatchObject({ processedAt: expect.any(Date) as Date });
  expect(await findDrift(dataSource)).toEqual([]);
  for (const { appliedAt } of await readHistory(dataSource)) expect(appliedAt?.getTime()).toBeGreaterThan(0);
}

describe('whatever the service has told pg to parse', () => {
  const { BOOL, BYTEA, DATE, INT2, INT4, INT8, JSON, JSONB, TIMESTAMP, TIMESTAMPTZ } = types.builtins;
  const oids = [BOOL, BYTEA, DATE, INT2, INT4, INT8, JSON, JSONB, TIMESTAMP, TIMESTAMPTZ, 701, 1009, 2951];
  const before = oids.map((oid) => types.getTypeParser(oid) as (text: string) => unknown);
  afterEach(() => oids.forEach((oid, index) => types.setTypeParser(oid, before[index]!)));

  it.each<[string, () => void]>([
    ['times as text', () => [DATE, TIMESTAMP, TIMESTAMPTZ].forEach((oid) => types.setTypeParser(oid, String))],
    ['int8 as number', () => types.setTypeParser(INT8, Number)],
    ['int8 as bigint', () => types.setTypeParser(INT8, BigInt)],
    ['everything as text', () => oids.forEach((oid) => types.setTypeParser(oid, String))],
  ])('the package reads its values as ever: %s', async (_what, tell) => {
    tell();
    const dataSource = await quietDataSource({ url: database.url });
    const plain = await new DataSource({ type: 'postgres', url: database.url, entities }).initialize();
    try {
      await expectRightValues(dataSource);
      await expectRightEntities(dataSource);
      await expectRightValues(plain);
    } finally {
      await plain.destroy();
      await dataSource.destroy();
    }
  });
});

/** Has the database, or its role in it, other defaults while `work` runs. */
async function withDefaults(defaults: Record<string, string>, work: () => Promise<void>): Promise<void> {
  for (const [name, value] of Object.entries(defaults)) {
    await database.query(`ALTER DATABASE ${database.name} SET ${name} = '${value}'`);
  }
  try {
    await work();
  } finally {
    await database.query(`ALTER DATABASE ${database.name} RESET ALL`);
  }
}

describe('whatever the database has as the defaults of its sessions', () => {
  const FORMATS = {
    DateStyle: 'German, DMY',
    IntervalStyle: 'sql_standard',
    TimeZone: 'Asia/Kathmandu',
    bytea_output: 'escape',
    extra_float_digits: '-15',
    quote_all_identifiers: 'on',
  };
  const TRANSACTIONS = { default_transaction_isolation: 'serializable', default_transaction_deferrable: 'on' };

  it('values and catalogs are read right', async () => {
    await withDefaults({ ...FORMATS, ...TRANSACTIONS }, async () => {
      const dataSource = await quietDataSource({ url: database.url });
      try {
        await expectRightValues(dataSource);
        await expectRightEntities(dataSource);
      } finally {
        await dataSource.destroy();
      }
    });
  });

  it('a time in another format than ISO is an error that says so, and never null, where the pin was taken away', async () => {
    await withDefaults({ DateStyle: 'German, DMY' }, async () => {
      const options = createDataSourceOptions({ url: database.url });
      for (const made of [
        { ...options, extra: { ...(options.extra as object), options: '' } },
        { type: 'postgres', url: database.url } as PostgresOptions,
      ]) {
        const unpinned = await new DataSource(made).initialize();
        try {
          const { authRequestId } = await new AuthRequests(unpinned).authorize(anAuthorizeCommand());
          const failure = await failureOf(new AuthRequests(unpinned).get({ restaurantId: RESTAURANT, authRequestId }));
          expect(failure).toBeInstanceOf(ConfigurationError);
          expect((failure as Error).message).toContain('DateStyle');
        } finally {
          await unpinned.destroy();
        }
      }
    });
  });

  it.each(['repeatable read', 'serializable'])(
    'three relays send 300 messages once each, and races end without conflicts: %s',
    async (level) => {
      await withDefaults({ default_transaction_isolation: level }, async () => {
        const dataSource = await quietDataSource({ url: database.url, poolSize: 12 });
        try {
          const requests = new AuthRequests(dataSource);
          const ids: string[] = [];
          for (let round = 0; round < 25; round++) {
            const commands = Array.from({ length: 12 }, () => anAuthorizeCommand());
            // Each twice at once: under another level the second would meet 40001 instead of the first one's key.
            const twice = commands.flatMap((command) => [requests.authorize(command), requests.authorize(command)]);
            const receipts = await Promise.all(twice);
            expect(receipts.filter(({ replayed }) => replayed)).toHaveLength(12);
            ids.push(...receipts.filter(({ replayed }) => !replayed).map(({ authRequestId }) => authRequestId));
          }
          const publisher = new RecordingPublisher();
          const errors: unknown[] = [];
          const hooks = { unavailable: (error: unknown) => void errors.push(error) };
          const relays = Array.from(
            { length: 3 },
            () => new OutboxRelay(dataSource, publisher, { batchSize: 10, hooks }),
          );
          relays.forEach((relay) => relay.start());
          while ((await new Outbox(dataSource).stats()).pending > 0);
          await Promise.all(relays.map((relay) => relay.stop()));
          const sent = publisher.published.map(({ aggregateId }) => aggregateId).filter((id) => ids.includes(id));
          expect(errors).toEqual([]);
          expect(sent).toHaveLength(300);
          expect(new Set(sent).size).toBe(300);
          const voids = await Promise.all(
            ids.slice(0, 20).flatMap((authRequestId) => {
              const command = { restaurantId: RESTAURANT, authRequestId, reason: 'r', idempotencyKey: authRequestId };
              return [requests.requestVoid(command), requests.requestVoid(command)];
            }),
          );
          expect(voids.map(({ outcome }) => outcome)).toEqual(Array(40).fill('not_required'));
        } finally {
          await dataSource.destroy();
        }
      });
    },
  );

  it('a relay sends each message once also through a DataSource of which nothing is pinned', async () => {
    await withDefaults({ default_transaction_isolation: 'repeatable read' }, async () => {
      const plain = await new DataSource({ type: 'postgres', url: database.url, poolSize: 6 }).initialize();
      try {
        const requests = new AuthRequests(plain);
        for (let index = 0; index < 100; index++) await requests.authorize(anAuthorizeCommand());
        const publisher = new RecordingPublisher();
        const errors: unknown[] = [];
        const hooks = { unavailable: (error: unknown) => void errors.push(error) };
        const relays = Array.from({ length: 3 }, () => new OutboxRelay(plain, publisher, { batchSize: 5, hooks }));
        relays.forEach((relay) => relay.start());
        while ((await new Outbox(plain).stats()).pending > 0);
        await Promise.all(relays.map((relay) => relay.stop()));
        const sent = publisher.published.map(({ id }) => id);
        expect(errors).toEqual([]);
        expect(sent).toHaveLength(new Set(sent).size);
      } finally {
        await plain.destroy();
      }
    });
  });
});

it.each([
  ['of the URL', (url: URL) => url.searchParams.set('options', '-c work_mem=3MB -c DateStyle=German'), undefined],
  ['of PGOPTIONS', () => undefined, '-c work_mem=3MB -c default_transaction_isolation=serializable'],
])("startup options %s stay, but for what the package's statements depend on", async (_whose, change, environment) => {
  const url = new URL(database.url);
  change(url);
  if (environment) process.env.PGOPTIONS = environment;
  try {
    const dataSource = await quietDataSource({ url: url.href });
    const [settings] = await dataSource.query<object[]>(
      `SELECT current_setting('work_mem') AS memory, current_setting('DateStyle') AS dates,
              current_setting('transaction_isolation') AS isolation`,
    );
    await dataSource.destroy();
    expect(settings).toEqual({
      memory: '3MB',
      dates: expect.stringMatching(/^ISO/) as string,
      isolation: 'read committed',
    });
  } finally {
    delete process.env.PGOPTIONS;
  }
});
