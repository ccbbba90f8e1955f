import { shardMapFromEnvironment } from '../../shards/map-sources';
import { entryOf } from '../../shards/shard-map';

/**
 * Has the rest of this process work at the database that has a restaurant, as if DATABASE_URL named it, where there is a map of
 * several.
 */
export async function useDatabaseOf(restaurantId: string): Promise<void> {
  if (!process.env.PAYMENT_EVENTS_DB_SHARDS) return;
  process.env.DATABASE_URL = entryOf(await shardMapFromEnvironment(process.env).load(), restaurantId).url;
}
