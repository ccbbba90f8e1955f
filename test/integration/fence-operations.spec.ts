import { randomUUID } from 'node:crypto';
import { type Pool } from 'pg';
import { AuthRequests, type PaymentEventsDataSource, sealPlainSecrets, Sweeper, WrongShardError } from '../../src';
import { poolOf } from '../../src/database/connections';
import { owns, remainderOf, type ResidueClass } from '../../src/fence/residue';
import { removeFence, setFence } from '../../src/fence/set-fence';
import { aConfig, insertLegacyConfig } from '../support/configs/config-rows';
import { TestKeyring } from '../support/configs/configs';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { readRows, type Rows } from '../support/migrations/migration-chain';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { OPERATIONS } from '../support/requests/role-operations';
import { aLostHold, aLostRequest, anUnsettledRequest } from '../support/sweeper/sweeping';

const database = useTestDatabase();
const keyring = new TestKeyring();

/** All restaurants but those with this remainder, so that the one of the operations is foreign. */
const FOREIGN = { modulus: 2, remainder: 1 - remainderOf(RESTAURANT, 2) };

const idIn = (shard: ResidueClass): string => {
  for (;;) {
    const id = randomUUID();
    if (owns(shard, id)) return id;
  }
};

let fence: PaymentEventsDataSource;
let user: PaymentEventsDataSource;
let prepared: PaymentEventsDataSource;
let isFenced = false;
let before: Rows;

/** Has work done each time before the pool gives a connection. */
function beforeEachConnection(pool: Pool, work: () => Promise<void>): void {
  const connect = pool.connect.bind(pool) as (callback?: (...given: unknown[]) => void) => Promise<unknown>;
  pool.connect = ((callback?: (...given: unknown[]) => void) => {
    if (!callback) return work().then(() => connect());
    work().then(
      () => void connect(callback),
      (error: unknown) => callback(error),
    );
  }) as never;
}

/** What was prepared was so before the restaurant moved away; what is called comes after. */
beforeAll(async () => {
  [fence, user, prepared] = (await Promise.all(
    [1, 2, 3].map(() => quietDataSource({ url: database.url, coalescedStatements: 0 })),
  )) as [PaymentEventsDataSource, PaymentEventsDataSource, PaymentEventsDataSource];
  beforeEachConnection(poolOf(user), async () => {
    if (isFenced) return;
    await setFence(fence, FOREIGN);
    before = await readRows(fence);
    isFenced = true;
  });
  beforeEachConnection(poolOf(prepared), async () => {
    if (isFenced) await removeFence(fence);
    isFenced = false;
  });
});

afterEach(async () => {
  await removeFence(fence);
  isFenced = false;
});

afterAll(async () => {
  for (const dataSource of [fence, user, prepared]) await dataSource.destroy();
});

/** All but what is about the fence itself: test/integration/fence.spec.ts. */
const CALLS = Object.entries(OPERATIONS)
  .flatMap(([of, methods]) => Object.entries(methods).map(([method, call]) => ({ name: `${of}.${method}`, call })))
  .filter(({ name }) => !/Fence$/.test(name));

/** What writes a foreign restaurant nevertheless, and why that is right. Everything else is refused, or only reads. */
const WRITES: Record<string, string> = {
  'IdempotencyKeys.purgeExpired': 'a key that has expired means nothing anywhere',
  'ProcessingLocks.acquire': 'a lease alone changes nothing: who has it cannot begin an attempt, nor record one',
  'ProcessingLocks.renew': 'the same',
  'ProcessingLocks.release': 'the same',
  'ProcessingLocks.withLock': 'the same',
  'ProcessingLocks.purgeExpired': 'the same',
  'Outbox.enqueue':
    'a message by itself is delivered from wherever it is; beside a write of the package it is refused with it',
  'Outbox.requeue': 'a message that was there before: what has not moved goes out from here',
  'Outbox.requeueAll': 'the same',
  'Outbox.discard': 'the same',
  'Outbox.purgeProcessed': 'the same',
  'OutboxRelay.start': 'the same',
  'OutboxRelay.runOnce': 'the same',
  'functions.rotateDataKeys': 'a data key is of no restaurant',
  'Sweeper.start': 'it goes over all, leaves alone what has moved, and purges what has expired',
  'Sweeper.runOnce': 'the same',
};

/** Those that go over all restaurants, and leave alone what has moved away. */
const LEAVES_ALONE = ['AuthRequests.expireStale', 'functions.sealPlainSecrets'];

const READS = [
  ...['get', 'waitForResult', 'list', 'listStuck', 'listUnsettled'].map((name) => `AuthRequests.${name}`),
  ...['ReplicaReads.get', 'ReplicaReads.list'],
  ...['toVoid', 'list', 'totals', 'stats'].map((name) => `Holds.${name}`),
  ...['EventStore.readStream', 'EventStore.iterate', 'Outbox.listFailed', 'Outbox.stats'],
  ...['ReadModel.verify', 'ReadModel.sharedHolds'],
  ...['getActive', 'getVersion', 'history'].map((name) => `RestaurantPaymentConfigs.${name}`),
  ...['RestaurantPaymentConfig', 'PaymentProcessor', 'DataKey'].map((name) => `entities.${name}`),
  ...['findByProcessorId', 'secretsStatus', 'assertNonePending'].map((name) => `functions.${name}`),
];

const REFUSED = CALLS.filter(({ name }) => !(name in WRITES) && ![...LEAVES_ALONE, ...READS].includes(name));
const callsOf = (names: readonly string[]) => CALLS.filter(({ name }) => names.includes(name));

/** But for a lease, which attemptVoid takes before it asks, and a data key, which is of no restaurant: see {@link WRITES}. */
const ofRestaurants = ({ auth_processing_locks: _lease, data_keys: _key, ...rows }: Rows) => rows;

test('every method is on one list, and no list has another', () => {
  expect(REFUSED.map(({ name }) => name)).toEqual([
    ...['authorize', 'requestVoid', 'attempt', 'startAttempt'].map((name) => `AuthRequests.${name}`),
    ...['recordAuthorized', 'recordDenied', 'recordFailure'].map((name) => `AuthRequests.${name}`),
    ...['closeUnanswered', 'expire'].map((name) => `AuthRequests.${name}`),
    ...['report', 'attemptVoid', 'recordVoided', 'recordVoidFailure'].map((name) => `Holds.${name}`),
    ...['Holds.requeueVoid', 'Holds.recordEnd', 'IdempotencyKeys.claim', 'EventStore.append'],
    ...['ReadModel.previewRebuild', 'ReadModel.rebuild'],
    ...['activate', 'rollback', 'deactivate'].map((name) => `RestaurantPaymentConfigs.${name}`),
    'functions.inspectRequest',
  ]);
  const listed = [...Object.keys(WRITES), ...LEAVES_ALONE, ...READS];
  expect(callsOf(listed)).toHaveLength(listed.length);
});

test.each(REFUSED)('$name of a foreign restaurant is refused, and has written nothing', async ({ call }) => {
  await expect(call(user, prepared)).rejects.toThrow(WrongShardError);
  expect(ofRestaurants(await readRows(fence))).toEqual(ofRestaurants(before));
});

test.each(callsOf([...LEAVES_ALONE, ...READS]))('$name works, and writes nothing', async ({ call }) => {
  await call(user, prepared);
  expect(await readRows(fence)).toEqual(before);
});

test.each(callsOf(Object.keys(WRITES)))('$name works, and writes no event and no key', async ({ name, call }) => {
  const called = call(user, prepared);
  if (name === 'Sweeper.runOnce') await expect(called).rejects.toThrow('The sweeper found nothing to do.');
  else await called;
  const { payment_events: events, restaurant_payment_configs: configs } = await readRows(fence);
  expect({ events, configs }).toEqual({ events: before.payment_events, configs: before.restaurant_payment_configs });
});

test('of requests that travel together those of the own restaurants are taken, the foreign ones refused: 20 rounds', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  await setFence(fence, FOREIGN);
  const requests = new AuthRequests(dataSource);
  const ids = { own: idIn(FOREIGN), foreign: RESTAURANT };
  const [last] = await database.query<{ id: string }>('SELECT coalesce(max(id), 0)::text AS id FROM payment_events');
  for (let round = 0; round < 20; round++) {
    const commands = Array.from({ length: 60 }, (_, index) =>
      anAuthorizeCommand({ restaurantId: index % 5 === 0 ? ids.foreign : ids.own }),
    );
    const results = await Promise.allSettled(commands.map((command) => requests.authorize(command)));
    for (const [index, result] of results.entries()) {
      if (index % 5 === 0) expect(result).toMatchObject({ reason: expect.any(WrongShardError) as Error });
      else expect(result.status).toBe('fulfilled');
    }
  }
  const [{ own, foreign }] = (await database.query(
    `SELECT count(*) FILTER (WHERE restaurant_id = $1)::int AS own, count(*) FILTER (WHERE restaurant_id = $2)::int AS foreign
     FROM payment_events WHERE id > $3`,
    [ids.own, ids.foreign, last!.id],
  )) as [{ own: number; foreign: number }];
  expect({ own, foreign }).toEqual({ own: 20 * 48, foreign: 0 });
  await dataSource.destroy();
});

test('the sweeper sends again and gives up what is its own, and nothing of what has moved away', async () => {
  await aLostRequest(prepared);
  await anUnsettledRequest(prepared);
  await aLostHold(prepared);
  const { processorAuthId } = await aLostHold(prepared);
  await database.query('UPDATE auth_holds SET sweeps = 1000 WHERE processor_auth_id = $1', [processorAuthId]);
  const rules = { stuckAfterMs: 1, unsettledAfterMs: 1, voidingAfterMs: 1, maxDelayMs: 1, maxSweeps: 1_000 };
  const found = async (shard: ResidueClass) => {
    await removeFence(fence);
    await setFence(fence, shard);
    const { stuck, unsettled, voiding } = await new Sweeper(fence, rules).runOnce({ dryRun: true });
    return [stuck!.sent, unsettled!.sent, voiding!.sent, voiding!.givenUp].map(({ length }) => length > 0);
  };
  expect(await found({ modulus: 2, remainder: remainderOf(RESTAURANT, 2) })).toEqual([true, true, true, true]);
  expect(await found(FOREIGN)).toEqual([false, false, false, false]);
});

test('sealing seals what is its own, and leaves what has moved away', async () => {
  const plain = { processor_config: { api_key: 'sk_test' } };
  const own = idIn(FOREIGN);
  await database.query('DELETE FROM restaurant_payment_configs WHERE sealed_secrets IS NULL');
  await insertLegacyConfig(prepared, aConfig({ ...plain, restaurant_id: RESTAURANT }));
  await insertLegacyConfig(prepared, aConfig({ ...plain, restaurant_id: own }));
  await setFence(fence, FOREIGN);
  expect(await sealPlainSecrets(fence, await keyring.keys())).toEqual({ sealed: 1, left: [] });
  const sealed = await database.query(
    'SELECT restaurant_id FROM restaurant_payment_configs WHERE sealed_secrets IS NOT NULL AND restaurant_id IN ($1, $2)',
    [own, RESTAURANT],
  );
  expect(sealed).toEqual([{ restaurant_id: own }]);
});
