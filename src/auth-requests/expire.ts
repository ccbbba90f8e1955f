import { uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, AuthRequestStatusError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { readStatus } from './read-status';
import { SQL } from './statuses';
import { TracedCommand } from './traced-command';

/** Nobody waits for the answer any more. */
export class ExpireCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @Text(0, 1000)
  reason: string;
}

/**
 * The UPDATE's own WHERE decides, also after waiting for a worker's write: a request settled by it stays. Nothing follows
 * EXPIRED, so that one which is so already is what a repeat has to find.
 */
const EXPIRE = operation({
  name: 'expire',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    event_id: uuid,
    event: eventOf('AuthRequestExpired'),
    event_metadata: eventMetadata,
  },
  output: rowsOf<{ auth_request_id: string }>(),
  sql: (input) => `
    WITH changed AS (
      UPDATE auth_request_state AS state
      SET status = 'EXPIRED', completed_at = coalesce(completed_at, now()),
          last_event_sequence = last_event_sequence + 1, last_event_id = event_id
      FROM input
      WHERE state.auth_request_id = input.auth_request_id AND state.restaurant_id = input.restaurant_id
        AND status IN (${SQL.open})
      RETURNING state.*
    ), event AS (${appendEvent(input)}
    )
    SELECT auth_request_id FROM changed`,
});

export async function expire(session: Session, input: ExpireCommand): Promise<void> {
  const command = validateCommand(ExpireCommand, input);
  const { reason, correlationId, causationId } = command;
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const expired = await session.row(EXPIRE, {
    auth_request_id: authRequestId,
    restaurant_id: restaurantId,
    event_id: newId(),
    event: { authRequestId, expiredAt: new Date(), reason },
    event_metadata: { correlationId, causationId },
  });
  if (expired) return;
  const status = await readStatus(session, { authRequestId, restaurantId });
  if (!status) throw new AuthRequestNotFoundError(authRequestId);
  if (status === 'EXPIRED') return;
  throw new AuthRequestStatusError(authRequestId, status, 'expire');
}
