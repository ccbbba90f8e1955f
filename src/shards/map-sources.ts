import { readFile } from 'node:fs/promises';
import { ConfigurationError } from '../errors';
import { readShardMap, type ShardMap, type ShardMapSource } from './shard-map';

/**
 * A file of JSON, which is read again each time. Replace it by one step (`rename`), since a half-written one is refused.
 *
 * @example
 * const shards = await new Shards(shardMapFile('/etc/payments/shards.json')).open();
 */
export function shardMapFile(path: string): ShardMapSource {
  const toMap = mapReader();
  return { load: async () => toMap(await read(path)) };
}

/**
 * What `PAYMENT_EVENTS_DB_SHARDS` says: the map itself where it begins with `{`, else the path of a file that holds it. A
 * file may change while the process runs; a text in the environment stays as it is.
 *
 * @throws ConfigurationError where it is not set
 */
export function shardMapFromEnvironment(env: NodeJS.ProcessEnv = process.env): ShardMapSource {
  const text = env.PAYMENT_EVENTS_DB_SHARDS?.trim();
  if (!text) {
    throw new ConfigurationError(
      'PAYMENT_EVENTS_DB_SHARDS must be the path of a file that holds the map of shards, or the map itself as JSON.',
    );
  }
  if (!text.startsWith('{')) return shardMapFile(text);
  const toMap = mapReader();
  return { load: () => Promise.resolve().then(() => toMap(text)) };
}

/** Reads maps out of JSON. The text of the last one is not read again: of a thousand databases that takes a while. */
export function mapReader(): (text: string) => ShardMap {
  let last: { readonly text: string; readonly map: ShardMap } | undefined;
  return (text) => {
    if (last?.text !== text) last = { text, map: readShardMap(parse(text)) };
    return last.map;
  };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException;
    throw new ConfigurationError(`Shard map: the file ${path} cannot be read (${code}).`);
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // What JSON.parse says quotes the text, in which there may be a password.
    throw new ConfigurationError('Shard map: it is not JSON.');
  }
}
