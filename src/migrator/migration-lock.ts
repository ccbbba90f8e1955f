import { setTimeout as sleep } from 'node:timers/promises';
import { type DataSource, type QueryRunner } from 'typeorm';
import { assertPinned, schemaOf, searchPath } from '../database/pinned-schema';
import { type Session, SESSION_COLUMNS } from './blocking-sessions';
import { MigrationInProgressError } from './errors';
import { settingsOf } from '../database/settings';
import { HOLD_LIFE_SETTING } from '../migrations/helpers/backfill-holds';
import { PIN_SETTINGS, UNPIN_SETTINGS } from '../database/pinned-settings';

/** How long another migrator is waited for, in milliseconds, where the DataSource says nothing else. */
const WAIT_MS = 600_000;

/** How often the lock is tried for, in milliseconds. */
const POLL_MS = 200;

/** When a waiting process says so first, in milliseconds, and how often from then on. */
const SAY_AFTER_MS = 2_000;

/** One lock a schema, for all users. Advisory locks are of the database they are taken in. */
const KEY = `hashtextextended('payment-events-db migrations of ' || current_schema(), 0)`;

const TRY_LOCK = `SELECT pg_try_advisory_lock(${KEY}) AS locked`;
const UNLOCK = `SELECT pg_advisory_unlock(${KEY}); RESET client_connection_check_interval; RESET search_path; RESET ${HOLD_LIFE_SETTING}; ${UNPIN_SETTINGS}`;

/**
 * A session that waits in a lock does not notice by itself that its process has died, and would keep the migration lock
 * for as long. Not every platform of a server can look.
 */
const NOTICE_A_DEAD_CLIENT = `
  DO $$
  BEGIN
    SET client_connection_check_interval = '2s';
  EXCEPTION WHEN invalid_parameter_value THEN NULL;
  END $$`;

const HOLDER = `
  SELECT ${SESSION_COLUMNS}
  FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
  WHERE locktype = 'advisory' AND granted AND objsubid = 1
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (classid::bigint << 32 | objid::bigint) = ${KEY}`;

/** What the session that migrates begins with. Guards that name a table keep this path. */
export const enterSchema = (schema: string): string => `SET search_path = ${searchPath(schema)}`;

/** For SQL that is run by hand, in the schema: takes the lock until the session ends, or stops. */
export const LOCK_OR_STOP = `DO $$
BEGIN
  IF current_schema() IS NULL THEN
    RAISE EXCEPTION 'There is no such schema, or this user may not use it: %.', current_setting('search_path');
  END IF;
  IF NOT pg_try_advisory_lock(${KEY}) THEN
    RAISE EXCEPTION 'Another session migrates this database. Wait until it has ended.';
  END IF;
END $$`;

/** Is told what takes long. */
export type Say = (message: string) => void;

/** What is said where nobody else listens. */
export const toLogger =
  ({ logger }: DataSource): Say =>
  (message) =>
    void logger.logMigration(message);

/**
 * Does work on a session of its own, while no other session migrates the same schema. The lock is the session's: it ends
 * with it, whatever kills the process, and work whose session is lost cannot go on without it.
 *
 * It is polled for. A session that blocks in pg_advisory_lock holds a snapshot, for which CREATE INDEX CONCURRENTLY of
 * the session that has the lock would wait for ever.
 *
 * @throws WrongSchemaError where the DataSource's schema is not there, or its user may not use it
 * @throws MigrationInProgressError naming the holder, when it cannot be taken within `migrationWaitMs`
 */
export async function withMigrationLock<T>(
  dataSource: DataSource,
  say: Say,
  work: (queryRunner: QueryRunner) => Promise<T>,
): Promise<T> {
  const { migrationWaitMs = WAIT_MS, migrationHoldLifeDays: holdLifeDays } = settingsOf(dataSource);
  const queryRunner = dataSource.createQueryRunner();
  try {
    const schema = schemaOf(dataSource);
    await queryRunner.query(enterSchema(schema));
    try {
      await assertPinned(queryRunner, schema);
      await lock(queryRunner, migrationWaitMs, say);
      // A migration's statements are always the same: what is to be told otherwise is told by its session.
      if (holdLifeDays !== undefined) await queryRunner.query(`SET ${HOLD_LIFE_SETTING} = ${holdLifeDays}`);
      return await work(queryRunner);
    } finally {
      // Where the connection is gone the lock is gone with it.
      await queryRunner.query(UNLOCK).catch(() => undefined);
    }
  } finally {
    await queryRunner.release();
  }
}

async function lock(queryRunner: QueryRunner, waitMs: number, say: Say): Promise<void> {
  await queryRunner.query(PIN_SETTINGS);
  await queryRunner.query(NOTICE_A_DEAD_CLIENT);
  const started = performance.now();
  let nextSay = SAY_AFTER_MS;
  while (!(await isLocked(queryRunner))) {
    const waited = performance.now() - started;
    if (waited >= waitMs) throw new MigrationInProgressError(await holderOf(queryRunner), waitMs);
    if (waited >= nextSay) {
      nextSay += SAY_AFTER_MS;
      const holder = await holderOf(queryRunner);
      if (holder) say(`Waiting for process ${holder.pid} (${holder.applicationName}), which migrates this database …`);
    }
    await sleep(Math.min(POLL_MS, waitMs - waited));
  }
}

async function isLocked(queryRunner: QueryRunner): Promise<boolean> {
  const [row] = (await queryRunner.query(TRY_LOCK)) as { locked: boolean }[];
  return row!.locked;
}

async function holderOf(queryRunner: QueryRunner): Promise<Session | undefined> {
  const [holder] = (await queryRunner.query(HOLDER)) as Session[];
  return holder;
}
