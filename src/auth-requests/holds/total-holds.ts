import { IsOptional } from 'class-validator';
import { float8 } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { IS_OWNED } from '../../fence/owned';
import { LONGEST_AGE_MS, WholeNumber } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { filterAt, filterColumns, HoldFilter, STANDING } from './list-holds';
import { BECAUSE, type HoldReason, isForAPerson, type PersonsReason, type StandingState } from './standing';

/** Holds of one state, reason and currency that may still stand. */
export interface HoldTotal {
  readonly state: StandingState;
  readonly because: HoldReason;
  readonly isForAPerson: boolean;
  readonly currency: string;
  readonly count: number;
  /** In the currency's minor unit. Of captured ones, what was captured where somebody has said so. */
  readonly amountCents: number;
}

/** The totals of holds. */
export interface HoldTotals {
  /** What nobody needs comes first. Empty: there is none. */
  readonly totals: readonly HoldTotal[];
  /**
   * Holds that their requests need are counted to 100,000, which has been reached: there may be more of them, and more
   * money. The others are always counted to the end.
   */
  readonly isAtLeast: boolean;
}

const COUNT_TO = 100_000;

interface TotalRow {
  state: StandingState;
  because: HoldReason;
  currency: string;
  count: number;
  amount_cents: number;
}

/** SQL: one row for each hold that counts. */
const COUNTED = `
  SELECT state, currency, state_since, coalesce(ended_amount_cents, amount_cents) AS amount, ${BECAUSE} AS because
  ${STANDING.unneeded}
  UNION ALL (
    SELECT state, currency, state_since, amount_cents, 'needed' FROM (
      (SELECT state, currency, state_since, amount_cents ${STANDING.lapsing} ORDER BY hold_expires_at LIMIT ${COUNT_TO})
      UNION ALL
      (SELECT state, currency, state_since, amount_cents ${STANDING.lasting} ORDER BY hold_expires_at LIMIT ${COUNT_TO})
    ) AS needed LIMIT ${COUNT_TO})`;

/** SQL: the totals of `counted`. As float8, since `pg` would give digits: what a sum loses beyond 2^53 nobody misses. */
const SUMMED = `
  SELECT state, because, currency, count(*)::float8 AS count, sum(amount)::float8 AS amount_cents FROM counted
  GROUP BY state, because, currency ORDER BY because <> 'needed' DESC, because, currency`;

const HOLD_TOTALS = operation({
  name: 'hold_totals',
  input: filterColumns,
  output: rowsOf<TotalRow>(),
  sql: `WITH counted AS (${COUNTED}) ${SUMMED}`,
});

/** Counts and amounts of the holds that may still stand, by state and currency. */
export async function holdTotals(session: Session, input: HoldFilter = {}): Promise<HoldTotals> {
  const command = validateCommand({ HoldFilter }, input);
  return toTotals(await session.rows(HOLD_TOTALS, await filterAt(session, command)));
}

/** What is soon for {@link holdStats}. */
export class HoldStatsCommand {
  static readonly DEFAULT_LAPSING_WITHIN_MS = 24 * 3_600_000;

  /** Needed holds that lapse within so many milliseconds are counted: 0 to a hundred years. Default 24 hours. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  lapsingWithinMs?: number;
}

/** How the holds are, for dashboards and alerts. */
export interface HoldStats extends HoldTotals {
  /**
   * For how long the oldest has been in its state of those that should be gone: `voiding`, `void_failed`, captured although
   * nobody needed it. Null: there is none.
   */
  readonly oldestOpenAgeMs: number | null;
  /** Holds that wait for a person, by the reason; every reason is there. */
  readonly forAPerson: Readonly<Record<PersonsReason, number>>;
  /** Needed ones that lapse soon, counted to 100,000. */
  readonly lapsing: number;
}

interface StatsRow {
  totals: TotalRow[] | null;
  oldest_open_age_ms: number | null;
  lapsing: number;
}

/** SQL: needed holds that lapse soon, by idx_auth_holds_held. */
const SOON = `
    SELECT FROM auth_holds CROSS JOIN input
    WHERE state::text = 'held' AND is_needed AND hold_expires_at > statement_timestamp()
      AND hold_expires_at <= statement_timestamp() + soon_ms * interval '1 millisecond'`;

/**
 * All numbers by one statement, so that they are of one moment. Without a fence the index alone says what lapses soon; a plan for any
 * values has the restaurant read where there is one.
 */
const HOLD_STATS = operation({
  name: 'hold_stats',
  input: { ...filterColumns, soon_ms: float8 },
  output: rowsOf<StatsRow>(),
  sql: `
  WITH counted AS MATERIALIZED (${COUNTED}), summed AS (${SUMMED}), soon AS (
    (${SOON} AND shard_mask IS NULL LIMIT ${COUNT_TO})
    UNION ALL
    (${SOON} AND shard_mask IS NOT NULL AND ${IS_OWNED} LIMIT ${COUNT_TO})
  )
  SELECT (SELECT json_agg(summed) FROM summed) AS totals,
         (SELECT extract(epoch FROM statement_timestamp() - min(state_since))::float8 * 1000
          FROM counted WHERE because IN ('voiding', 'void_failed', 'captured_unneeded')) AS oldest_open_age_ms,
         (SELECT count(*)::float8 FROM soon) AS lapsing`,
});

/** Totals, and what an alert asks about. */
export async function holdStats(session: Session, input: HoldStatsCommand = {}): Promise<HoldStats> {
  const { lapsingWithinMs = HoldStatsCommand.DEFAULT_LAPSING_WITHIN_MS } = validateCommand({ HoldStatsCommand }, input);
  const row = (await session.row(HOLD_STATS, { ...(await filterAt(session, {})), soon_ms: lapsingWithinMs }))!;
  const totals = toTotals(row.totals ?? []);
  const waiting = (reason: PersonsReason) =>
    totals.totals.filter(({ because }) => because === reason).reduce((sum, { count }) => sum + count, 0);
  return {
    ...totals,
    oldestOpenAgeMs: row.oldest_open_age_ms,
    forAPerson: {
      void_failed: waiting('void_failed'),
      captured_unneeded: waiting('captured_unneeded'),
      never_voided: waiting('never_voided'),
    },
    lapsing: row.lapsing,
  };
}

function toTotals(rows: readonly TotalRow[]): HoldTotals {
  const needed = rows.filter(({ because }) => because === 'needed').reduce((sum, { count }) => sum + count, 0);
  return {
    totals: rows.map(({ state, because, currency, count, amount_cents: amountCents }) => ({
      ...{ state, because, isForAPerson: isForAPerson(because), currency, count, amountCents },
    })),
    isAtLeast: needed >= COUNT_TO,
  };
}
