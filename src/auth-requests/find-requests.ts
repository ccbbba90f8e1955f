import { IsOptional } from 'class-validator';
import { bigint, boolean, float8, integer, orNull, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { IS_OWNED, ownedColumns, readOwned } from '../fence/owned';
import { LONGEST_AGE_MS, WholeNumber, WiderThan } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type AuthRequest, COLUMNS, type Row, toAuthRequest } from './auth-request';
import { Cursor, IN_PARTS, microsecondsOf, timeOf } from './cursor';
import { StartAttemptCommand } from './start-attempt';
import { SQL } from './statuses';

/** Which requests to look for; see `listStuck` and `listUnsettled`. */
export class FindCommand {
  /** Made at least so long ago, in milliseconds, by the database's clock: 0 to a hundred years. */
  @WholeNumber(0, LONGEST_AGE_MS)
  olderThanMs: number;

  /**
   * And at most so long ago; more than `olderThanMs`. Default: any time ago. With it the search reads no more than that part
   * of the table, without it all of it.
   */
  @IsOptional()
  @WiderThan('olderThanMs')
  @WholeNumber(1, LONGEST_AGE_MS)
  withinMs?: number;

  /** At most so many, the oldest first: 1 to 10,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  limit?: number;

  /** Those after this place: the `cursor` of the last one of the page before. Default: from the first on. */
  @IsOptional()
  @Cursor(IN_PARTS)
  after?: string;
}

/** Which unsettled requests to look for. */
export class FindUnsettledCommand extends FindCommand {
  /** As for `startAttempt`: what has been unanswered for longer cannot be asked. In milliseconds, 0 to a hundred years. Default 24 hours. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;
}

/** A request, with its place in the list that it was found for. */
export interface FoundRequest extends AuthRequest {
  /** Pass that of the last one of a page as `after` for the next page. It is good at any database. */
  readonly cursor: string;
}

/** A request that may hold money which it does not name. */
export interface UnsettledRequest extends FoundRequest {
  /**
   * `startAttempt` will say to settle it. If not, nobody can be asked: its attempts are those of legacy services, which had
   * no key to ask again under, or the processor may have forgotten the key. See `closeUnanswered`.
   */
  readonly canBeAsked: boolean;
}

const windowColumns = {
  older_than_ms: float8,
  within_ms: orNull(float8),
  at_most: integer,
  after_us: orNull(bigint),
  after_id: orNull(uuid),
  ...ownedColumns,
} as const;

function windowOf({ olderThanMs, withinMs, limit = 100, after }: FindCommand) {
  const [, after_us = null, after_id = null] = after?.split('_') ?? [];
  return { older_than_ms: olderThanMs, within_ms: withinMs ?? null, at_most: limit, after_us, after_id };
}

/**
 * SQL: whether it was made so long ago, by an `input` with `older_than_ms` and `within_ms`. statement_timestamp(), since no
 * index serves a comparison with a volatile function such as clock_timestamp().
 */
export const IN_WINDOW = `
      created_at < statement_timestamp() - older_than_ms * interval '1 millisecond'
      AND created_at >= coalesce(statement_timestamp() - within_ms * interval '1 millisecond', '-infinity')`;

type FoundRow = Row & { created_at_us: string };

/** SQL: the time of the cursor. The first page begins before any time. */
const AFTER = `coalesce(${timeOf('after_us')}, '-infinity')`;

/** The time twice: no BRIN index serves a comparison of rows, and each page would read what those before it have read. */
const FIND_STUCK = operation({
  name: 'list_stuck',
  input: windowColumns,
  output: rowsOf<FoundRow>(),
  sql: `
    SELECT ${COLUMNS}, ${microsecondsOf('created_at')} AS created_at_us FROM auth_request_state CROSS JOIN input
    WHERE status IN (${SQL.open}) AND ${IN_WINDOW} AND ${IS_OWNED}
      AND created_at >= ${AFTER} AND (created_at, auth_request_id) > (${AFTER}, after_id)
    ORDER BY created_at, auth_request_id LIMIT (SELECT at_most FROM input)`,
});

export async function listStuck(session: Session, input: FindCommand): Promise<FoundRequest[]> {
  const command = validateCommand({ FindCommand }, input);
  const rows = await session.rows(FIND_STUCK, { ...windowOf(command), ...(await readOwned(session)) });
  return rows.map((row) => ({ ...toAuthRequest(row), cursor: cursorOf(0, row) }));
}

const cursorOf = (part: 0 | 1, { created_at_us: us, auth_request_id: id }: FoundRow) => `${part}_${us}_${id}`;

/** SQL: whether `startAttempt` will say to settle it, by an `input` with `settle_within_ms`. */
export const CAN_BE_ASKED = `
      (attempt_unanswered AND attempt_version <> '' OR array_remove(unanswered_versions, '') <> '{}')
        AND unanswered_since >= statement_timestamp() - settle_within_ms * interval '1 millisecond'`;

/** SQL: the same where the cursor is among those that cannot be asked, since then all of them from its time on are left. */
const AFTER_IN_PART = `CASE WHEN after_unaskable THEN ${AFTER} ELSE '-infinity' END`;

const FIND_UNSETTLED = operation({
  name: 'list_unsettled',
  input: { ...windowColumns, after_unaskable: orNull(boolean), settle_within_ms: float8 },
  output: rowsOf<FoundRow & { can_be_asked: boolean }>(),
  sql: `
    SELECT ${COLUMNS}, ${CAN_BE_ASKED} AS can_be_asked, ${microsecondsOf('created_at')} AS created_at_us
    FROM auth_request_state CROSS JOIN input
    WHERE attempt_open AND ${IN_WINDOW} AND ${IS_OWNED} AND created_at >= ${AFTER_IN_PART}
      AND (NOT (${CAN_BE_ASKED}), created_at, auth_request_id) > (coalesce(after_unaskable, false), ${AFTER}, after_id)
    ORDER BY can_be_asked DESC, created_at, auth_request_id LIMIT (SELECT at_most FROM input)`,
});

export async function listUnsettled(session: Session, input: FindUnsettledCommand): Promise<UnsettledRequest[]> {
  const command = validateCommand({ FindUnsettledCommand }, input);
  const { settleWithinMs = StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS } = command;
  const rows = await session.rows(FIND_UNSETTLED, {
    ...windowOf(command),
    ...(await readOwned(session)),
    after_unaskable: command.after?.startsWith('1') ?? null,
    settle_within_ms: settleWithinMs,
  });
  return rows.map((row) => ({
    ...toAuthRequest(row),
    canBeAsked: row.can_be_asked,
    cursor: cursorOf(row.can_be_asked ? 0 : 1, row),
  }));
}
