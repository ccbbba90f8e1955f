import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import {
  AuthRequestNotFoundError,
  IdempotencyKeyReuseError,
  NotVoidableError,
  TransactionConflictError,
} from '../errors';
import { int64Field, textField } from '../protobuf/append-fields';
import { encodeEvent } from '../event-store/event-codec';
import { encodeOutboxMessage } from '../outbox/message-codec';
import { fingerprint } from '../idempotency/fingerprint';
import { readKey } from '../idempotency/read-key';
import { newId } from '../database/new-id';
import { withTraceContext } from '../outbox/trace-context';
import { validateCommand } from '../validation/validate-command';
import { VoidCommand, origin } from './commands';
import { toColumn } from '../event-store/event-metadata';
import { readStatus } from './read-status';

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
const REQUEST_VOID = statement(
  'request_void',
  `WITH prior AS (
     SELECT auth_request_id, restaurant_id, status, processor_name, processor_auth_id, authorized_amount_cents, currency
     FROM auth_request_state
     WHERE auth_request_id = $1 AND restaurant_id = $2
     FOR UPDATE
   ), key AS (
     INSERT INTO auth_idempotency_keys AS existing
       (idempotency_key, restaurant_id, auth_request_id, operation, outcome, request_fingerprint)
     SELECT $3, restaurant_id, auth_request_id, 'void',
            CASE status WHEN 'PENDING' THEN 'not_required' WHEN 'PROCESSING' THEN 'pending' ELSE 'queued' END, $4::bytea
     FROM prior WHERE status IN ('PENDING', 'PROCESSING', 'AUTHORIZED')
     ON CONFLICT (idempotency_key, restaurant_id) DO UPDATE
       SET auth_request_id = excluded.auth_request_id, operation = excluded.operation, outcome = excluded.outcome,
           request_fingerprint = excluded.request_fingerprint,
           created_at = excluded.created_at, expires_at = excluded.expires_at
       WHERE existing.expires_at <= now()
     RETURNING outcome
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = 'VOIDED', completed_at = coalesce(state.completed_at, now()),
         last_event_sequence = state.last_event_sequence + 1, last_event_id = $5
     FROM prior, key
     WHERE state.auth_request_id = prior.auth_request_id
     RETURNING state.auth_request_id, state.restaurant_id, state.last_event_sequence, key.outcome, prior.processor_name,
               prior.processor_auth_id, prior.authorized_amount_cents, prior.currency
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5, auth_request_id, 'auth_request', 'AuthVoidRequested', $6::bytea, $7::jsonb, last_event_sequence, restaurant_id
     FROM changed
   ), message AS (
     INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, headers)
     SELECT auth_request_id, restaurant_id, 'void_request_queued',
            $8::bytea || ${textField(5, 'processor_name')} || ${textField(6, 'processor_auth_id')}
              || ${int64Field(7, 'authorized_amount_cents')} || ${textField(8, 'currency')}, $9::jsonb
     FROM changed WHERE outcome = 'queued'
   )
   SELECT outcome FROM changed`,
);

const VOIDABLE: AuthRequestStatus[] = ['PENDING', 'PROCESSING', 'AUTHORIZED'];

export async function requestVoid(
  dataSource: DataSource,
  input: VoidCommand,
  manager?: EntityManager,
): Promise<VoidReceipt> {
  const command = validateCommand(VoidCommand, input);
  const { idempotencyKey, reason } = command;
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const requestedAt = new Date();
  const requestFingerprint = fingerprint('void', restaurantId, authRequestId, reason);
  const values = [
    authRequestId,
    restaurantId,
    idempotencyKey,
    requestFingerprint,
    newId(),
    encodeEvent({ type: 'AuthVoidRequested', data: { authRequestId, reason, requestedAt } }),
    toColumn({ ...origin(command), idempotency_key: idempotencyKey }),
    // The statement completes the message: the row says which authorization it is.
    encodeOutboxMessage({
      type: 'void_request_queued',
      data: {
        ...{ authRequestId, restaurantId, reason, createdAt: requestedAt },
        ...{ processorName: '', processorAuthId: '', amountCents: 0, currency: '' },
      },
    }),
    JSON.stringify(withTraceContext(command.headers)),
  ];
  // Neither written nor explained: key or status has changed in between, so it can be tried again.
  for (let attempt = 1; attempt <= 3; attempt++) {
    const [written] = await run<{ outcome: VoidOutcome }>(dataSource, REQUEST_VOID, values, manager);
    if (written) return { authRequestId, status: 'VOIDED', outcome: written.outcome, replayed: false };
    const key = await readKey(dataSource, { idempotencyKey, restaurantId }, manager);
    if (key) {
      if (!key.stoodFor('void', requestFingerprint)) throw new IdempotencyKeyReuseError(key.authRequestId);
      return { authRequestId, status: key.status ?? 'VOIDED', outcome: key.outcome as VoidOutcome, replayed: true };
    }
    const status = await readStatus(dataSource, { authRequestId, restaurantId }, manager);
    if (!status) throw new AuthRequestNotFoundError(authRequestId);
    if (!VOIDABLE.includes(status)) throw new NotVoidableError(authRequestId, status);
  }
  throw new TransactionConflictError('40001');
}
