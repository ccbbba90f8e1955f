import { FreeText } from '../../card-numbers/free-fields';
import { screenReport } from '../../card-numbers/screen';
import { text, uuid } from '../../database/columns';
import { newId } from '../../database/new-id';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { HoldNotFoundError, HoldStateError } from '../../errors';
import { appendEvent, eventMetadata, eventOf } from '../../event-store/append-event';
import { messageHeaders, messageOf } from '../../outbox/queue-message';
import { Text } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { HoldCommand } from './hold-command';
import { type HoldState } from './states';
import { IS_OUTDATED, isMeant, queueVoids, voidMessage } from './write-holds';

/** A person has a hold voided: one whose void has failed, or one that was too old to be voided by itself. */
export class RequeueVoidCommand extends HoldCommand {
  /** Who says so: a name of your staff's system. It stays in the event for good, so nothing personal. */
  @FreeText()
  @Text(1, 255)
  by: string;

  /** What has changed since, such as `the account is open again`. */
  @FreeText()
  @Text(1, 1000)
  reason: string;
}

/** What asking for a void came to. */
export interface RequeuedVoid {
  /** A message went out. False where the hold is being voided already: nothing was written, as by a repeat. */
  readonly queued: boolean;
}

/** Not of a hold that its request may use: that is `requestVoid`. Nor of one that has ended, or that a person has seen to. */
const REQUEUE_VOID = operation({
  name: 'requeue_void',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    hold_name: text,
    hold_id: text,
    event_id: uuid,
    event: eventOf('AuthVoidRequeued'),
    event_metadata: eventMetadata,
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ state_before: HoldState; queued: boolean; is_needed: boolean; is_outdated: boolean }>(),
  sql: (input) => `
    WITH request AS (
      SELECT auth_request_id, restaurant_id, last_event_sequence
      FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
      FOR UPDATE OF state
    ), seen AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated FROM request
    ), before AS (
      SELECT seen.auth_request_id, seen.last_event_sequence, is_outdated, hold.state AS state_before, hold.is_needed,
             hold.state IN ('held', 'void_failed') AND NOT hold.is_needed AND NOT is_outdated AS is_sent
      FROM seen CROSS JOIN input
      JOIN auth_holds AS hold
        ON ${isMeant('seen')}
    ), changed AS (
      UPDATE auth_request_state AS state
      SET last_event_sequence = before.last_event_sequence + 1, last_event_id = event_id
      FROM before CROSS JOIN input
      WHERE state.auth_request_id = before.auth_request_id AND is_sent
      RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence
    ), hold AS (
      UPDATE auth_holds AS hold
      SET state = 'voiding', void_failures = 0, last_void_error = NULL, next_void_at = NULL, sweeps = 0, swept_at = NULL,
          last_event_sequence = changed.last_event_sequence
      FROM changed JOIN input USING (auth_request_id, restaurant_id)
      WHERE ${isMeant('changed')}
      RETURNING hold.*
    ), event AS (${appendEvent(input, { id: 'event_id', metadata: `jsonb_build_object('hold_state', 'voiding')` })}
    ), message AS (${queueVoids(input, { holds: 'hold' })}
    )
    SELECT state_before, is_sent AS queued, is_needed, is_outdated FROM before
    UNION ALL SELECT NULL, false, false, true FROM seen WHERE is_outdated AND NOT EXISTS (SELECT FROM before)`,
});

export async function requeueVoid(session: Session, input: RequeueVoidCommand): Promise<RequeuedVoid> {
  const command = screenReport(session.dataSource, 'requeueVoid', validateCommand({ RequeueVoidCommand }, input));
  const { processorName, processorAuthId, by, reason, correlationId, causationId, headers } = command;
  const authRequestId = command.authRequestId.toLowerCase();
  const restaurantId = command.restaurantId.toLowerCase();
  const row = await session.newest(REQUEUE_VOID, {
    ...{ auth_request_id: authRequestId, restaurant_id: restaurantId },
    ...{ hold_name: processorName, hold_id: processorAuthId, event_id: newId() },
    event: { authRequestId, processorName, processorAuthId, by, reason, requeuedAt: new Date() },
    event_metadata: { correlationId, causationId },
    void_message: voidMessage(authRequestId, restaurantId, reason),
    headers,
  });
  if (!row) throw new HoldNotFoundError(processorName, processorAuthId);
  if (row.queued || row.state_before === 'voiding') return { queued: row.queued };
  throw new HoldStateError(authRequestId, processorAuthId, row.is_needed ? 'in use' : row.state_before, 'requeueVoid');
}
