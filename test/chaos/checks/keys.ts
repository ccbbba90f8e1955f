import { commandOf } from '../members/command';
import { type Entry } from '../journal';
import { withShards } from '../settle';
import { type World } from '../world';

type Authorized = Extract<Entry, { key: string }>;

/** Makes each request that was confirmed once more: where the answer is not the same one, by a replay. */
export async function lostKeys(world: World): Promise<string[]> {
  const confirmed = world.journal.filter((entry): entry is Authorized => 'key' in entry);
  const requestOf = new Map(confirmed.map(({ key, authRequestId }) => [key, authRequestId]));
  return await withShards(world, async (shards) => {
    const problems: string[] = [];
    for (const [key, authRequestId] of requestOf) {
      const [api, number] = key.split(' ');
      const command = commandOf(world.seed, api!, Number(number));
      const again = await shards.run(command.restaurantId, ({ requests }) => requests.authorize(command));
      if (again.replayed && again.authRequestId === authRequestId) continue;
      problems.push(`${key}: ${authRequestId} was confirmed, and now ${again.authRequestId}, new: ${!again.replayed}`);
    }
    return problems;
  });
}
