import { type Pool } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { RestaurantPaymentConfigs } from '../../src/configs/restaurant-payment-configs';
import { rotateDataKeys } from '../../src/configs/rotate-data-keys';
import { sealPlainSecrets } from '../../src/configs/seal-plain-secrets';
import { createDataSourceOptions, type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseError, InvalidCommandError, PaymentEventsDbError } from '../../src/errors';
import { EventStore, type StoredEvent } from '../../src/event-store/event-store';
import { IdempotencyKeys } from '../../src/idempotency/idempotency-keys';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { adopt } from '../../src/migrator/adopt';
import { findDrift } from '../../src/check/drift';
import { migrate } from '../../src/migrator/migrator';
import { planMigrations } from '../../src/migrator/plan';
import { stamp } from '../../src/migrator/stamp';
import { BackgroundWork } from '../../src/nest/background-work';
import { PaymentEventsDbModuleOptions, ShardsModuleOptions } from '../../src/nest/module-options';
import { toTypeOrmOptions } from '../../src/nest/open-data-source';
import { PaymentEventsDbHealth } from '../../src/nest/payment-events-db.health';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { ReadModel } from '../../src/read-model/read-model';
import { ReplicaReads } from '../../src/replica-reads/replica-reads';
import { dropReporting } from '../../src/reporting/drop-reporting';
import { type ReportingRefusedError } from '../../src/reporting/errors';
import { renewReporting } from '../../src/reporting/renew-reporting';
import { reportingStatus } from '../../src/reporting/reporting-status';
import { DevelopmentSeeder } from '../../src/seeds';
import { Shards } from '../../src/shards/shards';
import { Sweeper } from '../../src/sweeper/sweeper';
import { plainConfigs, TestKeyring } from '../support/configs/configs';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { aHold } from '../support/requests/holds';
import { inputClasses, numbersOf, optionalProperties } from '../support/requests/inputs';
import { validateSettings } from '../../src/validation/validate-options';
import { closedDataSource, quietDataSource } from '../support/database/quiet-data-source';
import {
  deliverDue,
  RecordingPublisher,
  type RegisterHook,
  requestIn,
  requestToRetry,
  useTestDatabase as takeDatabase,
} from '../../src/testing';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';
import { mapOf, WHOLE } from '../support/shards/shards';

const database = useTestDatabase();
const reports = useTestDatabase({ empty: true });
const oneDatabase = { load: () => Promise.resolve(mapOf(1, { only: { ...WHOLE, url: database.url } })) };
const keyring = new TestKeyring();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;
let outbox: Outbox;
let store: EventStore;

beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
  locks = new ProcessingLocks(dataSource);
  outbox = new Outbox(dataSource);
  store = new EventStore(dataSource);
});

/** Makes what an operation works on, and gives the call, which takes any change of what it is usually handed. */
type Prepare = () => Promise<(changes: object) => Promise<unknown>>;

const ref = () => ({ restaurantId: RESTAURANT, authRequestId: uuidv4() });
const pending = async () => ({
  restaurantId: RESTAURANT,
  authRequestId: (await requests.authorize(anAuthorizeCommand())).authRequestId,
});
const started = async () => (await aRequest(dataSource, { started: true })).lease;

/** A hold that is to be voided. */
async function voiding() {
  const { lease } = await aRequest(dataSource, { started: true });
  await requests.expire({ ...lease, reason: '' });
  const { processorName, processorAuthId } = anAuthorization();
  await requests.recordAuthorized(lease, anAuthorization({ processorAuthId }));
  return { lease, hold: { processorName, processorAuthId } };
}

const paymentConfigs = async (options: object = {}) =>
  new RestaurantPaymentConfigs(dataSource, { keys: await keyring.keys(), ...options });
const CONTENT = { processorName: 'mock', settings: {} };

/** A restaurant with an active configuration that has a secret. */
async function configured(): Promise<string> {
  const restaurantId = uuidv4();
  await (await paymentConfigs()).activate(restaurantId, { ...CONTENT, secrets: { api_key: 'k' } }, { by: 'jo' });
  return restaurantId;
}

/** All that was written about a request. */
async function whole(authRequestId: string) {
  const [state] = await database.query(
    `SELECT to_jsonb(state) - 'last_event_id' AS row FROM auth_request_state AS state WHERE auth_request_id = $1`,
    [authRequestId],
  );
  const messages = await database.query(
    'SELECT message_type, headers, next_attempt_at IS NULL AS at_once FROM outbox WHERE aggregate_id = $1 ORDER BY id',
    [authRequestId],
  );
  const events = await store.readStream({ restaurantId: RESTAURANT, authRequestId });
  return { state, messages, events: events.map((event) => ({ ...event, position: undefined })) };
}

/** The server is no replica, and the primary answers: what is left out is read by then. */
async function throughReplica<T>(read: (reads: ReplicaReads) => Promise<T>, options?: object): Promise<T> {
  const reads = new ReplicaReads(dataSource, closedDataSource({ url: database.url }), options);
  return await read(reads).finally(() => reads.destroy());
}

const OPERATIONS: Record<string, Prepare> = {
  AuthorizeCommand: () =>
    Promise.resolve(async (changes) => {
      const receipt = await requests.authorize(anAuthorizeCommand(changes));
      return { receipt, ...(await whole(receipt.authRequestId)) };
    }),
  VoidCommand: async () => {
    const request = await pending();
    const command = { ...request, reason: 'x', idempotencyKey: uuidv4() };
    return async (changes) => [
      await requests.requestVoid({ ...command, ...changes }),
      await whole(request.authRequestId),
    ];
  },
  ExpireCommand: async () => {
    const request = await pending();
    return async (changes) => [
      await requests.expire({ ...request, reason: 'x', ...changes }),
      await whole(request.authRequestId),
    ];
  },
  ExpireStaleCommand: async () => {
    await database.query('DELETE FROM auth_request_state');
    await pending();
    const { authRequestId } = await pending();
    return async (changes) => [
      (await requests.expireStale({ olderThanMs: 1, ...changes })).length,
      await whole(authRequestId),
    ];
  },
  FindCommand: async () => {
    await database.query('DELETE FROM auth_request_state');
    await Promise.all([pending(), pending()]);
    return (changes) => requests.listStuck({ olderThanMs: 0, ...changes });
  },
  FindUnsettledCommand: async () => {
    await database.query('DELETE FROM auth_request_state');
    await started();
    return (changes) => requests.listUnsettled({ olderThanMs: 0, ...changes });
  },
  ListCommand: async () => {
    await database.query('DELETE FROM auth_request_state');
    await Promise.all([pending(), pending()]);
    return (changes) => requests.list({ restaurantId: RESTAURANT, ...changes });
  },
  ReplicaReadsOptions: async () => {
    const ref = await pending();
    return (changes) => throughReplica((reads) => reads.get(ref), changes);
  },
  ReplicaGetOptions: async () => {
    const ref = await pending();
    return (changes) => throughReplica((reads) => reads.get(ref, changes));
  },
  ReplicaListOptions: async () => {
    await database.query('DELETE FROM auth_request_state');
    await pending();
    return (changes) => throughReplica((reads) => reads.list({ restaurantId: RESTAURANT }, changes));
  },
  HoldFilter: async () => {
    await database.query('DELETE FROM auth_holds');
    await aHold(dataSource, 'never_voided');
    return (changes) => new Holds(dataSource).totals(changes);
  },
  ListHoldsCommand: async () => {
    await database.query('DELETE FROM auth_holds');
    await aHold(dataSource, 'void_failed');
    return async (changes) => (await new Holds(dataSource).list(changes)).map(({ because }) => because);
  },
  HoldStatsCommand: async () => {
    await database.query('DELETE FROM auth_holds');
    await aHold(dataSource, 'void_failed');
    return async (changes) => ({ ...(await new Holds(dataSource).stats(changes)), oldestOpenAgeMs: 0 });
  },
  WaitOptions: async () => {
    const request = await pending();
    await requests.expire({ ...request, reason: '' });
    return (changes) => requests.waitForResult(request, changes);
  },
  StartAttemptCommand: async () => {
    const { lease } = await aRequest(dataSource);
    return async (changes) => [
      await requests.startAttempt(lease, { configVersion: 'v1', ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  AttemptCommand: async () => {
    const request = await pending();
    const command = { ...request, configVersion: 'v1', ttlMs: 60_000 };
    const denied = { outcome: 'denied', processorName: 'stripe' } as const;
    return async (changes) => [
      await requests.attempt({ ...command, ...changes }, () => Promise.resolve(denied)),
      await whole(request.authRequestId),
    ];
  },
  AttemptVoidCommand: async () => {
    const { lease } = await voiding();
    await locks.release(lease);
    const { restaurantId, authRequestId } = lease;
    const command = { restaurantId, authRequestId, ttlMs: 60_000 };
    return async (changes) => [
      await new Holds(dataSource).attemptVoid({ ...command, ...changes }, () =>
        Promise.resolve({ outcome: 'voided' } as const),
      ),
      await whole(authRequestId),
    ];
  },
  AuthorizedCommand: async () => {
    const lease = await started();
    const required = { processorName: 'stripe', processorAuthId: 'pi', authorizedAmountCents: 1050, currency: 'USD' };
    return async (changes) => [
      await requests.recordAuthorized(lease, { ...required, ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  DeniedCommand: async () => {
    const lease = await started();
    return async (changes) => [
      await requests.recordDenied(lease, { processorName: 'stripe', ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  FailureCommand: async () => {
    const lease = await started();
    const command = { errorCode: 'E', errorMessage: '', retryable: true, outcome: 'unknown' } as const;
    return async (changes) => [
      await requests.recordFailure(lease, { ...command, ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  ReportHoldCommand: async () => {
    const { lease, hold } = await voiding();
    const report = { ...hold, told: 'captured', source: 'stripe', sourceEventId: 'e' } as const;
    return async (changes) => [
      await new Holds(dataSource).report({ ...report, ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  RecordEndCommand: async () => {
    const { lease, hold } = await voiding();
    const command = { ...lease, ...hold, end: 'voided', by: 'jo', reason: 'r' } as const;
    return async (changes) => [
      await new Holds(dataSource).recordEnd({ ...command, ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  ToVoidCommand: async () => {
    const { lease } = await voiding();
    return (changes) => new Holds(dataSource).toVoid(lease, changes);
  },
  VoidFailureCommand: async () => {
    const { lease, hold } = await voiding();
    const failure = { ...hold, errorCode: 'E', errorMessage: '', retryable: true };
    return async (changes) => [
      await new Holds(dataSource).recordVoidFailure(lease, { ...failure, ...changes }),
      await whole(lease.authRequestId),
    ];
  },
  AppendCommand: async () => {
    const request = await pending();
    const [event] = await store.readStream(request);
    return async (changes) => {
      const { authRequestId, restaurantId, expectedSequence, events } = {
        ...{ ...request, expectedSequence: 1, events: [{ type: event!.type, data: event!.data } as StoredEvent] },
        ...changes,
      };
      const appended = await store.append({ authRequestId, restaurantId }, expectedSequence, events);
      return appended.map(({ sequenceNumber }) => sequenceNumber);
    };
  },
  AppendOptions: async () => {
    const request = await pending();
    const [event] = await store.readStream(request);
    return async (changes) => {
      await store.append(request, 1, [{ type: event!.type, data: event!.data } as StoredEvent], changes);
      return await whole(request.authRequestId);
    };
  },
  ReadStreamOptions: async () => {
    const request = await pending();
    return async (changes) => (await store.readStream(request, changes)).length;
  },
  IterateOptions: async () => {
    const request = await pending();
    return async (changes) => {
      const numbers: number[] = [];
      for await (const { sequenceNumber } of store.iterate(request, changes)) numbers.push(sequenceNumber);
      return numbers;
    };
  },
  VerificationScope: async () => {
    await pending();
    const [all] = await database.query<{ count: number }>(
      'SELECT count(DISTINCT aggregate_id)::integer AS count FROM payment_events',
    );
    return async (changes) => {
      const verification = new ReadModel(dataSource).verify(changes);
      for await (const difference of verification) expect(difference.kind).toMatch(/^(row|holds)_/);
      return verification.checked - all!.count;
    };
  },
  ClaimCommand: () =>
    Promise.resolve((changes) => {
      const command = { ...ref(), idempotencyKey: uuidv4(), operation: 'refund', request: {}, ...changes };
      return dataSource.transaction((manager) => new IdempotencyKeys(dataSource).claim(command, manager));
    }),
  PurgeKeysOptions: async () => {
    await database.query('DELETE FROM auth_idempotency_keys');
    await pending();
    await pending();
    await database.query(`UPDATE auth_idempotency_keys SET created_at = now() - interval '2 days', expires_at = now()`);
    return (changes) => new IdempotencyKeys(dataSource).purgeExpired(changes);
  },
  AcquireCommand: async () => {
    const request = await pending();
    return async (changes) => {
      const lease = await locks.acquire({ ...request, ttlMs: 60_000, ...changes });
      return lease && { ...lease, fencingToken: typeof lease.fencingToken };
    };
  },
  HoldOptions: async () => {
    const request = await pending();
    const command = { ...request, workerId: 'w', ttlMs: 60_000 };
    return (changes) => locks.withLock(command, () => Promise.resolve('done'), changes);
  },
  PurgeLocksOptions: async () => {
    await database.query('DELETE FROM auth_processing_locks');
    await started();
    await started();
    await database.query(`UPDATE auth_processing_locks SET locked_at = now() - interval '2 days', expires_at = now()`);
    return (changes) => locks.purgeExpired(changes);
  },
  EnqueueCommand: () =>
    Promise.resolve(async (changes) => {
      const { authRequestId: aggregateId, restaurantId } = ref();
      const command = { aggregateId, restaurantId, messageType: 'm', payload: Buffer.of(1), ...changes };
      await dataSource.transaction((manager) => outbox.enqueue(manager, command));
      return await database.query('SELECT message_type, headers FROM outbox WHERE aggregate_id = $1', [aggregateId]);
    }),
  ListFailedOptions: async () => {
    await pending();
    await database.query('UPDATE outbox SET failed_at = now()');
    return async (changes) => (await outbox.listFailed(changes)).length > 0;
  },
  PurgeMessagesOptions: async () => {
    await database.query('DELETE FROM outbox');
    await pending();
    await pending();
    await database.query(`UPDATE outbox SET processed_at = now() - interval '1 day'`);
    return (changes) => outbox.purgeProcessed({ olderThanMs: 0, ...changes });
  },
  RelayOptions: async () => {
    await database.query('DELETE FROM outbox');
    await pending();
    await pending();
    return async (changes) => {
      const publisher = new RecordingPublisher();
      const relay = new OutboxRelay(dataSource, publisher, changes);
      return (await relay.runOnce()).map(({ outcome }) => outcome);
    };
  },
  SweeperOptions: async () => {
    await database.query('DELETE FROM auth_holds; DELETE FROM auth_request_state; DELETE FROM outbox');
    await pending();
    await pending();
    return async (changes) => ({ ...(await new Sweeper(dataSource, changes).runOnce()), outboxAgeMs: 0 });
  },
  SweepOptions: async () => {
    await database.query('DELETE FROM auth_holds; DELETE FROM auth_request_state; DELETE FROM outbox');
    await pending();
    return async (changes) => ({ ...(await new Sweeper(dataSource).runOnce(changes)), outboxAgeMs: 0 });
  },
  ModuleRelayOptions: async () => {
    await database.query('DELETE FROM outbox');
    await pending();
    return async (changes) => {
      const relay = { publishers: new RecordingPublisher(), ...changes };
      return (await new BackgroundWork(dataSource, { relay }).relay!.runOnce()).map(({ outcome }) => outcome);
    };
  },
  OutboxHealthOptions: async () => {
    await database.query('DELETE FROM outbox');
    return (changes) => new PaymentEventsDbHealth(dataSource).outbox('outbox', changes);
  },
  HoldsHealthOptions: async () => {
    await database.query('DELETE FROM auth_holds');
    return (changes) => new PaymentEventsDbHealth(dataSource).holds('holds', changes);
  },
  PaymentEventsDbModuleOptions: () =>
    Promise.resolve((changes) =>
      Promise.resolve(toTypeOrmOptions(validateSettings({ PaymentEventsDbModuleOptions }, changes))).then(
        ({ logger: _, ...rest }) => rest,
      ),
    ),
  ShardsModuleOptions: () =>
    Promise.resolve((changes) =>
      Promise.resolve(validateSettings({ ShardsModuleOptions }, changes)).then((options) =>
        Object.values(options).map((value: unknown) => typeof value),
      ),
    ),
  ShardsOptions: () =>
    Promise.resolve(async (changes) => {
      const map = { version: 1, shards: [{ name: 'a', modulus: 1, remainder: 0, number: 0, url: database.url }] };
      const { version } = (await new Shards({ load: () => Promise.resolve(map) }, changes).open()).map;
      return version;
    }),
  PaymentEventsDataSourceSettings: () =>
    Promise.resolve((changes) =>
      Promise.resolve(createDataSourceOptions({ ...addressBeside(changes), ...changes })).then(
        ({ logger: _, ...rest }) => rest,
      ),
    ),
  TlsSettings: () =>
    Promise.resolve((changes) =>
      Promise.resolve(createDataSourceOptions({ host: 'h', database: 'd', ssl: changes })).then(
        ({ logger: _, ...rest }) => rest,
      ),
    ),
  MigrateOptions: async () => {
    const quiet = await quietDataSource({ url: database.url });
    return (changes) => migrate(quiet, changes).finally(() => quiet.destroy());
  },
  AdoptOptions: () => Promise.resolve((changes) => adopt(dataSource, changes)),
  PlanOptions: () => Promise.resolve((changes) => planMigrations(dataSource, changes)),
  StampOptions: () => {
    const { name } = dataSource.migrations.at(-1)!;
    return Promise.resolve((changes) => stamp(dataSource, name!, changes));
  },
  DriftOptions: () => Promise.resolve((changes) => findDrift(dataSource, changes)),
  ReportingPlace: () => Promise.resolve((changes) => reportingStatus(oneDatabase, { url: reports.url, ...changes })),
  DropReportingSettings: () =>
    Promise.resolve((changes) => dropReporting(oneDatabase, { url: reports.url, ...changes })),
  // A reporting database that cannot be one: what is refused before it is made has read the settings.
  ReportingSettings: () =>
    Promise.resolve(async (changes) => {
      const settings = { url: database.url, reader: 'r', readerPassword: 'p', ...changes };
      return ((await failureOf(renewReporting(oneDatabase, settings))) as ReportingRefusedError).reasons;
    }),
  RequestOptions: () => Promise.resolve((changes) => requestIn(dataSource, 'DENIED', changes)),
  RetryOptions: () => Promise.resolve((changes) => requestToRetry(dataSource, changes)),
  WaitForMessageOptions: async () => {
    const publisher = new RecordingPublisher();
    const { authRequestId } = await requestIn(dataSource, 'PENDING');
    await deliverDue(dataSource, publisher);
    return (changes) => publisher.waitFor('auth_request_queued', { authRequestId, ...changes });
  },
  UseTestDatabaseOptions: () =>
    Promise.resolve(async (changes) => {
      const hooks: (() => Promise<void>)[] = [];
      const register: RegisterHook = (hook) => hooks.push(hook);
      const globals = globalThis as { beforeAll?: unknown; afterAll?: unknown };
      const { beforeAll, afterAll } = globals;
      Object.assign(globals, { beforeAll: register, afterAll: register });
      const own = takeDatabase(changes);
      Object.assign(globals, { beforeAll, afterAll });
      const [create, drop] = hooks;
      await create!();
      const rows = await own.query(`SELECT to_regclass('payment_events') IS NULL AS empty`);
      await drop!();
      return rows;
    }),
  ConfigContent: async () => {
    const configs = await paymentConfigs();
    return (changes) => configs.activate(uuidv4(), { ...CONTENT, ...changes }, { by: 'jo' });
  },
  ConfigChange: async () => {
    const [configs, restaurantId] = [await paymentConfigs(), await configured()];
    return (changes) => configs.deactivate(restaurantId, { by: 'jo', ...changes });
  },
  HistoryOptions: async () => {
    const [configs, restaurantId] = [await paymentConfigs(), await configured()];
    return (changes) => configs.history(restaurantId, changes);
  },
  PaymentConfigsOptions: async () => {
    const restaurantId = await configured();
    return async (changes) => (await paymentConfigs(changes)).getActive(restaurantId);
  },
  SealOptions: async () => {
    await plainConfigs(database, 3);
    const keys = await keyring.keys();
    return (changes) => sealPlainSecrets(dataSource, keys, changes);
  },
  RotateOptions: async () => {
    await database.query('DELETE FROM restaurant_payment_configs; DELETE FROM data_keys');
    await configured();
    await configured();
    await keyring.add(uuidv4());
    const keys = await keyring.keys();
    return (changes) => rotateDataKeys(dataSource, keys, changes);
  },
  SeedOptions: () =>
    Promise.resolve(async (changes) => {
      await new DevelopmentSeeder().run(dataSource);
      return await new DevelopmentSeeder().run(dataSource, changes);
    }),
};

/** Without what differs from call to call. */
const alike = (result: unknown): unknown =>
  JSON.parse(
    (JSON.stringify(result, (_key, value: unknown) => (typeof value === 'bigint' ? 'bigint' : value)) ?? 'null')
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'id')
      .replace(/"?\d{12,}"?/g, '0')
      .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|[+-]\d\d(:\d\d)?)/g, 'time'),
  );

/** The same database, named in the way in which a part of its address can be left out. */
const addressBeside = (changes: object) =>
  'host' in changes || 'database' in changes ? { url: 'postgresql://h:5432/d' } : { host: 'h', database: 'd' };

/** What has nothing of its own that may be left out, or needs a server, a broker or roles of its own. */
const ELSEWHERE =
  /(Publisher|KeyProvider)Options$|^(EmbeddedServer|CreateTestDatabase|Template|Grant|Stop)|^(TracedCommand|LeasedCommand|RecordCommand|HoldCommand|VoidWriteCommand|VoidedCommand|RequeueVoidCommand)$/;

const ofTracing = ['correlationId', 'causationId', 'headers'];
const withOptions = inputClasses().filter((Class) =>
  optionalProperties(Class).some((property) => !ofTracing.includes(property)),
);

it('knows an operation for everything of which a part may be left out', () => {
  const names = withOptions.map(({ name }) => name).filter((name) => !ELSEWHERE.test(name));
  expect(names.filter((name) => !OPERATIONS[name])).toEqual([]);
  expect(names.length).toBeGreaterThan(25);
});

describe.each(inputClasses().flatMap((Class) => (OPERATIONS[Class.name] ? [[Class.name, Class] as const] : [])))(
  '%s',
  (name, Class) => {
    const prepare = OPERATIONS[name]!;

    it('does with null in an optional property what it does without it', async () => {
      const usual = alike(await (await prepare())({}));
      for (const property of optionalProperties(Class)) {
        for (const nothing of [null, undefined]) {
          const call = await prepare();
          expect([property, alike(await call({ [property]: nothing }))]).toEqual([property, usual]);
        }
      }
    });

    it('takes a number at either of its bounds without an error of the database', async () => {
      for (const { property, min, max } of numbersOf(Class)) {
        for (const bound of [min, max]) {
          const call = await prepare();
          const error = await call({ [property]: bound }).then(
            () => undefined,
            (reason: unknown) => reason,
          );
          const refused = error instanceof PaymentEventsDbError && !(error instanceof DatabaseError);
          expect({ property, bound, error: refused ? undefined : error }).toEqual({
            property,
            bound,
            error: undefined,
          });
        }
      }
    });
  },
);

describe('what goes on batch by batch', () => {
  const batched = inputClasses().filter(({ name }) =>
    /^(ExpireStale|Iterate|Purge|RotateOptions|SealOptions)/.test(name),
  );

  it.each(batched.map(({ name }) => name))('%s ends, or is refused before anything is sent', async (name) => {
    expect(batched).toHaveLength(7);
    for (const batchSize of [0, -1, 0.5, NaN, Infinity, '10', 2 ** 31]) {
      const call = await OPERATIONS[name]!();
      let sent = 0;
      const pool = (dataSource.driver as unknown as { master: Pool }).master;
      const count = () => sent++;
      pool.on('acquire', count);
      await expect(call({ batchSize })).rejects.toThrow(InvalidCommandError);
      expect(sent).toBe(0);
      await call({});
      pool.off('acquire', count);
      expect(sent).toBeGreaterThan(0);
    }
  });
});

describe('a lease', () => {
  const broken: [string, (lease: Lease) => unknown][] = [
    [
      'that has been through JSON',
      (lease) => JSON.parse(JSON.stringify({ ...lease, fencingToken: `${lease.fencingToken}` })) as unknown,
    ],
    ['whose token is a number', (lease) => ({ ...lease, fencingToken: Number(lease.fencingToken) })],
    ['without a token', ({ fencingToken: _, ...lease }) => lease],
    ['without a worker', ({ workerId: _, ...lease }) => lease],
    ['of nobody knows what', ({ workerId }) => ({ workerId })],
    ['that is null', () => null],
    ['that was not acquired', () => undefined],
    ['that is a text', () => 'lease'],
  ];

  it.each(broken)('%s is refused by every write of a worker, before anything is sent', async (_what, breakIt) => {
    const { lease } = await aRequest(dataSource, { started: true });
    const wrong = breakIt(lease) as Lease;
    const before = await whole(lease.authRequestId);
    const failure = { errorCode: 'E', errorMessage: '', retryable: true, outcome: 'unknown' } as const;
    for (const write of [
      () => requests.startAttempt(wrong, { configVersion: 'v1' }),
      () => requests.recordAuthorized(wrong, anAuthorization()),
      () => requests.recordDenied(wrong, { processorName: 'stripe' }),
      () => requests.recordFailure(wrong, failure),
      () => locks.renew(wrong, 60_000),
      () => locks.release(wrong),
    ]) {
      await expect(write()).rejects.toThrow(InvalidCommandError);
      await expect(write()).rejects.toThrow(/^Lease: /);
    }
    expect(await whole(lease.authRequestId)).toEqual(before);
    expect(await locks.release(lease)).toBe(true);
  });

  it('that was handed on as JSON is one again once its token is a bigint and its time a Date', async () => {
    const { lease } = await aRequest(dataSource);
    const told = JSON.parse(JSON.stringify({ ...lease, fencingToken: `${lease.fencingToken}` })) as Record<
      string,
      string
    >;
    const again = {
      ...(told as unknown as Lease),
      fencingToken: BigInt(told.fencingToken!),
      expiresAt: new Date(told.expiresAt!),
    };
    expect(await requests.startAttempt(again, { configVersion: 'v1' })).toMatchObject({ outcome: 'proceed' });
  });
});
