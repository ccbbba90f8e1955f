import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, AuthRequestStatusError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { messageHeaders, messageOf } from '../outbox/queue-message';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { IS_OUTDATED, queueVoids, TO_BE_VOIDED, unneededHolds, unneededIn, voidMessage } from './holds/write-holds';
import { readStatus } from './read-status';
import { SQL } from './statuses';
import { TracedCommand } from './traced-command';

/** Nobody waits for the answer any more. */
export class ExpireCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @FreeText()
  @Text(0, 1000)
  reason: string;
}

/**
 * FOR UPDATE waits for a worker's write and then gives the row as that has left it: a request settled by it stays. Nothing follows
 * EXPIRED, so that one which is so already is what a repeat has to find. What the processor has told of by itself is voided.
 */
const EXPIRE = operation({
  name: 'expire',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    event_id: uuid,
    event: eventOf('AuthRequestExpired'),
    event_metadata: eventMetadata,
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ is_outdated: boolean }>(),
  sql: (input) => `
    WITH request AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated
      FROM (
        SELECT state.* FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
        FOR UPDATE OF state
      ) AS state
      WHERE status IN (${SQL.open})
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = 'EXPIRED', completed_at = coalesce(state.completed_at, now()),
          last_event_sequence = state.last_event_sequence + 1, last_event_id = event_id
      FROM request CROSS JOIN input
      WHERE state.auth_request_id = request.auth_request_id AND NOT is_outdated
      RETURNING state.*
    ), unneeded AS (${unneededHolds()}
    ), event AS (${appendEvent(input, { metadata: `jsonb_strip_nulls(jsonb_build_object(${unneededIn()}))` })}
    ), message AS (${queueVoids(input, { holds: TO_BE_VOIDED })}
    )
    SELECT is_outdated FROM request`,
});

export async function expire(session: Session, input: ExpireCommand): Promise<void> {
  const command = screenReport(session.dataSource, 'expire', validateCommand({ ExpireCommand }, input));
  const { reason, correlationId, causationId } = command;
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const expired = await session.newest(EXPIRE, {
    auth_request_id: authRequestId,
    restaurant_id: restaurantId,
    event_id: newId(),
    event: { authRequestId, expiredAt: new Date(), reason },
    event_metadata: { correlationId, causationId },
    void_message: voidMessage(authRequestId, restaurantId, 'expired'),
    headers: command.headers,
  });
  if (expired) return;
  const status = await readStatus(session, { authRequestId, restaurantId });
  if (!status) throw new AuthRequestNotFoundError(authRequestId);
  if (status === 'EXPIRED') return;
  throw new AuthRequestStatusError(authRequestId, status, 'expire');
}
