import { Shards } from '../../../src/shards/shards';
import { Sweeper } from '../../../src/sweeper/sweeper';
import { useTestDatabase } from '../../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand } from '../../support/requests/auth-requests';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';
import { HOUR, letPass } from '../../support/sweeper/sweeping';

const source = useTestDatabase();
const target = useTestDatabase();
const KEPT = [aRestaurantOf(EVEN), aRestaurantOf(EVEN)];
const GONE = [aRestaurantOf(ODD), aRestaurantOf(ODD), aRestaurantOf(ODD)];
let shards: Shards;
const stuck: Record<string, string> = {};
const voiding: Record<string, string> = {};

/**
 * Of each restaurant a request that nobody took up and one whose hold nobody needs, those that move away first. Their rows
 * stay at the source, as until a split has cleaned up.
 */
beforeAll(async () => {
  await fence(source, WHOLE);
  const before = await new Shards(new ReplaceableSource(mapOf(1, { a: { ...WHOLE, url: source.url } }))).open();
  for (const restaurantId of [...GONE, ...KEPT]) {
    const { requests, locks } = await before.of(restaurantId);
    stuck[restaurantId] = (await requests.authorize(anAuthorizeCommand({ restaurantId }))).authRequestId;
    const { authRequestId } = await requests.authorize(anAuthorizeCommand({ restaurantId }));
    const lease = (await locks.acquire({ restaurantId, authRequestId, ttlMs: 60_000 }))!;
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await requests.expire({ restaurantId, authRequestId, reason: 'r' });
    await requests.recordAuthorized(lease, anAuthorization());
    await locks.release(lease);
    voiding[restaurantId] = authRequestId;
  }
  await before.destroy();
  await source.query('UPDATE outbox SET processed_at = now()');
  await letPass(source, HOUR);
  await moveRestaurants({ from: source, keeps: EVEN, to: target, moves: ODD });
  const map = mapOf(2, { a: { ...EVEN, url: source.url }, b: { ...ODD, url: target.url } });
  shards = await new Shards(new ReplaceableSource(map)).open();
});
afterAll(() => shards?.destroy());

const idsOf = (found: readonly { readonly authRequestId: string }[]) => found.map(({ authRequestId }) => authRequestId);
const of = (ids: Record<string, string>, restaurants: readonly string[]) => restaurants.map((id) => ids[id]);

test('what moved restaurants leave behind is in no list of all databases, also where it comes before the rest', async () => {
  expect(await source.query('SELECT FROM auth_request_state')).toHaveLength(10);
  const all = shards.all();
  const { items } = await all.listStuck({ olderThanMs: 0 });
  expect(idsOf(items)).toEqual(of(stuck, [...GONE, ...KEPT]));
  // At the source three foreign ones stand before the one that is asked for.
  const [{ value: first } = { value: [] }] = (
    await shards.each(async (shard) =>
      shard.name === 'a' ? await shard.requests.listStuck({ olderThanMs: 0, limit: 1 }) : [],
    )
  ).results;
  expect(idsOf(first)).toEqual(of(stuck, KEPT.slice(0, 1)));
  expect(idsOf((await all.listStuck({ olderThanMs: 0, limit: 4 })).items)).toEqual(of(stuck, [...GONE, KEPT[0]!]));
  expect(idsOf((await all.holds.list({ limit: 4 })).items)).toEqual(of(voiding, [...GONE, KEPT[0]!]));
});

test('the sweeper sends messages for the own ones alone, gives up their voids alone, and lists them alone', async () => {
  const sweeper = new Sweeper(await source.dataSource(), { stuckAfterMs: 1_000, voidingAfterMs: 1_000 });
  const dry = await sweeper.runOnce({ dryRun: true });
  expect([idsOf(dry.stuck!.sent), idsOf(dry.voiding!.sent)]).toEqual([of(stuck, KEPT), of(voiding, KEPT)]);
  const swept = await sweeper.runOnce();
  expect([idsOf(swept.stuck!.sent), idsOf(swept.voiding!.sent)]).toEqual([of(stuck, KEPT), of(voiding, KEPT)]);
  // Nobody does anything about it, over and over: it is given up by an event, which the fence would refuse for the others.
  const impatient = { stuckAfterMs: 1_000, voidingAfterMs: 1_000, maxSweeps: 1, maxDelayMs: 1_000 };
  await source.query('UPDATE outbox SET processed_at = now()');
  await source.query(
    `ALTER TABLE auth_holds DISABLE TRIGGER guard_auth_holds; UPDATE auth_holds SET sweeps = 1, swept_at = NULL, state_since = state_since - interval '1 hour';
     ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds;
     ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state; UPDATE auth_request_state SET sweeps = 1, swept_at = NULL, updated_at = updated_at - interval '1 hour';
     ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`,
  );
  const last = await new Sweeper(await source.dataSource(), impatient).runOnce();
  expect(idsOf(last.voiding!.givenUp)).toEqual(of(voiding, KEPT));
  expect(idsOf(last.listing!.requests)).toEqual(of(stuck, KEPT));
});

test('expireStale closes the own ones: those left behind stop nothing that is in the same batch', async () => {
  const { requests } = await shards.of(KEPT[0]!);
  await expect(requests.expireStale({ olderThanMs: 60_000, batchSize: 2 })).resolves.toEqual(of(stuck, KEPT));
  const { items, away } = await shards.all().expireStale({ olderThanMs: 60_000 });
  expect([[...items].sort(), away]).toEqual([of(stuck, GONE).sort(), []]);
  const left = await source.query<{ status: string }>(
    'SELECT status FROM auth_request_state WHERE auth_request_id = ANY ($1)',
    [of(stuck, GONE)],
  );
  expect(left.map(({ status }) => status)).toEqual(['PENDING', 'PENDING', 'PENDING']);
});
