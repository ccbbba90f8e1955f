import { type Queryable } from '../database/queryable';
import { WrongShardError } from '../errors';
import { readFence } from './read-fence';
import { owns } from './residue';

/**
 * Makes sure of an answer that something is not there: a split removes what it has moved. Asked after the look, since the rows go
 * once the fence stands.
 *
 * @throws WrongShardError the restaurant is in another database
 */
export async function assertOwned(session: Queryable, restaurantId: string): Promise<void> {
  const fence = await readFence(session);
  if (fence && !owns(fence, restaurantId)) throw new WrongShardError();
}
