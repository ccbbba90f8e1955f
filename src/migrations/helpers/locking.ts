import { setTimeout as sleep } from 'node:timers/promises';
import { QueryFailedError, type QueryRunner } from 'typeorm';
import { settingsOf } from '../../database/settings';
import { lookFirst, lookForIndex } from './own-objects';

/**
 * Longest wait for a table lock, in milliseconds: what waits behind us in the lock queue waits as long. Longer than
 * PostgreSQL's deadlock_timeout (1 s), after which it cancels an autovacuum that is in the way.
 */
export const LOCK_TIMEOUT_MS = 2_000;

/** Longest time a statement may run while it holds a lock that stops traffic, in milliseconds. */
export const MAX_LOCK_HOLD_MS = 3_000;

/** For how long a lock is tried for again and again, in milliseconds, where the DataSource says nothing else. */
export const LOCK_BUDGET_MS = 120_000;

/** SQLSTATE lock_not_available: `lock_timeout` has fired. */
const LOCK_NOT_AVAILABLE = '55P03';

/**
 * Runs statements that lock a table against traffic, as one short transaction: waits for the lock under
 * `lock_timeout`, runs each statement under `statement_timeout`, and tries again with back-off where the lock could not
 * be taken, so that a queue never forms behind a waiting ALTER TABLE.
 *
 * Several statements in one simple query are one transaction (PostgreSQL manual, "Multiple Statements in a Simple
 * Query"), which is also why SET LOCAL works here. Inside a transaction of the caller a lock time-out is final, since
 * it has aborted that transaction.
 */
export async function whileLocked(queryRunner: QueryRunner, ...statements: string[]): Promise<void> {
  const transaction = [
    `SET LOCAL lock_timeout = '${LOCK_TIMEOUT_MS}ms'`,
    `SET LOCAL statement_timeout = '${MAX_LOCK_HOLD_MS}ms'`,
    ...statements,
  ].join(';\n');
  const send = () => queryRunner.query(transaction);
  if (queryRunner.isTransactionActive) return void (await send());
  const deadline = performance.now() + lockBudgetOf(queryRunner);
  await retryLockTimeouts(() => performance.now() < deadline, send);
}

/**
 * Does work again, with jittered back-off, when it fails since a lock could not be taken. The pauses are what lets
 * through the traffic that has queued behind it.
 */
export async function retryLockTimeouts<T>(mayTryAgain: () => boolean, work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isLockTimeout(error) || !mayTryAgain()) throw error;
      await sleep(Math.random() * Math.min(3_000, 100 * 2 ** attempt));
    }
  }
}

/** For how long this session's DataSource lets a lock be tried for, in milliseconds. */
export function lockBudgetOf(queryRunner: QueryRunner): number {
  return settingsOf(queryRunner.dataSource).migrationLockBudgetMs ?? LOCK_BUDGET_MS;
}

/**
 * Runs one statement that may take long and stops nobody: CREATE INDEX CONCURRENTLY, VALIDATE CONSTRAINT, a backfill
 * that commits by itself.
 */
export async function online(queryRunner: QueryRunner, statement: string): Promise<void> {
  await withoutTimeouts(queryRunner, () => queryRunner.query(statement));
}

/** Lifts the connection's time-outs for a while. */
export async function withoutTimeouts<T>(queryRunner: QueryRunner, work: () => Promise<T>): Promise<T> {
  await queryRunner.query(
    `SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0`,
  );
  try {
    return await work();
  } finally {
    // Where the connection itself is gone there is nothing to reset, and the first error is the one to see.
    await queryRunner
      .query(`RESET statement_timeout; RESET lock_timeout; RESET idle_in_transaction_session_timeout`)
      .catch(() => undefined);
  }
}

/**
 * Runs `CREATE [UNIQUE] INDEX CONCURRENTLY name …`, which stops no writes. A build that failed earlier has left an
 * INVALID index of that name behind: it is dropped first. One of another table stops it.
 */
export async function createIndexOnline(queryRunner: QueryRunner, statement: string): Promise<void> {
  await dropIndexOnline(queryRunner, indexName(statement));
  await online(queryRunner, statement);
}

/** Drops an index without stopping reads or writes; stops where it is not one of our tables. */
export async function dropIndexOnline(queryRunner: QueryRunner, name: string): Promise<void> {
  await lookFirst(queryRunner, lookForIndex(name));
  await online(queryRunner, `DROP INDEX CONCURRENTLY IF EXISTS ${name}`);
}

/** The name in `CREATE [UNIQUE] INDEX CONCURRENTLY name ON …`. */
export function indexName(statement: string): string {
  const [, name] = /INDEX CONCURRENTLY (\w+)\s+ON/.exec(statement) ?? [];
  if (!name) throw new Error(`Not a CREATE INDEX CONCURRENTLY statement: ${statement}`);
  return name;
}

/** Whether `lock_timeout` has fired. */
export function isLockTimeout(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === LOCK_NOT_AVAILABLE;
}
