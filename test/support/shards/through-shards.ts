import { type PaymentEventsDataSource } from '../../../src/data-source';
import { addFence, FENCED_TABLES } from '../../../src/fence/fence-sql';
import { type Shards as ShardsClass } from '../../../src/shards/shards';
import { type ShardsSettings } from '../../../src/shards/shards-settings';

/**
 * `TEST_THROUGH=shards`: the specs run as with one shard. Their DataSources come from `Shards`, and their database has the fence
 * of a map of one database.
 */
export const THROUGH_SHARDS = process.env.TEST_THROUGH === 'shards';

const WHOLE = { modulus: 1, remainder: 0 };
const ANY_RESTAURANT = '00000000-0000-0000-0000-000000000000';

export const FENCE_OF_ALL = FENCED_TABLES.map((table) => addFence(table, WHOLE)).join('; ');

/** The DataSource of the only shard, for its caller to destroy: `Shards` itself holds nothing else. */
export async function openThroughShards(url: string, settings: ShardsSettings = {}): Promise<PaymentEventsDataSource> {
  // Most files are run without: they need not load it.
  const { Shards } = jest.requireActual<{ Shards: typeof ShardsClass }>('../../../src/shards/shards');
  const shards = [{ name: 'only', ...WHOLE, number: 0, url }];
  const opened = await new Shards({ load: () => Promise.resolve({ version: 1, shards }) }, settings).open();
  return (await opened.of(ANY_RESTAURANT)).dataSource;
}
