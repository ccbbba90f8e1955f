import { randomUUID } from 'node:crypto';
import { type DataSource } from 'typeorm';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { createProgram } from '../../../src/cli/program';
import { secretsStatus } from '../../../src/configs/secrets-status';
import { ConfigurationError, WrongShardError } from '../../../src/errors';
import { FENCED_TABLES } from '../../../src/fence/fence-sql';
import { addReceives, dropReceives } from '../../../src/fence/receives';
import { removeFence } from '../../../src/fence/set-fence';
import { findByProcessorId } from '../../../src/inspection/find-by-processor-id';
import { inspectRequest } from '../../../src/inspection/inspect-request';
import { PaymentEventsDbHealth } from '../../../src/nest/payment-events-db.health';
import { Outbox } from '../../../src/outbox/outbox';
import { ReadModel } from '../../../src/read-model/read-model';
import { Shards } from '../../../src/shards/shards';
import { holdIn, requestIn } from '../../../src/testing';
import { plainConfigs } from '../../support/configs/configs';
import { useTestDatabase } from '../../support/database/use-test-database';
import { programHere } from '../../support/processes/cli';
import { moveRestaurants } from '../../support/shards/move-restaurants';
import { aRestaurantOf, EVEN, fence, mapOf, ODD, ReplaceableSource, WHOLE } from '../../support/shards/shards';
import { deliverAll, HOUR, letPass } from '../../support/sweeper/sweeping';

const source = useTestDatabase();
const target = useTestDatabase();
/** Its fence is made whatever a test needs. */
const other = useTestDatabase();
const KEPT = aRestaurantOf(EVEN);
const GONE = aRestaurantOf(ODD);
/** A processor's id that a request of each restaurant has. */
const OF_BOTH = 'pi_of_both';
/** One that a request of the restaurant that moves has, and then two of the other. */
const OF_THREE = 'pi_of_three';

/** What names no restaurant and lists: one text for each item, in which its request stands. */
const LISTS: Record<string, (dataSource: DataSource) => Promise<string[]>> = {
  listStuck: async (dataSource) => idsOf(await new AuthRequests(dataSource).listStuck({ olderThanMs: 0 })),
  listUnsettled: async (dataSource) => idsOf(await new AuthRequests(dataSource).listUnsettled({ olderThanMs: 0 })),
  'holds.list': async (dataSource) => idsOf(await new Holds(dataSource).list()),
  findByProcessorId: async (dataSource) => idsOf(await findByProcessorId(dataSource, OF_BOTH)),
  // One that no hold has, as of clients from before there were holds.
  'findByProcessorId in rows': async (dataSource) => idsOf(await findByProcessorId(dataSource, 'pi_of_rows')),
  sharedHolds: async (dataSource) => {
    const found = [];
    for await (const { processorAuthId, holds } of new ReadModel(dataSource).sharedHolds()) {
      if (processorAuthId !== OF_THREE) found.push(idsOf(holds).join(' '));
    }
    return found;
  },
};

/** What names no restaurant and counts, as numbers by what they are of. */
const NUMBERS: Record<string, (dataSource: DataSource) => Promise<Record<string, number>>> = {
  'holds.totals': async (dataSource) => sumsOf(await new Holds(dataSource).totals()),
  'holds.stats': async (dataSource) => {
    const { lapsing, forAPerson, ...totals } = await new Holds(dataSource).stats();
    return { lapsing, ...forAPerson, ...sumsOf(totals) };
  },
  secretsStatus: async (dataSource) => {
    const { plain, sealed, nested } = await secretsStatus(dataSource);
    return { plain, sealed, nested };
  },
};

const idsOf = (found: readonly { readonly authRequestId: string }[]) => found.map(({ authRequestId }) => authRequestId);
const sumsOf = ({ totals }: Awaited<ReturnType<Holds['totals']>>) =>
  Object.fromEntries(
    totals.flatMap(({ state, because, count, amountCents }) => [
      [`${state} ${because}`, count],
      [`cents ${state} ${because}`, amountCents],
    ]),
  );

let atSource: DataSource;
let atTarget: DataSource;
/** A process that has opened the source by the map from before the move. */
let stale: Shards;
const requestsOf: Record<string, string[]> = { [KEPT]: [], [GONE]: [] };
const before: { lists: Record<string, string[]>; numbers: Record<string, Record<string, number>> } = {
  lists: {},
  numbers: {},
};

/** Of everything that a list or a number tells something; what a person has to see to of the restaurant that moves alone. */
async function fill(restaurantId: string): Promise<void> {
  const made = [];
  for (let index = 0; index < 2; index++) {
    made.push(await requestIn(atSource, 'PENDING', { restaurantId }));
    made.push(await requestIn(atSource, 'PROCESSING', { restaurantId }));
    made.push(await holdIn(atSource, 'voiding', { restaurantId, amountCents: 100 }));
    made.push(await holdIn(atSource, 'held', { restaurantId, processorAuthId: `pi_${restaurantId}` }));
  }
  made.push(await holdIn(atSource, 'held', { restaurantId, processorAuthId: OF_BOTH }));
  for (let index = restaurantId === GONE ? 1 : 0; index < 2; index++) {
    made.push(await holdIn(atSource, 'held', { restaurantId, processorAuthId: OF_THREE }));
  }
  if (restaurantId === GONE) made.push(await holdIn(atSource, 'void_failed', { restaurantId }));
  const rows = await requestIn(atSource, 'PENDING', { restaurantId });
  await source.query(`UPDATE auth_request_state SET processor_auth_id = 'pi_of_rows' WHERE auth_request_id = $1`, [
    rows.authRequestId,
  ]);
  const lapsing = await requestIn(atSource, 'PENDING', { restaurantId });
  await new AuthRequests(atSource).attempt({ ...lapsing, configVersion: 'v1', ttlMs: 60_000 }, () =>
    Promise.resolve({
      ...{ outcome: 'authorized', processorName: 'stripe', processorAuthId: `pi_lapsing_${restaurantId}` },
      ...{ authorizedAmountCents: 1050, currency: 'USD', authorizationCode: 'A1' },
      holdExpiresAt: new Date(Date.now() + 20 * HOUR),
    }),
  );
  requestsOf[restaurantId] = idsOf([...made, rows, lapsing]);
}

beforeAll(async () => {
  await fence(source, WHOLE);
  [atSource, atTarget] = await Promise.all([source.dataSource(), target.dataSource()]);
  await fill(GONE);
  await letPass(source, 7 * HOUR);
  await fill(KEPT);
  await plainConfigs(source, [
    [GONE, { api_key: 'sk_gone' }],
    [KEPT, { api_key: 'sk_kept' }],
  ]);
  await deliverAll(source);
  for (const [name, list] of Object.entries(LISTS)) before.lists[name] = await list(atSource);
  for (const [name, count] of Object.entries(NUMBERS)) before.numbers[name] = await count(atSource);
  stale = new Shards(new ReplaceableSource(mapOf(1, { a: { ...WHOLE, url: source.url } })));
  await (await stale.open()).of(KEPT);
  await moveRestaurants({ from: source, keeps: EVEN, to: target, moves: ODD });
});
afterAll(() => stale.destroy());

const isOf = (restaurantId: string) => (item: string) =>
  item.split(' ').every((id) => requestsOf[restaurantId]!.includes(id));

describe('from the hand-over on, while rows of moved restaurants are left', () => {
  test.each(Object.entries(LISTS))(
    '%s has the own ones alone, at both databases, and in the same order',
    async (name, list) => {
      const all = before.lists[name]!;
      expect(all.some(isOf(GONE)) && all.some(isOf(KEPT))).toBe(true);
      expect(await list(atSource)).toEqual(all.filter(isOf(KEPT)));
      expect(await list(atTarget)).toEqual(all.filter(isOf(GONE)));
    },
  );

  test.each(Object.entries(NUMBERS))(
    '%s counts the own ones alone: both databases together what one had',
    async (name, count) => {
      const [here, there] = [await count(atSource), await count(atTarget)];
      const all = before.numbers[name]!;
      const sums = Object.keys(all).map((key) => [key, (here[key] ?? 0) + (there[key] ?? 0)]);
      expect(Object.fromEntries(sums)).toEqual(all);
      expect(Object.values(there).some((value) => value > 0) && Object.values(here).some((value) => value > 0)).toBe(
        true,
      );
    },
  );

  test('a hold that own requests share is told once, without the one that has moved', async () => {
    const told = async (dataSource: DataSource) => {
      const found = [];
      for await (const { processorAuthId, holds } of new ReadModel(dataSource).sharedHolds()) {
        if (processorAuthId === OF_THREE) found.push(holds.map(({ restaurantId }) => restaurantId));
      }
      return found;
    };
    expect(await told(atSource)).toEqual([[KEPT, KEPT]]);
    expect(await told(atTarget)).toEqual([]);
  });

  test('a filter, a limit and a cursor choose among the own ones, whatever stands before them', async () => {
    const holds = new Holds(atSource);
    const [first] = await holds.list({ limit: 1 });
    expect(first!.restaurantId).toBe(KEPT);
    const [second] = await holds.list({ limit: 1, after: first!.cursor! });
    expect(second!.restaurantId).toBe(KEPT);
    expect(await holds.list({ forAPerson: true })).toEqual([]);
    expect(await holds.list({ restaurantId: GONE })).toEqual([]);
    expect((await holds.totals({ restaurantId: GONE })).totals).toEqual([]);
    const [stuck] = await new AuthRequests(atSource).listStuck({ olderThanMs: 0, limit: 1 });
    expect(stuck!.restaurantId).toBe(KEPT);
  });

  test('no age of what has moved stands in the numbers, and the health of the source is up', async () => {
    const { oldestOpenAgeMs, forAPerson } = await new Holds(atSource).stats();
    expect(oldestOpenAgeMs).toBeLessThan(7 * HOUR);
    expect(forAPerson).toEqual({ void_failed: 0, captured_unneeded: 0, never_voided: 0 });
    expect((await new PaymentEventsDbHealth(atSource).holds('holds')).holds.status).toBe('up');
    expect(await new PaymentEventsDbHealth(atTarget).holds('holds')).toMatchObject({
      holds: { status: 'down', forAPerson: { void_failed: 1 } },
    });
  });

  test.each(['holds list', 'holds list --totals', 'requests stuck', 'requests unsettled'])(
    '%s at the source shows nothing of what has moved',
    async (command) => {
      const args = [...command.split(' '), '--json', ...(command.startsWith('requests') ? ['--older-than', '0'] : [])];
      const { stdout } = await programHere(createProgram(), args, { DATABASE_URL: source.url });
      const shown = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { restaurantId?: string; state?: string });
      expect(shown.length).toBeGreaterThan(0);
      expect(shown.filter(({ restaurantId }) => restaurantId === GONE)).toEqual([]);
      expect(shown.filter(({ state }) => state === 'void_failed')).toEqual([]);
    },
  );

  test('a message that is left at the source is listed and counted there, since nobody else delivers it', async () => {
    const message = {
      aggregateId: randomUUID(),
      restaurantId: GONE,
      messageType: 'refund_queued',
      payload: Buffer.of(1),
    };
    const id = await atSource.transaction((manager) => new Outbox(atSource).enqueue(manager, message));
    await source.query('UPDATE outbox SET failed_at = now(), attempts = 1 WHERE id = $1', [id]);
    const map = mapOf(2, { a: { ...EVEN, url: source.url }, b: { ...ODD, url: target.url } });
    const shards = await new Shards(new ReplaceableSource(map)).open();
    try {
      const outbox = new Outbox(atSource);
      expect(await outbox.listFailed()).toMatchObject([{ id, restaurantId: GONE }]);
      expect(await outbox.stats()).toMatchObject({ failed: 1 });
      expect(await shards.all().outbox.listFailed()).toMatchObject({ items: [{ id, restaurantId: GONE }], away: [] });
      expect(await shards.all().outbox.stats()).toMatchObject({ failed: 1, away: [] });
    } finally {
      await shards.destroy();
      await deliverAll(source);
    }
  });

  test('of all databases the numbers are what one had', async () => {
    const map = mapOf(2, { a: { ...EVEN, url: source.url }, b: { ...ODD, url: target.url } });
    const shards = await new Shards(new ReplaceableSource(map)).open();
    try {
      expect(sumsOf(await shards.all().holds.totals())).toEqual(before.numbers['holds.totals']);
      const { lapsing, forAPerson, ...totals } = await shards.all().holds.stats();
      expect({ lapsing, ...forAPerson, ...sumsOf(totals) }).toEqual(before.numbers['holds.stats']);
    } finally {
      await shards.destroy();
    }
  });

  test('by a map from before the move the source is away, so that no half of it is taken for the whole', async () => {
    const all = stale.all();
    const away = [{ shard: 'a', error: expect.any(WrongShardError) as unknown }];
    const answers = [
      ...[await all.listStuck({ olderThanMs: 0 }), await all.listUnsettled({ olderThanMs: 0 }), await all.holds.list()],
      await all.findByProcessorId(OF_BOTH),
    ];
    for (const answer of answers) expect(answer).toMatchObject({ items: [], away });
    for (const answer of [await all.holds.totals(), await all.holds.stats()]) {
      expect(answer).toMatchObject({ totals: [], away });
    }
  });

  test('when a split is undone, all of it is there again', async () => {
    await fence(source, WHOLE, true);
    try {
      for (const [name, list] of Object.entries(LISTS))
        expect([name, await list(atSource)]).toEqual([name, before.lists[name]]);
      for (const [name, count] of Object.entries(NUMBERS)) {
        expect([name, await count(atSource)]).toEqual([name, before.numbers[name]]);
      }
    } finally {
      await fence(source, EVEN);
    }
  });

  test('a request that has moved is inspected where it is now, and refused where it was, also once its rows are gone', async () => {
    const refused = async () => {
      for (const id of requestsOf[GONE]!) await expect(inspectRequest(atSource, id)).rejects.toThrow(WrongShardError);
    };
    await refused();
    for (const id of requestsOf[GONE]!) expect((await inspectRequest(atTarget, id)).restaurantId).toBe(GONE);
    for (const id of requestsOf[KEPT]!) expect((await inspectRequest(atSource, id)).restaurantId).toBe(KEPT);
    for (const table of ['auth_holds', 'auth_request_state']) {
      await source.query(`DELETE FROM ${table} WHERE restaurant_id = $1`, [GONE]);
    }
    await refused();
  });
});

describe.each(Object.entries({ ...LISTS, ...NUMBERS }))('%s', (_name, ask) => {
  test('is refused at the target of a split, which has no restaurant yet', async () => {
    await other.query(FENCED_TABLES.map(addReceives).join('; '));
    try {
      await expect(ask(await other.dataSource())).rejects.toThrow(WrongShardError);
    } finally {
      await other.query(FENCED_TABLES.map(dropReceives).join('; '));
    }
  });

  test('is refused where fences do not agree, since nobody knows which restaurants are meant', async () => {
    await fence(other, EVEN);
    await other.query('ALTER TABLE payment_events DROP CONSTRAINT payment_events_shard');
    try {
      await expect(ask(await other.dataSource())).rejects.toThrow(ConfigurationError);
    } finally {
      await removeFence(await other.dataSource());
    }
  });
});
