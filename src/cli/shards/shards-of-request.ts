import { type DataSource } from 'typeorm';
import { readConfig } from '../../config';
import { AuthRequestNotFoundError, WrongShardError } from '../../errors';
import { findByProcessorId } from '../../inspection/find-by-processor-id';
import { hasRequest } from '../../inspection/has-request';
import { ReadModel } from '../../read-model/read-model';
import { type VerificationScope } from '../../read-model/verification';
import { type ShardEntry } from '../../shards/shard-map';
import { isUuid } from '../../validation/rules';
import { withDataSource } from '../with-data-source';

/**
 * The one database that has a request, also for roles that must not read contents. Where none says that it has, those that could not
 * say, so that what is wrong with them is told.
 *
 * @throws AuthRequestNotFoundError every database says that it does not have it
 */
export const shardsOfRequest = (shards: readonly ShardEntry[], authRequestId: string): Promise<readonly ShardEntry[]> =>
  firstThat((dataSource) => hasRequest(dataSource, authRequestId), shards, authRequestId);

/**
 * The same by what `verify` looks at, for a scope that names a request.
 *
 * @throws AuthRequestNotFoundError every database says that it does not have it
 */
export const shardsToVerify = (
  shards: readonly ShardEntry[],
  authRequestId: string,
  scope: VerificationScope,
): Promise<readonly ShardEntry[]> => firstThat((dataSource) => verifies(dataSource, scope), shards, authRequestId);

/**
 * The one database that has the request of an id; else those with requests that the id of a processor stands in, and those that could
 * not say.
 *
 * @throws AuthRequestNotFoundError every database says that it has none
 */
export async function shardsOfId(shards: readonly ShardEntry[], id: string): Promise<readonly ShardEntry[]> {
  if (isUuid(id)) {
    try {
      return await shardsOfRequest(shards, id);
    } catch (error) {
      if (!(error instanceof AuthRequestNotFoundError)) throw error;
    }
  }
  const chosen: ShardEntry[] = [];
  for (const shard of shards) {
    try {
      if (await ask(shard, (dataSource) => isNamed(dataSource, id))) chosen.push(shard);
    } catch {
      chosen.push(shard);
    }
  }
  if (chosen.length > 0) return chosen;
  throw new AuthRequestNotFoundError(id);
}

type Question = (dataSource: DataSource) => Promise<boolean>;

async function firstThat(has: Question, shards: readonly ShardEntry[], id: string): Promise<readonly ShardEntry[]> {
  const silent: ShardEntry[] = [];
  for (const shard of shards) {
    try {
      if (await ask(shard, has)) return [shard];
    } catch {
      silent.push(shard);
    }
  }
  if (silent.length > 0) return silent;
  throw new AuthRequestNotFoundError(id);
}

/** Of a restaurant that has moved away a database may have rows and events still. */
async function ask({ url }: ShardEntry, has: Question): Promise<boolean> {
  let answer = false;
  try {
    await withDataSource(
      readConfig({ ...process.env, DATABASE_URL: url }),
      async (dataSource) => {
        answer = await has(dataSource);
      },
      { isSilent: true },
    );
  } catch (error) {
    if (error instanceof AuthRequestNotFoundError || error instanceof WrongShardError) return false;
    throw error;
  }
  return answer;
}

const isNamed = async (dataSource: DataSource, processorAuthId: string) =>
  (await findByProcessorId(dataSource, processorAuthId)).length > 0;

async function verifies(dataSource: DataSource, scope: VerificationScope): Promise<boolean> {
  // The first step throws where the request is not there.
  for await (const _ of new ReadModel(dataSource).verify(scope)) return true;
  return true;
}
