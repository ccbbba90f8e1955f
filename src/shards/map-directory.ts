import { type PaymentEventsDataSourceSettings } from '../connection/data-source-settings';
import { hasPassword } from '../connection/connection-target';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { hasTable } from '../database/queryable';
import { query, sql } from '../database/sql';
import { translateError } from '../database/translate-error';
import { ConfigurationError } from '../errors';
import { mapReader } from './map-sources';
import { readShardMap, type ShardMap, type ShardMapSource } from './shard-map';

/** A source whose map is replaced through it. */
export interface ShardMapDirectory extends ShardMapSource {
  /**
   * Makes the map the one that everybody loads from now on. Its version is the one after what is there, 1 for the first: of
   * two who publish at once one is refused, and loads what the other one says before it tries again.
   *
   * The first call makes the table, for which it needs CREATE on the schema; each needs INSERT.
   *
   * @throws ConfigurationError it is no map, a URL of it holds a password, or another version is due. Nothing was written
   */
  publish(map: ShardMap): Promise<void>;
}

const TABLE = 'payment_events_db_shard_maps';

/** One row a version, of which the newest is in force; the older ones tell what was. */
const CREATE = sql`
  CREATE TABLE IF NOT EXISTS payment_events_db_shard_maps (
    version bigint CONSTRAINT pk_payment_events_db_shard_maps PRIMARY KEY,
    map jsonb NOT NULL,
    published_at timestamptz NOT NULL DEFAULT now(),
    published_by text NOT NULL DEFAULT current_user
  )`;

const LOAD = sql`SELECT map::text AS map FROM payment_events_db_shard_maps ORDER BY version DESC LIMIT 1`;

/** Of two at once both may find that their version is due: the second waits at the primary key, and writes nothing then. */
const publishing = (map: ShardMap) => sql`
  INSERT INTO payment_events_db_shard_maps (version, map)
  SELECT ${map.version}::bigint, ${JSON.stringify(map)}::jsonb
  WHERE ${map.version}::bigint = 1 + (SELECT coalesce(max(version), 0) FROM payment_events_db_shard_maps)
  ON CONFLICT (version) DO NOTHING
  RETURNING version`;

/**
 * A database that keeps the map, each version of it: for instance one of the shards, or one of its own. Each call connects and
 * disconnects. A process that has a map goes on with it while the directory is away.
 *
 * @param place its URL, or settings as of `createDataSourceOptions`
 *
 * @example
 * const directory = shardMapDirectory('postgresql://directory/payment_events_directory');
 * await directory.publish({ version: 1, shards });
 */
export function shardMapDirectory(place: string | PaymentEventsDataSourceSettings): ShardMapDirectory {
  const settings = typeof place === 'string' ? { url: place } : place;
  const options = createDataSourceOptions({ applicationName: 'payment-events-db shard map', ...settings, poolSize: 1 });
  const toMap = mapReader();
  return {
    load: () =>
      inDatabase(options, async (dataSource) => {
        const [row] = (await hasTable(dataSource, TABLE)) ? await query<{ map: string }>(dataSource, LOAD) : [];
        if (!row) throw new ConfigurationError('Shard map: nothing is published in the directory yet.');
        return toMap(row.map);
      }),
    publish: async (given) => {
      const map = readShardMap(given);
      refusePasswords(map);
      await inDatabase(options, async (dataSource) => {
        await makeTable(dataSource);
        const [published] = await query<{ version: string }>(dataSource, publishing(map));
        if (published) return;
        throw new ConfigurationError(
          `Shard map: version ${map.version} is not the next one. Load the map that is in force, change that, and publish ` +
            'it with the version after its own.',
        );
      });
    },
  };
}

/** Of two at once one may fail at the catalog, although it says IF NOT EXISTS: then the table is there. */
async function makeTable(dataSource: PaymentEventsDataSource): Promise<void> {
  if (await hasTable(dataSource, TABLE)) return;
  await query(dataSource, CREATE).catch(async (error: unknown) => {
    if (!(await hasTable(dataSource, TABLE))) throw error;
  });
}

/** Everybody who may read the table would read them. */
function refusePasswords({ shards }: ShardMap): void {
  const names = shards.filter(({ url }) => hasPassword(url)).map(({ name }) => name);
  if (names.length === 0) return;
  throw new ConfigurationError(
    `Shard map: the URL of ${names.join(', ')} holds a password, which a directory must not. Leave it out: PGPASSWORD, or ` +
      'password of the settings of Shards, is for all of them.',
  );
}

async function inDatabase<T>(
  options: ReturnType<typeof createDataSourceOptions>,
  work: (dataSource: PaymentEventsDataSource) => Promise<T>,
): Promise<T> {
  const dataSource = new PaymentEventsDataSource(options);
  try {
    await dataSource.initialize();
    return await work(dataSource);
  } catch (error) {
    throw translateError(error);
  } finally {
    if (dataSource.isInitialized) await dataSource.destroy();
  }
}
