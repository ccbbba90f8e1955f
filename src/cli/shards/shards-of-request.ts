import { type Config, readConfig } from '../../config';
import { AuthRequestNotFoundError, WrongShardError } from '../../errors';
import { findByProcessorId } from '../../inspection/find-by-processor-id';
import { ReadModel } from '../../read-model/read-model';
import { type VerificationScope } from '../../read-model/verification';
import { type ShardEntry } from '../../shards/shard-map';
import { isUuid } from '../../validation/rules';
import { withDataSource } from '../with-data-source';

/**
 * The one database that has a request. Where none says that it has, those that could not say, so that what is wrong with them
 * is told.
 *
 * @throws AuthRequestNotFoundError every database says that it does not have it
 */
export async function shardsOfRequest(
  shards: readonly ShardEntry[],
  authRequestId: string,
  scope: VerificationScope,
): Promise<readonly ShardEntry[]> {
  const silent: ShardEntry[] = [];
  for (const shard of shards) {
    try {
      if (await has(configOf(shard), scope)) return [shard];
    } catch {
      silent.push(shard);
    }
  }
  if (silent.length > 0) return silent;
  throw new AuthRequestNotFoundError(authRequestId);
}

/**
 * The one database that has the request of an id; else those with requests that the id of a processor stands in, and those that could
 * not say.
 *
 * @throws AuthRequestNotFoundError every database says that it has none
 */
export async function shardsOfId(shards: readonly ShardEntry[], id: string): Promise<readonly ShardEntry[]> {
  if (isUuid(id)) {
    try {
      return await shardsOfRequest(shards, id, { authRequestId: id });
    } catch (error) {
      if (!(error instanceof AuthRequestNotFoundError)) throw error;
    }
  }
  const chosen: ShardEntry[] = [];
  for (const shard of shards) {
    try {
      if (await isNamed(shard, id)) chosen.push(shard);
    } catch {
      chosen.push(shard);
    }
  }
  if (chosen.length > 0) return chosen;
  throw new AuthRequestNotFoundError(id);
}

const configOf = ({ url }: ShardEntry) => readConfig({ ...process.env, DATABASE_URL: url });

async function isNamed(shard: ShardEntry, processorAuthId: string): Promise<boolean> {
  let is = false;
  await withDataSource(
    configOf(shard),
    async (dataSource) => {
      is = (await findByProcessorId(dataSource, processorAuthId)).length > 0;
    },
    { isSilent: true },
  );
  return is;
}

/** Of a restaurant that has moved away a database may have rows and events still. */
async function has(config: Config, scope: VerificationScope): Promise<boolean> {
  try {
    await withDataSource(
      config,
      async (dataSource) => {
        for await (const _ of new ReadModel(dataSource).verify(scope)) return;
      },
      { isSilent: true },
    );
    return true;
  } catch (error) {
    if (error instanceof AuthRequestNotFoundError || error instanceof WrongShardError) return false;
    throw error;
  }
}
