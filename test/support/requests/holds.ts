import { type DataSource } from 'typeorm';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { type HoldReason } from '../../../src/auth-requests/holds/standing';
import { type RequestRef } from '../../../src/auth-requests/queries';
import { EventStore, type NewEvent } from '../../../src/event-store/event-store';
import { ReadModel } from '../../../src/read-model/read-model';
import { holdIn, requestIn, type RequestOptions, type TestRequest } from '../../../src/testing';
import { RESTAURANT } from './auth-requests';

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
 * A request with one hold that is on the list for this reason: by the operations that bring one there, but for what legacy
 * services alone have left. Nobody has a lease on it. For the owner of the tables.
 */
export async function aHold(dataSource: DataSource, because: HoldReason, given: Given = {}): Promise<MadeHold> {
  const { set, ...options } = { restaurantId: RESTAURANT, ...given };
  const { authRequestId, restaurantId, processorName, processorAuthId } = await WAYS[because](dataSource, options);
  const hold = { authRequestId, restaurantId, processorName, processorAuthId };
  if (set !== undefined) await setUnguarded(dataSource, hold, set);
  return hold;
}

const WAYS: Record<HoldReason, (dataSource: DataSource, options: RequestOptions) => Promise<TestRequest>> = {
  needed: (dataSource, options) => holdIn(dataSource, 'held', options),
  voiding: (dataSource, options) => holdIn(dataSource, 'voiding', options),
  void_failed: (dataSource, options) => holdIn(dataSource, 'void_failed', options),
  captured_unneeded: async (dataSource, options) => {
    const hold = await holdIn(dataSource, 'voiding', options);
    const { processorName, processorAuthId, amountCents, currency } = hold;
    const report = { processorName, processorAuthId, amountCents, currency, told: 'captured' as const };
    await new Holds(dataSource).report({ ...report, source: 'stripe', sourceEventId: `evt_${processorAuthId}` });
    return hold;
  },
  never_voided: async (dataSource, options) => {
    const request = await requestIn(dataSource, 'VOIDED', options);
    await append(dataSource, request, legacyAnswer(request));
    await new ReadModel(dataSource).rebuild(request.authRequestId);
    return request;
  },
};

/** As a legacy worker would: an authorization that came after the void, and says nothing of a hold. */
const legacyAnswer = ({ authRequestId, processorName, processorAuthId, amountCents, currency }: TestRequest) => {
  const result = {
    ...{ processorAuthId, processorName, currency, authorizedAmountCents: amountCents, authorizationCode: 'A1' },
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

/** Appends an event, and says so in the row of the request. */
async function append(dataSource: DataSource, { authRequestId, restaurantId }: RequestRef, event: NewEvent) {
  const stream = { authRequestId, restaurantId };
  const store = new EventStore(dataSource);
  const { length } = await store.readStream(stream);
  const [{ eventId } = { eventId: '' }] = await store.append(stream, length, [event]);
  await dataSource.query(
    'UPDATE auth_request_state SET last_event_sequence = $2, last_event_id = $3 WHERE auth_request_id = $1',
    [authRequestId, length + 1, eventId],
  );
}

/** As somebody with a psql and the owner's password would. */
export const setUnguarded = (dataSource: DataSource, { authRequestId }: MadeHold, set: string): Promise<unknown> =>
  dataSource.query(
    `BEGIN; ALTER TABLE auth_holds DISABLE TRIGGER guard_auth_holds;
     UPDATE auth_holds SET ${set} WHERE auth_request_id = '${authRequestId}';
     ALTER TABLE auth_holds ENABLE ALWAYS TRIGGER guard_auth_holds; COMMIT`,
  );
