import { type DataSource, type EntityManager } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { InvalidCommandError, OutboxMessageNotFoundError, TransactionRequiredError } from '../../src/errors';
import { type EnqueueCommand } from '../../src/outbox/enqueue';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, comeToWait, crowdOf, overlap } from '../support/requests/races';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
let publisher: RecordingPublisher;
let relay: OutboxRelay;

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  publisher = new RecordingPublisher();
  relay = new OutboxRelay(dataSource, publisher, { retryDelayMs: 1 });
});

const aMessage = (changes: Partial<EnqueueCommand> = {}): EnqueueCommand => ({
  aggregateId: uuidv4(),
  restaurantId: RESTAURANT,
  messageType: 'refund_queued',
  payload: Buffer.from('p'),
  ...changes,
});
const enqueue = (changes?: Partial<EnqueueCommand>) =>
  dataSource.transaction((manager) => outbox.enqueue(manager, aMessage(changes)));
const aDeadLetter = async (changes?: Partial<EnqueueCommand>) => {
  const id = await enqueue(changes);
  await database.query(`UPDATE outbox SET failed_at = now(), attempts = 10, last_error = 'no' WHERE id = $1`, [id]);
  return id;
};
const row = async (id: bigint) => (await database.query('SELECT * FROM outbox WHERE id = $1', [id]))[0];
const published = () => publisher.published.map(({ id }) => id);

describe('enqueue', () => {
  it('writes what it was given, and the message goes out as that', async () => {
    const message = aMessage({ headers: { 'x-source': 'refunds' }, payload: Buffer.from([0, 255, 1]) });
    const id = await dataSource.transaction((manager) => outbox.enqueue(manager, message));
    await relay.runOnce();
    const { aggregateId, restaurantId, messageType, payload, headers } = message;
    expect(publisher.published).toEqual([
      {
        id,
        aggregateId,
        restaurantId,
        messageType,
        payload,
        headers,
        attempts: 0,
        createdAt: expect.any(Date) as Date,
      },
    ]);
  });

  it('leaves nothing where the transaction rolls back', async () => {
    const failing = dataSource.transaction(async (manager) => {
      await outbox.enqueue(manager, aMessage());
      throw new Error('business says no');
    });
    await expect(failing).rejects.toThrow('business says no');
    expect(await outbox.stats()).toMatchObject({ pending: 0 });
  });

  it.each<[string, () => EntityManager | Promise<EntityManager>]>([
    ['the manager of the data source', () => dataSource.manager],
    ['a manager without an open transaction', () => dataSource.createQueryRunner().manager],
    ['a manager whose transaction has ended', () => dataSource.transaction((manager) => Promise.resolve(manager))],
  ])('refuses %s', async (_what, manager) => {
    const failure = await failureOf(outbox.enqueue(await manager(), aMessage()));
    expect(failure).toBeInstanceOf(TransactionRequiredError);
    expect(await outbox.stats()).toMatchObject({ pending: 0 });
  });

  it('refuses a malformed message, naming what is wrong and not its value', async () => {
    const wrong = { aggregateId: 'pt_secret', messageType: '', headers: { a: 1 } as unknown as Record<string, string> };
    const failure = await failureOf(enqueue(wrong));
    expect(failure).toBeInstanceOf(InvalidCommandError);
    expect((failure as Error).message).toMatch(/aggregateId.*messageType.*headers/);
    expect((failure as Error).message).not.toContain('pt_secret');
  });
});

describe('lockAggregate', () => {
  /** A slow transaction and a quick one on the same aggregate: what goes out while the first is still open, and in the end. */
  async function race(lockAggregate: boolean): Promise<{ waited: boolean; inOrder: boolean }> {
    const aggregateId = uuidv4();
    const own = await database.dataSource();
    const message = aMessage({ aggregateId, lockAggregate });
    const { first, second, waited } = await overlap(
      { database, dataSource: own },
      (manager) => outbox.enqueue(manager, message),
      async () => {
        const id = await dataSource.transaction((manager) => outbox.enqueue(manager, message));
        await relay.runOnce();
        return id;
      },
    );
    await relay.runOnce();
    await relay.runOnce();
    expect(new Set(published())).toEqual(new Set([first, second]));
    return { waited, inOrder: published()[0] === first };
  }

  it('makes the second of two wait, so that both go out in the order of their ids', async () => {
    expect(await race(true)).toEqual({ waited: true, inOrder: true });
  });

  it('is what it takes: without it the second overtakes the first', async () => {
    expect(await race(false)).toEqual({ waited: false, inOrder: false });
  });

  it('keeps the order in every one of many races, and holds up no other aggregate', async () => {
    const crowd = await crowdOf(8, database);
    const ofCrowd = new Outbox(crowd);
    const aggregates = [uuidv4(), uuidv4()];
    relay = new OutboxRelay(dataSource, publisher, { pollIntervalMs: 1 });
    relay.start();
    for (let round = 0; round < 40; round++) {
      await atOnce(8, (index) =>
        crowd.transaction(async (manager) => {
          await ofCrowd.enqueue(manager, aMessage({ aggregateId: aggregates[index % 2]!, lockAggregate: true }));
          await manager.query('SELECT pg_sleep(random() / 200)');
        }),
      );
    }
    while ((await outbox.stats()).pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await relay.stop();
    await crowd.destroy();
    for (const aggregate of aggregates) {
      const ids = publisher.published.filter(({ aggregateId }) => aggregateId === aggregate).map(({ id }) => id);
      expect(ids).toHaveLength(160);
      expect(ids).toEqual(ids.toSorted((a, b) => Number(a - b)));
    }
  });
});

describe('requeue', () => {
  it('has a dead letter delivered again, with all its attempts before it, ahead of what waited behind it', async () => {
    const aggregateId = uuidv4();
    const dead = await aDeadLetter({ aggregateId });
    const behind = await enqueue({ aggregateId });
    expect(await relay.runOnce()).toEqual([]);
    await outbox.requeue(dead);
    expect(await row(dead)).toMatchObject({ attempts: 0, failed_at: null, next_attempt_at: null });
    await relay.runOnce();
    await relay.runOnce();
    expect(published()).toEqual([dead, behind]);
  });

  it('refuses a message that is no dead letter, or none at all', async () => {
    const [pending, processed] = [await enqueue(), await aDeadLetter()];
    await database.query('UPDATE outbox SET processed_at = now() WHERE id = $1', [processed]);
    for (const id of [pending, processed, 999_999_999n]) {
      const failure = await failureOf(outbox.requeue(id));
      expect(failure).toBeInstanceOf(OutboxMessageNotFoundError);
      expect(failure).toMatchObject({ id, retryable: false });
    }
  });

  it('requeueAll takes every dead letter and says how many there were', async () => {
    const [first, , second] = [await aDeadLetter(), await enqueue(), await aDeadLetter()];
    expect(await outbox.requeueAll()).toBe(2);
    expect(await outbox.requeueAll()).toBe(0);
    expect(await outbox.stats()).toMatchObject({ pending: 3, failed: 0 });
    await relay.runOnce();
    expect(published()).toEqual(expect.arrayContaining([first, second]));
  });

  it('joins the transaction of its caller', async () => {
    const id = await aDeadLetter();
    await failureOf(
      dataSource.transaction(async (manager) => {
        await outbox.requeue(id, manager);
        expect(await outbox.stats(manager)).toMatchObject({ failed: 0 });
        throw new Error('undo');
      }),
    );
    expect(await outbox.stats()).toMatchObject({ failed: 1 });
  });
});

describe('discard', () => {
  it('sets a message aside, attributably, and frees what waits behind it', async () => {
    const aggregateId = uuidv4();
    const dead = await aDeadLetter({ aggregateId });
    const behind = await enqueue({ aggregateId });
    await outbox.discard(dead, { by: 'ada', reason: 'the order was cancelled' });
    expect(await row(dead)).toMatchObject({
      processed_at: expect.any(Date) as Date,
      discarded_at: expect.any(Date) as Date,
      discarded_by: 'ada',
      discard_reason: 'the order was cancelled',
    });
    await relay.runOnce();
    expect(published()).toEqual([behind]);
  });

  it('takes a pending message as well, but none that has been delivered or discarded', async () => {
    const id = await enqueue();
    await outbox.discard(id, { by: 'ada', reason: 'sent by mistake' });
    expect(await relay.runOnce()).toEqual([]);
    const delivered = await enqueue();
    await relay.runOnce();
    for (const gone of [id, delivered, 999_999_999n]) {
      const failure = await failureOf(outbox.discard(gone, { by: 'bob', reason: 'again' }));
      expect(failure).toBeInstanceOf(OutboxMessageNotFoundError);
    }
    expect(await row(id)).toMatchObject({ discarded_by: 'ada' });
  });

  it('wants to know who and why', async () => {
    const id = await aDeadLetter();
    for (const nobody of [{ by: '', reason: 'x' }, { by: 'ada', reason: '' }, {} as { by: string; reason: string }]) {
      expect(await failureOf(outbox.discard(id, nobody))).toBeInstanceOf(InvalidCommandError);
    }
    expect(await outbox.stats()).toMatchObject({ failed: 1 });
  });

  it.each([
    ['is refused when that delivers the message', true],
    ['takes effect when that does not', false],
  ])('waits for a relay in the middle of its turn, and %s', async (_what, delivers) => {
    const id = await enqueue();
    let discarding: Promise<unknown> | undefined;
    publisher.answer = async () => {
      discarding = outbox.discard(id, { by: 'ada', reason: 'stop it' }).then(
        () => 'discarded',
        (error: unknown) => error,
      );
      expect(await comeToWait(database, 1)).toBe(true);
      return delivers ? { published: true } : { published: false, reason: 'no' };
    };
    await relay.runOnce();
    if (delivers) expect(await discarding).toBeInstanceOf(OutboxMessageNotFoundError);
    else expect(await discarding).toBe('discarded');
    expect(await row(id)).toMatchObject({ discarded_by: delivers ? null : 'ada' });
    expect(await relay.runOnce()).toEqual([]);
  });
});

describe('listFailed', () => {
  it('tells what a person needs to decide, oldest first, page by page, and no payload', async () => {
    const aggregateId = uuidv4();
    const first = await aDeadLetter({ aggregateId });
    await enqueue({ aggregateId });
    await enqueue({ aggregateId });
    const second = await aDeadLetter();
    await enqueue();
    expect(await outbox.listFailed()).toEqual([
      {
        id: first,
        aggregateId,
        restaurantId: RESTAURANT,
        messageType: 'refund_queued',
        attempts: 10,
        lastError: 'no',
        createdAt: expect.any(Date) as Date,
        failedAt: expect.any(Date) as Date,
        waiting: 2,
      },
      expect.objectContaining({ id: second, waiting: 0 }),
    ]);
    expect(await outbox.listFailed({ limit: 1 })).toEqual([expect.objectContaining({ id: first })]);
    expect(await outbox.listFailed({ after: first })).toEqual([expect.objectContaining({ id: second })]);
  });
});

describe('stats', () => {
  it('counts what waits, what was given up and what went out, and tells the age of the oldest', async () => {
    const old = await enqueue();
    await database.query(`UPDATE outbox SET created_at = now() - interval '90 seconds' WHERE id = $1`, [old]);
    await enqueue();
    const dead = await aDeadLetter();
    await database.query(`UPDATE outbox SET created_at = now() - interval '1 day' WHERE id = $1`, [dead]);
    const [justNow, earlier] = [await enqueue(), await enqueue()];
    await database.query(`UPDATE outbox SET processed_at = now() WHERE id = $1`, [justNow]);
    await database.query(`UPDATE outbox SET processed_at = now() - interval '2 minutes' WHERE id = $1`, [earlier]);
    const stats = await outbox.stats();
    expect(stats).toEqual({
      pending: 2,
      waiting: 0,
      failed: 1,
      oldestPendingAgeMs: expect.any(Number) as number,
      processedLastMinute: 1,
      atLeast: [],
    });
    expect(stats.oldestPendingAgeMs).toBeGreaterThanOrEqual(90_000);
    expect(stats.oldestPendingAgeMs).toBeLessThan(3_600_000);
  });
});

describe('purgeProcessed', () => {
  it('deletes what went out long ago, in any number of ranges, and waits for no relay', async () => {
    const ids = [];
    for (let count = 0; count < 7; count++) ids.push(await enqueue());
    const dead = await aDeadLetter();
    await database.query(`UPDATE outbox SET processed_at = now() - interval '2 days' WHERE id = ANY ($1)`, [
      [ids[0], ids[2], ids[6]],
    ]);
    await database.query(`UPDATE outbox SET processed_at = now() - interval '1 hour' WHERE id = $1`, [ids[1]]);
    const relaying = await database.connect();
    await relaying.query('BEGIN');
    await relaying.query('SELECT FROM outbox WHERE id = $1 FOR UPDATE', [ids[3]]);
    expect(await outbox.purgeProcessed({ olderThanMs: 86_400_000, batchSize: 2 })).toBe(3);
    await relaying.query('ROLLBACK');
    const left = await database.query<{ id: string }>('SELECT id FROM outbox ORDER BY id');
    expect(left.map(({ id }) => BigInt(id))).toEqual([ids[1], ids[3], ids[4], ids[5], dead]);
    expect(await outbox.purgeProcessed({ olderThanMs: 86_400_000 })).toBe(0);
  });
});

test('however much a publisher says of a refusal, what is stored of it is bounded', async () => {
  const id = await enqueue();
  publisher.answer = () => ({ published: false, reason: `\0${'é'.repeat(100_000)}\0` });
  await relay.runOnce();
  expect((await row(id))!.last_error).toBe('é'.repeat(1_000));
});
