import { type World } from '../world';

interface Row {
  id: string;
  aggregate_id: string;
  message_type: string;
  payload: string;
}

const SENT = `
  SELECT id, aggregate_id, message_type, encode(payload, 'base64') AS payload FROM outbox
  WHERE processed_at IS NOT NULL AND discarded_at IS NULL ORDER BY id`;

/** What was queued with each request. */
const FIRSTS = `SELECT aggregate_id, min(id) AS id FROM outbox GROUP BY aggregate_id`;

/** Where the queues have not got each message of the outbox, as it is and in the order of its request. */
export async function messageProblems(world: World): Promise<string[]> {
  const rows = await world.query<Row>(SENT);
  const arrived = new Map(world.queues.arrivals.toReversed().map((message) => [message.id, message]));
  const known = new Set(rows.map(({ id }) => id));
  const firsts = new Map<string, string>();
  for (const { aggregate_id, id } of await world.query<Pick<Row, 'aggregate_id' | 'id'>>(FIRSTS)) {
    const known = firsts.get(aggregate_id);
    if (known === undefined || BigInt(id) < BigInt(known)) firsts.set(aggregate_id, id);
  }
  const changed = rows.filter(({ id, aggregate_id, message_type, payload }) => {
    const message = arrived.get(id);
    return (
      message?.aggregateId !== aggregate_id ||
      message.messageType !== message_type ||
      message.payload !== payload.replaceAll('\n', '')
    );
  });
  return [
    ...changed.map(
      ({ id }) => `${id}: marked as sent, and ${arrived.has(id) ? 'changed on its way' : 'never arrived'}`,
    ),
    ...[...arrived.keys()].filter((id) => !known.has(id)).map((id) => `${id}: arrived, and is not in the outbox`),
    ...disordered(world, new Set(firsts.values())),
  ];
}

/** By the first arrival of each. A retry waits for its time, and all else overtakes it. */
function disordered({ queues }: World, firsts: ReadonlySet<string>): string[] {
  const last = new Map<string, bigint>();
  const seen = new Set<string>();
  return queues.arrivals.flatMap(({ id, aggregateId, messageType }) => {
    if (seen.has(id) || (messageType === 'auth_request_queued' && !firsts.has(id))) return [];
    seen.add(id);
    const before = last.get(aggregateId);
    last.set(aggregateId, BigInt(id));
    return before !== undefined && before > BigInt(id) ? [`${id}: came after ${before}`] : [];
  });
}
