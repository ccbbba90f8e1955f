import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { arrayOf, float8, integer, orNull, timestamptz, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { WrongShardError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { IS_OWNED, ownedBy, ownedColumns } from '../fence/owned';
import { readFence } from '../fence/read-fence';
import { isSameClass, type ResidueClass } from '../fence/residue';
import { messageHeaders, messageOf } from '../outbox/queue-message';
import { textField } from '../protobuf/append-fields';
import { LONGEST_AGE_MS, Text, WholeNumber, WiderThan } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { queueVoids, TO_BE_VOIDED, unneededHolds, unneededIn, voidMessage } from './holds/write-holds';
import { SQL } from './statuses';
import { TracedCommand } from './traced-command';

/** A scheduler clears what nobody waits for any more. */
export class ExpireStaleCommand extends TracedCommand {
  /** Requests at least so old, in milliseconds, by the database's clock: 1 to a hundred years. */
  @WholeNumber(1, LONGEST_AGE_MS)
  olderThanMs: number;

  /**
   * And at most so old; more than `olderThanMs`. Default: of any age. With it the search reads no more than that part of the
   * table, without it all of it.
   */
  @IsOptional()
  @WiderThan('olderThanMs')
  @WholeNumber(1, LONGEST_AGE_MS)
  withinMs?: number;

  /** How many a transaction: 1 to 10,000. Default 500. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;

  /** Default `stale`. */
  @FreeText()
  @IsOptional()
  @Text(0, 1000)
  reason?: string;
}

/** What was found. */
interface StaleRow {
  auth_request_id: string;
  /** It has changed since the statement began, and was left as it is. */
  is_outdated: boolean;
  /** Without its microseconds, so never later than the row's own. */
  created_at: Date;
}

/**
 * The oldest first, by the BRIN index on created_at; clock_timestamp() is volatile, and would have every row read. Without
 * a lower end (`within_ms` null) the first batch reads all that is old; each further one begins where the one before ended
 * (`begin_at`). A request that somebody is changing at this moment is left for the next run, one that others like this are
 * closing is left to them (SKIP LOCKED). FOR UPDATE evaluates the status on the newest row: one that was settled since
 * stays, and one that has changed since otherwise is left for the next run as well, since the snapshot may lack its holds. Every event names its request, which is known here alone, so the database completes the message.
 */
const EXPIRE_STALE = operation({
  name: 'expire_stale',
  input: {
    older_than_ms: float8,
    within_ms: orNull(float8),
    begin_at: orNull(timestamptz),
    batch_size: integer,
    ...ownedColumns,
    event_ids: arrayOf(uuid),
    event: eventOf('AuthRequestExpired'),
    event_metadata: eventMetadata,
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<StaleRow>(),
  sql: (input) => `
    WITH stale AS (
      SELECT auth_request_id, created_at, last_event_sequence FROM auth_request_state CROSS JOIN input
      WHERE status IN (${SQL.open}) AND ${IS_OWNED}
        AND created_at < statement_timestamp() - older_than_ms * interval '1 millisecond'
        AND created_at >= coalesce(begin_at, statement_timestamp() - within_ms * interval '1 millisecond', '-infinity')
      ORDER BY created_at LIMIT (SELECT batch_size FROM input)
      FOR UPDATE OF auth_request_state SKIP LOCKED
    ), numbered AS (
      SELECT auth_request_id, created_at, event_ids[row_number() OVER ()] AS event_id,
             last_event_sequence <> (SELECT last_event_sequence FROM auth_request_state AS seen
                                     WHERE seen.auth_request_id = stale.auth_request_id) AS is_outdated
      FROM stale CROSS JOIN input
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = 'EXPIRED', completed_at = coalesce(state.completed_at, now()),
          last_event_sequence = state.last_event_sequence + 1, last_event_id = event_id
      FROM numbered WHERE state.auth_request_id = numbered.auth_request_id AND NOT is_outdated
      RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence, state.last_event_id
    ), unneeded AS (${unneededHolds()}
    ), event AS (${appendEvent(input, {
      from: 'changed CROSS JOIN input',
      fields: textField(1, 'auth_request_id::text'),
      metadata: `jsonb_strip_nulls(jsonb_build_object(${unneededIn('unneeded WHERE unneeded.auth_request_id = changed.auth_request_id')}))`,
    })}
    ), message AS (${queueVoids(input, {
      holds: TO_BE_VOIDED,
      requests: 'changed CROSS JOIN input',
      fields: `${textField(1, 'auth_request_id::text')} || ${textField(2, 'restaurant_id::text')}`,
    })}
    )
    SELECT auth_request_id, created_at, is_outdated FROM numbered ORDER BY created_at`,
});

export async function expireStale(session: Session, input: ExpireStaleCommand): Promise<string[]> {
  const command = screenReport(session.dataSource, 'expireStale', validateCommand({ ExpireStaleCommand }, input));
  const { olderThanMs, withinMs = null, batchSize = 500, reason = 'stale', correlationId, causationId } = command;
  const expired: string[] = [];
  let fence: ResidueClass | undefined;
  for (let beginAt: Date | null = null; ;) {
    const found: Promise<StaleRow[]> = session.rows(EXPIRE_STALE, {
      ...ownedBy(fence),
      older_than_ms: olderThanMs,
      within_ms: withinMs,
      begin_at: beginAt,
      batch_size: batchSize,
      event_ids: Array.from({ length: batchSize }, () => newId()),
      event: { authRequestId: '', expiredAt: new Date(), reason },
      event_metadata: { correlationId, causationId },
      void_message: voidMessage('', '', 'expired'),
      headers: command.headers,
    });
    const batch: StaleRow[] | undefined = await found.catch(async (error: unknown) => {
      // The fence has refused a request of a restaurant that has moved away: such are left out from here on.
      if (!(error instanceof WrongShardError)) throw error;
      const narrower = await readFence(session);
      if (!narrower || (fence && isSameClass(fence, narrower))) throw error;
      fence = narrower;
      return undefined;
    });
    if (!batch) continue;
    expired.push(...batch.filter((row) => !row.is_outdated).map((row) => row.auth_request_id));
    if (batch.length < batchSize) return expired;
    beginAt = batch.at(-1)!.created_at;
  }
}
