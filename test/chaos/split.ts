import { setTimeout as delay } from 'node:timers/promises';
import { halvesOf } from '../../src/fence/residue';
import { Dice } from './dice';
import { LoneServer } from './lone-server';
import { type Mayhem } from './mayhem';
import { type MemberProcess } from './member-process';
import { type World } from './world';
import { type WorldDatabase } from './world-database';

/** The longest that a process is left in a step before it is killed, in milliseconds. */
const STEPS = { prepare: 300, publish: 300, subscribe: 2_000, 'cut-over': 800 } as const;
const CLEANING = { 'clean-up': 300 } as const;

/**
 * Splits a database in two while all else goes on: the process that splits is killed in each step, and started again. Then
 * some get the new map at once; the others go on with the old one for a while.
 *
 * @returns the database that got the other half
 */
export async function split(world: World, mayhem: Mayhem, source: WorldDatabase): Promise<WorldDatabase> {
  const dice = new Dice(`${world.seed} split ${source.name} ${source.owns.modulus}`);
  const before = source.owns;
  const [stays, moves] = halvesOf(before);
  const target = await world.addDatabase(await LoneServer.start(), moves);
  const environment = {
    ...{ SPLIT_SOURCE: source.url, SPLIT_TARGET: target.url, SPLIT_NUMBER: String(target.number) },
    SPLIT_CLASS: `${before.modulus} ${before.remainder}`,
  };
  await runKilled(world, mayhem, dice, STEPS, environment);

  source.owns = stays;
  world.admit(target);
  const members = world.slots.filter(({ reaches }) => reaches === 'all');
  const early = members.filter(() => dice.chance(0.5));
  await mayhem.do(`map ${world.map.version} for ${early.map(({ name }) => name).join(', ')}`, () =>
    world.publishMap(early),
  );
  await world.startRelays(target);
  await delay(dice.between(1_000, 5_000));
  await mayhem.do(`map ${world.map.version} for all`, () => world.publishMap());
  await runKilled(world, mayhem, dice, CLEANING, { ...environment, SPLIT_MAP: world.mapFile() });
  await mayhem.do(`${source.name} is split`, () => undefined);
  return target;
}

/** Has a process carry out all steps: the first one is killed in the first step, the next one in the second, and so on. */
async function runKilled(
  world: World,
  mayhem: Mayhem,
  dice: Dice,
  steps: Readonly<Record<string, number>>,
  env: Record<string, string>,
): Promise<void> {
  const left = Object.entries(steps);
  for (;;) {
    const next = left[0];
    const wait = next && dice.between(0, next[1]);
    const splitter: MemberProcess = world.hire({
      module: 'test/chaos/members/splitter.ts',
      env,
      hear: (entry) => {
        world.journal.push(entry);
        if (!next || !('met' in entry) || entry.met !== `split: ${next[0]}`) return;
        left.shift();
        const kill = () => void mayhem.do(`split killed ${wait} ms into ${next[0]}`, () => splitter.kill());
        const killing = setTimeout(kill, wait);
        void splitter.ended.then(() => clearTimeout(killing));
      },
    });
    const exitCode = await splitter.ended;
    if (exitCode === 0) {
      if (left.length === 0) return;
      // It was quicker than the one who was to kill it: the steps after it are still to be met by a killed process.
      continue;
    }
    // Killed; or a server was.
    if (exitCode !== null && exitCode !== PASSING) throw new Error(`The split failed: ${splitter.stderr}`);
    await delay(50);
  }
}

const PASSING = 3;
