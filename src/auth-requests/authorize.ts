import { type DataSource, type EntityManager } from 'typeorm';
import { write } from '../database/run';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { IdempotencyKeyReuseError, TransactionConflictError } from '../errors';
import { encodeEvent } from '../event-store/event-codec';
import { encodeOutboxMessage } from '../outbox/message-codec';
import { fingerprint } from '../idempotency/fingerprint';
import { readKey } from '../idempotency/read-key';
import { newId } from '../database/new-id';
import { withTraceContext } from '../outbox/trace-context';
import { validateCommand } from '../validation/validate-command';
import { AuthorizeCommand } from './commands';
import { toColumn } from '../event-store/event-metadata';

/** What {@link AuthorizeCommand} comes to. */
export interface AuthorizeReceipt {
  readonly authRequestId: string;
  /** PENDING when new, else the current one; null for a replayed legacy key whose request has no row in the read model. */
  readonly status: AuthRequestStatus | null;
  /** The key was used before, for the same request: nothing was written. */
  readonly replayed: boolean;
}

/**
 * Key first; the rest selects from it, so that either all of it is written or nothing. An unexpired key gives no row.
 * Two at once with one key: the second waits at the unique index for the first one's end. After a commit it meets that
 * row in ON CONFLICT, whose WHERE reads its newest version; after a rollback it inserts. An expired key is taken over by
 * one of many for the same reason: the others see the winner's expires_at.
 */
export const AUTHORIZE = statement(
  'authorize',
  `WITH key AS (
     INSERT INTO auth_idempotency_keys AS existing
       (idempotency_key, restaurant_id, auth_request_id, operation, request_fingerprint)
     VALUES ($1, $2, $3, 'authorize', $4)
     ON CONFLICT (idempotency_key, restaurant_id) DO UPDATE
       SET auth_request_id = excluded.auth_request_id, operation = excluded.operation, outcome = NULL,
           request_fingerprint = excluded.request_fingerprint,
           created_at = excluded.created_at, expires_at = excluded.expires_at
       WHERE existing.expires_at <= now()
     RETURNING auth_request_id, restaurant_id
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $5::uuid, auth_request_id, 'auth_request', 'AuthRequestCreated', $6::bytea, $7::jsonb, 1, restaurant_id FROM key
   ), state AS (
     INSERT INTO auth_request_state
       (auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, metadata,
        last_event_sequence, last_event_id)
     SELECT auth_request_id, restaurant_id, $8, 'PENDING', $9::bigint, $10, now(), $11::jsonb, 1, $5::uuid FROM key
   )
   INSERT INTO outbox (aggregate_id, restaurant_id, message_type, payload, headers)
   SELECT auth_request_id, restaurant_id, 'auth_request_queued', $12::bytea, $13::jsonb FROM key`,
);

export async function authorize(
  dataSource: DataSource,
  input: AuthorizeCommand,
  manager?: EntityManager,
): Promise<AuthorizeReceipt> {
  const command = validateCommand(AuthorizeCommand, input);
  const restaurantId = command.restaurantId.toLowerCase();
  const { paymentToken, amountCents, currency, idempotencyKey, metadata = {}, correlationId, causationId } = command;
  const authRequestId = newId();
  const createdAt = new Date();
  const requestFingerprint = fingerprint('authorize', restaurantId, paymentToken, amountCents, currency, metadata);
  const values = [
    idempotencyKey,
    restaurantId,
    authRequestId,
    requestFingerprint,
    newId(),
    encodeEvent({
      type: 'AuthRequestCreated',
      data: {
        authRequestId,
        paymentToken,
        restaurantId,
        amountCents,
        currency,
        metadata: asTexts(metadata),
        createdAt,
      },
    }),
    toColumn({ correlationId, causationId, idempotency_key: idempotencyKey }),
    paymentToken,
    amountCents,
    currency,
    JSON.stringify(metadata),
    encodeOutboxMessage({ type: 'auth_request_queued', data: { authRequestId, restaurantId, createdAt } }),
    JSON.stringify(withTraceContext(command.headers)),
  ];
  // A key that could be neither written nor read has been rolled back or purged in between: then it can be written.
  for (let attempt = 1; attempt <= 3; attempt++) {
    const written = await write(dataSource, AUTHORIZE, values, manager);
    if (written === 1) return { authRequestId, status: 'PENDING', replayed: false };
    const key = await readKey(dataSource, { idempotencyKey, restaurantId }, manager);
    if (!key) continue;
    if (!key.stoodFor('authorize', requestFingerprint)) throw new IdempotencyKeyReuseError(key.authRequestId);
    return { authRequestId: key.authRequestId, status: key.status, replayed: true };
  }
  throw new TransactionConflictError('40001');
}

/** Events carry metadata as text: a string as it is, anything else as JSON. */
function asTexts(metadata: Record<string, unknown>): Record<string, string> {
  const entries = Object.entries(metadata);
  if (entries.every(([, value]) => typeof value === 'string')) return metadata as Record<string, string>;
  return Object.fromEntries(
    entries.map(([key, value]) => [key, typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null')]),
  );
}
