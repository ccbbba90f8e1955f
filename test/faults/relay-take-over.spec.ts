import { setTimeout as delay } from 'node:timers/promises';
import { type Client } from 'pg';
import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
import { useTestDatabase } from '../support/database/use-test-database';

const AGGREGATES = 150;
const MESSAGES = 1_200;

const database = useTestDatabase();

/** Takes a turn as the legacy relay does: in the order of creation, one message after the other, whatever its aggregate. */
async function legacyTurn(client: Client, deliver: (id: string) => Promise<void>): Promise<void> {
  await client.query('BEGIN');
  const { rows } = await client.query<{ id: string }>(
    `SELECT id, aggregate_id, message_type, payload FROM outbox WHERE processed_at IS NULL
     ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED`,
    [10],
  );
  for (const { id } of rows) {
    await deliver(id);
    await client.query('UPDATE outbox SET processed_at = NOW() WHERE id = $1', [id]);
  }
  // At times it dies between its queue and its commit.
  await client.query(Math.random() < 0.1 ? 'ROLLBACK' : 'COMMIT');
  if (rows.length === 0) await delay(5);
}

test('beside a legacy relay no message is lost and none is stuck', async () => {
  const dataSource = await database.dataSource();
  const outbox = new Outbox(dataSource);
  const byLegacy: string[] = [];
  const byOurs: string[] = [];
  const aggregates = Array.from({ length: AGGREGATES }, () => uuidv4());
  const enqueue = async () => {
    const aggregateId = aggregates[Math.floor(Math.random() * AGGREGATES)]!;
    const message = {
      aggregateId,
      restaurantId: RESTAURANT,
      messageType: 'auth_request_queued',
      payload: Buffer.from('p'),
    };
    return (await dataSource.transaction((manager) => outbox.enqueue(manager, message))).toString();
  };

  let ended = false;
  const legacyRelays = [await database.connect(), await database.connect()].map(async (client) => {
    while (!ended) {
      await legacyTurn(client, async (id) => {
        byLegacy.push(id);
        await delay(Math.random() * 3);
      });
    }
  });
  const publisher = {
    async publish(messages: readonly { id: bigint }[]) {
      await delay(Math.random() * 10);
      return messages.map(({ id }) => {
        if (Math.random() < 0.05) return { published: false, reason: 'busy' } as const;
        byOurs.push(id.toString());
        return { published: true } as const;
      });
    },
  };
  const options = { batchSize: 10, retryDelayMs: 5, maxRetryDelayMs: 10, maxAttempts: 1_000, pollIntervalMs: 5 };
  const ours = [1, 2].map(() => new OutboxRelay(dataSource, publisher, options));
  for (const relay of ours) relay.start();

  const enqueued = (
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        const ids: string[] = [];
        for (let count = 0; count < MESSAGES / 4; count++) ids.push(await enqueue());
        return ids;
      }),
    )
  ).flat();
  expect(await eventually(async () => (await outbox.stats()).pending === 0, 30_000)).toBe(true);
  ended = true;
  await Promise.all([...legacyRelays, ...ours.map((relay) => relay.stop())]);

  const delivered = new Set([...byLegacy, ...byOurs]);
  expect(enqueued.filter((id) => !delivered.has(id))).toEqual([]);
  expect(await database.query('SELECT id FROM outbox WHERE processed_at IS NULL OR failed_at IS NOT NULL')).toEqual([]);
  expect(new Set(byLegacy).size).toBeGreaterThan(50);
  expect(new Set(byOurs).size).toBeGreaterThan(50);
});

test('a dead letter that a legacy relay delivers is a dead letter no more', async () => {
  const dataSource = await database.dataSource();
  const outbox = new Outbox(dataSource);
  const message = { aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: 'x', payload: Buffer.from('p') };
  const [id] = await dataSource.transaction(async (manager) => [
    await outbox.enqueue(manager, message),
    await outbox.enqueue(manager, message),
  ]);
  await database.query('UPDATE outbox SET failed_at = now(), attempts = 10 WHERE id = $1', [id]);
  await database.query('UPDATE outbox SET processed_at = now() WHERE id = $1', [id]);
  expect(await outbox.stats()).toMatchObject({ failed: 0, pending: 1 });
  expect(await outbox.listFailed()).toEqual([]);
  const behind: bigint[] = [];
  const publisher = {
    publish: (messages: readonly { id: bigint }[]) => {
      behind.push(...messages.map((one) => one.id));
      return Promise.resolve(messages.map(() => ({ published: true }) as const));
    },
  };
  await new OutboxRelay(dataSource, publisher).runOnce();
  expect(behind).toEqual([id + 1n]);
});
