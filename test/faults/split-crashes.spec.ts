import { randomUUID } from 'node:crypto';
import { type ShardMap } from '../../src/shards/shard-map';
import { SplitRefusedError } from '../../src/shards/split/errors';
import { type SplitterTask } from '../fixtures/splitter.fixture';
import { FixtureProcess } from '../support/processes/fixture-process';
import { holdIn, requestIn } from '../../src/testing';
import { SplitPair, SplitServer } from '../support/shards/split-pair';

jest.setTimeout(300_000);

let server: SplitServer;

const aSplitter = () => new FixtureProcess('splitter.fixture');
/** The next process, which loads while the one before it is at work. */
let waiting: FixtureProcess;

beforeAll(async () => {
  waiting = aSplitter();
  server = await SplitServer.start();
}, 120_000);
afterAll(async () => {
  await waiting?.kill();
  await server?.remove();
});

/** A pair whose source has requests of both halves, some with messages that nobody has delivered. */
async function aFilledPair(): Promise<SplitPair> {
  const pair = await SplitPair.between(server, server);
  for (let count = 0; count < 6; count++) {
    const restaurantId = randomUUID();
    await requestIn(pair.source, 'PENDING', { restaurantId });
    await holdIn(pair.source, 'voiding', { restaurantId });
  }
  return pair;
}

/** A process that does it, until it is killed in the statement after so many that change something. Gives what it said. */
async function killing(pair: SplitPair, does: SplitterTask['does'], map: ShardMap, after = 0): Promise<string> {
  const task: SplitterTask = { ...pair.urls, does, map, after };
  const splitter = waiting;
  waiting = aSplitter();
  splitter.tell(JSON.stringify(task));
  await splitter.printed(1);
  const [line = 'nothing'] = splitter.lines;
  await splitter.kill();
  if (line !== 'done' && !line.startsWith('halted')) throw new Error(line);
  return line;
}

/**
 * Has process after process do it, each killed in the first statement that changes something, until one comes to its end. Where
 * one was killed before in the same one, which each does again, the next goes one further.
 *
 * @returns where they were killed
 */
async function killingEach(pair: SplitPair, does: SplitterTask['does'], map: ShardMap): Promise<Set<string>> {
  const killed = new Set<string>();
  for (let after = 0, count = 0; ; count++) {
    expect(count).toBeLessThan(40);
    const line = await killing(pair, does, map, after);
    if (line === 'done') return killed;
    after = killed.has(line) ? after + 1 : 0;
    killed.add(line);
  }
}

test('killed in each of its statements, a split goes on where it was, and nothing is lost or left behind', async () => {
  const pair = await aFilledPair();
  const before = (await pair.rows()).source;
  const killed = await killingEach(pair, 'run', pair.oldMap);
  // prepare, publish, slot, subscription, fence, disowning, handing over, leases, messages, slot, publications
  expect(killed.size).toBe(11);
  expect((await pair.split.status()).next).toBe('switch');
  expect((await pair.rows()).target).toEqual(before);

  // In the middle of a table.
  expect(await killing(pair, 'cleanUp', pair.newMap, 6)).not.toBe('done');
  await pair.split.cleanUp(pair.newMap);
  expect((await pair.rows()).target).toEqual(before);
  expect((await pair.split.status(pair.newMap)).next).toBeUndefined();
  const left = await pair.source.query<unknown[]>(`SELECT FROM pg_replication_slots WHERE slot_name LIKE '%split%'`);
  expect(left).toEqual([]);
  await pair.end();
});

test.each([
  ['as it was being copied', ['prepare', 'publish', 'subscribe']],
  ['at its end', ['prepare', 'publish', 'subscribe', 'cutOver']],
] as const)('killed in each of its statements, the undoing of a split %s goes on', async (_when, steps) => {
  const pair = await aFilledPair();
  const before = (await pair.rows()).source;
  for (const step of steps) await pair.split[step]();
  await killingEach(pair, 'undo', pair.oldMap);
  expect((await pair.rows()).source).toEqual(before);
  const left = await pair.source.query<unknown[]>(`SELECT FROM pg_publication UNION ALL
    SELECT FROM pg_replication_slots WHERE slot_name LIKE 'payment_events_split%' AND database = current_database()`);
  expect(left).toEqual([]);
  const taken = await requestIn(pair.source, 'AUTHORIZED');
  expect(taken.authRequestId).toBeDefined();
  await pair.end();
});

test('killed in the cleaning up, it is undone with all that the source had, or not at all', async () => {
  for (const after of [0, 1, 5]) {
    const pair = await aFilledPair();
    const before = (await pair.rows()).source;
    await pair.split.run();
    await killing(pair, 'cleanUp', pair.newMap, after);
    const refused = await pair.split.undo(pair.oldMap).then(
      () => false,
      (error: unknown) => error instanceof SplitRefusedError,
    );
    if (refused) {
      await pair.split.cleanUp(pair.newMap);
      expect((await pair.rows()).target).toEqual(before);
    } else expect((await pair.rows()).source).toEqual(before);
    await pair.end();
  }
});
