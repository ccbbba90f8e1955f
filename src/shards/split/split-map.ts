import { ConfigurationError } from '../../errors';
import { halvesOf } from '../../fence/residue';
import { readShardMap, type ShardEntry, type ShardMap } from '../shard-map';

/**
 * The map after a split: the next version, in which the database `from` keeps one half of its restaurants and the new one has the
 * other.
 *
 * ```ts
 * const next = splitMap(map, 'a', { name: 'b', number: 1, url: 'postgresql://db-b/payment_events_db' });
 * ```
 *
 * @throws ConfigurationError there is no such database, or the new one has what another has
 */
export function splitMap(map: ShardMap, from: string, to: Pick<ShardEntry, 'name' | 'number' | 'url'>): ShardMap {
  const entry = map.shards.find(({ name }) => name === from);
  if (!entry) throw new ConfigurationError(`The map of shards has no database ${from}.`);
  const [stays, moves] = halvesOf(entry);
  return readShardMap({
    version: map.version + 1,
    shards: map.shards.flatMap((one) =>
      one === entry
        ? [
            { ...one, ...stays },
            { ...to, ...moves },
          ]
        : [one],
    ),
  });
}
