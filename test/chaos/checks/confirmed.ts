import { HOLD_STATES, type HoldState } from '../../../src/auth-requests/holds/states';
import { type AuthRequestStatus } from '../../../src/auth-requests/statuses';
import { type Entry } from '../journal';
import { type World } from '../world';

/** Where a request may be that was told to be in a status once. */
const LATER: Record<AuthRequestStatus, readonly AuthRequestStatus[]> = {
  PENDING: ['PENDING', 'PROCESSING', 'AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED'],
  PROCESSING: ['PROCESSING', 'AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED'],
  AUTHORIZED: ['AUTHORIZED', 'VOIDED'],
  DENIED: ['DENIED'],
  FAILED: ['FAILED'],
  VOIDED: ['VOIDED'],
  EXPIRED: ['EXPIRED'],
};

/** And where a hold may stand. */
const LATER_OF_A_HOLD: Record<HoldState, readonly HoldState[]> = {
  held: HOLD_STATES,
  voiding: ['voiding', 'void_failed', 'lapsed', 'voided', 'captured'],
  void_failed: ['voiding', 'void_failed', 'lapsed', 'voided', 'captured'],
  lapsed: ['lapsed', 'voided', 'captured'],
  voided: ['voided', 'captured'],
  captured: ['captured'],
};

type Told = Extract<Entry, { status: AuthRequestStatus }>;
type ToldOfHold = Extract<Entry, { holdState: HoldState }>;
type Authorized = Extract<Entry, { key: string }>;

const STATUSES = `SELECT auth_request_id AS id, status FROM auth_request_state`;
const WRITTEN = `
  SELECT aggregate_id AS id, metadata ->> 'correlation_id' AS correlation_id, count(*)::integer AS times
  FROM payment_events WHERE metadata ? 'correlation_id' AND event_type <> 'AuthRequestExpired' GROUP BY 1, 2`;
const HOLDS = `SELECT auth_request_id AS id, processor_auth_id AS auth_id, state FROM auth_holds`;
const CREATED = `
  SELECT aggregate_id AS id, metadata ->> 'idempotency_key' AS key FROM payment_events
  WHERE event_type = 'AuthRequestCreated'`;

/** What a process was confirmed and the database does not have, or has twice. */
export async function lostConfirmations(world: World): Promise<string[]> {
  const told = world.journal.filter((entry): entry is Told => 'status' in entry);
  const toldOfHolds = world.journal.filter((entry): entry is ToldOfHold => 'holdState' in entry);
  const authorized = world.journal.filter((entry): entry is Authorized => 'key' in entry);
  const rows = await world.query<{ id: string; status: AuthRequestStatus }>(STATUSES);
  const statuses = new Map(rows.map(({ id, status }) => [id, status]));
  const written = await world.query<{ id: string; correlation_id: string; times: number }>(WRITTEN);
  const times = new Map(written.map((row) => [`${row.id} ${row.correlation_id}`, row.times]));
  const holds = await world.query<{ id: string; auth_id: string; state: HoldState }>(HOLDS);
  const states = new Map(holds.map(({ id, auth_id, state }) => [`${id} ${auth_id}`, state]));
  const timesProblem = (did: string, id: string, correlationId: string | undefined) => {
    const written = times.get(`${id} ${correlationId}`) ?? 0;
    if (correlationId === undefined || written === 1) return [];
    return [`${id}: ${did} was confirmed, and written ${written} times`];
  };
  const created = await world.query<{ id: string; key: string }>(CREATED);
  return [
    ...told.flatMap(({ did, authRequestId: id, status, correlationId }) => {
      const now = statuses.get(id);
      if (!now || !LATER[status].includes(now)) return [`${id}: ${did} was told ${status}, and it is ${now}`];
      return timesProblem(did, id, correlationId);
    }),
    ...toldOfHolds.flatMap(({ did, authRequestId: id, processorAuthId, holdState, correlationId }) => {
      const now = states.get(`${id} ${processorAuthId}`);
      if (!now || !LATER_OF_A_HOLD[holdState].includes(now)) {
        return [`${processorAuthId} of ${id}: ${did} was told ${holdState}, and it is ${now}`];
      }
      return timesProblem(did, id, correlationId);
    }),
    ...keyProblems(authorized, created),
  ];
}

/** One key, one request, no matter how often it was asked. */
function keyProblems(confirmed: readonly Authorized[], created: readonly { id: string; key: string }[]): string[] {
  const requestOf = new Map(created.map(({ id, key }) => [key, id]));
  const twice = created.filter(({ id, key }) => requestOf.get(key) !== id);
  const lost = confirmed.filter(({ key, authRequestId }) => requestOf.get(key) !== authRequestId);
  return [
    ...twice.map(({ id, key }) => `${id}: a second request of ${key}`),
    ...lost.map(({ authRequestId, key }) => `${authRequestId}: confirmed for ${key}, which has ${requestOf.get(key)}`),
  ];
}
