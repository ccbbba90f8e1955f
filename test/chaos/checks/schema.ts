import { findDrift } from '../../../src/check/drift';
import { withShards } from '../settle';
import { UNWATCH_TRANSITIONS } from '../transitions';
import { type World } from '../world';

/** `check`, of each database: its fence and the range of its sequences are those of the map. Ends the watch over transitions. */
export async function schemaProblems(world: World): Promise<unknown[]> {
  for (const database of world.databases) await database.query(UNWATCH_TRANSITIONS);
  const { shards: entries } = world.map;
  return await withShards(world, async (shards) => {
    const { results, away } = await shards.each(({ dataSource, name }) => {
      const { modulus, remainder, number } = entries.find((entry) => entry.name === name)!;
      return findDrift(dataSource, { ignorePrivileges: true, shard: { modulus, remainder, number } });
    });
    return [...results.flatMap(({ value }) => value), ...away];
  });
}
