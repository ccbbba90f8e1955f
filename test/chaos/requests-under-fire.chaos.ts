import { randomBytes } from 'node:crypto';
import { ReadModel } from '../../src/read-model/read-model';
import { quietDataSource } from '../support/database/quiet-data-source';
import { lostConfirmations } from './checks/confirmed';
import { messageProblems } from './checks/messages';
import { moneyProblems } from './checks/money';
import { webhookProblems } from './checks/webhooks';
import { Mayhem } from './mayhem';
import { closeByHand, listedHolds, settle } from './settle';
import { forbiddenTransitions } from './transitions';
import { until, World } from './world';

/** For how long harm is done. What follows, and what goes before, takes as long as it takes. */
const SECONDS = Number(process.env.CHAOS_SECONDS ?? 60);
/** `CHAOS_SEED=… npm run test:chaos` makes the same decisions in each process; what they meet depends on time. */
const SEED = process.env.CHAOS_SEED ?? randomBytes(4).toString('hex');

let world: World | undefined;
let mayhem: Mayhem | undefined;

jest.setTimeout(SECONDS * 1_000 + 1_200_000);

// Also where it failed, or did not end.
afterAll(async () => {
  if (world && mayhem) process.stderr.write(summary(world, mayhem));
  await world?.remove();
});

test('whatever dies, hangs and lies, the ledger of the processor and the database agree line by line', async () => {
  process.stderr.write(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}\n`);
  world = await World.start(SEED);
  const { journal, slots } = world;
  const query: World['query'] = (...args) => world!.query(...args);
  world.start('api', 'worker', 'voider', 'scheduler', 'relay');
  await until(world, () => slots.every(({ ready }) => ready));
  await until(world, () => journal.filter((entry) => 'did' in entry && entry.did === 'authorized').length >= 20);

  mayhem = new Mayhem(world);
  await mayhem.run(SECONDS * 1_000);
  await settle(world);

  expect(journal.filter((entry) => 'fault' in entry)).toEqual([]);
  expect(await forbiddenTransitions(query)).toEqual([]);
  expect(await lostConfirmations(world)).toEqual([]);
  expect(await messageProblems(world)).toEqual([]);
  expect(await moneyProblems(world)).toEqual([]);
  expect(await webhookProblems(world)).toEqual([]);
  expect(await differences(world.url)).toEqual([]);

  // What nobody could be asked about, or void, was listed; when a person has seen to it, nothing is left.
  const released = await closeByHand(world);
  expect(await moneyProblems(world, released)).toEqual([]);
  expect(await query('SELECT auth_request_id FROM auth_request_state WHERE attempt_open')).toEqual([]);
  expect(await listedHolds(world)).toEqual([]);
  expect(await differences(world.url)).toEqual([]);
});

async function differences(url: string): Promise<unknown[]> {
  const dataSource = await quietDataSource({ url, poolSize: 2 });
  const found = [];
  for await (const difference of new ReadModel(dataSource).verify()) found.push(difference);
  await dataSource.destroy();
  return found;
}

/** Whether it was as rough as it was meant to be. */
function summary({ journal, queues }: World, { done, cuts }: Mayhem): string {
  const counts = new Map<string, number>();
  for (const entry of journal) {
    const what =
      'did' in entry ? `${entry.did} ${'how' in entry ? entry.how : ''}` : 'met' in entry ? entry.met : 'fault';
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }
  const told = [...counts].map(([what, count]) => `${what.trim()}: ${count}`).join(', ');
  return `${done.join('\n')}\n${told}, cuts: ${cuts}, messages at the queues: ${queues.arrivals.length}\n`;
}
