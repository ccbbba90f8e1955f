import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { Outbox } from '../../src/outbox/outbox';
import { quietDataSource } from '../support/database/quiet-data-source';
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
  const dataSource = await quietDataSource({ url: world.url, poolSize: 2 });
  try {
    do {
      world.start('worker', 'voider', 'scheduler', 'relay');
      await until(world, () => isSettled(world, dataSource));
      await world.stop();
      await world.calmProcessor();
    } while (!(await isSettled(world, dataSource)));
  } finally {
    await dataSource.destroy();
  }
}

async function isSettled(world: World, dataSource: PaymentEventsDataSource): Promise<boolean> {
  if (world.queues.length > 0) return false;
  const { pending, failed } = await new Outbox(dataSource).stats();
  if (pending > 0 || failed > 0) return false;
  const requests = new AuthRequests(dataSource);
  if ((await requests.listStuck(EVERYTHING)).length > 0) return false;
  for (const within of SETTLE_WITHIN) {
    const unsettled = await requests.listUnsettled({ ...EVERYTHING, settleWithinMs: within });
    const askable = unsettled.filter((one) => one.canBeAsked && settleWithinMs(one.restaurantId) === within);
    if (askable.length > 0) return false;
  }
  return true;
}

/**
 * What nobody can be asked about is for a person, as "Void and expire" has it: looks at the processor, releases what it
 * holds, says so by name and reason.
 *
 * @returns which holds were released
 */
export async function closeByHand(world: World): Promise<string[]> {
  const released: string[] = [];
  const dataSource = await quietDataSource({ url: world.url, poolSize: 2 });
  try {
    const requests = new AuthRequests(dataSource);
    const unsettled = await requests.listUnsettled({ ...EVERYTHING, settleWithinMs: 0 });
    const lines = new Map((await world.ledger()).map((line) => [`${line.account} ${line.key}`, line]));
    for (const { restaurantId, authRequestId, unansweredVersions } of unsettled) {
      for (const configVersion of unansweredVersions) {
        const line = lines.get(`${configVersion} ${authRequestId}`);
        if (line?.state === 'held') {
          await world.void(line.id);
          released.push(line.id);
        }
        const found = { configVersion, by: 'ada@example.com', reason: line ? 'released' : 'nothing at the processor' };
        await until(world, () => closed(requests, { restaurantId, authRequestId, ...found }));
      }
    }
    return released;
  } finally {
    await dataSource.destroy();
  }
}

/** A worker that was killed has left its lease behind: then once more when it has expired. */
const closed = (requests: AuthRequests, command: Parameters<AuthRequests['closeUnanswered']>[0]) =>
  requests.closeUnanswered(command).then(
    ({ closed }) => closed,
    (error: { code?: string }) => {
      if (error.code === 'LOCK_HELD') return false;
      throw error as Error;
    },
  );
