import { type Queryable } from '../database/queryable';
import { query, raw, sql } from '../database/sql';
import { ConfigurationError, WrongShardError } from '../errors';
import { readFence } from '../fence/read-fence';
import { classInWords, COMBINED, contains, hashOf, PARTITION_SEED } from '../fence/residue';
import { type Shard } from './shard';
import { type ShardEntry } from './shard-map';

/** Its sixteen bytes differ, so that another order of them is another hash. */
const PROBE = '00112233-4455-6677-8899-aabbccddeeff';

/**
 * Makes sure that the server computes the hash that we compute: it reads the words of a UUID in the byte order of its machine.
 *
 * @throws ConfigurationError
 */
export async function assertSameHash(session: Queryable, ours = hashOf(PROBE)): Promise<void> {
  const [row] = await query<{ hash: string }>(
    session,
    sql`SELECT (((uuid_hash_extended(${PROBE}::uuid, ${raw(String(PARTITION_SEED))}) & 4294967295)
                 + ${raw(COMBINED)}) & 4294967295)::text AS hash`,
  );
  if (Number(row!.hash) === ours) return;
  throw new ConfigurationError(
    'The server hashes UUIDs in another way than this package, so that restaurants would be looked for in the wrong ' +
      'database: a machine of the other byte order cannot be a shard.',
  );
}

/**
 * Makes sure that the database takes the restaurants that the map gives it, and no others. Its fence may be narrower: a split
 * narrows it before the map says so, and who is refused then reloads the map.
 *
 * @throws ConfigurationError it has no fence, or a wider one
 * @throws WrongShardError it has other restaurants: the map is old, or names the wrong database
 */
export async function assertFence(session: Queryable, { name, ...shard }: ShardEntry): Promise<void> {
  const fence = await readFence(session);
  if (fence && contains(shard, fence)) return;
  if (fence && !contains(fence, shard)) {
    throw new WrongShardError(
      `Shard ${name}: the database has the restaurants of class ${classInWords(fence)}, and the map says ` +
        `${classInWords(shard)}. Reload the map, and see whether it names the right database.`,
    );
  }
  throw new ConfigurationError(
    `Shard ${name}: nothing keeps the database from taking the restaurants of others. Set its fence to class ` +
      `${classInWords(shard)}: npx payment-events-db shard fence.`,
  );
}

/**
 * Makes sure of an answer that leaves out what the database does not have: asked after it, since what is moved away once is left
 * out from then on.
 *
 * @throws WrongShardError a split has moved restaurants that the map still gives it
 */
export async function assertHasAll(session: Queryable, shard: Pick<Shard, 'name' | 'class'>): Promise<void> {
  const fence = await readFence(session);
  if (!fence || contains(fence, shard.class)) return;
  throw new WrongShardError(
    `Shard ${shard.name}: the map says class ${classInWords(shard.class)}, and the database has class ${classInWords(fence)} alone, ` +
      'since a split has moved the others. Reload the map of shards.',
  );
}
