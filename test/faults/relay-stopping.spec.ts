import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { Broker } from '../fixtures/relay/broker';
import { RelayProcess } from '../fixtures/relay/relay-process';
import { RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';
import { within } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
let publisher: RecordingPublisher;

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  publisher = new RecordingPublisher();
});

const enqueue = (aggregateId: string = uuidv4()) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, { aggregateId, restaurantId: RESTAURANT, messageType: 'x', payload: Buffer.from('p') }),
  );
const relay = (options?: RelayOptions) => new OutboxRelay(dataSource, publisher, { pollIntervalMs: 10, ...options });
const published = () => publisher.published.map(({ id }) => id);
const pending = async () => (await outbox.stats()).pending;

/** A promise, and what resolves it. */
function gate(): { passed: Promise<void>; open: () => void } {
  let open!: () => void;
  return { passed: new Promise<void>((resolve) => (open = resolve)), open };
}

/** Holds every delivery: `entered` when there is one, let go by `release`. */
function holdDeliveries(): { entered: Promise<void>; release: () => void; calls: () => number } {
  const [entered, released] = [gate(), gate()];
  let calls = 0;
  publisher.answer = async () => {
    calls++;
    entered.open();
    await released.passed;
    return { published: true };
  };
  return { entered: entered.passed, release: released.open, calls: () => calls };
}

describe('stop', () => {
  it('finishes the current batch: what went out is not sent again, and nothing else is begun', async () => {
    const aggregate = uuidv4();
    const [first, second] = [await enqueue(aggregate), await enqueue(aggregate)];
    const { entered, release } = holdDeliveries();
    const one = relay();
    one.start();
    await entered;
    let stopped = false;
    const stopping = one.stop().then(() => (stopped = true));
    await delay(50);
    expect(stopped).toBe(false);
    release();
    await stopping;
    expect(published()).toEqual([first]);
    expect(await pending()).toBe(1);
    const next = relay();
    await next.runOnce();
    expect(published()).toEqual([first, second]);
  });

  it('returns within the bound of the turn when the publisher never answers, and loses nothing', async () => {
    const id = await enqueue();
    const { entered } = holdDeliveries();
    const one = relay({ publishTimeoutMs: 200 });
    one.start();
    await entered;
    await within(10_000, 'stop', one.stop());
    expect(await pending()).toBe(1);
    publisher = new RecordingPublisher();
    await relay().runOnce();
    expect(published()).toEqual([id]);
  });

  it('does not wait for a pause to end', async () => {
    const idle = relay({ pollIntervalMs: 600_000 });
    await makeIdle(idle);
    await within(5_000, 'stop', idle.stop());

    await enqueue();
    publisher.answer = () => Promise.reject(new Error('down'));
    let failures = 0;
    const broken = relay({ maxReconnectDelayMs: 600_000, hooks: { unavailable: () => failures++ } });
    broken.start();
    expect(await eventually(() => failures === 1)).toBe(true);
    await within(5_000, 'stop', broken.stop());
  });

  it('is harmless for a relay that does not run, and twice', async () => {
    const one = relay();
    await one.stop();
    one.start();
    await Promise.all([one.stop(), one.stop()]);
    await one.stop();
  });

  it('comes with the abort of its signal, and an aborted signal starts nothing', async () => {
    const controller = new AbortController();
    const one = relay({ signal: controller.signal });
    one.start();
    const first = await enqueue();
    expect(await eventually(() => publisher.published.length === 1)).toBe(true);
    controller.abort();
    await one.stop();
    one.start();
    await enqueue();
    await delay(100);
    expect(published()).toEqual([first]);
  });
});

describe('start', () => {
  it('twice is harmless: one relay takes one turn at a time', async () => {
    await enqueue();
    await enqueue();
    const { entered, release, calls } = holdDeliveries();
    const one = relay({ batchSize: 1 });
    one.start();
    one.start();
    await entered;
    await delay(200);
    expect(calls()).toBe(1);
    release();
    await one.stop();
  });

  it('goes on after a stop', async () => {
    const one = relay();
    one.start();
    await one.stop();
    const id = await enqueue();
    one.start();
    expect(await eventually(() => publisher.published.length === 1)).toBe(true);
    await one.stop();
    expect(published()).toEqual([id]);
  });
});

describe('start and stop, in any order and without waiting', () => {
  it('leave the relay as the last of them says, whatever it is doing', async () => {
    for (let round = 0; round < 30; round++) {
      await database.query('DELETE FROM outbox');
      publisher = new RecordingPublisher();
      const one = relay();
      one.start();
      if (round % 3 === 0) await delay(Math.random() * 20);
      const calls = Array.from({ length: 1 + Math.floor(Math.random() * 6) }, () => Math.random() < 0.5);
      const stops = calls.flatMap((starts) => (starts ? (one.start(), []) : one.stop()));
      if (calls.at(-1)) {
        await enqueue();
        expect(await eventually(() => publisher.published.length === 1)).toBe(true);
        await one.stop();
      }
      await Promise.all(stops);
      await enqueue();
      await delay(20);
      expect(publisher.published).toHaveLength(calls.at(-1) ? 1 : 0);
    }
  });

  it('of a relay that is stopped at once leave it a first turn', async () => {
    const id = await enqueue();
    const one = relay();
    for (let round = 0; round < 3; round++) {
      one.start();
      await one.stop();
    }
    expect(published()).toEqual([id]);
  });

  it('never take two turns at a time: a stop returns when its turn has ended, a start waits for that', async () => {
    await enqueue();
    await enqueue();
    const { entered, release, calls } = holdDeliveries();
    const one = relay({ batchSize: 1 });
    one.start();
    await entered;
    const stopping = one.stop();
    one.start();
    await delay(100);
    expect(calls()).toBe(1);
    release();
    await stopping;
    expect(await eventually(() => publisher.published.length === 2)).toBe(true);
    await one.stop();
  });
});

/** Starts a relay and has it look in vain so often that its pause is as long as it gets. */
async function makeIdle(one: OutboxRelay): Promise<void> {
  one.start();
  for (let count = 0; count < 40; count++) {
    await delay(10);
    one.wake();
  }
  await delay(100);
}

describe('wake', () => {
  it('ends a pause', async () => {
    const one = relay({ pollIntervalMs: 600_000 });
    await makeIdle(one);
    const id = await enqueue();
    await delay(200);
    expect(published()).toEqual([]);
    one.wake();
    expect(await eventually(() => publisher.published.length === 1)).toBe(true);
    await one.stop();
    expect(published()).toEqual([id]);
  });

  it('is not lost when the relay has just looked', async () => {
    const one = relay({ pollIntervalMs: 600_000 });
    await makeIdle(one);
    const commit = holdCommit();
    one.wake();
    await commit.reached;
    const id = await enqueue();
    one.wake();
    commit.release();
    expect(await eventually(() => publisher.published.length === 1)).toBe(true);
    await one.stop();
    expect(published()).toEqual([id]);
  });

  it('does not have a broker that is down asked more often', async () => {
    await enqueue();
    let calls = 0;
    publisher.answer = () => {
      calls++;
      throw new Error('down');
    };
    const one = relay();
    one.start();
    for (let count = 0; count < 60; count++) {
      one.wake();
      await delay(5);
    }
    await one.stop();
    expect(calls).toBeGreaterThan(0);
    expect(calls).toBeLessThan(10);
  });
});

type Connection = { query(query: unknown, ...rest: unknown[]): unknown };

/** Holds the end of the next turn. The transactions of `enqueue` are TypeORM's, whose COMMIT is a text. */
function holdCommit(): { reached: Promise<void>; release: () => void } {
  const [reached, released] = [gate(), gate()];
  const pool = (dataSource.driver as unknown as { master: { connect(): Promise<Connection> } }).master;
  const connect = pool.connect.bind(pool);
  pool.connect = async () => {
    const client = await connect();
    const query = client.query.bind(client);
    client.query = (sent, ...rest) => {
      if ((sent as { text?: string }).text !== 'COMMIT') return query(sent, ...rest);
      client.query = query;
      pool.connect = connect;
      reached.open();
      return released.passed.then(() => query(sent, ...rest));
    };
    return client;
  };
  return { reached: reached.passed, release: released.open };
}

describe('hooks', () => {
  it('are told what happens to each message', async () => {
    const ids = { good: await enqueue(), busy: await enqueue(), bad: await enqueue() };
    publisher.answer = ({ id }) =>
      id === ids.good ? { published: true } : { published: false, reason: 'no', permanent: id === ids.bad };
    const told: unknown[] = [];
    await relay({
      hooks: {
        published: ({ id }) => told.push(['published', id]),
        refused: ({ id }, reason) => told.push(['refused', id, reason]),
        failed: ({ id }, reason) => told.push(['failed', id, reason]),
      },
    }).runOnce();
    expect(told).toEqual([
      ['published', ids.good],
      ['refused', ids.busy, 'no'],
      ['failed', ids.bad, 'no'],
    ]);
  });

  it.each([
    [
      'throw',
      () => {
        throw new Error('hook');
      },
    ],
    ['reject', () => Promise.reject(new Error('hook'))],
  ])('that %s stop nothing', async (_what, hook: () => void) => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on('unhandledRejection', note);
    await enqueue();
    await enqueue();
    let answers = 0;
    publisher.answer = () => {
      answers++;
      if (answers === 1) throw new Error('down');
      return answers === 2 ? { published: false, reason: 'busy' } : { published: true };
    };
    const hooks = { published: hook, refused: hook, failed: hook, unavailable: hook, recovered: hook };
    const one = relay({ hooks, retryDelayMs: 1 });
    one.start();
    expect(await eventually(async () => (await pending()) === 0)).toBe(true);
    await one.stop();
    process.off('unhandledRejection', note);
    expect(unhandled).toEqual([]);
  });
});

describe('as a process', () => {
  let broker: Broker;
  beforeAll(async () => (broker = await Broker.start()));
  afterEach(() => RelayProcess.killAll());
  afterAll(() => broker.close());

  it('SIGTERM finishes the current batch and ends with 0', async () => {
    const { passed, open } = gate();
    broker.hold = passed;
    const id = await enqueue();
    const one = new RelayProcess('http-publisher', { databaseUrl: database.url, brokerUrl: broker.url });
    expect(await eventually(() => broker.requests === 1, 30_000)).toBe(true);
    const ending = one.end('SIGTERM');
    expect(await eventually(() => one.has('stopping'))).toBe(true);
    expect(one.has('stopped')).toBe(false);
    expect(await pending()).toBe(1);
    open();
    expect(await ending).toEqual({ exitCode: 0, signal: null });
    expect(one.log.map(({ event }) => event)).toEqual(['started', 'stopping', 'stopped']);
    expect(broker.firstArrivals()).toEqual([expect.objectContaining({ id: id.toString() })]);
    expect(await pending()).toBe(0);
  });
});
