import { DatabaseUnavailableError, InvalidCommandError } from '../../../src/errors';
import { halvesOf, owns, type ResidueClass } from '../../../src/fence/residue';
import { Shards } from '../../../src/shards/shards';
import { type DatabaseOfFile, useTestDatabase } from '../../support/database/use-test-database';
import { moveRestaurants, moveRows } from '../../support/shards/move-restaurants';
import { aRestaurantOf, empty, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';

const a = useTestDatabase();
const b = useTestDatabase();
/** What a part of the second moves to. */
const c = useTestDatabase();
const [QUARTER, OTHER] = halvesOf(ODD);
const NOWHERE = 'postgresql://postgres@127.0.0.1:1/nowhere';
const AT = `timestamptz '2026-03-01 12:00:00.123Z'`;
/** Where each database is, for processes that reach it and others that do not. */
const urls = (away: 'a' | 'b' | 'none') =>
  mapOf(1, {
    a: { ...EVEN, url: away === 'a' ? NOWHERE : a.url },
    b: { ...ODD, url: away === 'b' ? NOWHERE : b.url },
  });
let shards: Shards;
/** The same, but for one database, which is away. */
const without: Record<'a' | 'b', Shards> = {} as never;

beforeAll(async () => {
  await fence(a, EVEN);
  await fence(b, ODD);
  // A range of its own: ids are unique over all databases.
  await b.query(
    `SELECT setval(format('%I', sequencename)::regclass, 2 * 1099511627776) FROM pg_sequences
     WHERE schemaname = current_schema() AND data_type = 'bigint'::regtype`,
  );
  shards = await new Shards(new ReplaceableSource(urls('none'))).open();
  for (const name of ['a', 'b'] as const) without[name] = await new Shards(new ReplaceableSource(urls(name))).open();
});
afterAll(() => Promise.all([shards, ...Object.values(without)].map((one) => one.destroy())));
beforeEach(async () => {
  for (const database of [a, b, c]) await empty(database);
});

/** Requests of one millisecond, several of each of its microseconds, with attempts that nobody has answered. */
async function requestsAt(database: DatabaseOfFile, of: ResidueClass, count = 90): Promise<void> {
  await database.query(
    `WITH state AS (
     INSERT INTO auth_request_state (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at,
       attempt_open, attempt_unanswered, attempt, attempt_version, unanswered_since, last_event_sequence)
     SELECT gen_random_uuid(), $1, 't', 'PROCESSING', 1, 'USD', ${AT} + n / 10 * interval '1 microsecond', true, true, 1, 'v1',
       now() - n % 2 * interval '2 days', 1
     FROM generate_series(1, $2) AS n RETURNING auth_request_id)
     INSERT INTO payment_events (aggregate_id, restaurant_id, aggregate_type, event_type, event_data, sequence_number)
     SELECT auth_request_id, $1, 'auth_request', 'AuthRequestCreated', '', 1 FROM state`,
    [aRestaurantOf(of), count],
  );
}

/** Holds of one millisecond of each request, half of them needed. */
async function holdsAt(database: DatabaseOfFile): Promise<void> {
  await database.query(
    `INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at,
       hold_expires_at, state, state_since, is_needed, is_answered, first_event_sequence, last_event_sequence)
     SELECT auth_request_id, restaurant_id, 'stripe', 'pi_' || n, 1, 'USD', now(), created_at + interval '100 years',
       CASE n WHEN 1 THEN 'held' ELSE 'voiding' END, created_at, n = 1, true, 1, 1
     FROM auth_request_state, generate_series(1, 3) AS n ON CONFLICT DO NOTHING`,
  );
}

type Found = Awaited<ReturnType<typeof list>>;
type List = 'stuck' | 'unsettled' | 'holds';
const list = async (which: List, at: Shards, page: { limit?: number; after?: string }) => {
  const all = at.all();
  if (which === 'holds') return await all.holds.list(page);
  const command = { olderThanMs: 0, ...page };
  return which === 'stuck' ? await all.listStuck(command) : await all.listUnsettled(command);
};
const idsOf = (found: Found) =>
  found.items.map((item) => [item.authRequestId, 'processorAuthId' in item ? item.processorAuthId : ''].join(' '));

/** What all databases have, in the order of the list, by SQL that knows no cursor: sorted once more as texts. */
async function expected(which: List, of = (_restaurantId: string) => true): Promise<string[]> {
  const [order, table] = {
    stuck: [`''`, 'auth_request_state'],
    unsettled: [`unanswered_since < now() - interval '1 day'`, 'auth_request_state'],
    holds: ['is_needed', 'auth_holds'],
  }[which] as [string, string];
  const time = which === 'holds' ? 'CASE WHEN is_needed THEN hold_expires_at ELSE state_since END' : 'created_at';
  const id = `concat(auth_request_id, ' ', processor_auth_id)`;
  const text = `SELECT concat_ws('|', ${order}, extract(epoch FROM ${time}), ${id}) AS place, ${id} AS id, restaurant_id AS restaurant FROM ${table}`;
  const rows = [];
  for (const database of [a, b])
    rows.push(...(await database.query<{ place: string; id: string; restaurant: string }>(text)));
  return rows
    .filter(({ restaurant }) => of(restaurant))
    .sort((one, other) => (one.place < other.place ? -1 : 1))
    .map(({ id: found }) => found);
}

/** Pages to the end, the first ones asked of these in turn. */
async function walk(which: List, limit: number, ...first: readonly Shards[]) {
  const pages: Found[] = [];
  for (let after: string | undefined; ;) {
    const page = await list(which, first[pages.length] ?? shards, { limit, after });
    pages.push(page);
    expect(page.items.length).toBeLessThanOrEqual(limit);
    expect(pages.length).toBeLessThanOrEqual(150);
    if (page.next === undefined) return pages;
    after = page.next;
  }
}

/** The items of a first page, and of those after it by another map, by which every database answers. */
async function goOn(which: List, at: Shards, first: Found, atMost: number): Promise<string[]> {
  const found = idsOf(first);
  for (let after = first.next; after !== undefined;) {
    const page = await list(which, at, { limit: 20, after });
    expect(page.away).toEqual([]);
    found.push(...idsOf(page));
    expect(found.length).toBeLessThanOrEqual(atMost);
    after = page.next;
  }
  return found;
}

describe.each(['stuck', 'unsettled', 'holds'] as const)('pages of all databases (%s)', (which) => {
  beforeEach(async () => {
    await requestsAt(a, EVEN);
    await requestsAt(b, ODD);
    if (which === 'holds') for (const database of [a, b]) await holdsAt(database);
  });

  test.each([7, 60, 180, 1_000])(
    'of %i have each item once, in one order, also those of one instant and one millisecond',
    async (limit) => {
      const pages = await walk(which, limit);
      expect(pages.flatMap(idsOf)).toEqual(await expected(which));
      expect(pages.every(({ away }) => away.length === 0)).toBe(true);
    },
  );

  test('go on at the cursor of any item, wherever it is from', async () => {
    const all = await expected(which);
    const { items } = await list(which, shards, { limit: 50 });
    for (const [index, { cursor }] of items.entries()) {
      if (index % 7 > 0) continue;
      const rest = await list(which, shards, { limit: 1_000, after: cursor! });
      expect(idsOf(rest)).toEqual(all.slice(index + 1));
    }
  });

  test.each([
    ['the first', () => [without.b]],
    ['the second', () => [shards, without.a]],
    ['several, and then another', () => [without.b, without.b, shards, without.a, without.b, shards, without.a]],
  ])('have each item once, and say what is away, where a database is away in %s of them', async (_when, first) => {
    const asked = first();
    const pages = await walk(which, 20, ...asked);
    const found = pages.flatMap(idsOf);
    expect(found).toHaveLength(new Set(found).size);
    expect([...found].sort()).toEqual((await expected(which)).sort());
    for (const [index, { items, away }] of pages.entries()) {
      const missing = asked[index] === without.a ? EVEN : asked[index] === without.b ? ODD : undefined;
      const name = missing === EVEN ? 'a' : 'b';
      expect(away).toEqual(missing ? [{ shard: name, error: expect.any(DatabaseUnavailableError) as unknown }] : []);
      if (missing) expect(items.some(({ restaurantId }) => owns(missing, restaurantId))).toBe(false);
    }
  });

  test('end where those that answer have no more, and name in the last one what is missing', async () => {
    const pages = await walk(which, 60, ...Array.from({ length: 100 }, () => without.b));
    const has = new Set(pages.flatMap(idsOf));
    expect([...has]).toEqual((await expected(which)).filter((id) => has.has(id)));
    expect(has.size).toBe((await expected(which)).length / 2);
    expect(pages.at(-1)).toMatchObject({ next: undefined, away: [{ shard: 'b' }] });
  });

  test('leave out nothing of a database that was away, also where it is two by the next page and has left rows behind', async () => {
    for (const half of [QUARTER, OTHER]) await requestsAt(b, half, 30);
    if (which === 'holds') await holdsAt(b);
    const first = await list(which, without.b, { limit: 20 });
    const before = await expected(which);
    await moveRestaurants({ from: b, keeps: QUARTER, to: c, moves: OTHER });
    // What is b's own, also where it comes behind rows that c has now and cannot list.
    const own = await expected(which, (restaurantId) => !owns(OTHER, restaurantId));
    const split = async (urlOfC: string) =>
      await new Shards(
        new ReplaceableSource(
          mapOf(2, { a: { ...EVEN, url: a.url }, b: { ...QUARTER, url: b.url }, c: { ...OTHER, url: urlOfC } }),
        ),
      ).open();
    const [whole, withoutC] = [await split(c.url), await split(NOWHERE)];
    try {
      const found = await goOn(which, whole, first, before.length);
      expect(found).toHaveLength(before.length);
      expect([...found].sort()).toEqual(before.sort());
      const asked = Array.from({ length: 150 }, () => withoutC);
      expect((await walk(which, 5, ...asked)).flatMap(idsOf)).toEqual(own);
    } finally {
      await whole.destroy();
      await withoutC.destroy();
      await fence(b, ODD, true);
    }
  });

  test.each(['a', 'b'] as const)(
    'leave out nothing where %s was away, also where both are one database by the next page',
    async (away) => {
      const first = await list(which, without[away], { limit: 20 });
      const before = (await expected(which)).sort();
      const [from, moves] = away === 'a' ? ([a, EVEN] as const) : ([b, ODD] as const);
      const to = away === 'a' ? b : a;
      // As an undo of a split ends: the one that stays has all rows.
      await fence(to, WHOLE, true);
      await moveRows({ from, to, moves });
      const whole = await new Shards(new ReplaceableSource(mapOf(2, { a: { ...WHOLE, url: to.url } }))).open();
      try {
        const found = await goOn(which, whole, first, 2 * before.length);
        expect([...new Set(found)].sort()).toEqual(before);
      } finally {
        await whole.destroy();
        await fence(a, EVEN, true);
        await fence(b, ODD, true);
      }
    },
  );

  test.each([5, {}, ['x']])('refuse %j, which is no text, as a database does', async (after) => {
    await expect(list(which, shards, { after: after as never })).rejects.toBeInstanceOf(InvalidCommandError);
  });

  test.each(['', 'x', ',', `0_1_${aRestaurantOf(EVEN)},1/3=`, `0_1_${aRestaurantOf(EVEN)},1/2`, '0,2/2=1'])(
    'refuse "%s", which no page has given',
    async (after) => {
      const error = await list(which, shards, { after }).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(InvalidCommandError);
      expect((error as InvalidCommandError).problems).toEqual([expect.stringMatching(/^after must be /)]);
    },
  );
});
