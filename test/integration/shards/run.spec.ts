import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';
import { DatabaseUnavailableError, WrongShardError } from '../../../src/errors';
import { owns } from '../../../src/fence/residue';
import { type Shard } from '../../../src/shards/shard';
import { LONGEST_LOAD_MS } from '../../../src/shards/map-loader';
import { Shards } from '../../../src/shards/shards';
import { type ShardsSettings } from '../../../src/shards/shards-settings';
import { useTestDatabase } from '../../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand } from '../../support/requests/auth-requests';
import { atOnce } from '../../support/requests/races';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { aRestaurantOf, empty, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const a = useTestDatabase();
const b = useTestDatabase();
const before = () => mapOf(1, { a: { ...WHOLE, url: a.url } });
const after = () => mapOf(2, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } });
const opened: Shards[] = [];

async function open(source: ReplaceableSource, settings: ShardsSettings = {}): Promise<Shards> {
  const shards = new Shards(source, { reloadEveryMs: 0, ...settings });
  opened.push(shards);
  return await shards.open();
}

/** All restaurants are at the first database, and nothing is there. */
beforeEach(async () => {
  await empty(a);
  await empty(b);
  await fence(a, WHOLE, true);
  await b.query('ALTER TABLE payment_events DROP CONSTRAINT IF EXISTS payment_events_shard');
  await b.query('ALTER TABLE auth_idempotency_keys DROP CONSTRAINT IF EXISTS auth_idempotency_keys_shard');
  await b.query('ALTER TABLE restaurant_payment_configs DROP CONSTRAINT IF EXISTS restaurant_payment_configs_shard');
});
afterEach(async () => {
  for (const shards of opened.splice(0)) await shards.destroy();
});

const codeOf = ({ code }: { code?: string }) => code;
const move = () => moveRestaurants({ from: a, keeps: EVEN, to: b, moves: ODD });
test('each write with an old map is refused by the database, and made once at the one that a reloaded map names', async () => {
  const source = new ReplaceableSource(before());
  const restaurantId = aRestaurantOf(ODD);
  const first = await open(source);
  const writes: Record<string, (shard: Shard, authRequestId: string) => Promise<unknown>> = {
    authorize: ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId, idempotencyKey: 'k' })),
    requestVoid: ({ requests }, authRequestId) =>
      requests.requestVoid({ restaurantId, authRequestId, idempotencyKey: 'v', reason: 'r' }),
    expire: ({ requests }, authRequestId) => requests.expire({ restaurantId, authRequestId, reason: 'r' }),
    attempt: ({ requests }, authRequestId) =>
      requests.attempt({ restaurantId, authRequestId, configVersion: 'v1', ttlMs: 60_000 }, () =>
        Promise.resolve({ outcome: 'authorized', ...anAuthorization() }),
      ),
    report: ({ holds }, authRequestId) =>
      holds.report({
        ...{ restaurantId, authRequestId, processorName: 'stripe', processorAuthId: 'pi_1', source: 'webhook' },
        ...{ sourceEventId: 'evt_1', told: 'authorized', amountCents: 1050, currency: 'USD' },
      }),
    claim: ({ keys, dataSource }, authRequestId) =>
      dataSource.transaction((manager) =>
        keys.claim({ restaurantId, authRequestId, idempotencyKey: 'c', operation: 'refund', request: {} }, manager),
      ),
  };
  const ids: Record<string, string> = {};
  for (const name of Object.keys(writes)) {
    const { authRequestId } = await first.run(restaurantId, ({ requests }) =>
      requests.authorize(anAuthorizeCommand({ restaurantId })),
    );
    ids[name] = authRequestId;
  }
  await move();
  const events = async (database: typeof a) => (await database.query('SELECT FROM payment_events')).length;
  const [atSource, atTarget] = [await events(a), await events(b)];
  source.map = after();
  for (const [name, write] of Object.entries(writes)) {
    // Each begins with the old map.
    const shards = await open(new ReplaceableSource(before()));
    const places: string[] = [];
    const old = shards.run(restaurantId, (shard) => (places.push(shard.name), write(shard, ids[name]!)));
    expect({ name, error: await old.catch((error: unknown) => error) }).toEqual({
      name,
      error: expect.any(WrongShardError) as unknown,
    });
    expect(places).toEqual(['a']);
    const moving = new ReplaceableSource(before());
    const follower = await open(moving);
    moving.map = after();
    await follower.run(restaurantId, (shard) => (places.push(shard.name), write(shard, ids[name]!)));
    expect({ name, places, loads: moving.loads }).toEqual({ name, places: ['a', 'a', 'b'], loads: 2 });
  }
  expect(await events(a)).toBe(atSource);
  // authorize, requestVoid, expire and report append one each, an attempt two; claim has none.
  expect((await events(b)) - atTarget).toBe(6);
});

test('a map that still names the database that has refused is an error, and no loop', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  await fence(a, EVEN);
  const restaurantId = aRestaurantOf(ODD);
  const work = jest.fn(({ requests }: Shard) => requests.authorize(anAuthorizeCommand({ restaurantId })));
  await expect(shards.run(restaurantId, work)).rejects.toThrow(WrongShardError);
  expect([work.mock.calls.length, source.loads]).toEqual([1, 2]);
});

test('a map that cannot be reloaded leaves the refusal, with what stopped it as its cause', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  await fence(a, EVEN);
  const restaurantId = aRestaurantOf(ODD);
  source.map = { version: 2, shards: [] };
  await expect(
    shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId }))),
  ).rejects.toMatchObject({ code: 'WRONG_SHARD', cause: { code: 'CONFIGURATION' } });
});

test('a request that a split has removed from its old database is found at the new one', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  const restaurantId = aRestaurantOf(ODD);
  const { authRequestId } = await shards.run(restaurantId, ({ requests }) =>
    requests.authorize(anAuthorizeCommand({ restaurantId })),
  );
  await move();
  await a.query('DELETE FROM auth_request_state; DELETE FROM auth_idempotency_keys');
  source.map = after();
  await delay(TOO_OLD_MS);
  const command = { restaurantId, authRequestId, idempotencyKey: 'v', reason: 'r' };
  await expect(shards.run(restaurantId, ({ requests }) => requests.requestVoid(command))).resolves.toMatchObject({
    authRequestId,
  });
  // One that is nowhere is found nowhere, and asked for once.
  const work = jest.fn(({ requests }: Shard) =>
    requests.requestVoid({ ...command, authRequestId: restaurantId, idempotencyKey: 'w' }),
  );
  await expect(shards.run(restaurantId, work)).rejects.toMatchObject({ code: 'AUTH_REQUEST_NOT_FOUND' });
  source.map = { version: 3, shards: [] };
  await delay(TOO_OLD_MS);
  await expect(shards.run(restaurantId, work)).rejects.toMatchObject({ code: 'AUTH_REQUEST_NOT_FOUND' });
  expect(work).toHaveBeenCalledTimes(2);
});

test('a lease that a split has taken away is renewed, and the answer recorded, at the new database, however new the old map is', async () => {
  const restaurantId = aRestaurantOf(ODD);
  const leasedOf = async (shards: Shards) => {
    const { authRequestId } = await shards.run(restaurantId, ({ requests }) =>
      requests.authorize(anAuthorizeCommand({ restaurantId })),
    );
    return await shards.run(restaurantId, async ({ locks }) => {
      return (await locks.acquire({ restaurantId, authRequestId, workerId: 'w', ttlMs: 60_000 }))!;
    });
  };
  const first = await open(new ReplaceableSource(before()));
  const [renewed, answered] = [await leasedOf(first), await leasedOf(first)];
  await first.run(restaurantId, ({ requests }) => requests.startAttempt(answered, { configVersion: 'v1' }));
  await move();
  await a.query('DELETE FROM auth_processing_locks');
  const works: readonly ((shard: Shard) => Promise<unknown>)[] = [
    ({ locks }) => locks.renew(renewed, 60_000),
    ({ requests }) => requests.recordAuthorized(answered, anAuthorization()),
  ];
  for (const work of works) {
    const source = new ReplaceableSource(before());
    const shards = await open(source);
    await shards.of(restaurantId);
    await shards.reload();
    source.map = after();
    await shards.run(restaurantId, work);
    expect(shards.map.version).toBe(2);
  }
  const ids = [renewed, answered].map(({ authRequestId }) => authRequestId);
  const rows = await b.query<{ status: string }>(
    'SELECT status FROM auth_request_state WHERE auth_request_id = ANY ($1) ORDER BY array_position($1, auth_request_id)',
    [ids],
  );
  expect(rows.map(({ status }) => status)).toEqual(['PENDING', 'AUTHORIZED']);
});

test('a lease that is lost at the only database stays lost, and waits for no source that hangs or fails', async () => {
  const restaurantId = aRestaurantOf(ODD);
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  const lease = {
    restaurantId,
    authRequestId: MISSING.authRequestId,
    workerId: 'w',
    fencingToken: 1n,
    expiresAt: new Date(),
  };
  const renew = jest.fn(({ locks }: Shard) => locks.renew(lease, 60_000));
  const lost = () => shards.run(restaurantId, renew).catch(codeOf);
  expect(await lost()).toBe('LOCK_LOST');
  source.load = () => Promise.reject(new Error('away'));
  expect(await lost()).toBe('LOCK_LOST');
  loadsMayTake(FOR_EVER);
  source.load = never;
  expect(await lost()).toBe('LOCK_LOST');
  expect(renew).toHaveBeenCalledTimes(3);
});

/** What is missing has the map loaded again when it is older than a second. */
const TOO_OLD_MS = 1_100;
const MISSING = {
  authRequestId: '0191d8e4-8a8a-7a8a-8a8a-0123456789ab',
  ...{ idempotencyKey: 'v', reason: 'r' },
};

test('however many ask for what there is not, the map is loaded once a second at most', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  const begun = performance.now();
  const restaurantId = aRestaurantOf(ODD);
  for (let count = 0; count < 100; count++) {
    await expect(
      shards.run(restaurantId, ({ requests }) => requests.requestVoid({ ...MISSING, restaurantId })),
    ).rejects.toMatchObject({ code: 'AUTH_REQUEST_NOT_FOUND' });
  }
  // Open has loaded it once.
  expect(source.loads).toBeLessThanOrEqual(1 + Math.floor((performance.now() - begun) / 1_000));
});

/** How long a load may take in this test, which in truth is ten seconds. */
function loadsMayTake(ms: number): void {
  const real = setTimeout;
  const changed = (run: () => void, after?: number) => real(run, after === LONGEST_LOAD_MS ? ms : after);
  jest.spyOn(globalThis, 'setTimeout').mockImplementation(changed);
}
afterEach(() => jest.restoreAllMocks());
const FOR_EVER = 2_147_483_647;
const never = () => new Promise<never>(() => undefined);

test('a source that never answers keeps no call that can do without it from its end', async () => {
  const source = new ReplaceableSource(before());
  const onReloadFailed = jest.fn();
  const shards = await open(source, { reloadEveryMs: 1, onReloadFailed });
  loadsMayTake(FOR_EVER);
  const load = jest.fn(never);
  source.load = load;
  await delay(TOO_OLD_MS);
  const restaurantId = aRestaurantOf(ODD);
  const missing = () =>
    shards.run(restaurantId, ({ requests }) => requests.requestVoid({ ...MISSING, restaurantId })).catch(codeOf);
  const calls = async () => [
    (await shards.of(restaurantId)).name,
    (await shards.each(({ name }) => Promise.resolve(name))).results.length,
    await missing(),
    await missing(),
  ];
  const found = ['a', 1, 'AUTH_REQUEST_NOT_FOUND', 'AUTH_REQUEST_NOT_FOUND'];
  await expect(Promise.all([calls(), calls(), calls()])).resolves.toEqual([found, found, found]);
  expect([load.mock.calls.length, onReloadFailed.mock.calls.length]).toEqual([1, 0]);
});

const refusedBy = (shards: Shards) =>
  shards
    .run(aRestaurantOf(ODD), () => Promise.reject(new WrongShardError('elsewhere')))
    .catch((error: unknown) => error);
const NOT_RELOADED = { code: 'WRONG_SHARD', cause: { code: 'CONFIGURATION' } };

test('a refusal waits for a source that hangs as long as one load may take, also where another was under way', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  await shards.of(aRestaurantOf(ODD));
  loadsMayTake(500);
  source.load = never;
  const underWay = shards.reload().catch(codeOf);
  const refused = refusedBy(shards);
  const next = shards.reload().catch(codeOf);
  await expect(Promise.race([refused, next])).resolves.toMatchObject(NOT_RELOADED);
  await expect(Promise.all([underWay, next])).resolves.toEqual(['CONFIGURATION', 'CONFIGURATION']);
});

test('a refusal waits a second alone for a source that has failed the last time', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  source.load = () => Promise.reject(new Error('away'));
  await expect(refusedBy(shards)).resolves.toMatchObject({ code: 'WRONG_SHARD', cause: new Error('away') });
  loadsMayTake(FOR_EVER);
  source.load = never;
  await expect(refusedBy(shards)).resolves.toMatchObject(NOT_RELOADED);
});

test('what is refused for another reason is not repeated', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  const work = jest.fn(() => Promise.reject(new DatabaseUnavailableError('connection lost')));
  await expect(shards.run(aRestaurantOf(ODD), work)).rejects.toThrow(DatabaseUnavailableError);
  expect([work.mock.calls.length, source.loads]).toEqual([1, 1]);
});

test('many who are refused at once reload the map once', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  await move();
  source.map = after();
  const restaurants = Array.from({ length: 50 }, () => aRestaurantOf(ODD));
  let refused = 0;
  let goOn!: () => void;
  const allRefused = new Promise<void>((resolve) => (goOn = resolve));
  await Promise.all(
    restaurants.map((restaurantId) =>
      shards.run(restaurantId, ({ requests }) =>
        requests.authorize(anAuthorizeCommand({ restaurantId })).catch(async (error: unknown) => {
          if (++refused === restaurants.length) goOn();
          await allRefused;
          throw error;
        }),
      ),
    ),
  );
  expect(source.loads).toBe(2);
  expect(await b.query('SELECT FROM auth_request_state')).toHaveLength(50);
});

test('while restaurants move under many callers, no request is lost and none is there twice', async () => {
  const source = new ReplaceableSource(before());
  const processes = await Promise.all([open(source), open(source)]);
  const receipts = new Map<string, { restaurantId: string; authRequestId: string }>();
  let isOver = false;
  const caller = async (shards: Shards) => {
    for (let count = 0; !isOver || count < 20; count++) {
      const restaurantId = aRestaurantOf(WHOLE);
      const command = anAuthorizeCommand({ restaurantId });
      for (let authRequestId: string | undefined; authRequestId === undefined;) {
        // As a client does that was answered 503: the same again.
        authRequestId = await shards
          .run(restaurantId, ({ requests }) => requests.authorize(command))
          .then(
            (receipt) => receipt.authRequestId,
            async (error: unknown) => {
              if (!(error instanceof WrongShardError)) throw error;
              await delay(5);
              return undefined;
            },
          );
        if (authRequestId) receipts.set(command.idempotencyKey, { restaurantId, authRequestId });
      }
    }
  };
  const callers = Promise.all(processes.flatMap((shards) => [1, 2, 3, 4, 5, 6, 7, 8].map(() => caller(shards))));
  while (receipts.size < 100) await Promise.race([delay(5), callers]);
  await move();
  source.map = after();
  const moved = receipts.size;
  while (receipts.size < moved + 100) await Promise.race([delay(5), callers]);
  isOver = true;
  await callers;
  const rows = async (database: typeof a, mine: typeof EVEN) =>
    (
      await database.query<{ id: string; restaurant_id: string; key: string }>(
        `SELECT auth_request_id AS id, restaurant_id, idempotency_key AS key FROM auth_request_state
         JOIN auth_idempotency_keys USING (auth_request_id, restaurant_id)`,
      )
    ).filter(({ restaurant_id: id }) => owns(mine, id));
  const kept = [...(await rows(a, EVEN)), ...(await rows(b, ODD))];
  expect(kept).toHaveLength(receipts.size);
  for (const { id, restaurant_id: restaurantId, key } of kept) {
    expect(receipts.get(key)).toEqual({ restaurantId, authRequestId: id });
  }
  // Nor has the source taken one of the other class since.
  const [foreign] = await a.query<{ count: number }>(
    `SELECT count(*)::integer AS count FROM outbox WHERE restaurant_id = ANY ($1::uuid[])`,
    [[...receipts.values()].map(({ restaurantId }) => restaurantId).filter((id) => owns(ODD, id))],
  );
  expect(foreign).toEqual({ count: 0 });
});

test('of calls that travel in one statement the foreign ones alone are refused', async () => {
  await fence(a, EVEN);
  const options = createDataSourceOptions({ url: a.url, coalescedStatements: 1 });
  const dataSource = await new PaymentEventsDataSource(options).initialize();
  try {
    const requests = new AuthRequests(dataSource);
    const restaurants = Array.from({ length: 64 }, () => aRestaurantOf(WHOLE));
    const outcomes = await atOnce(64, (index) =>
      requests.authorize(anAuthorizeCommand({ restaurantId: restaurants[index] })).then(
        () => 'taken',
        (error: Error) => error.name,
      ),
    );
    expect(outcomes).toEqual(restaurants.map((id) => (owns(EVEN, id) ? 'taken' : 'WrongShardError')));
    expect(new Set(outcomes).size).toBe(2);
  } finally {
    await dataSource.destroy();
  }
});

test('an answer whose restaurant moved while the processor was asked is told to the worker, who asks again at the new database under the same key', async () => {
  const source = new ReplaceableSource(before());
  const shards = await open(source);
  const restaurantId = aRestaurantOf(ODD);
  const { authRequestId } = await shards.run(restaurantId, ({ requests }) =>
    requests.authorize(anAuthorizeCommand({ restaurantId })),
  );
  const command = { restaurantId, authRequestId, configVersion: 'v1', ttlMs: 300 };
  const answer = { outcome: 'authorized' as const, ...anAuthorization() };
  const asked = jest.fn(async () => {
    await move();
    return answer;
  });
  await expect(shards.run(restaurantId, ({ requests }) => requests.attempt(command, asked))).rejects.toThrow(
    WrongShardError,
  );
  expect(asked).toHaveBeenCalledTimes(1);
  source.map = after();
  // The message is delivered again, until the lease that moved along has run out.
  let begun: unknown;
  const again = jest.fn((attempt: { outcome: string; authRequestId: string }) => {
    begun = { outcome: attempt.outcome, authRequestId: attempt.authRequestId };
    return Promise.resolve(answer);
  });
  for (let result; result === undefined;) {
    result = await shards
      .run(restaurantId, ({ requests }) => requests.attempt({ ...command, ttlMs: 60_000 }, again))
      .catch(async (error: { code?: string }) => {
        if (error.code !== 'LOCK_HELD') throw error;
        await delay(20);
        return undefined;
      });
  }
  expect([begun, again.mock.calls.length]).toEqual([{ outcome: 'proceed', authRequestId }, 1]);
  const [request] = await b.query(
    'SELECT status, processor_auth_id FROM auth_request_state WHERE auth_request_id = $1',
    [authRequestId],
  );
  expect(request).toEqual({ status: 'AUTHORIZED', processor_auth_id: answer.processorAuthId });
  // The source has heard nothing of it.
  const [left] = await a.query('SELECT status, processor_auth_id FROM auth_request_state WHERE auth_request_id = $1', [
    authRequestId,
  ]);
  expect(left).toEqual({ status: 'PROCESSING', processor_auth_id: null });
});
