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

/**
 * Lays the processor's ledger beside the database, line by line, and tells where they do not agree. Each hold is the one
 * that its AUTHORIZED request names; or it was released, which somebody had asked for; or an attempt of its account is
 * listed as unanswered. And the other way round: no authorization or denial in the database that the ledger does not have.
 */
export async function moneyProblems(world: World, releasedByHand: readonly string[] = []): Promise<string[]> {
  const requests = new Map((await world.query<Row>(REQUESTS)).map((row) => [row.id, row]));
  const lines = await world.ledger();
  const voids = (await world.query<{ payload: Buffer }>(VOIDS)).map(({ payload }) => namedBy(payload));
  const asked = new Set([...voids, ...releasedByHand]);
  return [
    ...lines.flatMap((line) => problemOf(line, requests.get(line.key), asked) ?? []),
    ...recordedWithoutLine(lines, await world.query<ResultRow>(RESULTS)),
    ...namedWithoutHold(lines, [...requests.values()]),
  ];
}

function namedBy(payload: Buffer): string {
  const message = decodeOutboxMessage('void_request_queued', payload);
  return message.type === 'void_request_queued' ? message.data.processorAuthId : '';
}

function problemOf(line: Line, request: Row | undefined, asked: ReadonlySet<string>): string | undefined {
  if (!request) return `${show(line)}: there is no such request`;
  const isNamed = request.status === 'AUTHORIZED' && request.auth_id === line.id;
  const isListed = request.open && openVersions(request).includes(line.account);
  if (line.state === 'held') {
    if (isNamed || isListed) return undefined;
    return `${show(line)}: forgotten; the request is ${request.status}`;
  }
  if (line.state !== 'voided') return undefined;
  if (isNamed) return `${show(line)}: released, and the request counts on it`;
  return asked.has(line.id) ? undefined : `${show(line)}: released, and nobody had asked for it`;
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
  const held = new Map(lines.filter(({ state }) => state === 'held').map((line) => [line.id, line]));
  return requests.flatMap(({ id, status, auth_id, authorized, amount, currency }) => {
    if (status !== 'AUTHORIZED') return [];
    const line = held.get(auth_id ?? '');
    const isRight = line?.key === id && String(line.amountCents) === authorized && line.currency === currency;
    return isRight && authorized === amount
      ? []
      : [`${id}: AUTHORIZED by ${auth_id}, which the ledger does not hold so`];
  });
}

const show = ({ id, account, key, state }: Line) => `${id} of ${account} for ${key} (${state})`;
