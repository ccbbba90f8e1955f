import { setTimeout as delay } from 'node:timers/promises';
import { Dice } from './dice';
import { type LoneServer } from './lone-server';
import { type Mayhem } from './mayhem';
import { commandOf } from './members/command';
import { owns } from '../../src/fence/residue';
import { until, type World } from './world';
import { type WorldDatabase } from './world-database';

/** So many requests of others are taken before a server comes back. */
const TAKEN = 5;

/**
 * Kills the server of one database after another. As long as it is away, the restaurants of the others are served. From one
 * time to the next it waits longer, so that also a slow machine gets on with the split in between.
 */
export async function killInTurn(world: World, mayhem: Mayhem, goesOn: () => boolean): Promise<void> {
  const dice = new Dice(`${world.seed} servers`);
  for (let pause = 8_000; goesOn(); pause *= 1.2) {
    await delay(dice.between(pause, 2 * pause));
    if (!goesOn()) return;
    const database = dice.pick(world.databases) as WorldDatabase<LoneServer>;
    await mayhem.do(`server of ${database.name} killed`, () =>
      database.servers.crash(() => othersServed(world, database)),
    );
    await mayhem.do(`server of ${database.name} is back`, () => undefined);
  }
}

/** However long that takes. */
async function othersServed(world: World, away: WorldDatabase): Promise<void> {
  if (world.databases.length === 1) return;
  const since = world.journal.length;
  world.queues.isBounded = false;
  await until(world, () => takenOfOthers(world, away, since) >= TAKEN);
  world.queues.isBounded = true;
}

function takenOfOthers({ journal, seed }: World, away: WorldDatabase, since: number): number {
  return journal.slice(since).filter((entry) => {
    if (!('key' in entry)) return false;
    const [api, number] = entry.key.split(' ');
    return !owns(away.owns, commandOf(seed, api!, Number(number)).restaurantId);
  }).length;
}
