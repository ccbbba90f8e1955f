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

type Told = Extract<Entry, { status: AuthRequestStatus }>;
type Authorized = Extract<Entry, { key: string }>;

const STATUSES = `SELECT auth_request_id AS id, status FROM auth_request_state`;
const WRITTEN = `
  SELECT aggregate_id AS id, metadata ->> 'correlation_id' AS correlation_id, count(*)::integer AS times
  FROM payment_events WHERE metadata ? 'correlation_id' AND event_type <> 'AuthRequestExpired' GROUP BY 1, 2`;
const CREATED = `
  SELECT aggregate_id AS id, metadata ->> 'idempotency_key' AS key FROM payment_events
  WHERE event_type = 'AuthRequestCreated'`;

/** What a process was confirmed and the database does not have, or has twice. */
export async function lostConfirmations(world: World): Promise<string[]> {
  const told = world.journal.filter((entry): entry is Told => 'status' in entry);
  const authorized = world.journal.filter((entry): entry is Authorized => 'key' in entry);
  const rows = await world.query<{ id: string; status: AuthRequestStatus }>(STATUSES);
  const statuses = new Map(rows.map(({ id, status }) => [id, status]));
  const written = await world.query<{ id: string; correlation_id: string; times: number }>(WRITTEN);
  const times = new Map(written.map((row) => [`${row.id} ${row.correlation_id}`, row.times]));
  const created = await world.query<{ id: string; key: string }>(CREATED);
  return [
    ...told.flatMap(({ did, authRequestId: id, status, correlationId }) => {
      const now = statuses.get(id);
      if (!now || !LATER[status].includes(now)) return [`${id}: ${did} was told ${status}, and it is ${now}`];
      if (correlationId === undefined || times.get(`${id} ${correlationId}`) === 1) return [];
      return [`${id}: ${did} was confirmed, and written ${times.get(`${id} ${correlationId}`) ?? 0} times`];
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
