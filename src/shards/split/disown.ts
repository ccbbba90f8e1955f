import { setTimeout as sleep } from 'node:timers/promises';
import { type End, type SplitSession } from './split-session';

/** How many rows are disowned at once. */
const BATCH_SIZE = 1_000;
const LOOK_MS = 50;

/** What an end gives away of a table. */
export interface Disowned {
  readonly at: End;
  /** Of which restaurants: a condition on their ids. */
  readonly restaurants: string;
  readonly table: 'outbox' | 'auth_processing_locks';
  readonly key: string;
  /** Which of their rows. */
  readonly where: string;
  /** Is said where rows are locked by others. */
  readonly waiting: string;
}

/** What is locked is left until the lock is gone. */
const disowning = ({ table, key, where, restaurants }: Disowned) => `WITH disowned AS (
  SELECT ${key} FROM ${table} WHERE ${where} AND ${restaurants} ORDER BY ${key} DESC LIMIT ${BATCH_SIZE} FOR UPDATE SKIP LOCKED
), deleted AS (
  DELETE FROM ${table} USING disowned WHERE ${table}.${key} = disowned.${key} RETURNING 1
)
SELECT (SELECT count(*) FROM deleted)::int AS deleted, (
  SELECT count(*) FROM (SELECT FROM ${table} WHERE ${where} AND ${restaurants} LIMIT ${BATCH_SIZE + 1}) AS found)::int AS "before"`;

/** Deletes rows at an end, and waits for those who have locked some, until there is none. */
export async function disown(session: SplitSession, disowned: Disowned): Promise<void> {
  const statement = disowning(disowned);
  for (let isSaid = false; ;) {
    const [batch] = await session.online<{ deleted: number; before: number }>(disowned.at, statement);
    if (!batch || batch.deleted === batch.before) return;
    if (batch.deleted === 0) {
      if (!isSaid) session.say(disowned.waiting);
      isSaid = true;
      await sleep(LOOK_MS);
    }
  }
}
