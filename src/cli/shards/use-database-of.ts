import { ConfigurationError } from '../../errors';
import { owns } from '../../fence/residue';
import { shardMapFromEnvironment } from '../../shards/map-sources';
import { entryOf, type ShardEntry } from '../../shards/shard-map';

/** For the help of each command that calls {@link useDatabaseOf}. */
export const WHERE_ITS_RESTAURANT_IS =
  'With PAYMENT_EVENTS_DB_SHARDS it works at the database that the map gives the restaurant, whatever DATABASE_URL says.';

/**
 * Has the rest of this process work at the database that has a restaurant, as if DATABASE_URL named it, where there is a map of
 * several.
 */
export async function useDatabaseOf(restaurantId: string): Promise<void> {
  if (!process.env.PAYMENT_EVENTS_DB_SHARDS) return;
  process.env.DATABASE_URL = (await databaseOf(restaurantId)).url;
}

/**
 * The one of these databases that has a restaurant.
 *
 * @throws ConfigurationError it is another one: to look at none would say that nothing is wrong
 */
export async function shardsOfRestaurant(
  shards: readonly ShardEntry[],
  restaurantId: string,
): Promise<readonly ShardEntry[]> {
  const chosen = shards.filter((shard) => owns(shard, restaurantId));
  if (chosen.length > 0) return chosen;
  const { name } = await databaseOf(restaurantId);
  throw new ConfigurationError(
    `--shard: the map gives that restaurant to another database. Say --shard ${name}, or leave it out.`,
  );
}

const databaseOf = async (restaurantId: string): Promise<ShardEntry> =>
  entryOf(await shardMapFromEnvironment(process.env).load(), restaurantId);
