import { setTimeout as delay } from 'node:timers/promises';
import { type ReplicatedServers } from '../support/database/replicated-servers';
import { Dice } from './dice';
import { type Mayhem } from './mayhem';
import { type World } from './world';

/**
 * Kills the server that takes writes again and again, twice a minute in a long run; once, in the middle, the standby
 * takes over for good.
 */
export async function harmServers(
  mayhem: Mayhem,
  world: World,
  servers: ReplicatedServers,
  end: number,
): Promise<void> {
  const began = performance.now();
  const dice = new Dice(`${world.seed} servers`);
  const crashes = Math.max(1, Math.round((end - began) / 60_000));
  const share = (end - began) / (2 * crashes + 1);
  for (let step = 1; step <= 2 * crashes + 1; step++) {
    await delay(Math.max(0, began + (step - dice.next()) * share - performance.now()));
    if (step === crashes + 1) await mayhem.do('failover', () => failOver(world, servers));
    // Where a crash has taken so long that there is no time for more of them.
    else if (performance.now() < end) await mayhem.do('server killed', () => servers.crash());
  }
}

async function failOver(world: World, servers: ReplicatedServers): Promise<void> {
  await servers.failOver();
  await world.moved(world.databases[0]!);
}
