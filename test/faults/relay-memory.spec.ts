import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { type RelayMessage } from '../../src/outbox/publisher';
import { memoryInUse } from '../support/processes/memory-in-use';
import { useTestDatabase } from '../support/database/use-test-database';

/** `npm run test:full` says so. */
const FULL = Boolean(process.env.RUN_FULL);
const MESSAGES = FULL ? 1_000_000 : 60_000;
const PAYLOAD_BYTES = 1_000;
/** To keep a tenth of what the smaller run sends would take as much. */
const GROWTH_BYTES = 6_000_000;

jest.setTimeout(FULL ? 1_200_000 : 60_000);

const database = useTestDatabase();

test(`${MESSAGES} pending messages drain at flat memory`, async () => {
  await database.query(
    `INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload)
     SELECT gen_random_uuid(), gen_random_uuid(), 'auth_request_queued', decode(repeat('ab', $2), 'hex')
     FROM generate_series(1, $1)`,
    [MESSAGES, PAYLOAD_BYTES],
  );
  let sent = 0;
  const publisher = {
    publish: (messages: readonly RelayMessage[]) => {
      sent += messages.length;
      return Promise.resolve(messages.map(() => ({ published: true }) as const));
    },
  };
  const relay = new OutboxRelay(await database.dataSource(), publisher, { batchSize: 500 });
  const inUse: number[] = [];
  while (sent < MESSAGES) {
    if ((await relay.runOnce()).length === 0) break;
    if (sent % (MESSAGES / 10) === 0) inUse.push(await memoryInUse());
  }
  expect(sent).toBe(MESSAGES);
  expect(inUse).toHaveLength(10);
  if (FULL) console.info(`MB in use after each tenth: ${inUse.map((bytes) => (bytes / 1e6).toFixed(1)).join(', ')}`);
  expect(Math.max(...inUse.slice(1)) - inUse[0]!).toBeLessThan(GROWTH_BYTES);
});

/** Too little a pause to be told from noise, until there have been many. */
(FULL ? test : test.skip)('a relay that has nothing to do keeps nothing of its pauses', async () => {
  const dataSource = await database.dataSource();
  const pool = (dataSource.driver as unknown as { master: { connect(): Promise<unknown> } }).master;
  const connect = pool.connect.bind(pool);
  let turns = 0;
  pool.connect = () => (turns++, connect());
  const relay = new OutboxRelay(dataSource, { publish: () => Promise.resolve([]) }, { pollIntervalMs: 600_000 });
  const after = async (count: number) => {
    for (const goal = turns + count; turns < goal; relay.wake()) await new Promise(setImmediate);
    return await memoryInUse();
  };
  relay.start();
  const before = await after(5_000);
  expect((await after(50_000)) - before).toBeLessThan(1_500_000);
  await relay.stop();
  pool.connect = connect;
});
