import { findDrift, readFence } from '../../src';
import { migrations } from '../../src/migrations';
import { setFence } from '../../src/fence/set-fence';
import { quietDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { LATEST_LEVEL, levelOf, MigrationChain } from '../support/migrations/migration-chain';

const SHARD = { modulus: 8, remainder: 5 };

const database = useTestDatabase();
const chain = new MigrationChain(database);

const drift = async () => {
  const dataSource = await quietDataSource({ url: database.url });
  try {
    return await findDrift(dataSource, { rolePrefix: database.name, ignorePrivileges: true });
  } finally {
    await dataSource.destroy();
  }
};

const fence = async () => {
  const dataSource = await quietDataSource({ url: database.url });
  try {
    return await readFence(dataSource);
  } finally {
    await dataSource.destroy();
  }
};

test('every migration reverts and runs with a fence, which stays as long as its tables do, and is no drift', async () => {
  const dataSource = await quietDataSource({ url: database.url });
  await setFence(dataSource, SHARD);
  await dataSource.destroy();
  for (let level = LATEST_LEVEL - 1; level >= 1; level--) {
    await chain.downTo(level);
    expect({ level, fence: await fence() }).toEqual({ level, fence: SHARD });
    expect(await drift()).toEqual([]);
  }
  for (let level = 2; level <= LATEST_LEVEL; level++) {
    await chain.upTo(level);
    expect({ level, fence: await fence() }).toEqual({ level, fence: SHARD });
    expect(await drift()).toEqual([]);
  }
  await chain.downTo(0);
  expect(await fence()).toBeUndefined();
  await chain.upTo(LATEST_LEVEL);
  expect(await fence()).toBeUndefined();
  expect(await drift()).toEqual([]);
});
void migrations;
void levelOf;
