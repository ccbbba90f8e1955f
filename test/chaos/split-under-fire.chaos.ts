import { killInTurn } from './away';
import { problemsAfterClosing, problemsOf } from './checks/problems';
import { schemaProblems } from './checks/schema';
import { LoneServer } from './lone-server';
import { Mayhem } from './mayhem';
import { SECONDS, SEED } from './settings';
import { settle } from './settle';
import { split } from './split';
import { summary } from './summary';
import { untilBusy, World } from './world';

/** From here on both halves are split as well. */
const LONG = 300;

let world: World | undefined;
let mayhem: Mayhem | undefined;

jest.setTimeout(SECONDS * 1_000 + 1_800_000);

// Also where it failed, or did not end.
afterAll(async () => {
  if (world && mayhem) process.stderr.write(summary(world, mayhem));
  await world?.remove();
});

test('a database splits under fire: no request is lost, none is done twice, and each is where its restaurant is', async () => {
  process.stderr.write(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS}\n`);
  world = await World.start(SEED, await LoneServer.start());
  world.start('api', 'worker', 'voider', 'scheduler', 'relay');
  await untilBusy(world);

  mayhem = new Mayhem(world);
  await mayhem.run(SECONDS * 1_000, splitAll);
  await settle(world);

  expect(await problemsOf(world)).toEqual({});
  expect(await problemsAfterClosing(world)).toEqual({});
  expect(await schemaProblems(world)).toEqual([]);
});

/** Servers die meanwhile, one after the other, until both all is split and the time is over. */
async function splitAll(end: number): Promise<void> {
  let isSplit = false;
  const splitting = (async () => {
    try {
      const [first] = world!.databases;
      const second = await split(world!, mayhem!, first!);
      if (SECONDS < LONG) return;
      for (const half of [first!, second]) await split(world!, mayhem!, half);
    } finally {
      isSplit = true;
    }
  })();
  await Promise.all([splitting, killInTurn(world!, mayhem!, () => !isSplit || performance.now() < end)]);
}
