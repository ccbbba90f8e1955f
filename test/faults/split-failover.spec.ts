import { once } from 'node:events';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { ReadModel, Sweeper, WrongShardError } from '../../src';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { PaymentEventsDbError } from '../../src/errors';
import { inClass } from '../../src/fence/fence-sql';
import { setFence } from '../../src/fence/set-fence';
import { SplitRefusedError } from '../../src/shards/split/errors';
import { createTemplateDatabase, createTestDatabase, holdIn, requestIn } from '../../src/testing';
import { Proxy } from '../support/database/proxy';
import { ReplicatedServers } from '../support/database/replicated-servers';
import { failureOf } from '../support/processes/within';
import { aRestaurantOf, EVEN, ODD } from '../support/shards/shards';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

/**
 * One server fails over, once: its primary is killed, and the address leads to its promoted standby. By then each pair of databases is
 * at another place of a split. What the standby lacks is what happened after it was cut off.
 */
jest.setTimeout(240_000);

/** A slot for each pair that is under way, and for its copies. */
const SETTINGS = {
  ...{ wal_level: 'logical', max_replication_slots: '60', max_wal_senders: '60', max_worker_processes: '60' },
  ...{ max_logical_replication_workers: '50', max_active_replication_origins: '60', fsync: 'off' },
};
const TEMPLATE = 'failover_template';

let servers: ReplicatedServers;
let other: SplitServer;
/** The address of the server that fails over. */
let address: Proxy;
/** An address that leads to it, and after that nowhere. */
let dead: Proxy;
/** Takes connections and never answers. */
let hole: Server;

const [stays, moves] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];

/** What a split and its failover come to, and which end it is of. */
interface Scene {
  readonly of: 'source' | 'target';
  /** What the standby has. */
  readonly had: (pair: SplitPair) => Promise<unknown>;
  /** What it lacks. */
  readonly lacks?: (pair: SplitPair) => Promise<unknown>;
}

const STEPS = ['prepare', 'publish', 'subscribe', 'cutOver'] as const;
const upTo = (last: (typeof STEPS)[number]) => async (pair: SplitPair) => {
  for (const step of STEPS.slice(0, STEPS.indexOf(last) + 1)) await pair.split[step]();
};

/** The cut-over, or the cleaning up, killed right before a statement at one of the ends. */
const killedBefore = (statement: string, step: 'cutOver' | 'cleanUp' = 'cutOver') =>
  async function (pair: SplitPair) {
    await upTo(step === 'cleanUp' ? 'cutOver' : 'subscribe')(pair);
    const killed = new Error('killed');
    for (const dataSource of [pair.source, pair.target]) {
      const createQueryRunner = dataSource.driver.createQueryRunner.bind(dataSource.driver);
      dataSource.driver.createQueryRunner = (mode) => {
        const queryRunner = createQueryRunner(mode);
        const query = queryRunner.query.bind(queryRunner);
        queryRunner.query = (async (sent: string, values?: unknown[]) => {
          if (sent.includes(statement)) throw killed;
          return (await query(sent, values)) as unknown;
        }) as typeof queryRunner.query;
        return queryRunner;
      };
    }
    const ended = step === 'cutOver' ? pair.split.cutOver() : pair.split.cleanUp(pair.newMap);
    expect(await failureOf(ended)).toBe(killed);
  };

const copying: { ended: Promise<unknown>; release: () => Promise<void> }[] = [];

/** Subscribes, where a table cannot be copied to its end; the address of the source then answers no more. */
async function subscribing(pair: SplitPair): Promise<void> {
  await upTo('publish')(pair);
  const client = new Client({ connectionString: pair.urls.target });
  await client.connect();
  await client.query('BEGIN; LOCK TABLE auth_holds IN SHARE MODE');
  const { hostname: host, port, username, password } = new URL(dead.url);
  const { pathname } = new URL(pair.urls.source);
  const connection = `host=${host} port=${port} user=${username} password=${password} dbname=${pathname.slice(1)}`;
  const ended = pair
    .splitWith({ connection })
    .subscribe()
    .then(
      () => undefined,
      (error: unknown) => error,
    );
  const isCopying = async () => {
    const { ready, of } = (await pair.split.status()).copied;
    return ready < of - 1;
  };
  while (await isCopying()) await delay(50);
  copying.push({ ended, release: () => client.end() });
}

const DISOWN = 'SELECT id FROM outbox WHERE processed_at IS NULL';
const OWN = 'DROP SUBSCRIPTION';
const LEAVE = 'DELETE FROM auth_processing_locks';

/** The cut-over that was killed, by another process. */
async function goOn({ urls }: SplitPair): Promise<void> {
  const pair = await SplitPair.of(urls);
  await pair.split.cutOver();
  await pair.end();
}

const SCENES = {
  'the source, after prepare': { of: 'source', had: upTo('prepare') },
  'the source, after publish': { of: 'source', had: upTo('publish') },
  'the source, while the target copies': { of: 'source', had: subscribing },
  'the source, as the target follows': { of: 'source', had: upTo('subscribe') },
  'the source, fenced': { of: 'source', had: killedBefore(DISOWN) },
  'the source, without its messages': { of: 'source', had: killedBefore(OWN) },
  'the source, when the target has taken over': { of: 'source', had: killedBefore(LEAVE) },
  'the source, after the cut-over': { of: 'source', had: upTo('cutOver') },
  'the source, in the clean-up': { of: 'source', had: killedBefore('DELETE FROM auth_holds', 'cleanUp') },
  'the source, behind publish': {
    ...{ of: 'source', had: upTo('prepare') },
    lacks: upTo('subscribe'),
  },
  'the source, behind the cut-over': { of: 'source', had: upTo('subscribe'), lacks: upTo('cutOver') },
  'the source, behind the cut-over, with the new map': {
    ...{ of: 'source', had: upTo('subscribe') },
    lacks: async (pair) => {
      await pair.split.cutOver();
      await holdIn(pair.target, 'held', { restaurantId: moves });
    },
  },
  'the source, behind the cut-over, with both maps': { of: 'source', had: upTo('subscribe'), lacks: upTo('cutOver') },
  'the source, behind the hand-over of messages': { of: 'source', had: killedBefore(DISOWN), lacks: goOn },
  'the source, behind the clean-up': {
    ...{ of: 'source', had: upTo('cutOver') },
    lacks: (pair) => pair.split.cleanUp(pair.newMap),
  },
  'the source, behind the undoing': {
    ...{ of: 'source', had: upTo('cutOver') },
    lacks: (pair) => pair.split.undo(pair.oldMap),
  },
  'the target, after prepare': { of: 'target', had: upTo('prepare') },
  'the target, as it follows': { of: 'target', had: upTo('subscribe') },
  'the target, when it has taken over': { of: 'target', had: killedBefore(LEAVE) },
  'the target, after the cut-over': { of: 'target', had: upTo('cutOver') },
  'the target, in the clean-up': { of: 'target', had: killedBefore('DELETE FROM auth_holds', 'cleanUp') },
  'the target, behind the cut-over': {
    ...{ of: 'target', had: upTo('subscribe') },
    lacks: async (pair) => {
      await requestIn(pair.source, 'PENDING', { restaurantId: moves });
      before.set('the target, behind the cut-over', (await pair.rows()).source);
      await pair.split.cutOver();
    },
  },
  'the target, behind the cut-over, with the new map': { of: 'target', had: upTo('subscribe'), lacks: upTo('cutOver') },
} as const satisfies Record<string, Scene>;
type Name = keyof typeof SCENES;

const pairs = new Map<string, SplitPair>();
/** What the source had of what moves. */
const before = new Map<string, Record<string, unknown>>();
/** What the target had when it, or the source, was killed. */
const atTarget = new Map<string, Record<string, unknown>>();
const refusedByStandby: unknown[] = [];

const throughAddress = (url: string, { url: through }: Proxy = address) => {
  const at = new URL(url);
  at.host = new URL(through).host;
  return at.href;
};
const failing = async (): Promise<string> =>
  throughAddress((await createTestDatabase(servers.writable.url, { template: TEMPLATE })).url);

beforeAll(async () => {
  [servers, other] = await Promise.all([ReplicatedServers.start(SETTINGS), SplitServer.start(undefined, SETTINGS)]);
  await createTemplateDatabase(servers.primary.url, TEMPLATE);
  [address, dead] = [await Proxy.start(servers.primary.url), await Proxy.start(servers.primary.url)];
  hole = createServer((socket) => socket.on('error', () => undefined)).listen(0, '127.0.0.1');
  await once(hole, 'listening');
  for (const [name, { of, had }] of Object.entries<Scene>(SCENES)) {
    const [one, two] = [await failing(), await other.database()];
    const pair = await SplitPair.of(of === 'source' ? { source: one, target: two } : { source: two, target: one });
    pairs.set(name, pair);
    for (const restaurantId of [stays, moves]) {
      await requestIn(pair.source, 'PENDING', { restaurantId });
      await holdIn(pair.source, 'voiding', { restaurantId });
    }
    before.set(name, (await pair.rows()).source);
    await had(pair);
  }
  await servers.cutOff();
  for (const [name, { lacks }] of Object.entries<Scene>(SCENES)) await lacks?.(pairs.get(name)!);
  for (const [name, pair] of pairs) atTarget.set(name, (await pair.rows()).target);

  await servers.primary.kill();
  address.repoint(servers.standby.url);
  const { urls } = pairs.get('the source, as the target follows')!;
  const early = await SplitPair.of(urls);
  for (const step of ['status', 'prepare', 'cutOver'] as const)
    refusedByStandby.push(await failureOf(early.split[step]()));
  await early.end();
  dead.repoint(`postgresql://127.0.0.1:${(hole.address() as AddressInfo).port}`);
  await servers.promote();
  for (const { release } of copying) await release();
  // A person runs the next command.
  for (const [name, pair] of pairs) {
    await pair.end();
    pairs.set(name, await SplitPair.of(pair.urls));
  }
}, 240_000);

afterAll(async () => {
  for (const pair of pairs.values()) await pair.end();
  await Promise.all([address?.close(), dead?.close()]);
  hole?.close();
  await Promise.all([servers?.remove(), other?.remove()]);
});

/** What a refusal says, all of it. */
const refusalOf = async (work: Promise<unknown>): Promise<string> => {
  const failure = await failureOf(work);
  expect(failure).toBeInstanceOf(SplitRefusedError);
  return (failure as Error).message;
};

async function expectSound(dataSource: PaymentEventsDataSource): Promise<void> {
  for await (const difference of new ReadModel(dataSource).verify()) throw new Error(difference.kind);
}

/** All that moves is at the target, and nothing else; the source has what stays, and the events. */
async function expectAtOnePlace(pair: SplitPair, had: Record<string, unknown>, got = had): Promise<void> {
  const { source, target } = await pair.rows();
  expect(target).toEqual(got);
  const { payment_events: events, processors, data_keys: keys, ...others } = source;
  expect([events, processors, keys]).toEqual([had.payment_events, had.processors, had.data_keys]);
  expect(new Set(Object.values(others).map((rows) => JSON.stringify(rows)))).toEqual(new Set(['[]']));
  const [left] = await pair.source.query<{ requests: number }[]>(
    `SELECT count(*)::int AS requests FROM auth_request_state WHERE ${inClass(EVEN)}`,
  );
  expect(left).toEqual({ requests: 2 });
  for (const dataSource of [pair.source, pair.target]) await expectSound(dataSource);
  expect((await pair.split.status(pair.newMap)).next).toBeUndefined();
  await requestIn(pair.target, 'AUTHORIZED', { restaurantId: moves });
  await requestIn(pair.source, 'AUTHORIZED', { restaurantId: stays });
}

/** From the beginning, with a new target. */
async function startAgain(name: Name): Promise<void> {
  const { source } = pairs.get(name)!.urls;
  const pair = await SplitPair.of({
    source,
    target: SCENES[name].of === 'source' ? await other.database() : await failing(),
  });
  await pair.split.run();
  await pair.split.cleanUp(pair.newMap);
  await expectAtOnePlace(pair, before.get(name)!);
  await pair.end();
}

test('a step that is at work as its source is killed fails as one that may be repeated', async () => {
  for (const { ended } of copying) {
    expect(await ended).toBeInstanceOf(PaymentEventsDbError);
    expect(await ended).toMatchObject({ retryable: true });
  }
  expect(copying).toHaveLength(1);
});

test.each<[Name, string]>([
  ['the source, after prepare', 'publish'],
  ['the source, after publish', 'subscribe'],
  ['the source, when the target has taken over', 'cut-over'],
  ['the source, after the cut-over', 'switch'],
  ['the source, behind the hand-over of messages', 'cut-over'],
  ['the source, behind the clean-up', 'switch'],
  ['the target, after prepare', 'publish'],
  ['the target, when it has taken over', 'cut-over'],
  ['the target, after the cut-over', 'switch'],
])('%s: the split goes on, by %s', async (name, next) => {
  const pair = pairs.get(name)!;
  expect(await pair.split.status()).toMatchObject({ next, broken: undefined });
  await pair.split.run();
  await pair.split.cleanUp(pair.newMap);
  await expectAtOnePlace(pair, before.get(name)!);
});

test.each<[Name, string]>([
  ['the source, while the target copies', 'slot is gone'],
  ['the source, as the target follows', 'slot is gone'],
  ['the source, fenced', 'slot is gone'],
  ['the source, without its messages', 'slot is gone'],
  ['the source, behind publish', 'slot is gone'],
  ['the target, as it follows', 'another server'],
])('%s: it is undone, and started again', async (name, says) => {
  const pair = pairs.get(name)!;
  const { broken } = await pair.split.status();
  expect(broken).toMatch(says);
  expect(broken).toMatch('Undo it, and start again');
  for (const step of ['subscribe', 'cutOver'] as const) expect(await refusalOf(pair.split[step]())).toMatch(says);
  expect(await refusalOf(pair.split.cleanUp(pair.newMap))).toMatch(says);
  await pair.split.undo(pair.oldMap);
  expect((await pair.rows()).source).toEqual(before.get(name));
  await startAgain(name);
});

test.each<[Name]>([['the source, in the clean-up'], ['the target, in the clean-up']])(
  '%s: it goes on, and cannot be undone',
  async (name) => {
    const pair = pairs.get(name)!;
    expect(await refusalOf(pair.split.undo(pair.oldMap))).toMatch('The source was cleaned up');
    expect((await pair.split.status(pair.newMap)).next).toBe('clean-up');
    await pair.split.cleanUp(pair.newMap);
    await expectAtOnePlace(pair, before.get(name)!);
  },
);

test('a source that lacks the fence of the hand-over, where no service has the new map: it is undone, and started again', async () => {
  const name = 'the source, behind the cut-over';
  const pair = pairs.get(name)!;
  expect((await pair.split.status()).broken).toMatch('the source has no fence of that');
  for (const step of STEPS) expect(await refusalOf(pair.split[step]())).toMatch('no fence of that');
  await pair.split.undo(pair.oldMap);
  expect((await pair.rows()).source).toEqual(before.get(name));
  const late = requestIn(pair.target, 'PENDING', { restaurantId: moves });
  await expect(late).rejects.toBeInstanceOf(WrongShardError);
  await startAgain(name);
});

test('a source that lacks the fence of the hand-over, where services have the new map: it gets it, and the split goes on', async () => {
  const name = 'the source, behind the cut-over, with the new map';
  const pair = pairs.get(name)!;
  expect((await pair.split.status(pair.newMap)).broken).toMatch('npx payment-events-db shard fence');
  expect(await refusalOf(pair.split.undo(pair.newMap))).toMatch('The map has the target');
  expect(await refusalOf(pair.split.undo(pair.oldMap))).toMatch('The target has written of its own');
  expect(await refusalOf(pair.split.cleanUp(pair.newMap))).toMatch('no fence of that');
  await setFence(pair.source, EVEN);
  expect((await pair.split.status(pair.newMap)).next).toBe('cut-over');
  await pair.split.cutOver();
  await pair.split.cleanUp(pair.newMap);
  await expectAtOnePlace(pair, before.get(name)!, atTarget.get(name));
});

test('what a source without the fence of the hand-over has taken is not cleaned up', async () => {
  const pair = pairs.get('the source, behind the cut-over, with both maps')!;
  const { authRequestId } = await requestIn(pair.source, 'AUTHORIZED', { restaurantId: moves });
  await setFence(pair.source, EVEN);
  await pair.split.cutOver();
  expect(await refusalOf(pair.split.cleanUp(pair.newMap))).toMatch('The target lacks 1 rows of auth_idempotency_keys');
  const kept = await pair.source.query<unknown[]>('SELECT status FROM auth_request_state WHERE auth_request_id = $1', [
    authRequestId,
  ]);
  expect(kept).toEqual([{ status: 'AUTHORIZED' }]);
});

test('a source that lacks its undoing is undone once more', async () => {
  const name = 'the source, behind the undoing';
  const pair = pairs.get(name)!;
  expect((await pair.split.status()).broken).toMatch('undo once more');
  await pair.split.undo(pair.oldMap);
  expect((await pair.rows()).source).toEqual(before.get(name));
  await startAgain(name);
});

test('a target that lacks the cut-over is given up, and the sweeper sends the messages that it has lost', async () => {
  const name = 'the target, behind the cut-over';
  const pair = pairs.get(name)!;
  expect((await pair.split.status()).broken).toMatch('Undo it');
  await pair.split.undo(pair.oldMap);
  expect(pair.said.join()).toMatch('the sweeper sends them again');
  const { outbox, ...others } = (await pair.rows()).source;
  const { outbox: sent, ...had } = before.get(name)!;
  expect(others).toEqual(had);
  expect(outbox).toHaveLength((sent as unknown[]).length - 1);
  await new Sweeper(pair.source, { stuckAfterMs: 1 }).runOnce();
  const messages = await pair.source.query<unknown[]>(
    `SELECT FROM auth_request_state AS state WHERE status = 'PENDING' AND NOT EXISTS (
       SELECT FROM outbox WHERE aggregate_id = state.auth_request_id AND message_type = 'auth_request_queued')`,
  );
  expect(messages).toEqual([]);
  before.set(name, (await pair.rows()).source);
  await startAgain(name);
});

test('a target that lacks the cut-over takes no writes of services that have the new map, and is given up', async () => {
  const name = 'the target, behind the cut-over, with the new map';
  const pair = pairs.get(name)!;
  const early = requestIn(pair.target, 'PENDING', { restaurantId: moves });
  expect(await failureOf(early)).toBeInstanceOf(WrongShardError);
  await pair.split.undo(pair.oldMap);
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
});

test('while the address leads to a standby, each step and the look say so', () => {
  for (const failure of refusedByStandby) {
    expect(failure).toBeInstanceOf(SplitRefusedError);
    expect((failure as Error).message).toMatch('The source is a standby');
  }
  expect(refusedByStandby).toHaveLength(3);
});
