import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { BrokerUnavailableError } from '../../src/outbox/delivery';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { type Publisher, type PublishOutcome } from '../../src/outbox/publisher';
import { RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
let healthy: RecordingPublisher;
let broken: RecordingPublisher;
let attempts: number;

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  [healthy, broken, attempts] = [new RecordingPublisher(), new RecordingPublisher(), 0];
  broken.answer = () => {
    attempts++;
    throw new Error('the queue is gone');
  };
});

const enqueue = (messageType: 'healthy' | 'broken', aggregateId: string = uuidv4()) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, { aggregateId, restaurantId: RESTAURANT, messageType, payload: Buffer.from('p') }),
  );
const relay = (options?: RelayOptions) =>
  new OutboxRelay(dataSource, { healthy, broken }, { pollIntervalMs: 5, maxReconnectDelayMs: 100, ...options });
const idsOf = ({ published }: RecordingPublisher) => published.map(({ id }) => id);

describe('while one of two brokers is away', () => {
  it('the messages of the other go out, once', async () => {
    const stuck = [await enqueue('broken'), await enqueue('broken')];
    const ids = [await enqueue('healthy'), await enqueue('healthy')];
    const said: unknown[] = [];
    const hooks = { unavailable: (error: unknown) => said.push(error), recovered: () => said.push('back') };
    const one = relay({ hooks });
    one.start();
    expect(await eventually(() => attempts >= 4)).toBe(true);
    expect(idsOf(healthy)).toEqual(ids);
    expect(said).toEqual([expect.any(BrokerUnavailableError)]);
    expect(await database.query('SELECT id, attempts FROM outbox WHERE processed_at IS NULL ORDER BY id')).toEqual(
      stuck.map((id) => ({ id: id.toString(), attempts: 0 })),
    );

    broken.answer = () => ({ published: true });
    expect(await eventually(() => broken.published.length === 2)).toBe(true);
    expect(await eventually(() => said.length === 2)).toBe(true);
    await one.stop();
    expect(idsOf(broken)).toEqual(stuck);
    expect(said[1]).toBe('back');
  });

  it('they are not held up by any number of its messages, or by how long it takes to fail', async () => {
    broken.answer = () => {
      attempts++;
      return new Promise<never>(() => undefined);
    };
    for (let count = 0; count < 30; count++) await enqueue('broken');
    const ids = [await enqueue('healthy'), await enqueue('healthy')];
    const one = relay({ batchSize: 5, publishTimeoutMs: 100, maxReconnectDelayMs: 600_000 });
    one.start();
    expect(await eventually(() => healthy.published.length === 2)).toBe(true);
    ids.push(await enqueue('healthy'));
    expect(await eventually(() => healthy.published.length === 3)).toBe(true);
    await one.stop();
    expect(idsOf(healthy)).toEqual(ids);
  });

  it('what waits behind one of its messages in the same aggregate keeps waiting', async () => {
    const aggregate = uuidv4();
    await enqueue('broken', aggregate);
    const behind = await enqueue('healthy', aggregate);
    const other = await enqueue('healthy');
    const one = relay();
    one.start();
    expect(await eventually(() => attempts >= 3)).toBe(true);
    expect(idsOf(healthy)).toEqual([other]);
    broken.answer = () => ({ published: true });
    expect(await eventually(() => healthy.published.length === 2)).toBe(true);
    await one.stop();
    expect(idsOf(healthy)).toEqual([other, behind]);
  });

  it('a turn by itself marks what went out, and fails only where nothing did', async () => {
    await enqueue('broken');
    const id = await enqueue('healthy');
    const one = relay();
    expect(await one.runOnce()).toEqual([
      expect.objectContaining({ message: expect.objectContaining({ id }) as unknown }),
    ]);
    expect(await outbox.stats()).toMatchObject({ pending: 1, processedLastMinute: 1 });
    await expect(relay().runOnce()).rejects.toBeInstanceOf(BrokerUnavailableError);
  });
});

describe('one publisher for two queues, of which one is in trouble', () => {
  const troubled = (trouble: () => PublishOutcome): Publisher => ({
    publish: (messages) =>
      Promise.resolve(
        messages.map((message) => {
          const outcome = message.messageType === 'broken' ? trouble() : ({ published: true } as const);
          if (outcome.published) healthy.published.push(message);
          else attempts++;
          return outcome;
        }),
      ),
  });
  const FAULT: PublishOutcome = { published: false, reason: 'it throttles', brokerFault: true };

  it('sends what goes to the other, however much waits for the first, and counts nothing', async () => {
    for (let count = 0; count < 12; count++) await enqueue('broken');
    const ids = [await enqueue('healthy'), await enqueue('healthy')];
    let trouble: PublishOutcome = FAULT;
    const said: string[] = [];
    const hooks = {
      unavailable: (error: unknown) => said.push((error as Error).message),
      refused: () => said.push('refused'),
      recovered: () => said.push('back'),
    };
    const options = { batchSize: 5, maxAttempts: 1, pollIntervalMs: 5, maxReconnectDelayMs: 100, hooks };
    const one = new OutboxRelay(
      dataSource,
      troubled(() => trouble),
      options,
    );
    one.start();
    expect(await eventually(() => healthy.published.length === 2)).toBe(true);
    ids.push(await enqueue('healthy'));
    expect(await eventually(() => healthy.published.length === 3)).toBe(true);
    const before = attempts;
    expect(await eventually(() => attempts > before + 20)).toBe(true);
    expect(idsOf(healthy)).toEqual(ids);
    trouble = { published: true };
    expect(await eventually(() => healthy.published.length === 15)).toBe(true);
    await one.stop();
    expect(await outbox.stats()).toMatchObject({ pending: 0, failed: 0 });
    expect(
      await database.query('SELECT sum(attempts)::integer AS attempts FROM outbox WHERE message_type = $1', ['broken']),
    ).toEqual([{ attempts: 0 }]);
    expect(said).not.toContain('refused');
    expect(said[0]).toBe('it throttles');
  });

  it('does not ask for it all the time', async () => {
    await enqueue('broken');
    const one = new OutboxRelay(
      dataSource,
      troubled(() => FAULT),
      { pollIntervalMs: 1 },
    );
    one.start();
    for (let count = 0; count < 100; count++) {
      one.wake();
      await enqueue('healthy');
    }
    expect(await eventually(() => healthy.published.length === 100)).toBe(true);
    await one.stop();
    expect(attempts).toBeGreaterThan(0);
    expect(attempts).toBeLessThan(50);
  });
});
