import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type HoldReason } from '../../../src/auth-requests/holds/standing';
import { type HoldState } from '../../../src/auth-requests/holds/states';
import { EventStore, type NewEvent } from '../../../src/event-store/event-store';
import { type EventMetadata } from '../../../src/event-store/event-metadata';
import { ProcessingLocks } from '../../../src/locks/processing-locks';
import { ReadModel } from '../../../src/read-model/read-model';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from './auth-requests';

interface Given {
  readonly restaurantId?: string;
  readonly processorAuthId?: string;
  readonly amountCents?: number;
  readonly currency?: string;
  /** SQL: columns of the hold that no operation could set now, such as `state_since = now() - interval '2 hours'`. */
  readonly set?: string;
}

/** A hold, as tests speak of it. */
export interface MadeHold {
  readonly authRequestId: string;
  readonly restaurantId: string;
  readonly processorName: string;
  readonly processorAuthId: string;
}

/**
 * A request with one hold that is on the list for this reason: its events as the operations and legacy services write
 * them, its row as they say. Nobody has a lease on it. For the owner of the tables.
 */
export async function aHold(dataSource: DataSource, because: HoldReason, given: Given = {}): Promise<MadeHold> {
  const { restaurantId = RESTAURANT, amountCents = 1050, currency = 'USD', set } = given;
  const { processorAuthId = `pi_${uuidv4()}` } = given;
  const requests = new AuthRequests(dataSource);
  const locks = new ProcessingLocks(dataSource);
  const { authRequestId } = await requests.authorize(anAuthorizeCommand({ restaurantId, amountCents, currency }));
  const ref = { restaurantId, authRequestId };
  const hold = { ...ref, processorName: 'stripe', processorAuthId };
  const isVoided = because !== 'needed';
  const aVoid = { ...ref, reason: 'guest left', idempotencyKey: uuidv4() };
  if (because === 'never_voided') {
    await requests.requestVoid(aVoid);
    await append(dataSource, hold, legacyAnswer(hold, amountCents, currency));
    await new ReadModel(dataSource).rebuild(authRequestId);
  } else {
    const lease = (await locks.acquire({ ...ref, workerId: 'w1', ttlMs: 60_000 }))!;
    await requests.startAttempt(lease, { configVersion: 'v1' });
    const answer = anAuthorization({ processorAuthId, authorizedAmountCents: amountCents, currency });
    await requests.recordAuthorized(lease, answer);
    await locks.release(lease);
    if (isVoided) await requests.requestVoid(aVoid);
    if (because === 'void_failed') await append(dataSource, hold, ...voidFailed(hold));
    if (because === 'captured_unneeded') await append(dataSource, hold, ...captured(hold, amountCents, currency));
    await insertRow(dataSource, { ...hold, amountCents, currency, state: STATES[because], isNeeded: !isVoided });
  }
  if (set !== undefined) await setUnguarded(dataSource, hold, set);
  return hold;
}

const STATES: Record<HoldReason, HoldState> = {
  needed: 'held',
  voiding: 'voiding',
  void_failed: 'void_failed',
  captured_unneeded: 'captured',
  never_voided: 'held',
};

/** As a legacy worker would: an authorization that came after the void, and says nothing of a hold. */
const legacyAnswer = ({ authRequestId, processorName, processorAuthId }: MadeHold, cents: number, currency: string) => {
  const result = {
    ...{ processorAuthId, processorName, currency, authorizedAmountCents: cents, authorizationCode: 'A1' },
    ...{ authorizedAt: new Date(), denialCode: '', denialReason: '', processorMetadata: {} },
  };
  return {
    type: 'AuthResponseReceived',
    data: {
      authRequestId,
      status: 'AUTHORIZED',
      result: { ...result, holdExpiresAt: undefined },
      receivedAt: new Date(),
    },
  } as NewEvent;
};

const voidFailed = ({ authRequestId, processorName, processorAuthId }: MadeHold) =>
  [
    {
      type: 'AuthVoidFailed',
      data: {
        ...{ authRequestId, processorName, processorAuthId, errorCode: 'no_such_charge', errorMessage: 'unknown' },
        ...{ isRetryable: false, failureCount: 1, nextAttemptAt: undefined, failedAt: new Date() },
      },
    } as NewEvent,
    { hold_state: 'void_failed', worker_id: 'w1' },
  ] as const;

const captured = ({ authRequestId, processorName, processorAuthId }: MadeHold, amountCents: number, currency: string) =>
  [
    {
      type: 'AuthHoldEnded',
      data: {
        ...{ authRequestId, processorName, processorAuthId, end: 'CAPTURED', amountCents, currency, source: 'stripe' },
        ...{ sourceEventId: `evt_${processorAuthId}`, endedAt: new Date(), reportedAt: new Date(), reason: '' },
      },
    } as NewEvent,
    { hold_state: 'captured', hold_needed: false },
  ] as const;

/** Appends an event, and says so in the row of the request. */
async function append(dataSource: DataSource, hold: MadeHold, event: NewEvent, metadata: EventMetadata = {}) {
  const stream = { authRequestId: hold.authRequestId, restaurantId: hold.restaurantId };
  const store = new EventStore(dataSource);
  const { length } = await store.readStream(stream);
  const [{ eventId } = { eventId: '' }] = await store.append(stream, length, [event], { metadata });
  await dataSource.query(
    'UPDATE auth_request_state SET last_event_sequence = $2, last_event_id = $3 WHERE auth_request_id = $1',
    [hold.authRequestId, length + 1, eventId],
  );
}

const MAKE_ROW = `
  INSERT INTO auth_holds (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency,
    config_version, authorized_at, state, is_needed, is_answered, ended_amount_cents, ended_by, void_failures, last_void_error,
    first_event_sequence, last_event_sequence)
  SELECT $1::uuid, $2::uuid, $3::text, $4::text, $5::bigint, $6::text, 'v1', min(created_at), $7::text, $8::boolean, true,
    CASE WHEN $7 = 'captured' THEN $5 END, CASE WHEN $7 = 'captured' THEN 'stripe' END,
    CASE WHEN $7 = 'void_failed' THEN 1 ELSE 0 END, CASE WHEN $7 = 'void_failed' THEN 'no_such_charge' END,
    min(sequence_number), (SELECT max(sequence_number) FROM payment_events WHERE aggregate_id = $1)
  FROM payment_events WHERE aggregate_id = $1 AND event_type = 'AuthResponseReceived'`;

async function insertRow(
  dataSource: DataSource,
  hold: MadeHold & { amountCents: number; currency: string; state: HoldState; isNeeded: boolean },
) {
  await dataSource.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [hold.authRequestId]);
  await dataSource.query(MAKE_ROW, [
    ...[hold.authRequestId, hold.restaurantId, hold.processorName, hold.processorAuthId],
    ...[hold.amountCents, hold.currency, hold.state, hold.isNeeded],
  ]);
}

/** As somebody with a psql and the owner's password would. */
export const setUnguarded = (dataSource: DataSource, { authRequestId }: MadeHold, set: string): Promise<unknown> =>
  dataSource.query(
    `BEGIN; ALTER TABLE auth_holds DISABLE TRIGGER guard_auth_holds;
     UPDATE auth_holds SET ${set} WHERE auth_request_id = '${authRequestId}';
     ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds; COMMIT`,
  );
