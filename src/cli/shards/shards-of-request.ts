import { type Config, readConfig } from '../../config';
import { AuthRequestNotFoundError, WrongShardError } from '../../errors';
import { ReadModel } from '../../read-model/read-model';
import { type VerificationScope } from '../../read-model/verification';
import { type ShardEntry } from '../../shards/shard-map';
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
    const config = readConfig({ ...process.env, DATABASE_URL: shard.url });
    try {
      if (await has(config, scope)) return [shard];
    } catch {
      silent.push(shard);
    }
  }
  if (silent.length > 0) return silent;
  throw new AuthRequestNotFoundError(authRequestId);
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
