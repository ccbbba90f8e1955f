import { decodeEvent } from '../../../src/event-store/event-codec';
import { type Webhook } from '../webhooks';
import { type World } from '../world';

const EVENTS = `
  SELECT event_id, event_type, event_data AS data FROM payment_events
  WHERE event_type IN ('AuthHoldReported', 'AuthHoldEnded')`;
const HOLDS = `SELECT processor_auth_id AS id FROM auth_holds`;

/**
 * Whether each message of the processor has had one effect, however often it was delivered. One that names only the
 * processor's id, of which nobody else has ever told, has none.
 */
export async function webhookProblems(world: World): Promise<string[]> {
  const times = new Map<string, number>();
  for (const row of await world.query<{ event_id: string; event_type: string; data: Buffer }>(EVENTS)) {
    const event = decodeEvent(row.event_type, row.data, { eventId: row.event_id });
    if (event.type !== 'AuthHoldReported' && event.type !== 'AuthHoldEnded') continue;
    const { source, sourceEventId, processorAuthId } = event.data;
    if (source !== 'stripe') continue;
    const key = `${sourceEventId} of ${processorAuthId}`;
    times.set(key, (times.get(key) ?? 0) + 1);
  }
  const known = new Set((await world.query<{ id: string }>(HOLDS)).map(({ id }) => id));
  const told = await world.webhooks();
  const keys = new Set(told.map(keyOf));
  return [
    ...told.flatMap((webhook) => {
      const effects = times.get(keyOf(webhook)) ?? 0;
      return effects === (known.has(webhook.processorAuthId) ? 1 : 0) ? [] : [`${keyOf(webhook)}: ${effects} effects`];
    }),
    ...[...times.keys()].filter((key) => !keys.has(key)).map((key) => `${key}: the processor has never told that`),
  ];
}

const keyOf = ({ eventId, processorAuthId }: Webhook) => `${eventId} of ${processorAuthId}`;
