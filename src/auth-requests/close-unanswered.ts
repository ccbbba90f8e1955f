import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { uuid, text } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, LockHeldError, TransactionConflictError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { int64Field } from '../protobuf/append-fields';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { TracedCommand } from './traced-command';
import { ATTEMPTS_AFTER } from './worker-write';

/** A person has found out how attempts ended that nobody can ask about. */
export class CloseUnansweredCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  /** Whose attempts to close: one of `unansweredVersions`. Empty for those of legacy services. */
  @Text(0, 50)
  configVersion: string;

  /** Who says so: a name of your staff's system. It stays in the event for good, so nothing personal. */
  @FreeText()
  @Text(1, 255)
  by: string;

  /** What was found: nothing is held, or the money has been released. */
  @FreeText()
  @Text(1, 1000)
  reason: string;
}

/** What closing attempts came to. */
export interface ClosedAttempts {
  /** False where no attempt of that version was open: nothing was written, as by a repeat. */
  readonly closed: boolean;
  /** Attempts under another version are still open. */
  readonly attemptOpen: boolean;
  /** The number of the request's last event. See `ReplicaReads`. */
  readonly lastEventSequence: number;
}

/**
 * Not while a worker holds a lease: it may be asking the processor. FOR UPDATE gives the row as its newest version is;
 * leases are looked for in the snapshot, so that nothing is closed where the row has moved on since (`moved`): that may be
 * an attempt which has just begun. The event is a failure that leaves status and retries as they are, for readers that do
 * not know `closed_version`.
 */
const CLOSE_UNANSWERED = operation({
  name: 'close_unanswered',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    config_version: text,
    event_id: uuid,
    event: eventOf('AuthAttemptFailed'),
    event_metadata: eventMetadata,
  },
  output: rowsOf<{
    closed: boolean;
    attempt_open: boolean;
    last_event_sequence: number;
    held: boolean;
    moved: boolean;
  }>(),
  sql: (input) => `
    WITH request AS (
      SELECT state.*, event_id, config_version,
             attempt_unanswered AND attempt_version = config_version AS closes_attempt,
             array_remove(unanswered_versions, config_version) AS versions_after
      FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
      FOR UPDATE OF state
    ), held AS (
      SELECT FROM auth_processing_locks JOIN input USING (auth_request_id) WHERE expires_at > clock_timestamp()
    ), moved AS (
      SELECT FROM auth_request_state AS seen JOIN request USING (auth_request_id)
      WHERE seen.last_event_sequence <> request.last_event_sequence
    ), decided AS (
      SELECT * FROM request
      WHERE (closes_attempt OR config_version = ANY (unanswered_versions))
        AND NOT EXISTS (SELECT FROM held) AND NOT EXISTS (SELECT FROM moved)
    ), changed AS (
      UPDATE auth_request_state AS state
      SET ${ATTEMPTS_AFTER}, last_event_sequence = decided.last_event_sequence + 1, last_event_id = event_id
      FROM decided WHERE state.auth_request_id = decided.auth_request_id
      RETURNING state.*
    ), event AS (${appendEvent(input, {
      fields: int64Field(5, 'retry_count'),
      metadata: `jsonb_build_object('status_after', status)`,
    })}
    )
    SELECT changed.auth_request_id IS NOT NULL AS closed,
           coalesce(changed.attempt_open, request.attempt_open) AS attempt_open,
           coalesce(changed.last_event_sequence, request.last_event_sequence) AS last_event_sequence,
           EXISTS (SELECT FROM held) AS held, EXISTS (SELECT FROM moved) AS moved
    FROM request LEFT JOIN changed USING (auth_request_id)`,
});

export async function closeUnanswered(session: Session, input: CloseUnansweredCommand): Promise<ClosedAttempts> {
  const command = screenReport(
    session.dataSource,
    'closeUnanswered',
    validateCommand({ CloseUnansweredCommand }, input),
  );
  const { configVersion, by, reason, correlationId, causationId } = command;
  const authRequestId = command.authRequestId.toLowerCase();
  const row = await session.row(CLOSE_UNANSWERED, {
    auth_request_id: authRequestId,
    restaurant_id: command.restaurantId,
    config_version: configVersion,
    event_id: newId(),
    event: {
      authRequestId,
      errorCode: 'CLOSED_BY_PERSON',
      errorMessage: reason,
      isRetryable: true,
      retryCount: 0,
      nextRetryAt: undefined,
      failedAt: new Date(),
    },
    event_metadata: { correlationId, causationId, closed_version: configVersion, closed_by: by },
  });
  if (!row) throw new AuthRequestNotFoundError(authRequestId);
  if (row.held) throw new LockHeldError(authRequestId);
  if (row.moved) throw new TransactionConflictError('40001');
  return { closed: row.closed, attemptOpen: row.attempt_open, lastEventSequence: row.last_event_sequence };
}
