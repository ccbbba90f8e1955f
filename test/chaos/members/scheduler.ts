import { setTimeout as delay } from 'node:timers/promises';
import { randomUUID } from 'node:crypto';
import { type AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type RequeueVoidCommand } from '../../../src/auth-requests/holds/requeue-void';
import { type PaymentEventsDataSource } from '../../../src/data-source';
import { HoldStateError, PaymentEventsDbError } from '../../../src/errors';
import { encodeOutboxMessage } from '../../../src/outbox/message-codec';
import { type Shard } from '../../../src/shards/shard';
import { type Shards } from '../../../src/shards/shards';
import { Sweeper } from '../../../src/sweeper/sweeper';
import { ask } from '../http';
import { say } from '../journal';
import { type QueuedMessage } from '../queues';
import { CALM, dice, insistAt, isPassing, NAME, QUEUES, sayPassing, work } from './member';
import { SETTLE_WITHIN, settleWithinMs } from './restaurants';

const EXPIRE_AFTER_MS = 12_000;
const SETTLE_AFTER_MS = 2_000;
const EVERYTHING = 10_000;

const sweepers = new Map<PaymentEventsDataSource, Sweeper>();

/** Has a sweeper at work at each database, expires what nobody waits for, and has dead letters go out once more. */
void work(1, async (shards) => {
  try {
    const { away } = await shards.each((shard) => see(shards, shard));
    away.forEach(sayPassing);
  } catch (error) {
    const isOfNetwork = error instanceof TypeError && error.message === 'fetch failed';
    if (!isPassing(error) && !isOfNetwork) throw error;
    say({ met: error instanceof PaymentEventsDbError ? error.code : 'fetch failed' });
  }
  await delay(CALM ? 200 : dice.between(500, 2_000));
});

async function see(shards: Shards, shard: Shard): Promise<void> {
  const { dataSource, requests, outbox } = shard;
  if (!sweepers.has(dataSource)) sweepers.set(dataSource, beginSweeping(dataSource));
  if (dice.chance(0.5)) await expireOld(shards, requests);
  for (const request of await listUnsettled(requests)) await ask(`${QUEUES}/again`, messageFor(request));
  if (!CALM && dice.chance(0.3)) await voidAgain(shards, shard);
  await outbox.requeueAll();
}

async function expireOld(shards: Shards, requests: AuthRequests): Promise<void> {
  const correlationId = randomUUID();
  const status = 'EXPIRED';
  if (dice.chance(0.3)) {
    const [stuck] = await requests.listStuck({ olderThanMs: EXPIRE_AFTER_MS / 2, limit: 1 });
    if (!stuck) return;
    const { restaurantId, authRequestId } = stuck;
    const isSettled = (error: unknown) => (error as PaymentEventsDbError).code === 'AUTH_REQUEST_STATUS';
    try {
      // It may have moved since it was found.
      await insistAt(shards, stuck, (owner) => owner.requests.expire({ restaurantId, authRequestId, reason: 'late' }));
      say({ did: 'expire', authRequestId, status });
    } catch (error) {
      if (!isSettled(error)) throw error;
    }
    return;
  }
  for (const authRequestId of await requests.expireStale({ olderThanMs: EXPIRE_AFTER_MS, correlationId })) {
    say({ did: 'expire', authRequestId, status });
  }
}

const FAILED = `
  SELECT auth_request_id AS "authRequestId", restaurant_id AS "restaurantId", processor_name AS "processorName",
         processor_auth_id AS "processorAuthId"
  FROM auth_holds WHERE state = 'void_failed' ORDER BY random() LIMIT 3`;

/** A person has some voids sent again that have failed. */
async function voidAgain(shards: Shards, { dataSource }: Shard): Promise<void> {
  const looked = dataSource.query<Omit<RequeueVoidCommand, 'by' | 'reason'>[]>(FAILED);
  for (const hold of await looked.catch(() => [])) {
    try {
      const command = { ...hold, by: 'ada@example.com', reason: 'once more' };
      const { queued } = await insistAt(shards, hold, ({ holds }) => holds.requeueVoid(command));
      say({ met: queued ? 'void asked again' : 'void on its way again' });
    } catch (error) {
      // The processor has told meanwhile how it ended.
      if (!(error instanceof HoldStateError)) throw error;
      say({ met: error.code });
    }
  }
}

/**
 * Sends again what is stuck or not voided yet. While there is trouble it soon gives up; later never. How long a processor
 * remembers a key is another for each restaurant here, so that what is unsettled is left to {@link listUnsettled} at last.
 */
function beginSweeping(dataSource: PaymentEventsDataSource): Sweeper {
  const afterMs = CALM ? 300 : SETTLE_AFTER_MS;
  const begun = new Sweeper(dataSource, {
    ...{ voidingIntervalMs: 300, stuckIntervalMs: 300, unsettledIntervalMs: CALM ? 0 : 300 },
    ...{ listingIntervalMs: 0, expiryIntervalMs: 0, keysIntervalMs: 0, leasesIntervalMs: 1_000 },
    // What was sent is compared with what arrived.
    messagesIntervalMs: 0,
    ...{ voidingAfterMs: afterMs, stuckAfterMs: afterMs, unsettledAfterMs: afterMs, maxDelayMs: CALM ? 1_000 : 5_000 },
    ...{ maxSweeps: CALM ? 1_000 : 3, perMinute: 100_000, leaseTtlMs: 3_000, maxReconnectDelayMs: 500 },
    hooks: {
      swept: ({ voiding, stuck, unsettled }) => {
        voiding?.sent.forEach(() => say({ met: 'void swept' }));
        voiding?.givenUp.forEach(({ reason }) => say({ met: `void given up: ${reason}` }));
        [...(stuck?.sent ?? []), ...(unsettled?.sent ?? [])].forEach(() => say({ met: 'request swept' }));
      },
      unavailable: (error) => say(isPassing(error) ? { met: error.code } : { fault: `${NAME}: ${String(error)}` }),
    },
  });
  begun.start();
  return begun;
}

/** What a worker can ask about. */
async function listUnsettled(requests: AuthRequests): Promise<{ restaurantId: string; authRequestId: string }[]> {
  const window = { olderThanMs: SETTLE_AFTER_MS, limit: EVERYTHING };
  const unsettled = [];
  for (const within of SETTLE_WITHIN) {
    const found = await requests.listUnsettled({ ...window, settleWithinMs: within });
    unsettled.push(
      ...found.filter(({ restaurantId, canBeAsked }) => canBeAsked && settleWithinMs(restaurantId) === within),
    );
  }
  return unsettled;
}

function messageFor({ restaurantId, authRequestId }: { restaurantId: string; authRequestId: string }): QueuedMessage {
  const data = { authRequestId, restaurantId, createdAt: new Date() };
  const payload = Buffer.from(encodeOutboxMessage({ type: 'auth_request_queued', data })).toString('base64');
  return { id: '', aggregateId: authRequestId, messageType: 'auth_request_queued', payload };
}
