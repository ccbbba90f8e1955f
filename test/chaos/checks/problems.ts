import { forbiddenTransitions } from '../transitions';
import { closeByHand, listedHolds, withShards } from '../settle';
import { type World } from '../world';
import { lostConfirmations } from './confirmed';
import { lostKeys } from './keys';
import { messageProblems } from './messages';
import { moneyProblems } from './money';
import { misplaced } from './places';
import { webhookProblems } from './webhooks';

/** All that is not as it must be when everything has come to rest, by what was looked at. */
export async function problemsOf(world: World): Promise<Record<string, unknown[]>> {
  return withoutEmpty({
    faults: world.journal.filter((entry) => 'fault' in entry),
    transitions: await forbiddenTransitions((...args) => world.query(...args)),
    confirmed: await lostConfirmations(world),
    keys: await lostKeys(world),
    messages: await messageProblems(world),
    money: await moneyProblems(world),
    webhooks: await webhookProblems(world),
    places: await misplaced(world),
    verify: await differences(world),
  });
}

/** What nobody could be asked about, or void, was listed: when a person has seen to it, nothing is left. */
export async function problemsAfterClosing(world: World): Promise<Record<string, unknown[]>> {
  const released = await closeByHand(world);
  return withoutEmpty({
    money: await moneyProblems(world, released),
    open: await world.query('SELECT auth_request_id FROM auth_request_state WHERE attempt_open'),
    listed: await listedHolds(world),
    verify: await differences(world),
  });
}

const withoutEmpty = (found: Record<string, unknown[]>) =>
  Object.fromEntries(Object.entries(found).filter(([, problems]) => problems.length > 0));

/** `verify`, of each database. */
async function differences(world: World): Promise<unknown[]> {
  return await withShards(world, async (shards) => {
    const { results, away } = await shards.each(async ({ readModel }) => {
      const found = [];
      for await (const difference of readModel.verify()) found.push(difference);
      return found;
    });
    return [...results.flatMap(({ value }) => value), ...away];
  });
}
