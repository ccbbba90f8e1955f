import { bytea, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { untilDecided } from '../database/repeat';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, IdempotencyKeyReuseError, NotVoidableError } from '../errors';
import { appendEvent, CHANGED, eventMetadata, eventOf } from '../event-store/append-event';
import { fingerprint } from '../idempotency/fingerprint';
import { readKey } from '../idempotency/read-key';
import { takeKey } from '../idempotency/take-key';
import { messageHeaders, messageOf, queueMessage } from '../outbox/queue-message';
import { int64Field, textField } from '../protobuf/append-fields';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { readStatus } from './read-status';
import { type AuthRequestStatus, isVoidable, SQL } from './statuses';
import { TracedCommand } from './traced-command';

/** A restaurant takes a request back. */
export class VoidCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @Text(1, 255)
  idempotencyKey: string;

  /** Why, in a word or a sentence. */
  @Text(0, 1000)
  reason: string;
}

/**
 * What a void means for the money. `not_required`: nobody had asked the processor (was PENDING). `pending`: an attempt was
 * under way (was PROCESSING) and is settled when it ends. `queued`: the release of an authorization has gone out.
 */
export type VoidOutcome = 'not_required' | 'pending' | 'queued';

/** What {@link VoidCommand} comes to. */
export interface VoidReceipt {
  readonly authRequestId: string;
  /** VOIDED; a replay tells the current status. */
  readonly status: AuthRequestStatus;
  readonly outcome: VoidOutcome;
  /** The key was used before, for the same void: nothing was written. */
  readonly replayed: boolean;
}

/**
 * FOR UPDATE waits for a worker's write and then gives the row as that has left it; from there on nobody else can change
 * it. The key is written only where the status allows a void, so that a refused void burns none; the row only where the
 * key was written, so that a replay changes nothing. The message names the authorization that the row names.
 */
const REQUEST_VOID = operation({
  name: 'request_void',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    idempotency_key: text,
    request_fingerprint: bytea,
    event_id: uuid,
    event: eventOf('AuthVoidRequested'),
    event_metadata: eventMetadata,
    message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ outcome: VoidOutcome }>(),
  sql: (input) => `
    WITH prior AS (
      SELECT auth_request_id, restaurant_id, status, processor_name, processor_auth_id, authorized_amount_cents, currency
      FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
      FOR UPDATE OF state
    ), key AS (${takeKey(`
      SELECT idempotency_key, restaurant_id, auth_request_id, 'void',
             CASE status WHEN 'PENDING' THEN 'not_required' WHEN 'PROCESSING' THEN 'pending' ELSE 'queued' END,
             request_fingerprint
      FROM prior JOIN input USING (auth_request_id, restaurant_id) WHERE status IN (${SQL.voidable})`)}
      RETURNING outcome
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = 'VOIDED', completed_at = coalesce(state.completed_at, now()),
          last_event_sequence = state.last_event_sequence + 1, last_event_id = event_id
      FROM prior, key, input
      WHERE state.auth_request_id = prior.auth_request_id
      RETURNING prior.*, state.last_event_sequence, key.outcome
    ), event AS (${appendEvent(input, { id: 'event_id' })}
    ), message AS (${queueMessage(input, {
      from: `${CHANGED} WHERE outcome = 'queued'`,
      fields: [
        textField(5, 'processor_name'),
        textField(6, 'processor_auth_id'),
        int64Field(7, 'authorized_amount_cents'),
        textField(8, 'currency'),
      ].join(' || '),
    })}
    )
    SELECT outcome FROM changed`,
});

export async function requestVoid(session: Session, input: VoidCommand): Promise<VoidReceipt> {
  const command = validateCommand(VoidCommand, input);
  const { idempotencyKey, reason, correlationId, causationId } = command;
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const requestedAt = new Date();
  const requestFingerprint = fingerprint('void', restaurantId, authRequestId, reason);
  const voiding = {
    auth_request_id: authRequestId,
    restaurant_id: restaurantId,
    idempotency_key: idempotencyKey,
    request_fingerprint: requestFingerprint,
    event_id: newId(),
    event: { authRequestId, reason, requestedAt },
    event_metadata: { correlationId, causationId, idempotency_key: idempotencyKey },
    // The statement completes the message: the row says which authorization it is.
    message: {
      ...{ authRequestId, restaurantId, reason, createdAt: requestedAt },
      ...{ processorName: '', processorAuthId: '', amountCents: 0, currency: '' },
    },
    headers: command.headers,
  };
  // Neither written nor explained: key or status has changed in between.
  return await untilDecided(async () => {
    const written = await session.row(REQUEST_VOID, voiding);
    if (written) return { authRequestId, status: 'VOIDED', outcome: written.outcome, replayed: false };
    const key = await readKey(session, { idempotencyKey, restaurantId });
    if (key) {
      if (!key.stoodFor('void', requestFingerprint)) throw new IdempotencyKeyReuseError(key.authRequestId);
      const status = (key.status ?? 'VOIDED') as AuthRequestStatus;
      return { authRequestId, status, outcome: key.outcome as VoidOutcome, replayed: true };
    }
    const status = await readStatus(session, { authRequestId, restaurantId });
    if (!status) throw new AuthRequestNotFoundError(authRequestId);
    if (!isVoidable(status)) throw new NotVoidableError(authRequestId, status);
    return undefined;
  });
}
