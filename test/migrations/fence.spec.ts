import {
  findDrift,
  MigrationObstaclesError,
  type PaymentEventsDataSource,
  readFence,
  removeFence,
  revert,
  setFence,
} from '../../src';
import { migrations } from '../../src/migrations';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';

const SHARD = { modulus: 8, remainder: 5 };

const database = useTestDatabase();
const chain = new MigrationChain(database);

async function withDataSource<T>(work: (dataSource: PaymentEventsDataSource) => Promise<T>): Promise<T> {
  const dataSource = await quietDataSource({ url: database.url });
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

const drift = (dataSource: PaymentEventsDataSource) =>
  findDrift(dataSource, { rolePrefix: database.name, ignorePrivileges: true });

const NAMED = levelOf('ExpandColumns');

test('every migration reverts and runs with a fence, which stays and is no drift', async () => {
  await withDataSource((dataSource) => setFence(dataSource, SHARD));
  const expectFence = async (level: number) => {
    expect({ level, fence: await withDataSource(readFence) }).toEqual({ level, fence: SHARD });
    expect(await withDataSource(drift)).toEqual([]);
  };
  for (let level = LATEST_LEVEL - 1; level >= NAMED; level--) {
    await chain.downTo(level);
    await expectFence(level);
  }
  for (let level = NAMED + 1; level <= LATEST_LEVEL; level++) {
    await chain.upTo(level);
    await expectFence(level);
  }
});

test('reverting to where an event names no restaurant is refused while there is a fence, before anything is changed', async () => {
  await withDataSource((dataSource) => setFence(dataSource, SHARD));
  const reverting = withDataSource((dataSource) =>
    revert(dataSource, { to: migrations[NAMED - 2]!.name, say: () => undefined }),
  );
  await expect(reverting).rejects.toThrow(MigrationObstaclesError);
  await expect(reverting).rejects.toThrow('payment_events_shard of table payment_events would not be kept');
  expect(await withDataSource(readFence)).toEqual(SHARD);
  expect(await withDataSource(drift)).toEqual([]);
  await withDataSource(removeFence);
  await chain.downTo(0);
  await chain.upTo(LATEST_LEVEL);
  expect(await withDataSource(drift)).toEqual([]);
});
