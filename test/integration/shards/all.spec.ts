import { AuthRequestNotFoundError, DatabaseUnavailableError } from '../../../src/errors';
import { addFence } from '../../../src/fence/fence-sql';
import { owns } from '../../../src/fence/residue';
import { type AllShards } from '../../../src/shards/all-shards';
import { type Shard } from '../../../src/shards/shard';
import { Shards } from '../../../src/shards/shards';
import { useTestDatabase } from '../../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand } from '../../support/requests/auth-requests';
import { aRestaurantOf, empty, EVEN, fence, mapOf, ODD, ReplaceableSource } from '../../support/shards/shards';
import { HOUR, letPass } from '../../support/sweeper/sweeping';

const a = useTestDatabase();
const b = useTestDatabase();
const NOWHERE = 'postgresql://postgres@127.0.0.1:1/nowhere';
let shards: Shards;
let all: AllShards;
/** The same, but for the second database, which is away. */
let crippled: Shards;

beforeAll(async () => {
  await fence(a, EVEN);
  await fence(b, ODD);
  shards = await new Shards(
    new ReplaceableSource(mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: b.url } })),
  ).open();
  all = shards.all();
  crippled = await new Shards(
    new ReplaceableSource(mapOf(1, { a: { ...EVEN, url: a.url }, b: { ...ODD, url: NOWHERE } })),
  ).open();
});
afterAll(async () => {
  await shards.destroy();
  await crippled.destroy();
});

const away = [{ shard: 'b', error: expect.any(DatabaseUnavailableError) as unknown }];
const authorize = (restaurantId: string) =>
  shards.run(restaurantId, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId })));
/** One after the other, at the two databases in turn. */
async function requests(count: number): Promise<{ restaurantId: string; authRequestId: string }[]> {
  const made = [];
  for (let index = 0; index < count; index++) {
    const restaurantId = aRestaurantOf(index % 2 === 0 ? EVEN : ODD);
    made.push({ restaurantId, authRequestId: (await authorize(restaurantId)).authRequestId });
  }
  return made;
}
/** A request whose attempt nobody has answered. */
async function unsettled(
  restaurantId: string,
  end: (shard: Shard, id: string) => Promise<unknown> = () => Promise.resolve(),
) {
  const { authRequestId } = await authorize(restaurantId);
  await shards.run(restaurantId, async (shard) => {
    const lease = await shard.locks.acquire({ restaurantId, authRequestId, ttlMs: 60_000 });
    await shard.requests.startAttempt(lease!, { configVersion: 'v1' });
    await end(shard, authRequestId);
  });
  return authRequestId;
}
beforeEach(async () => {
  await empty(a);
  await empty(b);
});

test('stuck requests of all databases come in one order, as many as were asked for', async () => {
  const made = await requests(8);
  const { items, away: none } = await all.listStuck({ olderThanMs: 0, limit: 5 });
  expect(items.map(({ authRequestId }) => authRequestId)).toEqual(made.slice(0, 5).map((one) => one.authRequestId));
  expect(none).toEqual([]);
  const part = await crippled.all().listStuck({ olderThanMs: 0 });
  const even = made.filter(({ restaurantId }) => owns(EVEN, restaurantId));
  expect(part.items.map(({ authRequestId }) => authRequestId)).toEqual(even.map((one) => one.authRequestId));
  expect(part.away).toEqual(away);
});

test('unsettled requests: what can be asked about first, whichever database it is in', async () => {
  const closed = await unsettled(aRestaurantOf(EVEN));
  const open = await unsettled(aRestaurantOf(ODD));
  const later = await unsettled(aRestaurantOf(EVEN));
  await a.query(`ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state`);
  await a.query(
    `UPDATE auth_request_state SET unanswered_since = now() - interval '3 days' WHERE auth_request_id = $1`,
    [closed],
  );
  await a.query(`ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`);
  const { items } = await all.listUnsettled({ olderThanMs: 0 });
  expect(items.map(({ authRequestId, canBeAsked }) => [authRequestId, canBeAsked])).toEqual([
    [open, true],
    [later, true],
    [closed, false],
  ]);
  await expect(crippled.all().listUnsettled({ olderThanMs: 0, limit: 1 })).resolves.toMatchObject({
    items: [{ authRequestId: later }],
    away,
  });
});

/** At both databases: a hold that is needed, one that nobody needs, and one that a person has to see to. */
async function holds(): Promise<void> {
  for (const [index, shard] of [EVEN, ODD, EVEN, ODD].entries()) {
    const restaurantId = aRestaurantOf(shard);
    const { authRequestId } = await authorize(restaurantId);
    await shards.run(restaurantId, async ({ requests, locks, holds }) => {
      const lease = (await locks.acquire({ restaurantId, authRequestId, ttlMs: 60_000 }))!;
      await requests.startAttempt(lease, { configVersion: 'v1' });
      if (index >= 2) await requests.expire({ restaurantId, authRequestId, reason: 'r' });
      const holdExpiresAt = new Date(Date.now() + (index + 1) * HOUR);
      const hold = { processorName: 'stripe', processorAuthId: `pi_${index}` };
      await requests.recordAuthorized(lease, anAuthorization({ ...hold, holdExpiresAt }));
      if (index < 3) return;
      await holds.recordVoidFailure(lease, { ...hold, errorCode: 'E', errorMessage: '', retryable: false });
    });
  }
}

test('holds of all databases come in the order of one, and their totals and ages are those of all', async () => {
  await holds();
  const ids = ({ items }: { items: readonly { processorAuthId: string }[] }) =>
    items.map(({ processorAuthId }) => processorAuthId);
  expect(ids(await all.holds.list())).toEqual(['pi_2', 'pi_3', 'pi_0', 'pi_1']);
  expect(ids(await all.holds.list({ limit: 3 }))).toEqual(['pi_2', 'pi_3', 'pi_0']);
  const part = await crippled.all().holds.list();
  expect([ids(part), part.away]).toEqual([['pi_2', 'pi_0'], away]);
  const { totals, away: none } = await all.holds.totals();
  expect(none).toEqual([]);
  expect(totals.map(({ because, count, amountCents }) => [because, count, amountCents])).toEqual([
    ['void_failed', 1, 1050],
    ['voiding', 1, 1050],
    ['needed', 2, 2100],
  ]);
  const stats = await all.holds.stats({ lapsingWithinMs: 90 * 60_000 });
  expect(stats).toMatchObject({ forAPerson: { void_failed: 1, captured_unneeded: 0 }, lapsing: 1, away: [] });
  const ages = (await shards.each(({ holds }) => holds.stats())).results.map(({ value }) => value.oldestOpenAgeMs!);
  expect(stats.oldestOpenAgeMs).toBeGreaterThan(0);
  expect(stats.oldestOpenAgeMs).toBeLessThanOrEqual(Math.max(...ages));
  await expect(crippled.all().holds.stats()).resolves.toMatchObject({ forAPerson: { void_failed: 0 }, away });
});

test('numbers of the outboxes are those of all, and dead letters come in pages, none twice and none left out', async () => {
  // As `shard fence` sets them: no two databases give out the same id.
  await b.query(`SELECT setval(pg_get_serial_sequence('outbox', 'id'), 1099511627776)`);
  await requests(10);
  await expect(all.outbox.stats()).resolves.toMatchObject({ pending: 10, failed: 0, away: [] });
  for (const database of [a, b]) await database.query(`UPDATE outbox SET failed_at = now(), attempts = 1`);
  const stats = await all.outbox.stats();
  expect(stats).toMatchObject({ pending: 0, failed: 10, oldestPendingAgeMs: null });
  const ids: bigint[] = [];
  for (let after = 0n; ;) {
    const { items } = await all.outbox.listFailed({ after, limit: 3 });
    ids.push(...items.map(({ id }) => id));
    // Written while the pages are read: both sort behind what was seen.
    if (ids.length === 6) {
      await requests(2);
      for (const database of [a, b]) await database.query(`UPDATE outbox SET failed_at = now(), attempts = 1`);
    }
    if (items.length < 3) break;
    after = items.at(-1)!.id;
  }
  const there = [
    ...(await a.query<{ id: string }>('SELECT id FROM outbox ORDER BY id')),
    ...(await b.query<{ id: string }>('SELECT id FROM outbox ORDER BY id')),
  ];
  expect(ids).toHaveLength(new Set(ids).size);
  // The first database's new one came too late, behind the page that is among the second's ids.
  expect(there.map(({ id }) => BigInt(id)).filter((id) => !ids.includes(id)).length).toBeLessThanOrEqual(1);
  await expect(crippled.all().outbox.listFailed()).resolves.toMatchObject({ away });
});

test('expireStale closes what is old in every database, and names those that are away', async () => {
  const made = await requests(6);
  for (const database of [a, b]) await letPass(database, HOUR);
  const part = await crippled.all().expireStale({ olderThanMs: 60_000 });
  const even = made.filter(({ restaurantId }) => owns(EVEN, restaurantId)).map((one) => one.authRequestId);
  expect([[...part.items].sort(), part.away]).toEqual([even.sort(), away]);
  const rest = await all.expireStale({ olderThanMs: 60_000 });
  expect([...rest.items, ...part.items].sort()).toEqual(made.map((one) => one.authRequestId).sort());
});

test('purges are of all databases', async () => {
  await requests(4);
  for (const database of [a, b]) {
    await database.query('UPDATE outbox SET processed_at = now()');
    await letPass(database, 1_000 * HOUR);
    await database.query(
      `INSERT INTO auth_processing_locks (auth_request_id, restaurant_id, worker_id, fencing_token, locked_at, expires_at)
       SELECT auth_request_id, restaurant_id, 'w', 1, now() - interval '1 minute', now() FROM auth_request_state`,
    );
  }
  await expect(crippled.all().purgeKeys()).resolves.toEqual({ purged: 2, away });
  await expect(all.purgeKeys()).resolves.toEqual({ purged: 2, away: [] });
  await expect(all.purgeLocks()).resolves.toEqual({ purged: 4, away: [] });
  await expect(all.purgeMessages({ olderThanMs: 60_000 })).resolves.toEqual({ purged: 4, away: [] });
});

test('requests are found by the id of the processor wherever they are', async () => {
  await holds();
  for (const id of ['pi_0', 'pi_1']) {
    const { items } = await all.findByProcessorId(id);
    expect(items.map(({ restaurantId }) => owns(EVEN, restaurantId))).toEqual([id === 'pi_0']);
  }
  await expect(crippled.all().findByProcessorId('pi_1')).resolves.toEqual({ items: [], away });
});

test('verify compares every database, and tells which one has what differs', async () => {
  const made = await requests(6);
  const wrong = made[3]!.authRequestId;
  await b.query(`ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state`);
  await b.query('UPDATE auth_request_state SET retry_count = 7 WHERE auth_request_id = $1', [wrong]);
  await b.query(`ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`);
  const verification = all.verify();
  const found = [];
  for await (const difference of verification) found.push(difference);
  expect(found).toEqual([expect.objectContaining({ authRequestId: wrong, shard: 'b', kind: 'row_differs' })]);
  expect([verification.checked, verification.differing, verification.away]).toEqual([6, 1, []]);

  const part = crippled.all().verify();
  for await (const difference of part) expect(difference).toBeUndefined();
  expect([part.checked, part.away]).toEqual([3, away]);

  const one = all.verify({ restaurantId: made[0]!.restaurantId });
  for await (const difference of one) expect(difference).toBeUndefined();
  expect(one.checked).toBe(1);
  const [byId, none] = [all.verify({ authRequestId: wrong }), all.verify({ authRequestId: made[0]!.restaurantId })];
  const ids = [];
  for await (const { authRequestId } of byId) ids.push(authRequestId);
  expect([ids, byId.checked]).toEqual([[wrong], 1]);
  await expect(none[Symbol.asyncIterator]().next()).rejects.toThrow(AuthRequestNotFoundError);
  expect(() => all.verify({ restaurantId: 'r' })).toThrow(/restaurantId/);
});

test('verify of one request looks past events that a restaurant has left behind, and calls no database away for them', async () => {
  const restaurantId = aRestaurantOf(ODD);
  const { authRequestId } = await authorize(restaurantId);
  // As a split leaves them at its source: events of a restaurant that another database has, and no row.
  const left = await b.query<{ event: object }>(
    `SELECT to_json(e) AS event FROM payment_events AS e WHERE aggregate_id = $1`,
    [authRequestId],
  );
  const client = await a.connect();
  await client.query('ALTER TABLE payment_events DROP CONSTRAINT payment_events_shard');
  await client.query(
    `INSERT INTO payment_events OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_record(NULL::payment_events, $1)`,
    [{ ...left[0]!.event, id: 1_000_000 }],
  );
  await client.query(addFence('payment_events', EVEN));
  const verification = all.verify({ authRequestId });
  for await (const difference of verification) expect(difference).toBeUndefined();
  expect([verification.checked, verification.away]).toEqual([1, []]);
});
