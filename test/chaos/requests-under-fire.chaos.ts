import { ReplicatedServers } from '../support/database/replicated-servers';
import { problemsAfterClosing, problemsOf } from './checks/problems';
import { harmServers } from './failover';
import { Mayhem } from './mayhem';
import { SECONDS, SEED } from './settings';
import { settle } from './settle';
import { summary } from './summary';
import { untilBusy, World } from './world';

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
  const servers = await ReplicatedServers.start();
  world = await World.start(SEED, servers);
  world.start('api', 'worker', 'voider', 'scheduler', 'relay');
  await untilBusy(world);

  mayhem = new Mayhem(world);
  await mayhem.run(SECONDS * 1_000, (end) => harmServers(mayhem!, world!, servers, end));
  await settle(world);

  expect(await problemsOf(world)).toEqual({});
  expect(await problemsAfterClosing(world)).toEqual({});
});
