import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { BrokerUnavailableError } from '../../src/outbox/delivery';
import { RESTAURANT } from '../support/requests/auth-requests';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';

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

const enqueue = (aggregateId: string = uuidv4(), messageType = 'auth_request_queued') =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, { aggregateId, restaurantId: RESTAURANT, messageType, payload: Buffer.from('p') }),
  );
const relay = (options?: RelayOptions) => new OutboxRelay(dataSource, publisher, { retryDelayMs: 1, ...options });
const published = () => publisher.published.map(({ id }) => id);

it('delivers the messages of one aggregate in order, one a turn', async () => {
  const aggregate = uuidv4();
  const [first, other, second] = [await enqueue(aggregate), await enqueue(), await enqueue(aggregate)];
  const one = relay();
  await one.runOnce();
  expect(published()).toEqual([first, other]);
  await one.runOnce();
  expect(published()).toEqual([first, other, second]);
  expect(await outbox.stats()).toEqual({
    ...{ pending: 0, waiting: 0, failed: 0, oldestPendingAgeMs: null, processedLastMinute: 3, atLeast: [] },
  });
});

it('holds back only the aggregate of a poison message, and gives it up after maxAttempts', async () => {
  const aggregate = uuidv4();
  const [poison, behind, other] = [await enqueue(aggregate), await enqueue(aggregate), await enqueue()];
  publisher.answer = ({ id }) => (id === poison ? { published: false, reason: 'no' } : { published: true });
  const one = relay({ maxAttempts: 3 });
  for (let turn = 0; turn < 10; turn++) {
    await one.runOnce();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(published()).toEqual([other]);
  expect(await outbox.stats()).toMatchObject({ pending: 1, failed: 1 });
  expect(await outbox.listFailed()).toEqual([
    expect.objectContaining({ id: poison, attempts: 3, lastError: 'no', waiting: 1 }),
  ]);
  await outbox.discard(poison, { by: 'ada', reason: 'obsolete' });
  await one.runOnce();
  expect(published()).toEqual([other, behind]);
});

it('starts, delivers what comes, and stops', async () => {
  const one = relay({ pollIntervalMs: 10 });
  one.start();
  const ids = [await enqueue(), await enqueue()];
  one.wake();
  while (publisher.published.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await one.stop();
  expect(published()).toEqual(ids);
});

it('counts nothing against a message while the broker cannot be reached, and says so once', async () => {
  const id = await enqueue();
  let down = true;
  let tries = 0;
  publisher.answer = () => {
    tries++;
    if (down) throw new Error('connection refused');
    return { published: true };
  };
  const said: string[] = [];
  const hooks = {
    unavailable: (error: unknown) => said.push((error as Error).name),
    recovered: () => said.push('back'),
  };
  const one = relay({ hooks, maxReconnectDelayMs: 5, pollIntervalMs: 5 });
  one.start();
  while (tries < 5) await new Promise((resolve) => setTimeout(resolve, 5));
  // In the middle of a first turn the attempt is written down.
  await one.stop();
  expect(await database.query('SELECT attempts, failed_at FROM outbox')).toEqual([{ attempts: 0, failed_at: null }]);
  down = false;
  one.start();
  while (publisher.published.length < 1) await new Promise((resolve) => setTimeout(resolve, 5));
  await one.stop();
  expect(published()).toEqual([id]);
  expect(said).toEqual([BrokerUnavailableError.name, 'back']);
});

it('fails a message at once whose type has no publisher, with a reason a person can act on', async () => {
  await enqueue(uuidv4(), 'refund_queued');
  await new OutboxRelay(dataSource, { auth_request_queued: publisher }).runOnce();
  expect(await outbox.listFailed()).toEqual([
    expect.objectContaining({ lastError: expect.stringContaining('refund_queued: add one and requeue') as string }),
  ]);
});

it('purges what was processed long ago and nothing else', async () => {
  const [old, recent, pending] = [await enqueue(), await enqueue(), await enqueue()];
  await database.query(`UPDATE outbox SET processed_at = now() - interval '2 days' WHERE id = $1`, [old]);
  await database.query(`UPDATE outbox SET processed_at = now() WHERE id = $1`, [recent]);
  expect(await outbox.purgeProcessed({ olderThanMs: 86_400_000, batchSize: 2 })).toBe(1);
  expect(await database.query('SELECT id FROM outbox ORDER BY id')).toEqual([
    { id: recent.toString() },
    { id: pending.toString() },
  ]);
});
