import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';

/** How the outbox is doing. Counting stops at 10,000: `atLeast` names the numbers that are larger than is said. */
export interface OutboxStats {
  /** To be delivered, refused ones included; without dead letters and without what waits. */
  readonly pending: number;
  /** For a time to come, before their first attempt. They hold nothing back. */
  readonly waiting: number;
  /** Dead letters: each needs somebody to requeue or discard it. */
  readonly failed: number;
  /** For how long the oldest pending message could have been delivered; null when there is none. */
  readonly oldestPendingAgeMs: number | null;
  readonly processedLastMinute: number;
  readonly atLeast: readonly OutboxCount[];
}

/** A number among {@link OutboxStats}. */
export type OutboxCount = 'pending' | 'waiting' | 'failed' | 'processedLastMinute';

const COUNT_TO = 10_000;

/**
 * Each part reads so many entries of a partial index at most, in its order, so that no other index looks as good. Refused
 * messages come from an index of their own, since they stand among those that wait, mostly before them; one without a time
 * is among the pending ones already.
 *
 * What was processed is planned as if all were to be read, as every CTE is, and read only as far as is counted: planned
 * with a limit, a scan from the beginning of the table would look cheap, where the oldest messages are.
 */
const STATS = operation({
  name: 'outbox_stats',
  input: {},
  output: rowsOf<StatsRow>(),
  sql: `
  WITH pending AS (
    SELECT created_at FROM outbox
    WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
    ORDER BY id LIMIT ${COUNT_TO + 1}
  ), due AS (
    SELECT next_attempt_at, attempts FROM outbox
    WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at <= statement_timestamp()
    ORDER BY next_attempt_at LIMIT ${COUNT_TO + 1}
  ), later AS (
    SELECT attempts FROM outbox
    WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at > statement_timestamp()
    ORDER BY next_attempt_at DESC LIMIT ${COUNT_TO + 1}
  ), refused AS (
    SELECT created_at, next_attempt_at FROM outbox
    WHERE processed_at IS NULL AND failed_at IS NULL AND attempts > 0
    ORDER BY failed_at, id LIMIT ${COUNT_TO + 1}
  ), failed AS (
    SELECT FROM outbox WHERE processed_at IS NULL AND failed_at IS NOT NULL
    ORDER BY failed_at, id LIMIT ${COUNT_TO + 1}
  ), processed AS MATERIALIZED (
    SELECT FROM outbox WHERE processed_at > now() - interval '1 minute'
  ), first_due AS (
    SELECT least((SELECT min(created_at) FROM pending), (SELECT min(created_at) FROM refused),
                 (SELECT min(next_attempt_at) FROM due WHERE attempts = 0)) AS at
  )
  SELECT
    (SELECT count(*) FROM pending) + (SELECT count(*) FROM due WHERE attempts = 0)
      + (SELECT count(next_attempt_at) FROM refused) AS pending,
    (SELECT count(*) FROM later WHERE attempts = 0) AS waiting,
    (SELECT count(*) FROM later) AS later,
    (SELECT count(*) FROM failed) AS failed,
    (SELECT count(*) FROM (SELECT FROM processed LIMIT ${COUNT_TO + 1}) AS counted) AS processed_last_minute,
    (SELECT extract(epoch FROM clock_timestamp() - at) * 1000 FROM first_due) AS oldest_pending_age_ms`,
});

export async function readStats(session: Session): Promise<OutboxStats> {
  const row = await session.row(STATS, {});
  const counted = {
    pending: Number(row!.pending),
    waiting: Number(row!.waiting),
    failed: Number(row!.failed),
    processedLastMinute: Number(row!.processed_last_minute),
  };
  const age = row!.oldest_pending_age_ms;
  const isMore = (name: OutboxCount) =>
    counted[name] > COUNT_TO || (name === 'waiting' && Number(row!.later) > COUNT_TO);
  return {
    pending: Math.min(counted.pending, COUNT_TO),
    waiting: Math.min(counted.waiting, COUNT_TO),
    failed: Math.min(counted.failed, COUNT_TO),
    oldestPendingAgeMs: age === null ? null : Number(age),
    processedLastMinute: Math.min(counted.processedLastMinute, COUNT_TO),
    atLeast: (Object.keys(counted) as OutboxCount[]).filter(isMore),
  };
}

interface StatsRow {
  pending: string;
  waiting: string;
  later: string;
  failed: string;
  oldest_pending_age_ms: string | null;
  processed_last_minute: string;
}
