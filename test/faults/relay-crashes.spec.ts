import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { DatabaseUnavailableError } from '../../src/errors';
import { BrokerUnavailableError } from '../../src/outbox/delivery';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { Broker } from '../fixtures/relay/broker';
import { RelayProcess } from '../fixtures/relay/relay-process';
import { RESTAURANT } from '../support/requests/auth-requests';
import { quietDataSource } from '../support/database/quiet-data-source';
import { eventually } from '../support/requests/races';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf, within } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
let publisher: RecordingPublisher;

beforeAll(async () => {
  dataSource = await quietDataSource({ url: database.url });
  outbox = new Outbox(dataSource);
});
afterAll(() => dataSource.destroy());
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  publisher = new RecordingPublisher();
});

const enqueue = (messageType = 'auth_request_queued', aggregateId: string = uuidv4()) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, { aggregateId, restaurantId: RESTAURANT, messageType, payload: Buffer.from('p') }),
  );
const relay = (options?: RelayOptions) => new OutboxRelay(dataSource, publisher, { retryDelayMs: 1, ...options });
const published = () => publisher.published.map(({ id }) => id);
const never = () => new Promise<never>(() => undefined);

/** Ends the session of the current turn, so that its commit fails. */
const killTurn = () =>
  database.query(
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
     WHERE datname = current_database() AND state = 'idle in transaction'`,
  );

describe('a publish that succeeds while the commit fails', () => {
  it('is delivered again, in its order', async () => {
    const aggregate = uuidv4();
    const [first, second] = [await enqueue(undefined, aggregate), await enqueue(undefined, aggregate)];
    publisher.answer = async () => {
      if (publisher.published.length === 0) await killTurn();
      return { published: true };
    };
    const one = relay();
    expect(await failureOf(one.runOnce())).toBeInstanceOf(DatabaseUnavailableError);
    expect(await outbox.stats()).toMatchObject({ pending: 2, processedLastMinute: 0 });
    await one.runOnce();
    await one.runOnce();
    expect(published()).toEqual([first, first, second]);
    expect(await outbox.stats()).toMatchObject({ pending: 0, processedLastMinute: 2 });
  });

  it('does not stop the relay, which reconnects by itself and says so once', async () => {
    const ids = [await enqueue(), await enqueue(), await enqueue()];
    let kills = 0;
    publisher.answer = async () => {
      if (kills++ < 4) await killTurn();
      return { published: true };
    };
    const said: unknown[] = [];
    const hooks = { unavailable: (error: unknown) => said.push(error), recovered: () => said.push('back') };
    const one = relay({ hooks, maxReconnectDelayMs: 5, maxRetryDelayMs: 5 });
    one.start();
    expect(await eventually(async () => (await outbox.stats()).pending === 0)).toBe(true);
    await one.stop();
    expect(new Set(published())).toEqual(new Set(ids));
    expect(said).toEqual([expect.any(DatabaseUnavailableError), 'back']);
  });
});

describe('a publish that never answers', () => {
  it('ends at its time-out and is tried again, and no attempt is counted', async () => {
    const id = await enqueue();
    publisher.answer = never;
    const one = relay({ publishTimeoutMs: 100 });
    const failure = await within(5_000, 'the turn', failureOf(one.runOnce()));
    expect(failure).toBeInstanceOf(BrokerUnavailableError);
    expect((failure as Error).message).toContain('100 ms');
    publisher.answer = () => ({ published: true });
    expect(await one.runOnce()).toEqual([
      expect.objectContaining({ message: expect.objectContaining({ id, attempts: 0 }) as unknown }),
    ]);
  });

  it('counts no attempt in the first turn of a relay either', async () => {
    const id = await enqueue();
    let silent = 3;
    publisher.answer = () => (silent-- > 0 ? never() : { published: true });
    const one = relay({ publishTimeoutMs: 50, maxReconnectDelayMs: 5, maxAttempts: 2 });
    one.start();
    expect(await eventually(() => publisher.published.length === 1)).toBe(true);
    await one.stop();
    expect(publisher.published).toEqual([expect.objectContaining({ id, attempts: 0 })]);
    expect(silent).toBe(-1);
  });

  it('is told to give up when its time is over', async () => {
    await enqueue();
    let aborted = false;
    const silent = {
      publish: (_messages: unknown, signal: AbortSignal) => {
        signal.addEventListener('abort', () => (aborted = true));
        return never();
      },
    };
    await failureOf(new OutboxRelay(dataSource, silent, { publishTimeoutMs: 50 }).runOnce());
    expect(aborted).toBe(true);
  });
});

test('what a lost host had claimed is free again within the bound of its turn', async () => {
  const id = await enqueue();
  const lost = await database.connect();
  // What a turn with publishTimeoutMs 100 sets, but for the five seconds on top.
  await lost.query(`BEGIN; SET LOCAL idle_in_transaction_session_timeout = 100`);
  await lost.query('SELECT FROM outbox WHERE id = $1 FOR UPDATE', [id]);
  const one = relay();
  expect(await one.runOnce()).toEqual([]);
  expect(await eventually(async () => (await one.runOnce()).length === 1)).toBe(true);
});

test('a turn bounds its own silence by the publish time-out and five seconds', async () => {
  await enqueue();
  let bounds: unknown;
  publisher.answer = async () => {
    [bounds] = await database.query(
      `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'`,
    );
    return { published: true };
  };
  const begins: string[] = [];
  const pool = (
    dataSource.driver as unknown as { master: { connect(): Promise<{ query: (...args: unknown[]) => unknown }> } }
  ).master;
  const connect = pool.connect.bind(pool);
  pool.connect = async () => {
    const client = await connect();
    const query = client.query.bind(client);
    client.query = (...args: unknown[]) => (begins.push((args[0] as { text: string }).text), query(...args));
    return client;
  };
  await relay({ publishTimeoutMs: 700 }).runOnce();
  pool.connect = connect;
  expect(bounds).toBeDefined();
  expect(begins[0]).toBe(
    `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '5700'`,
  );
});

describe('a message that kills the relay', () => {
  let broker: Broker;
  beforeAll(async () => (broker = await Broker.start()));
  afterEach(() => RelayProcess.killAll());
  afterAll(() => broker.close());

  const start = (maxAttempts: number) =>
    new RelayProcess('deadly-publisher', { databaseUrl: database.url, brokerUrl: broker.url }, [
      ...['--max-attempts', String(maxAttempts), '--retry-delay-ms', '60000'],
    ]);
  const KILLED = { exitCode: null, signal: 'SIGKILL' };
  /** As if it had waited long enough. */
  const due = () => database.query('UPDATE outbox SET next_attempt_at = NULL WHERE processed_at IS NULL');

  it('becomes a dead letter in the end, while the others go out', async () => {
    const aggregate = uuidv4();
    const front = await enqueue();
    const deadly = await enqueue('deadly', aggregate);
    const behind = await enqueue(undefined, aggregate);
    const others = [await enqueue(), await enqueue()];
    const arrived = () => broker.firstArrivals().map(({ id }) => BigInt(id));

    // The first turn takes one message, the second all of them.
    expect(await start(2).ended).toEqual(KILLED);
    expect(arrived()).toEqual([front]);
    // Now it is the oldest: its death is counted, and it has to wait.
    expect(await start(2).ended).toEqual(KILLED);
    const third = start(2);
    expect(await eventually(() => arrived().length === 3, 30_000)).toBe(true);
    expect(arrived()).toEqual([front, ...others]);
    expect(await third.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(await outbox.stats()).toMatchObject({ pending: 2, failed: 0 });
    await due();
    expect(await start(2).ended).toEqual(KILLED);
    await due();
    const last = start(2);
    expect(await eventually(async () => (await outbox.stats()).failed === 1, 30_000)).toBe(true);
    expect(await eventually(() => last.has('failed'))).toBe(true);
    expect(last.log).toContainEqual(
      expect.objectContaining({ event: 'failed', id: deadly.toString(), messageType: 'deadly' }),
    );
    expect(await outbox.listFailed()).toEqual([
      expect.objectContaining({
        id: deadly,
        waiting: 1,
        lastError: 'The relay ended while it was publishing this message.',
      }),
    ]);

    await outbox.discard(deadly, { by: 'ada', reason: 'kills every relay' });
    expect(await eventually(() => arrived().includes(behind), 30_000)).toBe(true);
    expect(await last.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
  });
});
