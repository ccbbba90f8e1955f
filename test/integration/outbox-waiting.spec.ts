import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay, type RelayOptions } from '../../src/outbox/outbox-relay';
import { RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
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

/** @param at when it is due, in SQL; null: at once */
const enqueue = async (aggregateId: string = uuidv4(), at: string | null = null) => {
  const [row] = await database.query<{ id: string }>(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, next_attempt_at)
     VALUES ($1, $2, 'x', 'p', ${at ?? 'NULL'}) RETURNING id`,
    [aggregateId, RESTAURANT],
  );
  return BigInt(row!.id);
};
const IN_AN_HOUR = `now() + interval '1 hour'`;
const A_SECOND_AGO = `now() - interval '1 second'`;
const become = (id: bigint, at: string) =>
  database.query(`UPDATE outbox SET next_attempt_at = ${at} WHERE id = $1`, [id]);
const relay = (options?: RelayOptions) => new OutboxRelay(dataSource, publisher, { retryDelayMs: 600_000, ...options });
const published = () => publisher.published.map(({ id }) => id);

describe('a message that waits for a time to come', () => {
  it('is overtaken by what comes after it in its aggregate, and goes out when it is due', async () => {
    const aggregate = uuidv4();
    const retry = await enqueue(aggregate, IN_AN_HOUR);
    const [cancelled, other] = [await enqueue(aggregate), await enqueue()];
    const one = relay();
    await one.runOnce();
    expect(published()).toEqual([cancelled, other]);
    expect(await one.runOnce()).toEqual([]);
    await become(retry, A_SECOND_AGO);
    await one.runOnce();
    expect(published()).toEqual([cancelled, other, retry]);
    expect(publisher.published.at(-1)).toMatchObject({ attempts: 0 });
  });

  it('keeps its place before what comes after it once it is due', async () => {
    const aggregate = uuidv4();
    const [retry, cancelled] = [await enqueue(aggregate, A_SECOND_AGO), await enqueue(aggregate)];
    const one = relay();
    await one.runOnce();
    expect(published()).toEqual([retry]);
    await one.runOnce();
    expect(published()).toEqual([retry, cancelled]);
  });

  it('holds back what comes after it when it was refused and waits for another attempt', async () => {
    const aggregate = uuidv4();
    const [refused, behind] = [await enqueue(aggregate, A_SECOND_AGO), await enqueue(aggregate)];
    publisher.answer = () => ({ published: false, reason: 'no' });
    const one = relay();
    await one.runOnce();
    publisher.answer = () => ({ published: true });
    expect(await one.runOnce()).toEqual([]);
    await become(refused, A_SECOND_AGO);
    await one.runOnce();
    await one.runOnce();
    expect(published()).toEqual([refused, behind]);
  });

  it('holds back nothing behind several of it, and those are one at a time too', async () => {
    const aggregate = uuidv4();
    await enqueue(aggregate, IN_AN_HOUR);
    const first = await enqueue(aggregate);
    await enqueue(aggregate, IN_AN_HOUR);
    const second = await enqueue(aggregate);
    const one = relay();
    await one.runOnce();
    expect(published()).toEqual([first]);
    await one.runOnce();
    expect(published()).toEqual([first, second]);
  });

  it('is counted apart, with no age; that of one that is due begins when it was', async () => {
    const waiting = await enqueue(uuidv4(), IN_AN_HOUR);
    await database.query(`UPDATE outbox SET created_at = now() - interval '2 hours' WHERE id = $1`, [waiting]);
    expect(await outbox.stats()).toMatchObject({ pending: 0, waiting: 1, failed: 0, oldestPendingAgeMs: null });
    await become(waiting, `now() - interval '10 seconds'`);
    const stats = await outbox.stats();
    expect(stats).toMatchObject({ pending: 1, waiting: 0, atLeast: [] });
    expect(stats.oldestPendingAgeMs).toBeGreaterThanOrEqual(10_000);
    expect(stats.oldestPendingAgeMs).toBeLessThan(3_600_000);
  });

  it('is pending, and as old as it is, when it was refused', async () => {
    const refused = await enqueue();
    await database.query(`UPDATE outbox SET created_at = now() - interval '2 hours' WHERE id = $1`, [refused]);
    publisher.answer = () => ({ published: false, reason: 'no' });
    await relay().runOnce();
    const stats = await outbox.stats();
    expect(stats).toMatchObject({ pending: 1, waiting: 0 });
    expect(stats.oldestPendingAgeMs).toBeGreaterThanOrEqual(7_200_000);
  });
});

describe('a batch', () => {
  it('is shared between what was due later and the rest, however much there is of either', async () => {
    for (let count = 0; count < 40; count++) await enqueue(uuidv4(), A_SECOND_AGO);
    const rest: bigint[] = [];
    for (let count = 0; count < 40; count++) rest.push(await enqueue());
    const one = relay({ batchSize: 10 });
    for (let turn = 0; turn < 4; turn++) await one.runOnce();
    expect(published().filter((id) => rest.includes(id))).toEqual(rest.slice(0, 20));
    expect(published()).toHaveLength(40);
  });

  it('is full of the one where there is nothing of the other, and in the order of ids', async () => {
    const ids: bigint[] = [];
    for (let count = 0; count < 10; count++)
      ids.push(await enqueue(uuidv4(), `now() - ${count + 1} * interval '1 second'`));
    await relay({ batchSize: 10 }).runOnce();
    expect(published()).toEqual(ids);
  });

  it('of one message comes to both in the end', async () => {
    const due = [await enqueue(uuidv4(), A_SECOND_AGO), await enqueue(uuidv4(), A_SECOND_AGO)];
    const one = relay({ batchSize: 1 });
    let others = 0;
    for (let turn = 0; turn < 500 && (others === 0 || !due.every((id) => published().includes(id))); turn++) {
      await enqueue();
      await one.runOnce();
      others = published().filter((id) => !due.includes(id)).length;
    }
    expect(published()).toEqual(expect.arrayContaining(due));
    expect(others).toBeGreaterThan(0);
  });
});

test('whatever becomes due while several relays look, no two of an aggregate are in one batch, and all go out', async () => {
  const aggregates = Array.from({ length: 15 }, () => uuidv4());
  const ids: bigint[] = [];
  const batches: string[][] = [];
  const watching = {
    publish: (messages: readonly { id: bigint; aggregateId: string }[]) => {
      batches.push(messages.map(({ aggregateId }) => aggregateId));
      return Promise.resolve(
        messages.map(() =>
          Math.random() < 0.1 ? ({ published: false, reason: 'busy' } as const) : ({ published: true } as const),
        ),
      );
    },
  };
  const options = { batchSize: 7, pollIntervalMs: 1, retryDelayMs: 2, maxRetryDelayMs: 5, maxAttempts: 1_000 };
  const relays = [1, 2, 3].map(() => new OutboxRelay(dataSource, watching, options));
  for (const one of relays) one.start();
  for (let count = 0; count < 600; count++) {
    const soon = `clock_timestamp() + ${Math.floor(Math.random() * 30)} * interval '1 millisecond'`;
    ids.push(await enqueue(aggregates[count % aggregates.length], Math.random() < 0.5 ? soon : null));
  }
  expect(
    await eventually(
      async () => (await database.query('SELECT FROM outbox WHERE processed_at IS NULL')).length === 0,
      30_000,
    ),
  ).toBe(true);
  await Promise.all(relays.map((one) => one.stop()));
  expect(batches.filter((batch) => new Set(batch).size !== batch.length)).toEqual([]);
  expect(ids).toHaveLength(600);
});

describe('after a clock was set back', () => {
  it('what waits for a time that is far away is sent at once when it is requeued by its id', async () => {
    const [retry, refused] = [await enqueue(uuidv4(), `now() + interval '1 year'`), await enqueue()];
    await database.query(`UPDATE outbox SET attempts = 3, next_attempt_at = now() + interval '1 year' WHERE id = $1`, [
      refused,
    ]);
    expect(await relay().runOnce()).toEqual([]);
    await outbox.requeue(retry);
    await outbox.requeue(refused);
    await relay().runOnce();
    expect(published()).toEqual([retry, refused]);
    expect(publisher.published[1]).toMatchObject({ attempts: 0 });
  });

  it('requeueAll takes what was refused, and leaves alone what waits for its first attempt', async () => {
    const [waiting, refused] = [await enqueue(uuidv4(), IN_AN_HOUR), await enqueue(uuidv4(), IN_AN_HOUR)];
    await database.query('UPDATE outbox SET attempts = 3 WHERE id = $1', [refused]);
    expect(await outbox.requeueAll()).toBe(1);
    await relay().runOnce();
    expect(published()).toEqual([refused]);
    expect(await database.query('SELECT FROM outbox WHERE id = $1 AND processed_at IS NULL', [waiting])).toHaveLength(
      1,
    );
  });
});

test.each([
  ['a list', `'[]'`],
  ['a text', `'"a"'`],
  ['null', `'null'`],
  ['a number in it', `'{"a": 1}'`],
  ['null in it', `'{"a": null}'`],
  ['a list in it', `'{"a": ["b"]}'`],
  ['an object in it', `'{"a": "b", "c": {"d": "e"}}'`],
])('the database refuses headers that are no object of texts: %s', async (_what, headers) => {
  const insert = (value: string) =>
    database.query(
      `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, headers)
       VALUES (gen_random_uuid(), gen_random_uuid(), 'x', '', ${value})`,
    );
  await expect(insert(headers)).rejects.toMatchObject({ constraint: 'outbox_headers_texts' });
  await insert(`'{}'`);
  await insert(`'{"a": "b", "": "", "type": "object"}'`);
});
