import { IsOptional } from 'class-validator';
import { arrayOf, bigint, boolean, float8, integer, orNull, text, uuid } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { IS_OWNED, ownedColumns, readOwned } from '../../fence/owned';
import { Flag, LONGEST_AGE_MS, SomeOf, Uuid, WholeNumber } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { Cursor, fromHex, IN_PARTS_BY_NAMES, microsecondsOf, timeOf, toHex } from '../cursor';
import { type AuthRequestStatus } from '../statuses';
import { type Hold, HOLD_COLUMNS, type HoldRow, toHold } from './hold';
import { type HoldReason, inWords, isForAPerson, reasonOf, STANDING_STATES, type StandingState } from './standing';

/** Which of the holds that may still stand to look at. Default: all of them. */
export class HoldFilter {
  /** In one of these states, of which there are `held`, `voiding`, `void_failed` and `captured`. */
  @IsOptional()
  @SomeOf(STANDING_STATES)
  states?: readonly StandingState[];

  /** True: those that a person has to see to. False: the others. */
  @IsOptional()
  @Flag()
  forAPerson?: boolean;

  /** In their state at least so long, in milliseconds, by the database's clock: 0 to a hundred years. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  olderThanMs?: number;

  /** The processor has said that they lapse, and they will within so many milliseconds: 0 to a hundred years. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  lapsingWithinMs?: number;

  /** Of this restaurant. No index serves it: the others' are read as well. */
  @IsOptional()
  @Uuid()
  restaurantId?: string;
}

/** Which holds to list. */
export class ListHoldsCommand extends HoldFilter {
  /** At most so many: 1 to 100,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 100_000)
  limit?: number;

  /** Those after this place: the `cursor` of the last one of the page before. Default: from the first on. */
  @IsOptional()
  @Cursor(IN_PARTS_BY_NAMES)
  after?: string;
}

/** A hold that may still stand, or whose money was taken although nobody needed it, with the reason why it is listed. */
export interface StandingHold extends Hold {
  readonly state: StandingState;
  /** Null where the request has no row. */
  readonly requestStatus: AuthRequestStatus | null;
  readonly because: HoldReason;
  /** The same in words. */
  readonly says: string;
  /** It stays until a person has seen to it. */
  readonly isForAPerson: boolean;
  /**
   * Pass that of the last one of a page as `after` for the next page. Null for a hold that is needed and of which nobody knows
   * when it lapses.
   */
  readonly cursor: string | null;
}

/** What a filter is as an `input`, with the restaurants whose holds pass it at all. */
export const filterColumns = {
  states: orNull(arrayOf(text)),
  for_a_person: orNull(boolean),
  older_than_ms: orNull(float8),
  lapsing_within_ms: orNull(float8),
  restaurant: orNull(uuid),
  ...ownedColumns,
} as const;

export const filterAt = async (
  session: Session,
  { states, forAPerson, olderThanMs, lapsingWithinMs, restaurantId }: HoldFilter,
) => ({
  ...(await readOwned(session)),
  states: states ?? null,
  for_a_person: forAPerson ?? null,
  older_than_ms: olderThanMs ?? null,
  lapsing_within_ms: lapsingWithinMs ?? null,
  restaurant: restaurantId ?? null,
});

const PASSES_FILTER = `
      (states IS NULL OR state::text = ANY (states)) AND ${IS_OWNED}
      AND (restaurant IS NULL OR restaurant_id = restaurant)
      AND (older_than_ms IS NULL OR state_since <= statement_timestamp() - older_than_ms * interval '1 millisecond')`;

/** Until when it has to lapse: without a bound at any time. */
const LAPSING_UNTIL = `coalesce(statement_timestamp() + lapsing_within_ms * interval '1 millisecond', 'infinity')`;

/**
 * SQL: the holds that may still stand, in three parts, each a FROM and WHERE for which a partial index has its rows in an
 * order. The text of the conditions is that of the indexes, so that the planner sees that they serve.
 *
 * Time alone writes no event: a hold that the processor has let go by now is in no part, whatever its state. One that was
 * captured was not let go. The needed ones are two parts, since "until then, or not known until when" is no range of the index.
 */
export const STANDING = {
  /** By idx_auth_holds_open, in the order of state_since. */
  unneeded: `
    FROM auth_holds CROSS JOIN input
    WHERE NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])
      AND (state = 'captured' AND lapsing_within_ms IS NULL OR hold_expires_at IS NULL AND lapsing_within_ms IS NULL
           OR state <> 'captured' AND hold_expires_at > statement_timestamp() AND hold_expires_at <= ${LAPSING_UNTIL})
      AND (for_a_person IS NULL OR for_a_person = (state <> 'voiding'))
      AND ${PASSES_FILTER}`,
  /** By idx_auth_holds_held, in the order of hold_expires_at. */
  lapsing: `
    FROM auth_holds CROSS JOIN input
    WHERE state::text = 'held' AND is_needed
      AND hold_expires_at > statement_timestamp() AND hold_expires_at <= ${LAPSING_UNTIL}
      AND for_a_person IS NOT TRUE
      AND ${PASSES_FILTER}`,
  /**
   * By idx_auth_holds_held. Where a part of it is read, ordered by hold_expires_at, which is null in each: else a read of
   * the table from its beginning, where the oldest holds are, would look cheap.
   */
  lasting: `
    FROM auth_holds CROSS JOIN input
    WHERE state::text = 'held' AND is_needed AND hold_expires_at IS NULL AND lapsing_within_ms IS NULL
      AND for_a_person IS NOT TRUE
      AND ${PASSES_FILTER}`,
};

/** SQL: by what holds are sorted within their part; null for those that are last. */
const LISTED_AT = `CASE WHEN is_needed THEN hold_expires_at ELSE state_since END`;

/** SQL: the names of a hold, of which one request may have several. */
const NAMES = `auth_request_id, processor_name, processor_auth_id`;

/** SQL: from the cursor on, where a part is read in the order of an index on a time. The first page begins before any time. */
const after = (column: string, isItsPart: string) => {
  const time = `CASE WHEN ${isItsPart} THEN ${timeOf('after_us')} ELSE '-infinity' END`;
  return `AND ${column} >= ${time} AND (${column}, ${NAMES}) > (${time}, after_request, after_processor, after_auth_id)`;
};

/**
 * One snapshot, so that a hold which changes meanwhile is in the list once, as it was before or as it is after. The status
 * of the request is looked up for what is listed and nothing else: a subquery, which no plan can turn into a read of all requests.
 *
 * WITH TIES, since the indexes have times alone: of the holds of one instant the names say which come first. Those that last
 * have no time, and are too many to be sorted for each page: any of them are listed.
 */
const LIST_HOLDS = operation({
  name: 'list_holds',
  input: {
    ...{ ...filterColumns, at_most: integer, after_needed: orNull(boolean), after_us: orNull(bigint) },
    ...{ after_request: orNull(uuid), after_processor: text, after_auth_id: text },
  },
  output: rowsOf<HoldRow & { request_status: AuthRequestStatus | null; listed_at_us: string | null }>(),
  sql: `
  WITH unneeded AS (
    SELECT ${HOLD_COLUMNS} ${STANDING.unneeded}
      AND after_needed IS NOT TRUE ${after('state_since', 'NOT after_needed')}
    ORDER BY state_since FETCH FIRST (SELECT at_most FROM input) ROWS WITH TIES
  ), lapsing AS (
    SELECT ${HOLD_COLUMNS} ${STANDING.lapsing} ${after('hold_expires_at', 'after_needed')}
    ORDER BY hold_expires_at FETCH FIRST (SELECT at_most FROM input) ROWS WITH TIES
  ), lasting AS (
    SELECT ${HOLD_COLUMNS} ${STANDING.lasting} ORDER BY hold_expires_at LIMIT (SELECT at_most FROM input)
  ), listed AS MATERIALIZED (
    SELECT * FROM (
      SELECT * FROM unneeded UNION ALL SELECT * FROM lapsing UNION ALL SELECT * FROM lasting
    ) AS standing
    ORDER BY is_needed, ${LISTED_AT}, ${NAMES}
    LIMIT (SELECT at_most FROM input)
  )
  SELECT ${HOLD_COLUMNS}, ${microsecondsOf(LISTED_AT)} AS listed_at_us,
         (SELECT status FROM auth_request_state AS request WHERE request.auth_request_id = listed.auth_request_id)
           AS request_status
  FROM listed
  ORDER BY is_needed, ${LISTED_AT}, ${NAMES}`,
});

/** Every hold that may still stand, and what was captured although nobody needed it; what nobody needs comes first. */
export async function listHolds(session: Session, input: ListHoldsCommand = {}): Promise<StandingHold[]> {
  const command = validateCommand({ ListHoldsCommand }, input);
  const [part, us = null, request = null, processor = '', authId = ''] = command.after?.split('_') ?? [];
  const rows = await session.rows(LIST_HOLDS, {
    ...{ ...(await filterAt(session, command)), at_most: command.limit ?? 100 },
    ...{ after_needed: part === undefined ? null : part === '1', after_us: us, after_request: request },
    ...{ after_processor: fromHex(processor), after_auth_id: fromHex(authId) },
  });
  return rows.map((row) => {
    const hold = toHold(row);
    const requestStatus = row.request_status;
    const because = reasonOf(hold);
    const says = inWords({ ...hold, because, requestStatus });
    return {
      ...hold,
      state: row.state as StandingState,
      ...{ requestStatus, because, says, isForAPerson: isForAPerson(because), cursor: cursorOf(row) },
    };
  });
}

const cursorOf = (row: HoldRow & { listed_at_us: string | null }): string | null =>
  row.listed_at_us &&
  [
    ...[row.is_needed ? 1 : 0, row.listed_at_us, row.auth_request_id],
    ...[toHex(row.processor_name), toHex(row.processor_auth_id)],
  ].join('_');
