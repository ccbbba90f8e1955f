import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { type DataSource } from 'typeorm';
import {
  AuthRequests,
  ConfigurationError,
  Holds,
  LockLostError,
  migrate,
  Outbox,
  OutboxRelay,
  PendingMigrationsError,
  ReadModel,
  revert,
  Shards,
  WrongShardError,
} from '../../src';
import { addFence, dropFence, FENCED_TABLES } from '../../src/fence/fence-sql';
import { readFences } from '../../src/fence/read-fence';
import { removeFence, setFence } from '../../src/fence/set-fence';
import { SplitUnderWayError } from '../../src/migrator/errors';
import { OBJECTS } from '../../src/schema/objects';
import { SplitRefusedError } from '../../src/shards/split/errors';
import { splitMap } from '../../src/shards/split/split-map';
import { setSequenceRange } from '../../src/fence/sequence-range';
import { TABLES } from '../../src/shards/split/tables';
import { holdIn, RecordingPublisher, requestIn } from '../../src/testing';
import { quietDataSource } from '../support/database/quiet-data-source';
import { failureOf } from '../support/processes/within';
import { anAuthorization, anAuthorizeCommand } from '../support/requests/auth-requests';
import { aRestaurantOf, EVEN, ODD, ReplaceableSource, WHOLE } from '../support/shards/shards';
import { SplitPair, SplitServer } from '../support/shards/split-pair';
import { ProcessingLocks } from '../../src/locks/processing-locks';

jest.setTimeout(120_000);

let server: SplitServer;
let pair: SplitPair;

beforeAll(async () => {
  server = await SplitServer.start();
}, 120_000);
afterAll(() => server?.remove());
beforeEach(async () => {
  pair = await SplitPair.between(server, server);
});
afterEach(() => pair.end());

const [stays, moves] = [aRestaurantOf(EVEN), aRestaurantOf(ODD)];

/** What a refusal says, all of it. */
const refusalOf = async (work: Promise<unknown>): Promise<string> => {
  const failure = await failureOf(work);
  expect(failure).toBeInstanceOf(SplitRefusedError);
  return (failure as Error).message;
};

const subscribed = async () => {
  await pair.split.prepare();
  await pair.split.publish();
  await pair.split.subscribe();
};

test('every table of the schema has a way to move', () => {
  expect(TABLES.toSorted()).toEqual([...OBJECTS.tables].toSorted());
});

test('a dry run of a step changes nothing, and says what the step then does', async () => {
  for (const step of ['prepare', 'publish', 'cutOver'] as const) {
    if (step === 'cutOver') await pair.split.subscribe();
    const { done } = await pair.split.status();
    const rows = await pair.rows();
    const planned = await pair.split[step]({ dryRun: true });
    expect(planned.length).toBeGreaterThan(1);
    expect((await pair.split.status()).done).toEqual(done);
    expect(await pair.rows()).toEqual(rows);
    expect(await pair.split[step]()).toEqual(planned);
  }
});

test('each step may be called again, and does nothing more', async () => {
  await pair.split.run();
  const before = await pair.rows();
  for (const step of ['prepare', 'publish', 'subscribe', 'cutOver'] as const) {
    expect(await pair.split[step]()).toEqual([]);
  }
  expect(await pair.rows()).toEqual(before);
});

test('a step that is out of order is refused, and says what comes first', async () => {
  expect(await refusalOf(pair.split.publish())).toMatch('prepare comes first');
  expect(await refusalOf(pair.split.subscribe())).toMatch('prepare and publish come first');
  expect(await refusalOf(pair.split.cutOver())).toMatch('subscribe comes first');
  expect(await refusalOf(pair.split.cleanUp(pair.newMap))).toMatch('cut-over comes first');
  await pair.split.run();
  expect(await refusalOf(pair.split.cleanUp(pair.oldMap))).toMatch('The map is the old one');
});

test('a target with rows, or another schema, is refused before anything is changed', async () => {
  await requestIn(pair.target, 'PENDING');
  await pair.target.query('ALTER TABLE outbox ADD COLUMN extra integer');
  const refusal = await refusalOf(pair.split.prepare());
  expect(refusal).toMatch('The target has rows in payment_events');
  expect(refusal).toMatch('unexpected: table outbox: column extra');
  expect((await pair.split.status()).done).toEqual([]);
});

test('a source without the slots that the first copy needs is refused, and one with just these is split', async () => {
  const [free] = await pair.source.query<[{ slots: number }]>(
    `SELECT current_setting('max_replication_slots')::int - count(*)::int AS slots FROM pg_replication_slots`,
  );
  const taken = Array.from({ length: free.slots - 2 }, (_, i) => `taken_${i}`);
  try {
    // One that follows and two that copy at once, by default.
    for (const name of taken) await pair.source.query(`SELECT pg_create_physical_replication_slot('${name}')`);
    expect(await refusalOf(pair.split.prepare())).toMatch(
      /The source needs 3 free for the first copy: raise max_replication_slots \(10, 8 in use\)/,
    );
    await pair.source.query(`SELECT pg_drop_replication_slot('${taken.pop()}')`);
    await subscribed();
  } finally {
    for (const name of taken) await pair.source.query(`SELECT pg_drop_replication_slot('${name}')`);
  }
});

test('a time-out of the source that would end the first copy is refused, and not one that is lifted for the login', async () => {
  const [{ name, login }] = await pair.source.query<[{ name: string; login: string }]>(
    'SELECT current_database() AS name, current_user AS login',
  );
  await pair.source.query(`ALTER DATABASE ${name} SET statement_timeout = '1h'`);
  expect(await refusalOf(pair.split.prepare())).toMatch(
    `A statement_timeout of the source ends the first copy of a large table (1h): ALTER ROLE ${login} IN DATABASE ${name} SET statement_timeout = 0`,
  );
  await pair.source.query(`ALTER ROLE ${login} IN DATABASE ${name} SET statement_timeout = '0s'`);
  await pair.split.prepare();
});

test('what is no split at all is refused', async () => {
  for (const wrong of [
    { shard: { modulus: 3, remainder: 0 } },
    { shard: { modulus: 1_024, remainder: 0 } },
    { shard: undefined },
    { number: 8_192 },
    { number: -1 },
    { source: undefined },
  ]) {
    expect(() => pair.splitWith(wrong as object)).toThrow(ConfigurationError);
  }
  expect(await refusalOf(pair.splitWith({ target: pair.source }).prepare())).toMatch('The target is the source itself');
});

test('a number that does not come after all that the source has counted is refused', async () => {
  await setSequenceRange(pair.source, 3);
  const numbered = (number: number) => pair.splitWith({ number });
  for (const number of [0, 1, 3]) expect(await refusalOf(numbered(number).prepare())).toMatch('in the range of 3');
  await pair.source.query(
    `INSERT INTO outbox (id, aggregate_id, restaurant_id, message_type, payload)
     VALUES (5 * 2 ^ 40 + 1, gen_random_uuid(), $1, 'auth_request_queued', '\\x')`,
    [moves],
  );
  for (const number of [4, 5]) expect(await refusalOf(numbered(number).prepare())).toMatch('in the range of 5');
  expect((await numbered(5).status()).done).toEqual([]);
  await pair.source.query(
    'DELETE FROM outbox; ALTER SEQUENCE auth_processing_fencing_tokens RESTART WITH 6597069766656',
  );
  expect(await refusalOf(numbered(6).prepare())).toMatch('in the range of 6');
  await numbered(7).prepare();
});

test('a split goes on with the number that it was begun with, and no other', async () => {
  await pair.split.prepare();
  const other = pair.splitWith({ number: 2 });
  expect(await refusalOf(other.publish())).toMatch('go on with --number 1');
  await pair.split.publish();
  await pair.split.subscribe();
  for (const step of ['subscribe', 'cutOver'] as const)
    expect(await refusalOf(other[step]())).toMatch('go on with --number 1');
  await pair.split.cutOver();
  const before = await pair.rows();
  expect(await refusalOf(other.undo(pair.oldMap))).toMatch('--number 1');
  expect(await pair.rows()).toEqual(before);
  await requestIn(pair.target, 'PENDING', { restaurantId: moves });
});

test('a source that has another class is refused', async () => {
  const split = pair.splitWith({ shard: ODD });
  await pair.split.run();
  expect(await refusalOf(split.prepare())).toMatch('The source has class 0 of 2, not 1 of 2');
});

test('migrations and rebuilds are refused at both databases while a split is under way', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await pair.source.query(
    `ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state;
     UPDATE auth_request_state SET status = 'EXPIRED', completed_at = now();
     ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state`,
  );
  await subscribed();
  for (const dataSource of [pair.source, pair.target]) {
    for (const work of [migrate, revert, () => new ReadModel(dataSource).rebuild(authRequestId)]) {
      expect(await failureOf(work(dataSource))).toBeInstanceOf(SplitUnderWayError);
    }
  }
  await pair.split.cutOver();
  await migrate(pair.target);
  await new ReadModel(pair.target).rebuild(authRequestId);
  expect(await failureOf(new ReadModel(pair.source).rebuild(authRequestId))).toBeInstanceOf(WrongShardError);
});

test.each(['cutOver', 'undo'] as const)(
  '%s changes the fence in the session that has the lock: while that may run, no other process looks',
  async (step) => {
    await subscribed();
    if (step === 'undo') await pair.split.cutOver();
    const queryRunner = pair.source.createQueryRunner();
    await queryRunner.startTransaction();
    await new AuthRequests(pair.source).authorize(anAuthorizeCommand({ restaurantId: stays }), queryRunner.manager);
    const changing = step === 'undo' ? pair.split.undo(pair.oldMap) : pair.split.cutOver();
    let waiting: { hasLock: boolean }[] = [];
    while (waiting.length === 0) {
      await delay(20);
      waiting = await pair.source.query(
        `SELECT EXISTS (SELECT FROM pg_locks WHERE pid = fencing.pid AND locktype = 'advisory' AND granted) AS "hasLock"
         FROM pg_locks AS fencing JOIN pg_database ON pg_database.oid = database
         WHERE mode = 'AccessExclusiveLock' AND NOT granted AND datname = current_database()`,
      );
    }
    expect(waiting).toEqual([{ hasLock: true }]);
    await queryRunner.commitTransaction();
    await queryRunner.release();
    await changing;
  },
);

test('a target takes writes of nobody until it is handed over, also of services that have the next map too early', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  const command = anAuthorizeCommand({ restaurantId: moves });
  const receipt = await new AuthRequests(pair.source).authorize(command);
  const publisher = new RecordingPublisher();
  const relay = new OutboxRelay(pair.target, publisher);
  const message = { aggregateId: authRequestId, restaurantId: moves, messageType: 'own', payload: Buffer.from('p') };
  const early = new Shards({ load: () => Promise.resolve(pair.newMap) });
  await early.open();
  const writes: (() => Promise<unknown>)[] = [
    () => early.run(moves, ({ requests }) => requests.authorize(command)),
    () => early.run(moves, ({ requests }) => requests.get({ restaurantId: moves, authRequestId })),
    () => new AuthRequests(pair.target).authorize(command),
    () => pair.target.transaction((manager) => new Outbox(pair.target).enqueue(manager, message)),
  ];
  const writesOfWhatIsThere = [
    () => new AuthRequests(pair.target).expireStale({ olderThanMs: 1 }),
    () =>
      new ProcessingLocks(pair.target).acquire({ restaurantId: moves, authRequestId, workerId: 'w', ttlMs: 60_000 }),
  ];
  for (const step of ['prepare', 'publish', 'subscribe'] as const) {
    await pair.split[step]();
    if (step === 'subscribe') writes.push(...writesOfWhatIsThere);
    const before = await pair.rows();
    for (const write of writes) expect(await failureOf(write())).toBeInstanceOf(WrongShardError);
    expect(await relay.runOnce()).toEqual([]);
    expect(await pair.rows()).toEqual(before);
  }
  await pair.split.cutOver();
  expect(await early.run(moves, ({ requests }) => requests.authorize(command))).toEqual({ ...receipt, replayed: true });
  await relay.runOnce();
  await relay.runOnce();
  expect(publisher.published).toHaveLength(2);
  await early.destroy();
});

test('a database that has a class of its own, as one of the map, is no target', async () => {
  await setFence(pair.target, ODD);
  expect(await refusalOf(pair.split.prepare())).toMatch('The target has class 1 of 2, as a database of a map');
  expect((await readFences(pair.target)).get('payment_events')).toEqual(ODD);
});

test("the fence of either end is the split's own while it is under way", async () => {
  await setFence(pair.source, WHOLE);
  await subscribed();
  for (const dataSource of [pair.source, pair.target]) {
    for (const work of [
      () => removeFence(dataSource),
      () => setFence(dataSource, { modulus: 4, remainder: 1 }),
      ...(dataSource === pair.target ? [() => setFence(dataSource, WHOLE, { widen: true })] : []),
    ]) {
      const before = await readFences(dataSource);
      expect(await failureOf(work())).toBeInstanceOf(SplitUnderWayError);
      expect(await readFences(dataSource)).toEqual(before);
    }
  }
  await pair.split.cutOver();
  expect(await setFence(pair.source, EVEN)).toBe(false);
  expect(await setFence(pair.source, WHOLE, { widen: true })).toBe(true);
  expect(await setFence(pair.target, { modulus: 4, remainder: 1 })).toBe(true);
});

test('a source that has lost its fence before the hand-over keeps what moves, until the cut-over is called again', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await subscribed();
  const relay = pair.source.createQueryRunner();
  await relay.startTransaction();
  await relay.query('SELECT FROM outbox WHERE aggregate_id = $1 FOR UPDATE', [authRequestId]);
  const refused = refusalOf(pair.split.cutOver());
  while (!pair.said.some((line) => line.startsWith('Waiting for relays'))) await delay(20);
  for (const table of FENCED_TABLES) await pair.source.query(dropFence(table));
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await relay.rollbackTransaction();
  await relay.release();
  expect(await refused).toMatch('The fence of the source was changed');
  expect((await pair.split.status()).next).toBe('cut-over');
  await pair.split.cutOver();
  const [found] = await pair.target.query<{ requests: number; messages: number }[]>(
    `SELECT (SELECT count(*)::int FROM auth_request_state) AS requests,
       (SELECT count(DISTINCT aggregate_id)::int FROM outbox WHERE processed_at IS NULL) AS messages`,
  );
  expect(found).toEqual({ requests: 2, messages: 2 });
});

test('a transaction that was open when the source is fenced is waited for, and what it wrote arrives', async () => {
  await subscribed();
  const command = anAuthorizeCommand({ restaurantId: moves });
  const queryRunner = pair.source.createQueryRunner();
  await queryRunner.startTransaction();
  const { authRequestId } = await new AuthRequests(pair.source).authorize(command, queryRunner.manager);
  let isOver = false;
  const cutOver = pair.split.cutOver().then(() => (isOver = true));
  await delay(3_000);
  expect(isOver).toBe(false);
  await queryRunner.commitTransaction();
  await queryRunner.release();
  await cutOver;
  const replayed = await new AuthRequests(pair.target).authorize(command);
  expect(replayed).toMatchObject({ authRequestId, replayed: true });
});

test('a message that a relay has claimed is waited for, and the target does not deliver it again', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await subscribed();
  const queryRunner = pair.source.createQueryRunner();
  await queryRunner.startTransaction();
  await queryRunner.query('SELECT FROM outbox WHERE aggregate_id = $1 FOR UPDATE', [authRequestId]);
  const cutOver = pair.split.cutOver();
  while (!pair.said.some((line) => line.startsWith('Waiting for relays'))) await delay(20);
  await queryRunner.query('UPDATE outbox SET processed_at = clock_timestamp() WHERE aggregate_id = $1', [
    authRequestId,
  ]);
  await queryRunner.commitTransaction();
  await queryRunner.release();
  await cutOver;
  const [row] = await pair.target.query<{ sent: boolean }[]>('SELECT processed_at IS NOT NULL AS sent FROM outbox');
  expect(row).toEqual({ sent: true });
});

test('messages are handed over in the order of their request, while a relay of the source delivers', async () => {
  await pair.source.query(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload)
     SELECT ('00000000-0000-0000-0000-00000000000' || n % 3)::uuid, $1, 'auth_request_queued', '\\x' FROM generate_series(1, 10000) AS n`,
    [moves],
  );
  await subscribed();
  const relay = new OutboxRelay(pair.source, new RecordingPublisher(), { batchSize: 3, pollIntervalMs: 10 });
  relay.start();
  await pair.split.cutOver();
  await relay.stop();
  const wrong = await pair.target.query<unknown[]>(
    `SELECT aggregate_id, max(id) FILTER (WHERE processed_at IS NOT NULL) AS sent, min(id) FILTER (WHERE processed_at IS NULL) AS waits
     FROM outbox GROUP BY 1 HAVING max(id) FILTER (WHERE processed_at IS NOT NULL) > min(id) FILTER (WHERE processed_at IS NULL)`,
  );
  expect(wrong).toEqual([]);
  const [sent] = await pair.target.query<{ count: number }[]>(
    'SELECT count(*)::int FROM outbox WHERE processed_at IS NOT NULL',
  );
  expect(sent!.count).toBeGreaterThan(0);
});

test('a change of the schema between two steps is refused', async () => {
  await pair.split.prepare();
  await revert(pair.source);
  expect(await failureOf(pair.split.publish())).toBeInstanceOf(PendingMigrationsError);
  expect((await pair.split.status()).done).toEqual(['prepare']);
  await migrate(pair.source);
  await pair.split.run();
});

test('a change that the target cannot write ends the cut-over before the fence, and is told', async () => {
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await subscribed();
  // As somebody who is let through the check writes it.
  await pair.target.transaction(async (manager) => {
    await manager.query('SET LOCAL session_replication_role = replica');
    await manager.query(`INSERT INTO auth_idempotency_keys (idempotency_key, restaurant_id, auth_request_id)
      VALUES ('the same', '${moves}', gen_random_uuid())`);
  });
  await new AuthRequests(pair.source).authorize(
    anAuthorizeCommand({ restaurantId: moves, idempotencyKey: 'the same' }),
  );
  expect(await refusalOf(pair.split.cutOver())).toMatch('The target could not write what it got from the source');
  await new AuthRequests(pair.source).authorize(anAuthorizeCommand({ restaurantId: moves }));
  await pair.split.undo(pair.oldMap);
});

describe('events that were confirmed for the target, and are not there, end the cut-over before it takes over', () => {
  const slot = (what: string) =>
    pair.source.query<unknown[]>(`SELECT ${what} FROM pg_replication_slots WHERE database = current_database()`);
  const isSlot = async (what: string) => isDeepStrictEqual(await slot(`${what} AS it`), [{ it: true }]);

  /** As a copy of the target's server does, which follows in its place for a while. */
  const loseOne = async () => {
    await requestIn(pair.source, 'PENDING', { restaurantId: moves });
    await subscribed();
    await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
    while (!(await isSlot('NOT active'))) await delay(20);
    await requestIn(pair.source, 'PENDING', { restaurantId: moves });
    const [{ lsn }] = await pair.source.query<[{ lsn: string }]>('SELECT pg_current_wal_insert_lsn() AS lsn');
    // As far as it is flushed.
    while (!(await isSlot(`confirmed_flush_lsn >= '${lsn}'`))) {
      await slot('pg_replication_slot_advance(slot_name, pg_current_wal_lsn())');
      await delay(20);
    }
    await pair.target.query('ALTER SUBSCRIPTION payment_events_split ENABLE');
    await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  };

  test('behind the fence, where they are the last ones; undoing loses no message', async () => {
    await loseOne();
    const before = (await pair.rows()).source;
    expect(await refusalOf(pair.split.cutOver())).toMatch('the source has 2 and the target 1');
    expect(await failureOf(requestIn(pair.source, 'PENDING', { restaurantId: moves }))).toBeInstanceOf(WrongShardError);
    await pair.split.undo(pair.oldMap);
    expect((await pair.rows()).source).toEqual(before);
  });

  test('before the fence, where others have come since; what is open then counts behind it', async () => {
    await loseOne();
    await pair.source.query(`SELECT setval('payment_events_id_seq', last_value + 200000) FROM payment_events_id_seq`);
    const open = pair.source.createQueryRunner();
    await open.startTransaction();
    await new AuthRequests(pair.source).authorize(anAuthorizeCommand({ restaurantId: moves }), open.manager);
    // The fence would wait for it.
    expect(await refusalOf(pair.split.cutOver())).toMatch('the source has 2 and the target 1');
    await open.commitTransaction();
    await open.release();
    // It takes everything.
    await requestIn(pair.source, 'PENDING', { restaurantId: moves });
    await pair.split.undo(pair.oldMap);
  });
});

test('what a worker has begun at the source it records at the target', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  const locks = new ProcessingLocks(pair.source);
  const lease = await locks.acquire({ restaurantId: moves, authRequestId, workerId: 'w1', ttlMs: 60_000 });
  await subscribed();
  await new AuthRequests(pair.source).startAttempt(lease!, { configVersion: 'v1' });
  await pair.split.cutOver();
  const authorization = anAuthorization();
  const source = new ReplaceableSource(pair.oldMap);
  const shards = new Shards(source);
  await shards.open();
  const record = () => shards.run(moves, ({ requests }) => requests.recordAuthorized(lease!, authorization));
  expect(await failureOf(record())).toBeInstanceOf(LockLostError);
  source.map = pair.newMap;
  await record();
  await shards.destroy();
  const [row] = await pair.target.query<{ status: string }[]>('SELECT status FROM auth_request_state');
  expect(row).toEqual({ status: 'AUTHORIZED' });
});

test.each(['cutOver', 'undo'] as const)(
  'a table that had whole rows in the WAL before keeps them, and the others lose them: %s',
  async (end) => {
    await pair.source.query('ALTER TABLE outbox REPLICA IDENTITY FULL; ALTER TABLE data_keys REPLICA IDENTITY FULL');
    const identities = () =>
      pair.source.query<{ relname: string; relreplident: string }[]>(
        `SELECT relname, relreplident FROM pg_class WHERE relname = ANY ($1) ORDER BY 1`,
        [TABLES],
      );
    const before = await identities();
    await subscribed();
    expect(await identities()).not.toEqual(before);
    await (end === 'undo' ? pair.split.undo(pair.oldMap) : pair.split.cutOver());
    expect(await identities()).toEqual(before);
  },
);

test('a worker of the source learns with its next renewal that the target has its request', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  const other = await requestIn(pair.source, 'PENDING', { restaurantId: stays });
  const locks = new ProcessingLocks(pair.source);
  const lease = { restaurantId: moves, authRequestId, workerId: 'w1', ttlMs: 60_000 };
  const [moved, stayed] = [
    await locks.acquire(lease),
    await locks.acquire({ ...lease, restaurantId: stays, authRequestId: other.authRequestId }),
  ];
  await subscribed();
  await locks.renew(moved!, 60_000);
  await pair.split.cutOver();
  expect(await failureOf(locks.renew(moved!, 60_000))).toBeInstanceOf(LockLostError);
  await locks.renew(stayed!, 60_000);
  // The lease itself has moved: until it ends, nobody takes the request from who holds it.
  const atTarget = new ProcessingLocks(pair.target);
  expect(await atTarget.acquire({ ...lease, workerId: 'w2' })).toBeNull();
  await atTarget.renew(moved!, 60_000);
});

describe('a message without an event that is written as the target takes over', () => {
  /** Cuts over, and does something right before and right after the transaction in which the target does so. */
  const cutOverWith = async (around: { before: () => Promise<void>; after: () => Promise<void> }) => {
    const createQueryRunner = pair.target.driver.createQueryRunner.bind(pair.target.driver);
    pair.target.driver.createQueryRunner = (mode) => {
      const queryRunner = createQueryRunner(mode);
      const query = queryRunner.query.bind(queryRunner);
      queryRunner.query = (async (statement: string, values?: unknown[]) => {
        const isIt = statement.includes('DROP SUBSCRIPTION');
        if (isIt) await around.before();
        const result: unknown = await query(statement, values);
        if (isIt) await around.after();
        return result;
      }) as typeof queryRunner.query;
      return queryRunner;
    };
    await pair.split.cutOver();
  };
  const enqueue = async (): Promise<string> => {
    const message = { aggregateId: randomUUID(), messageType: 'refund_queued', payload: Buffer.from('{}') };
    const id = await pair.source.transaction((manager) =>
      new Outbox(pair.source).enqueue(manager, { ...message, restaurantId: moves }),
    );
    return String(id);
  };
  const idsAt = async (dataSource: DataSource): Promise<string[]> =>
    (await dataSource.query<{ id: string }[]>('SELECT id::text FROM outbox ORDER BY outbox.id')).map(({ id }) => id);
  const arrived = async (id: string) => {
    while (!(await idsAt(pair.target)).includes(id)) await delay(20);
  };

  test('is delivered by the target alone where that has it, else by the source', async () => {
    let [early, late] = ['', ''];
    await subscribed();
    await cutOverWith({
      before: async () => {
        early = await enqueue();
        await arrived(early);
      },
      after: async () => void (late = await enqueue()),
    });
    expect(await idsAt(pair.target)).toEqual([early]);
    expect(await idsAt(pair.source)).toEqual([late]);
  });

  /** As a source does that was promoted, and was behind. */
  const countAgain = () => pair.source.query(`SELECT setval('outbox_id_seq', 1, false)`);

  test('is no other one that the target has by the same number', async () => {
    await subscribed();
    const given = await enqueue();
    await arrived(given);
    await cutOverWith({
      before: () => Promise.resolve(),
      after: async () => {
        await countAgain();
        expect(await enqueue()).toBe(given);
      },
    });
    expect(await idsAt(pair.source)).toEqual([given]);
    // And comes back beside it.
    await pair.split.undo(pair.oldMap);
    expect(await idsAt(pair.source)).toEqual([given, String(Number(given) + 1)]);
    const aggregates = await pair.source.query<unknown[]>('SELECT DISTINCT aggregate_id FROM outbox');
    expect(aggregates).toHaveLength(2);
    await pair.split.undo(pair.oldMap);
    expect(await idsAt(pair.source)).toHaveLength(2);
  });

  test('is not taken from a relay of the source that has claimed it', async () => {
    const relay = pair.source.createQueryRunner();
    let claimed = '';
    await subscribed();
    const cutOver = cutOverWith({
      before: async () => {
        claimed = await enqueue();
        await arrived(claimed);
        await relay.startTransaction();
        await relay.query('SELECT FROM outbox WHERE id = $1 FOR UPDATE', [claimed]);
      },
      after: () => Promise.resolve(),
    });
    const waiting = `SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%REPLICA IDENTITY DEFAULT%'`;
    while ((await pair.source.query<unknown[]>(waiting)).length === 0) await delay(20);
    await relay.commitTransaction();
    await relay.release();
    await cutOver;
    expect([await idsAt(pair.source), await idsAt(pair.target)]).toEqual([[claimed], [claimed]]);
  });
});

test('rows of the target count in a range of their own', async () => {
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await pair.split.run();
  await requestIn(pair.target, 'PENDING', { restaurantId: moves });
  const ids = await pair.target.query<{ id: string }[]>(
    'SELECT id FROM payment_events UNION ALL SELECT id FROM outbox ORDER BY id',
  );
  expect(ids.map(({ id }) => Number(id))).toEqual([1, 1, 2 ** 40 + 1, 2 ** 40 + 1]);
});

test('checks come back with their comments', async () => {
  const checks = `SELECT conname, pg_get_constraintdef(oid) AS text, obj_description(oid, 'pg_constraint') AS comment
    FROM pg_constraint WHERE NOT convalidated AND contype = 'c' AND conname NOT LIKE '%\\_shard' ORDER BY conname`;
  const before = await pair.target.query<unknown[]>(checks);
  await pair.split.run();
  expect(before.length).toBeGreaterThan(5);
  expect(await pair.target.query(checks)).toEqual(before);
});

describe('undoing', () => {
  const fill = async () => {
    await requestIn(pair.source, 'PENDING', { restaurantId: moves });
    await holdIn(pair.source, 'voiding', { restaurantId: moves });
    await requestIn(pair.source, 'PENDING', { restaurantId: stays });
  };

  test.each(['prepare', 'publish', 'subscribe', 'cutOver'] as const)(
    'after %s gives the source back what it had',
    async (last) => {
      await fill();
      const before = (await pair.rows()).source;
      for (const step of ['prepare', 'publish', 'subscribe', 'cutOver'] as const) {
        await pair.split[step]();
        if (step === last) break;
      }
      await pair.split.undo(pair.oldMap);
      expect((await pair.rows()).source).toEqual(before);
      await requestIn(pair.source, 'AUTHORIZED', { restaurantId: moves });
      expect(await failureOf(requestIn(pair.target, 'PENDING', { restaurantId: moves }))).toBeInstanceOf(
        WrongShardError,
      );
      expect(await new OutboxRelay(pair.target, new RecordingPublisher()).runOnce()).toEqual([]);
      // The half that was moved does not fit another time, and a new target does.
      expect(await refusalOf(pair.split.prepare())).toMatch('make a new one');
      const again = await SplitPair.of({ source: pair.urls.source, target: await server.database() });
      await again.split.run();
      await again.end();
    },
  );

  test.each(['prepare', 'publish', 'subscribe', 'cutOver'] as const)(
    'after %s leaves a fence around all restaurants, without which no service with a map opens the database',
    async (last) => {
      await setFence(pair.source, WHOLE);
      for (const step of ['prepare', 'publish', 'subscribe', 'cutOver'] as const) {
        await pair.split[step]();
        if (step === last) break;
      }
      await pair.split.undo(pair.oldMap);
      const shards = await new Shards({ load: () => Promise.resolve(pair.oldMap) }).open();
      await shards.run(moves, ({ requests }) => requests.authorize(anAuthorizeCommand({ restaurantId: moves })));
      await shards.destroy();
    },
  );

  test('is refused once the target has written of its own, and changes nothing then', async () => {
    await fill();
    await pair.split.run();
    await requestIn(pair.target, 'PENDING', { restaurantId: moves });
    expect(await refusalOf(pair.split.undo(pair.oldMap))).toMatch('The target has written of its own');
    await requestIn(pair.target, 'PENDING', { restaurantId: moves });
  });

  test('is refused once the map has the target, or the source was cleaned up', async () => {
    await fill();
    await pair.split.run();
    expect(await refusalOf(pair.split.undo(pair.newMap))).toMatch('The map has the target');
    await pair.split.cleanUp(pair.newMap);
    expect(await refusalOf(pair.split.undo(pair.oldMap))).toMatch('The source was cleaned up');
  });

  test('is refused once the cleaning up has begun, even where no request is deleted yet', async () => {
    await fill();
    await pair.split.run();
    await pair.source.query(
      `CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$stopped$$; END';
       CREATE TRIGGER stop BEFORE DELETE ON auth_request_state FOR EACH ROW EXECUTE FUNCTION stop()`,
    );
    await failureOf(pair.split.cleanUp(pair.newMap));
    await pair.source.query('DROP FUNCTION stop CASCADE');
    const left = await pair.rows();
    expect(left.source.auth_idempotency_keys).toEqual([]);
    expect(left.source.auth_request_state).not.toEqual([]);
    expect(await refusalOf(pair.split.undo(pair.oldMap))).toMatch('The source was cleaned up, or that was begun');
    expect(await pair.rows()).toEqual(left);
    await requestIn(pair.target, 'PENDING', { restaurantId: moves });
    await pair.split.cleanUp(pair.newMap);
  });
});

test('a target that is lost before the cut-over is given up, with an empty database in its place', async () => {
  await subscribed();
  await pair.target.query(
    `ALTER SUBSCRIPTION payment_events_split DISABLE; ALTER SUBSCRIPTION payment_events_split SET (slot_name = NONE);
     DROP SUBSCRIPTION payment_events_split`,
  );
  const other = await SplitPair.of({ source: pair.urls.source, target: await server.database() });
  await other.split.undo(pair.oldMap);
  await other.split.run();
  expect((await other.split.status()).next).toBe('switch');
  const third = await SplitPair.of({ source: pair.urls.source, target: await server.database() });
  expect(await refusalOf(third.split.undo(pair.oldMap))).toMatch('This is not the target');
  await other.end();
  await third.end();
});

test('a target that is taken for lost and follows on is named, and undoing is refused until it is gone', async () => {
  await pair.source.query(
    `ALTER DATABASE ${new URL(pair.urls.source).pathname.slice(1)} SET wal_sender_timeout = '1s'`,
  );
  const source = { source: pair.urls.source, target: await server.database() };
  await subscribed();
  const other = await SplitPair.of(source);
  expect(await refusalOf(other.split.undo(pair.oldMap))).toMatch(
    /in use by process \d+ of the source.*Stop its server/,
  );
  expect(other.said.join()).toMatch(/in use by process \d+/);
  await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
  await other.split.undo(pair.oldMap);
  await other.end();
});

test('a target that is lost after the source was fenced is given up by what the refusal says', async () => {
  await subscribed();
  for (const table of FENCED_TABLES) await pair.source.query(addFence(table, EVEN));
  await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
  const other = await SplitPair.of({ source: pair.urls.source, target: await server.database() });
  const refusal = await refusalOf(other.split.undo(pair.oldMap));
  const [, dropSlot] = /\((SELECT pg_drop_replication_slot.*?current_database\(\))\)/.exec(refusal)!;
  const widen = () => setFence(pair.source, WHOLE, { widen: true });
  expect(await failureOf(widen())).toBeInstanceOf(SplitUnderWayError);
  // The sender of the WAL notices in a moment that its subscriber is gone.
  await delay(1_000);
  await pair.source.query(dropSlot!);
  await widen();
  await other.split.undo(pair.oldMap);
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await other.split.run();
  expect((await other.rows()).target.auth_request_state).toHaveLength(1);
  await other.end();
});

test('every step of another target is refused, and its look, while a source is split', async () => {
  const steps = ['status', 'publish', 'subscribe', 'cutOver'] as const;
  const [prepared, late] = [
    await SplitPair.of({ source: pair.urls.source, target: await server.database() }),
    await SplitPair.of({ source: pair.urls.source, target: await server.database() }),
  ];
  await prepared.split.prepare();
  await subscribed();
  for (const step of steps) expect(await refusalOf(prepared.split[step]())).toMatch('moves them to another target');
  expect(await refusalOf(prepared.split.undo(pair.oldMap))).toMatch('moves them to another target');
  for (const step of ['prepare', 'publish'] as const) {
    expect(await refusalOf(late.split[step]())).toMatch('moves them to another target');
  }
  expect((await late.split.status()).broken).toMatch('moves them to another target');
  await pair.split.cutOver();
  await prepared.end();
  await late.end();
});

test('a target that was given up and is back takes nothing of the next split', async () => {
  await subscribed();
  await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
  const next = await SplitPair.of({ source: pair.urls.source, target: await server.database() });
  await next.split.undo(pair.oldMap);
  await next.split.prepare();
  await next.split.publish();
  await next.split.subscribe();
  await next.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
  await pair.target.query('ALTER SUBSCRIPTION payment_events_split ENABLE');
  const { authRequestId } = await requestIn(pair.source, 'AUTHORIZED', { restaurantId: moves });
  await delay(3_000);
  expect((await pair.rows()).target.auth_request_state).toEqual([]);
  await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
  await next.target.query('ALTER SUBSCRIPTION payment_events_split ENABLE');
  await next.split.cutOver();
  expect(await next.target.query('SELECT auth_request_id AS id FROM auth_request_state')).toEqual([
    { id: authRequestId },
  ]);
  await next.end();
});

test('undoing and looking take as long as a table takes to read, and know no time zone', async () => {
  await pair.source.query(
    `INSERT INTO restaurant_payment_configs (restaurant_id, config_version, processor_name, processor_config)
     SELECT $1, 'v1', min(processor_name), '{}' FROM processors`,
    [moves],
  );
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await pair.split.run();
  await pair.target.query(
    `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Asia/Tokyo''', current_database()); END $$`,
  );
  const [source, target] = [
    await quietDataSource({ url: pair.urls.source, statementTimeoutMs: 500 }),
    await quietDataSource({ url: pair.urls.target, statementTimeoutMs: 500 }),
  ];
  const split = pair.splitWith({ source, target });
  const slowly = async <T>(work: () => Promise<T>): Promise<T> => {
    const queryRunner = pair.source.createQueryRunner();
    await queryRunner.startTransaction();
    await queryRunner.query('LOCK TABLE auth_request_state IN ACCESS EXCLUSIVE MODE');
    const [done] = await Promise.all([work(), delay(1_500).then(() => queryRunner.commitTransaction())]);
    await queryRunner.release();
    return done;
  };
  expect((await slowly(() => split.status(pair.newMap))).next).toBe('clean-up');
  await slowly(() => split.undo(pair.oldMap));
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await Promise.all([source.destroy(), target.destroy()]);
});

test('how far it is can be asked while a step is at work', async () => {
  await pair.split.prepare();
  await pair.split.publish();
  const queryRunner = pair.source.createQueryRunner();
  await queryRunner.startTransaction();
  await new AuthRequests(pair.source).authorize(anAuthorizeCommand({ restaurantId: moves }), queryRunner.manager);
  const subscribing = pair.split.subscribe();
  while (!pair.said.some((line) => line.startsWith('Making the replication slot'))) await delay(20);
  expect((await pair.split.status()).next).toBe('subscribe');
  await queryRunner.commitTransaction();
  await queryRunner.release();
  await subscribing;
  expect((await pair.split.status()).next).toBe('cut-over');
});

describe('a failover in between', () => {
  const LOST = [
    [
      'of the source, which has no slot any more',
      'slot is gone',
      async () => {
        await pair.target.query('ALTER SUBSCRIPTION payment_events_split DISABLE');
        await delay(500);
        await pair.source.query(
          `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()`,
        );
      },
    ],
    [
      'of the target, which is on another timeline',
      'The target is another server',
      async () => {
        await pair.target.query(
          `DO $$ BEGIN EXECUTE format('COMMENT ON PUBLICATION payment_events_split IS %L', (
             SELECT obj_description(oid, 'pg_publication')::jsonb || '{"timeline": "000000FF"}' FROM pg_publication)); END $$`,
        );
      },
    ],
  ] as const;

  test.each(LOST)(
    '%s: every step says so, and undoing gives the source back what it had',
    async (_what, says, fail) => {
      await requestIn(pair.source, 'PENDING', { restaurantId: moves });
      const before = (await pair.rows()).source;
      await subscribed();
      await fail();
      expect((await pair.split.status()).broken).toMatch(says);
      for (const step of ['subscribe', 'cutOver'] as const)
        expect(await refusalOf(pair.split[step]())).toMatch('start again');
      await pair.split.undo(pair.oldMap);
      expect((await pair.rows()).source).toEqual(before);
      expect((await pair.split.status()).broken).toBeUndefined();
    },
  );
});

test('cleaning up deletes nothing that the target lacks', async () => {
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await pair.split.run();
  await pair.target.query('DELETE FROM auth_request_state');
  const before = await pair.source.query<unknown[]>('SELECT auth_request_id FROM auth_request_state');
  expect(await refusalOf(pair.split.cleanUp(pair.newMap))).toMatch('The target lacks 1 rows of auth_request_state');
  expect(await pair.source.query('SELECT auth_request_id FROM auth_request_state')).toEqual(before);
});

test('a login that the source refuses is told without it, here and in the log of the server', async () => {
  await pair.split.prepare();
  await pair.split.publish();
  const split = pair.splitWith({
    connection: `host=127.0.0.1 port=${server.server.port} user=nobody password=hunter2 dbname=postgres`,
  });
  expect(await refusalOf(split.subscribe())).toMatch('cannot connect to the source');
  expect(server.log).not.toMatch('hunter2');
});

test('the map after a split has both halves, and one version more', () => {
  const to = { name: 'b', number: 1, url: pair.urls.target };
  expect(splitMap(pair.oldMap, 'a', to)).toEqual(pair.newMap);
});

test('a restaurant is verified where it is: what a split has left behind is counted, not compared', async () => {
  const { authRequestId } = await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await requestIn(pair.source, 'PENDING', { restaurantId: stays });
  await pair.split.run();
  await pair.split.cleanUp(pair.newMap);
  const verification = new ReadModel(pair.source).verify();
  for await (const difference of verification) throw new Error(difference.kind);
  expect([verification.checked, verification.leftBehind]).toEqual([1, 1]);
  const one = async () => {
    for await (const difference of new ReadModel(pair.source).verify({ authRequestId }))
      throw new Error(difference.kind);
  };
  expect(await failureOf(one())).toBeInstanceOf(WrongShardError);
});

test('a split whose source is split once more is not broken, and cannot be undone', async () => {
  await requestIn(pair.source, 'PENDING', { restaurantId: moves });
  await pair.split.run();
  await setFence(pair.source, { modulus: 4, remainder: 0 });
  expect((await pair.split.status()).broken).toBeUndefined();
  await pair.split.undo(pair.oldMap);
  expect(pair.said.join()).toMatch('Nothing is to be undone');
  await requestIn(pair.target, 'PENDING', { restaurantId: moves });
});

test('at each step a hold is listed and counted in one database, the one that takes its writes', async () => {
  const hold = await holdIn(pair.source, 'void_failed', { restaurantId: moves });
  const other = await holdIn(pair.source, 'void_failed', { restaurantId: stays });
  const seen = async (dataSource: DataSource) => {
    const holds = new Holds(dataSource);
    const listed = (await holds.list()).map(({ authRequestId }) => authRequestId);
    expect((await holds.stats()).forAPerson.void_failed).toBe(listed.length);
    return listed;
  };
  const isOfSource = async () => {
    expect(await seen(pair.source)).toEqual([hold.authRequestId, other.authRequestId]);
    expect(await failureOf(seen(pair.target))).toBeInstanceOf(WrongShardError);
  };
  const isHandedOver = async () => {
    expect(await seen(pair.source)).toEqual([other.authRequestId]);
    expect(await seen(pair.target)).toEqual([hold.authRequestId]);
  };
  await pair.split.prepare();
  await isOfSource();
  await pair.split.publish();
  await pair.split.subscribe();
  await isOfSource();
  await pair.split.cutOver();
  await isHandedOver();
  await pair.split.cleanUp(pair.newMap);
  await isHandedOver();
});

test('two processes that split at once take turns', async () => {
  await Promise.all([pair.split.run(), pair.splitWith({}).run(), pair.splitWith({}).run()]);
  expect((await pair.split.status()).next).toBe('switch');
});
