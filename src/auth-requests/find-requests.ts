import { IsOptional } from 'class-validator';
import { float8, integer, orNull } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { LONGEST_AGE_MS, WholeNumber, WiderThan } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type AuthRequest, COLUMNS, type Row, toAuthRequest } from './auth-request';
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
}

/** Which unsettled requests to look for. */
export class FindUnsettledCommand extends FindCommand {
  /** As for `startAttempt`: what has been unanswered for longer cannot be asked. In milliseconds, 0 to a hundred years. Default 24 hours. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;
}

/** A request that may hold money which it does not name. */
export interface UnsettledRequest extends AuthRequest {
  /**
   * `startAttempt` will say to settle it. If not, nobody can be asked: its attempts are those of legacy services, which had
   * no key to ask again under, or the processor may have forgotten the key. See `closeUnanswered`.
   */
  readonly canBeAsked: boolean;
}

const windowColumns = { older_than_ms: float8, within_ms: orNull(float8), at_most: integer } as const;

const windowOf = ({ olderThanMs, withinMs, limit = 100 }: FindCommand) => ({
  older_than_ms: olderThanMs,
  within_ms: withinMs ?? null,
  at_most: limit,
});

/**
 * SQL: whether it was made so long ago, by an `input` with `older_than_ms` and `within_ms`. statement_timestamp(), since no
 * index serves a comparison with a volatile function such as clock_timestamp().
 */
export const IN_WINDOW = `
      created_at < statement_timestamp() - older_than_ms * interval '1 millisecond'
      AND created_at >= coalesce(statement_timestamp() - within_ms * interval '1 millisecond', '-infinity')`;

const FIND_STUCK = operation({
  name: 'list_stuck',
  input: windowColumns,
  output: rowsOf<Row>(),
  sql: `
    SELECT ${COLUMNS} FROM auth_request_state CROSS JOIN input
    WHERE status IN (${SQL.open}) AND ${IN_WINDOW}
    ORDER BY created_at LIMIT (SELECT at_most FROM input)`,
});

export async function listStuck(session: Session, input: FindCommand): Promise<AuthRequest[]> {
  const command = validateCommand({ FindCommand }, input);
  return (await session.rows(FIND_STUCK, windowOf(command))).map(toAuthRequest);
}

/** SQL: whether `startAttempt` will say to settle it, by an `input` with `settle_within_ms`. */
export const CAN_BE_ASKED = `
      (attempt_unanswered AND attempt_version <> '' OR array_remove(unanswered_versions, '') <> '{}')
        AND unanswered_since >= statement_timestamp() - settle_within_ms * interval '1 millisecond'`;

const FIND_UNSETTLED = operation({
  name: 'list_unsettled',
  input: { ...windowColumns, settle_within_ms: float8 },
  output: rowsOf<Row & { can_be_asked: boolean }>(),
  sql: `
    SELECT ${COLUMNS}, ${CAN_BE_ASKED} AS can_be_asked
    FROM auth_request_state CROSS JOIN input
    WHERE attempt_open AND ${IN_WINDOW}
    ORDER BY can_be_asked DESC, created_at LIMIT (SELECT at_most FROM input)`,
});

export async function listUnsettled(session: Session, input: FindUnsettledCommand): Promise<UnsettledRequest[]> {
  const command = validateCommand({ FindUnsettledCommand }, input);
  const { settleWithinMs = StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS } = command;
  const rows = await session.rows(FIND_UNSETTLED, { ...windowOf(command), settle_within_ms: settleWithinMs });
  return rows.map((row) => ({ ...toAuthRequest(row), canBeAsked: row.can_be_asked }));
}
