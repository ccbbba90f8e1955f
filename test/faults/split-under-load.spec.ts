import { randomUUID } from 'node:crypto';
import { AuthRequests, findDrift, IdempotencyKeyReuseError, ReadModel, WrongShardError } from '../../src';
import { inClass } from '../../src/fence/fence-sql';
import { owns } from '../../src/fence/residue';
import { legacy, loadLegacyDatabase } from '../support/legacy/legacy-fixture';
import { LATEST_LEVEL, MigrationChain } from '../support/migrations/migration-chain';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { failureOf } from '../support/processes/within';
import { EVEN, ODD } from '../support/shards/shards';
import { SplitLoad } from '../support/shards/split-load';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

jest.setTimeout(240_000);

let from: SplitServer;
let to: SplitServer;
let pair: SplitPair;
let load: SplitLoad;
/** Messages of what moves that the source had not delivered when it was cut over, about. */
let waiting: number;

const restaurants = Array.from({ length: 12 }, () => randomUUID());

/** One split of an adopted database, from PostgreSQL 15 to 18, whose end the tests look at. */
beforeAll(async () => {
  [from, to] = await Promise.all([SplitServer.start(15), SplitServer.start(18)]);
  const source = await from.empty();
  await loadLegacyDatabase({ url: source });
  await new MigrationChain({ url: source }).upTo(LATEST_LEVEL);
  pair = await SplitPair.of({ source, target: await to.database() });
  const readModel = new ReadModel(pair.source);
  for (const { authRequestId } of legacy.broken) await readModel.rebuild(authRequestId);

  load = new SplitLoad(pair.oldMap, { a: pair.source, b: pair.target }, restaurants);
  load.relay(pair.source);
  load.relay(pair.source);
  await load.progress(20);
  await pair.split.prepare();
  await pair.split.publish();
  await pair.split.subscribe();
  waiting = (await pair.source.query<unknown[]>(`SELECT FROM outbox WHERE processed_at IS NULL AND ${inClass(ODD)}`))
    .length;
  await pair.split.cutOver();
  // What is refused meanwhile waits for the map.
  load.map = pair.newMap;
  load.relay(pair.target);
  load.slowMs = 0;
  await load.progress(40);
  await load.stop();
}, 240_000);

afterAll(async () => {
  await pair?.end();
  await Promise.all([from?.remove(), to?.remove()]);
});

test('every row of what moves is in the target, rows that are older than its checks too, and no other row', async () => {
  const { source, target } = await pair.rows();
  // Of each request that the source has the target has all, and perhaps more since.
  const events = (rows: Record<string, unknown>) =>
    (rows.payment_events as { row: { id: number } }[]).map(({ row }) => row);
  const had = events(source);
  expect(had.length).toBeGreaterThan(20);
  expect(events(target).filter(({ id }) => id < 2 ** 40)).toEqual(had);
  expect(target.restaurant_payment_configs).toEqual(source.restaurant_payment_configs);
  expect(target.processors).toEqual(source.processors);
  for (const table of ['payment_events', 'auth_request_state', 'auth_idempotency_keys', 'auth_holds', 'outbox']) {
    const rows = target[table] as { row: { restaurant_id: string } }[];
    expect(rows.length).toBeGreaterThan(0);
    expect(rows.filter(({ row }) => !owns(ODD, row.restaurant_id))).toEqual([]);
  }
  const broken = await pair.target.query<unknown[]>(`SELECT FROM payment_events WHERE metadata IS NULL`);
  expect(broken.length).toBeGreaterThan(0);
});

test('no request is lost, and each is at its own database alone', async () => {
  const left = await pair.source.query<{ id: string }[]>('SELECT auth_request_id AS id FROM auth_request_state');
  const atSource = new Set(left.map(({ id }) => id));
  for (const { command, authRequestId, isAuthorized, isVoided } of load.requests) {
    const { restaurantId } = command;
    const at = owns(ODD, restaurantId) ? pair.target : pair.source;
    const [found] = await at.query<{ status: string }[]>(
      'SELECT status FROM auth_request_state WHERE (auth_request_id, restaurant_id) = ($1, $2)',
      [authRequestId, restaurantId],
    );
    if (isVoided) expect(found).toEqual({ status: 'VOIDED' });
    else if (isAuthorized) expect(found).toEqual({ status: 'AUTHORIZED' });
    else expect(found).toBeDefined();
    if (at === pair.source) expect(atSource).toContain(authRequestId);
  }
  expect(load.refused).toBeGreaterThan(0);
});

test('a key replays on the other side, and is refused for another request', async () => {
  const moved = load.requests.filter(({ command }) => owns(ODD, command.restaurantId)).slice(0, 5);
  for (const { command, authRequestId } of moved) {
    const requests = new AuthRequests(pair.target);
    expect(await requests.authorize(command)).toMatchObject({ authRequestId, replayed: true });
    const other = requests.authorize({ ...command, amountCents: command.amountCents + 1 });
    await expect(other).rejects.toThrow(IdempotencyKeyReuseError);
  }
});

test('each message is delivered, in the order of its request', () => {
  const first = new Map<string, bigint[]>();
  const seen = new Set<bigint>();
  for (const { id, aggregateId } of load.published) {
    if (!seen.has(id)) first.set(aggregateId, [...(first.get(aggregateId) ?? []), id]);
    seen.add(id);
  }
  for (const ids of first.values()) expect(ids).toEqual(ids.toSorted((one, other) => Number(one - other)));
  for (const { authRequestId, isVoided } of load.requests) {
    expect(first.get(authRequestId!)?.length ?? 0).toBeGreaterThanOrEqual(isVoided ? 2 : 1);
  }
});

test('none is delivered twice: what the source has marked the target does not deliver, and what it has not the target alone', () => {
  expect(waiting).toBeGreaterThan(5);
  const ids = load.published.map(({ id }) => id);
  expect(ids.length - new Set(ids).size).toBe(0);
});

test('the source refuses what has moved, and the target what has stayed', async () => {
  for (const [at, restaurantId] of [
    [pair.source, restaurants.find((id) => owns(ODD, id))!],
    [pair.target, restaurants.find((id) => owns(EVEN, id))!],
  ] as const) {
    const refused = new AuthRequests(at).authorize(anAuthorizeCommand({ restaurantId }));
    expect(await failureOf(refused)).toBeInstanceOf(WrongShardError);
  }
});

test('both are as their migrations have made them, and verified, also after the cleaning up', async () => {
  for (const isClean of [false, true]) {
    if (isClean) await pair.split.cleanUp(pair.newMap);
    for (const dataSource of [pair.source, pair.target]) {
      const drift = await findDrift(dataSource, { ignorePrivileges: true });
      expect(drift).toEqual([]);
      const verification = new ReadModel(dataSource).verify();
      const differences = [];
      for await (const difference of verification) differences.push(difference);
      expect(differences).toEqual([]);
      expect(verification.checked).toBeGreaterThan(0);
      if (dataSource === pair.source) expect(verification.leftBehind).toBeGreaterThan(0);
      else expect(verification.leftBehind).toBe(0);
    }
  }
  const { source } = await pair.rows();
  const tables = ['auth_request_state', 'auth_holds', 'auth_idempotency_keys', 'outbox', 'restaurant_payment_configs'];
  for (const table of tables) expect(source[table]).toEqual([]);
  expect(source.payment_events).not.toEqual([]);
  expect((await pair.split.status(pair.newMap)).next).toBeUndefined();
});

test('a password is in no log, neither ours nor that of a server', () => {
  for (const said of [pair.said.join('\n'), from.log, to.log]) {
    expect(said).not.toMatch(/not to be seen|not%20to%20be%20seen/);
  }
});
