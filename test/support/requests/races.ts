import { setTimeout as delay } from 'node:timers/promises';
import { type EntityManager } from 'typeorm';
import { type PaymentEventsDataSourceSettings } from '../../../src/connection/data-source-settings';
import { createDataSourceOptions, PaymentEventsDataSource } from '../../../src/data-source';
import { openThroughShards, THROUGH_SHARDS } from '../shards/through-shards';
import { type DatabaseOfFile } from '../database/use-test-database';

/** A DataSource with a connection, already open, for each of many at once. Destroy it in `afterAll`. */
export async function crowdOf(
  poolSize: number,
  database: DatabaseOfFile,
  settings: Partial<PaymentEventsDataSourceSettings> = {},
): Promise<PaymentEventsDataSource> {
  const own = { poolSize, connectTimeoutMs: 20_000, ...settings };
  const crowd = THROUGH_SHARDS
    ? await openThroughShards(database.url, own)
    : await new PaymentEventsDataSource(createDataSourceOptions({ url: database.url, ...own })).initialize();
  await atOnce(poolSize, () => crowd.query('SELECT pg_sleep(0.2)'));
  return crowd;
}

/** Starts something `count` times without waiting in between. */
export const atOnce = <T>(count: number, start: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => start(index)));

/** How a promise ended: its value, or the name of its error. */
export const outcomeOf = <T>(promise: Promise<T>): Promise<T | string> =>
  promise.catch((error: unknown) => (error instanceof Error ? error.name : String(error)));

/** Whether a condition comes true within some seconds. */
export async function eventually(condition: () => Promise<boolean> | boolean, withinMs = 10_000): Promise<boolean> {
  for (const deadline = Date.now() + withinMs; Date.now() < deadline; await delay(2)) {
    if (await condition()) return true;
  }
  return false;
}

/** Whether so many sessions of the database come to wait for a lock. */
export const comeToWait = (database: DatabaseOfFile, count: number) =>
  eventually(async () => {
    const waiting = await database.query(
      `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return waiting.length >= count;
  });

/**
 * Forces an order on two writes: `first` has run in a transaction that is still open when `second` begins, and ends when
 * `second` waits for it, or is through without having had to.
 */
export async function overlap<A, B>(
  { database, dataSource }: { database: DatabaseOfFile; dataSource: PaymentEventsDataSource },
  first: (manager: EntityManager) => Promise<A>,
  second: () => Promise<B>,
  { ending = 'commit' }: { ending?: 'commit' | 'rollback' } = {},
): Promise<{ first: A; second: B; waited: boolean }> {
  const queryRunner = dataSource.createQueryRunner();
  try {
    await queryRunner.startTransaction();
    const [holder] = (await queryRunner.query('SELECT pg_backend_pid() AS pid')) as { pid: number }[];
    const answer = await first(queryRunner.manager);
    let through = false;
    const pending = second().finally(() => (through = true));
    pending.catch(() => undefined);
    let waited = false;
    await eventually(async () => {
      if (through) return true;
      const [blocked] = await database.query<{ waited: boolean }>(
        `SELECT EXISTS (SELECT FROM pg_stat_activity
           WHERE datname = current_database() AND wait_event_type = 'Lock' AND $1 = ANY (pg_blocking_pids(pid))) AS waited`,
        [holder!.pid],
      );
      return (waited = blocked!.waited);
    });
    if (ending === 'commit') await queryRunner.commitTransaction();
    else await queryRunner.rollbackTransaction();
    return { first: answer, second: await pending, waited };
  } finally {
    if (queryRunner.isTransactionActive) await queryRunner.rollbackTransaction();
    await queryRunner.release();
  }
}
