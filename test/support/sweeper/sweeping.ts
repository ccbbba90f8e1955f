import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { encodeEvent } from '../../../src/event-store/event-codec';
import { decodeOutboxMessage, type OutboxMessageBody } from '../../../src/outbox/message-codec';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { anAuthorizeCommand, RESTAURANT } from '../requests/auth-requests';
import { type DatabaseOfFile } from '../database/use-test-database';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

/** Moves every time that the sweeper looks at back, but for leases: so much later it is now. As the owner. */
export async function letPass(database: DatabaseOfFile, milliseconds: number): Promise<void> {
  const back = (columns: string) =>
    columns
      .split(', ')
      .map((column) => `${column} = ${column} - interval '${milliseconds} milliseconds'`)
      .join(', ');
  await database.query(
    `BEGIN;
     ALTER TABLE auth_request_state DISABLE TRIGGER guard_auth_request_state;
     ALTER TABLE auth_holds DISABLE TRIGGER guard_auth_holds;
     UPDATE auth_request_state SET ${back('created_at, updated_at, unanswered_since, swept_at, completed_at')};
     UPDATE auth_holds SET ${back('state_since, swept_at, next_void_at, hold_expires_at')};
     UPDATE outbox SET ${back('created_at, next_attempt_at, processed_at, failed_at')};
     UPDATE auth_idempotency_keys SET ${back('created_at, expires_at')};
     ALTER TABLE auth_request_state ENABLE ALWAYS TRIGGER guard_auth_request_state;
     ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds;
     COMMIT`,
  );
}

/** Everything in the outbox has gone out, and its worker is gone. */
export const deliverAll = (database: DatabaseOfFile) =>
  database.query('UPDATE outbox SET processed_at = now(), next_attempt_at = NULL WHERE processed_at IS NULL');

/** A request whose message has gone out and was lost, as old as told. */
export async function aLostRequest(dataSource: DataSource): Promise<string> {
  const { authRequestId } = await new AuthRequests(dataSource).authorize(anAuthorizeCommand());
  await dataSource.query('UPDATE outbox SET processed_at = now() WHERE aggregate_id = $1', [authRequestId]);
  return authRequestId;
}

/** A request with an attempt that nobody has answered, voided meanwhile; its worker is gone. */
export async function anUnsettledRequest(dataSource: DataSource): Promise<string> {
  const authRequestId = await aLostRequest(dataSource);
  const [requests, locks] = [new AuthRequests(dataSource), new ProcessingLocks(dataSource)];
  const lease = (await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: MINUTE })) as Lease;
  await requests.startAttempt(lease, { configVersion: 'v1' });
  await locks.release(lease);
  await requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: 'gone' });
  return authRequestId;
}

/** A hold of an expired request that the processor has told of, to be voided; its message has gone out and was lost. */
export interface LostHold {
  readonly authRequestId: string;
  readonly processorName: string;
  readonly processorAuthId: string;
}

interface HoldChanges {
  readonly authRequestId?: string;
  readonly state?: 'voiding' | 'held';
  readonly processorName?: string;
}

/** With SQL, as the owner: what a webhook of an authorization writes that nobody needs. */
export async function aLostHold(dataSource: DataSource, changes: HoldChanges = {}): Promise<LostHold> {
  const { state = 'voiding', processorName = 'stripe' } = changes;
  const authRequestId = changes.authRequestId ?? (await aLostRequest(dataSource));
  const isNeeded = state === 'held';
  if (!changes.authRequestId && !isNeeded) {
    await new AuthRequests(dataSource).expire({ restaurantId: RESTAURANT, authRequestId, reason: 'gone' });
  }
  const processorAuthId = `pi_${uuidv4()}`;
  const at = new Date();
  const event = encodeEvent({
    type: 'AuthHoldReported',
    data: {
      ...{ authRequestId, processorName, processorAuthId, amountCents: 1050, currency: 'USD', authorizedAt: at },
      ...{ holdExpiresAt: undefined, source: 'stripe', sourceEventId: `evt_${uuidv4()}`, reportedAt: at },
    },
  });
  await dataSource.query(
    `WITH request AS (
       UPDATE auth_request_state SET last_event_sequence = last_event_sequence + 1, last_event_id = gen_random_uuid()
       WHERE auth_request_id = $1 RETURNING *
     ), event AS (
       INSERT INTO payment_events
         (aggregate_id, aggregate_type, restaurant_id, event_type, event_id, sequence_number, event_data, metadata)
       SELECT auth_request_id, 'auth_request', restaurant_id, 'AuthHoldReported', last_event_id, last_event_sequence, $5,
              jsonb_build_object('hold_state', $2::text, 'hold_needed', $3::boolean)
       FROM request
     )
     INSERT INTO auth_holds
       (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at, state,
        is_needed, is_answered, first_event_sequence, last_event_sequence)
     SELECT auth_request_id, restaurant_id, $4, $6, 1050, 'USD', date_trunc('second', $7::timestamptz), $2, $3, false,
            last_event_sequence, last_event_sequence
     FROM request`,
    [authRequestId, state, isNeeded, processorName, Buffer.from(event), processorAuthId, at],
  );
  return { authRequestId, processorName, processorAuthId };
}

/** What waits in the outbox, in its order. */
export async function queued(database: DatabaseOfFile): Promise<OutboxMessageBody[]> {
  const rows = await database.query<{ message_type: string; payload: Buffer }>(
    'SELECT message_type, payload FROM outbox WHERE processed_at IS NULL ORDER BY id',
  );
  return rows.map(({ message_type, payload }) => decodeOutboxMessage(message_type, payload));
}

/** The ids of the requests that messages wait for, each as often as it has one. */
export const queuedIds = async (database: DatabaseOfFile): Promise<string[]> =>
  (await queued(database)).map(({ data }) => data.authRequestId).toSorted();

/** An empty database. */
export const forgetAll = (database: DatabaseOfFile) =>
  database.query(
    `DELETE FROM auth_holds; DELETE FROM auth_request_state; DELETE FROM outbox; DELETE FROM auth_idempotency_keys;
     DELETE FROM auth_processing_locks`,
  );
