import { type HoldState } from '../../../src/auth-requests/holds/states';
import { type AuthRequestStatus } from '../../../src/auth-requests/statuses';
import { decodeEvent } from '../../../src/event-store/event-codec';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { type Line } from '../ledger';
import { type World } from '../world';

interface Row {
  id: string;
  status: AuthRequestStatus;
  auth_id: string | null;
  authorized: string | null;
  amount: string;
  currency: string;
  open: boolean;
  current_version: string | null;
  current_open: boolean;
  versions: string[];
}

const REQUESTS = `
  SELECT auth_request_id AS id, status, processor_auth_id AS auth_id, authorized_amount_cents AS authorized,
         amount_cents AS amount, currency, attempt_open AS open, attempt_version AS current_version,
         attempt_unanswered AS current_open, unanswered_versions AS versions
  FROM auth_request_state`;
const RESULTS = `
  SELECT aggregate_id AS id, event_id, event_data AS data FROM payment_events WHERE event_type = 'AuthResponseReceived'`;
const VOIDS = `SELECT payload FROM outbox WHERE message_type = 'void_request_queued'`;

interface Hold {
  request: string;
  id: string;
  state: HoldState;
  needed: boolean;
  answered: boolean;
  amount: string;
  ended: string | null;
  closed_by: string | null;
}

const HOLDS = `
  SELECT auth_request_id AS request, processor_auth_id AS id, state, is_needed AS needed, is_answered AS answered,
         amount_cents AS amount, ended_amount_cents AS ended, closed_by
  FROM auth_holds`;

/** Where a hold of the ledger is, in the database: each is in one place, and nothing else is. */
export type Place = 'held' | 'voided' | 'captured' | 'lapsed' | 'listed';

/**
 * Lays the processor's ledger beside the database, line by line, and tells where they do not agree. Each hold is the one
 * that its AUTHORIZED request names; or it has ended, in the database as in the ledger, and where it was voided, somebody
 * had asked for that or the processor did it by itself; or it is listed: its void has failed, or an attempt of its account
 * is unanswered. And the other way round: no hold, authorization or denial in the database that the ledger does not have.
 */
export async function moneyProblems(world: World, releasedByHand: readonly string[] = []): Promise<string[]> {
  const requests = new Map((await world.query<Row>(REQUESTS)).map((row) => [row.id, row]));
  const lines = await world.ledger();
  const holds = new Map((await world.query<Hold>(HOLDS)).map((hold) => [`${hold.request} ${hold.id}`, hold]));
  const voids = (await world.query<{ payload: Buffer }>(VOIDS)).map(({ payload }) => namedBy(payload));
  const asked = new Set([...voids, ...releasedByHand]);
  const ids = new Set(lines.filter(isAuthorized).map(({ key, id }) => `${key} ${id}`));
  return [
    ...lines.flatMap((line) => {
      const found = placeOf(line, requests.get(line.key), holds.get(`${line.key} ${line.id}`), asked);
      return 'problem' in found ? [`${show(line)}: ${found.problem}`] : [];
    }),
    ...[...holds.keys()].filter((key) => !ids.has(key)).map((key) => `${key}: a hold that the ledger does not have`),
    ...recordedWithoutLine(lines, await world.query<ResultRow>(RESULTS)),
    ...namedWithoutHold(lines, [...requests.values()]),
  ];
}

const isAuthorized = ({ state }: Line) => state !== 'declined' && state !== 'unused';

function namedBy(payload: Buffer): string {
  const message = decodeOutboxMessage('void_request_queued', payload);
  return message.type === 'void_request_queued' ? message.data.processorAuthId : '';
}

function placeOf(
  line: Line,
  request: Row | undefined,
  hold: Hold | undefined,
  asked: ReadonlySet<string>,
): { place?: Place } | { problem: string } {
  if (!request) return { problem: 'there is no such request' };
  const { state } = line;
  if (state === 'declined' || state === 'unused') return {};
  const isNamed = request.status === 'AUTHORIZED' && request.auth_id === line.id;
  if (state === 'voided' && line.asked) {
    if (!asked.has(line.id)) return { problem: 'released, and nobody had asked for it' };
    if (isNamed) return { problem: 'released, and the request counts on it' };
  }
  if (!hold) {
    const isListed = request.open && openVersions(request).includes(line.account);
    return isListed ? { place: 'listed' } : { problem: `forgotten; the request is ${request.status}` };
  }
  if (hold.needed !== isNamed) return { problem: `needed: ${hold.needed}; the request is ${request.status}` };
  if (hold.answered && hold.amount !== String(line.amountCents)) return { problem: `the hold is of ${hold.amount}` };
  if (hold.state === 'void_failed') return { place: 'listed' };
  if (hold.state !== state) return { problem: `the hold is ${hold.state}` };
  if (state !== 'held' && hold.ended !== String(line.endedCents)) return { problem: `ended with ${hold.ended}` };
  return { place: state };
}

const openVersions = ({ current_open, current_version, versions }: Row) =>
  current_open ? [...versions, current_version!] : versions;

interface ResultRow {
  id: string;
  event_id: string;
  data: Buffer;
}

function recordedWithoutLine(lines: readonly Line[], results: readonly ResultRow[]): string[] {
  const holds = new Map(lines.map((line) => [line.id, line]));
  const refusing = new Set(
    lines.filter(({ state }) => state === 'declined' || state === 'unused').map(({ key }) => key),
  );
  return results.flatMap(({ id, event_id, data }) => {
    const event = decodeEvent('AuthResponseReceived', data, { eventId: event_id });
    if (event.type !== 'AuthResponseReceived') return [];
    const { status, result } = event.data;
    if (status === 'DENIED') return refusing.has(id) ? [] : [`${id}: denied, and no account of the processor says so`];
    const line = holds.get(result!.processorAuthId);
    const isRight =
      line?.key === id && line.amountCents === result!.authorizedAmountCents && line.currency === result!.currency;
    return isRight ? [] : [`${id}: an authorization ${result!.processorAuthId} that the ledger does not have`];
  });
}

function namedWithoutHold(lines: readonly Line[], requests: readonly Row[]): string[] {
  const held = new Map(lines.filter(isAuthorized).map((line) => [line.id, line]));
  return requests.flatMap(({ id, status, auth_id, authorized, amount, currency }) => {
    if (status !== 'AUTHORIZED') return [];
    const line = held.get(auth_id ?? '');
    const isRight = line?.key === id && String(line.amountCents) === authorized && line.currency === currency;
    return isRight && authorized === amount
      ? []
      : [`${id}: AUTHORIZED by ${auth_id}, which the ledger does not have so`];
  });
}

const show = ({ id, account, key, state }: Line) => `${id} of ${account} for ${key} (${state})`;
