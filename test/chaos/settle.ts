import { type AuthRequests } from '../../src/auth-requests/auth-requests';
import { type HoldCommand } from '../../src/auth-requests/holds/hold-command';
import { type Shard } from '../../src/shards/shard';
import { Shards } from '../../src/shards/shards';
import { Silence } from '../support/database/quiet-data-source';
import { type Ending, type Line } from './ledger';
import { SETTLE_WITHIN, settleWithinMs } from './members/restaurants';
import { until, type World } from './world';

const EVERYTHING = { olderThanMs: 0, limit: 10_000 };

/**
 * Has workers, voiders, relays and schedulers that behave carry out all that is left, and stands still when nothing is:
 * it waits for that and not for a time. What the killed ones have left behind counts as left.
 */
export async function settle(world: World): Promise<void> {
  world.calm = true;
  await world.stop();
  await world.calmProcessor();
  await withShards(world, async (shards) => {
    do {
      world.start('api', 'worker', 'voider', 'scheduler', 'relay');
      await until(world, () => isSettled(world, shards));
      await world.stop();
      await world.calmProcessor();
    } while (!(await isSettled(world, shards)));
  });
}

/** All databases, past all networks that fail. */
export async function withShards<T>(world: World, use: (shards: Shards) => Promise<T>): Promise<T> {
  const source = { load: () => Promise.resolve(world.map) };
  const shards = new Shards(source, { poolSize: 2, logger: new Silence() });
  await shards.open();
  try {
    return await use(shards);
  } finally {
    await shards.destroy();
  }
}

async function isSettled(world: World, shards: Shards): Promise<boolean> {
  if (world.queues.length > 0) return false;
  if ((await world.query(`SELECT FROM auth_holds WHERE state = 'voiding' LIMIT 1`)).length > 0) return false;
  // One that names an id of which nobody has told, and nobody will, is delivered again for ever.
  const ids = world.queues.webhooks.map(({ processorAuthId }) => processorAuthId);
  const taken = `SELECT FROM auth_holds WHERE processor_auth_id = ANY ($1) LIMIT 1`;
  if (world.queues.webhooks.some(({ reference }) => reference) || (await world.query(taken, [ids])).length > 0) {
    return false;
  }
  const { results } = await shards.each(isAtRest);
  return results.length === world.databases.length && results.every(({ value }) => value);
}

async function isAtRest({ outbox, requests }: Shard): Promise<boolean> {
  const { pending, failed } = await outbox.stats();
  if (pending > 0 || failed > 0) return false;
  if ((await requests.listStuck(EVERYTHING)).length > 0) return false;
  for (const within of SETTLE_WITHIN) {
    const unsettled = await requests.listUnsettled({ ...EVERYTHING, settleWithinMs: within });
    const askable = unsettled.filter((one) => one.canBeAsked && settleWithinMs(one.restaurantId) === within);
    if (askable.length > 0) return false;
  }
  return true;
}

/**
 * What is listed is for a person, as "Void and expire" has it: looks at the processor, releases what it holds, says so by
 * name and reason.
 *
 * @returns which holds were released
 */
export async function closeByHand(world: World): Promise<string[]> {
  const released: string[] = [];
  const lines = await world.ledger();
  /** What has become of it, at the latest now. */
  const endOf = async (line: Line): Promise<{ told: Ending; amountCents: number }> => {
    if (line.state !== 'held') return { told: line.state as Ending, amountCents: line.endedCents! };
    await world.void(line.id);
    released.push(line.id);
    return { told: 'voided', amountCents: line.amountCents };
  };
  const known = new Set((await world.query<{ id: string }>(KNOWN)).map(({ id }) => id));

  async function closeUnsettled({ requests, holds }: Shard): Promise<void> {
    const unsettled = await requests.listUnsettled({ ...EVERYTHING, settleWithinMs: 0 });
    for (const { restaurantId, authRequestId, unansweredVersions } of unsettled) {
      for (const configVersion of unansweredVersions) {
        const line = lines.find(({ account, key }) => account === configVersion && key === authRequestId);
        if (line && isAuthorized(line) && !known.has(line.id)) {
          const hold = { restaurantId, authRequestId, processorName: 'stripe', processorAuthId: line.id };
          const source = { source: ADA, sourceEventId: `found ${line.id}` };
          await holds.report({ ...hold, ...(await endOf(line)), ...source });
        }
        const found = { configVersion, by: ADA, reason: line ? 'ended' : 'nothing at the processor' };
        await until(world, () => closed(requests, { restaurantId, authRequestId, ...found }));
      }
    }
  }

  await withShards(world, async (shards) => {
    for (const { shard } of (await shards.each(closeUnsettled)).away) throw new Error(`${shard} is away.`);
    for (const hold of await listedHolds(world)) {
      const { told: end, amountCents } = await endOf(lines.find(({ id }) => id === hold.processorAuthId)!);
      const how = { end, amountCents, by: ADA, reason: end === 'captured' ? 'refunded' : 'ended' };
      await shards.run(hold.restaurantId, ({ holds }) => holds.recordEnd({ ...hold, ...how }));
    }
  });
  return released;
}

const ADA = 'ada@example.com';
const KNOWN = 'SELECT processor_auth_id AS id FROM auth_holds';
const LISTED = `
  SELECT auth_request_id AS "authRequestId", restaurant_id AS "restaurantId", processor_name AS "processorName",
         processor_auth_id AS "processorAuthId"
  FROM auth_holds
  WHERE NOT is_needed AND closed_by IS NULL AND state::text = ANY ('{held,voiding,void_failed,captured}'::text[])`;

/** The holds that nobody needs, and that somebody has to see to. */
export const listedHolds = (world: World) => world.query<HoldCommand>(LISTED);

const isAuthorized = ({ state }: Line) => state !== 'declined' && state !== 'unused';

/** A worker that was killed has left its lease behind: then once more when it has expired. */
const closed = (requests: AuthRequests, command: Parameters<AuthRequests['closeUnanswered']>[0]) =>
  requests.closeUnanswered(command).then(
    ({ closed }) => closed,
    (error: { code?: string }) => {
      if (error.code === 'LOCK_HELD') return false;
      throw error as Error;
    },
  );
