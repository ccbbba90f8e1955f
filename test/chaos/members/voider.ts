import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { type Voiding } from '../../../src/auth-requests/holds/to-void';
import { LockLostError, LockTimeoutError } from '../../../src/errors';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { ask } from '../http';
import { say } from '../journal';
import { type Ending } from '../ledger';
import { consume } from './consume';
import { ANSWER_MS, CALM, dice, happens, insist, isPassing, PROCESSOR, work } from './member';

const TTL_MS = CALM ? 30_000 : 6_000;
/** How often a write is made again under its lease before the message is left for the next worker. */
const TRIES = 4;
type Task = Extract<Voiding, { outcome: 'void' }>;

/** Carries out what messages ask for: has the processor void holds, and writes down what came of it. */
void work(3, async (dataSource) => {
  const holds = new Holds(dataSource);
  const locks = new ProcessingLocks(dataSource);
  await consume('void_request_queued', async ({ messageType, payload }) => {
    // A message that is lost: the sweeper sends another.
    if (happens(0.03)) return 'done';
    const message = decodeOutboxMessage(messageType, Buffer.from(payload, 'base64'));
    if (message.type !== 'void_request_queued') throw new Error(`It got a message ${message.type}.`);
    const { restaurantId, authRequestId, processorName, processorAuthId } = message.data;
    try {
      return await locks.withLock({ restaurantId, authRequestId, ttlMs: TTL_MS }, async (lease, signal) => {
        const task = await insist(() => holds.toVoid(lease, { processorName, processorAuthId }), TRIES);
        return task.outcome === 'void' ? await carryOut(holds, lease, task, signal) : 'done';
      });
    } catch (error) {
      const isLost = error instanceof LockLostError || error instanceof LockTimeoutError;
      if (!isLost && !isPassing(error)) throw error;
      say({ met: error.code });
      return 'later';
    }
  });
});

async function carryOut(holds: Holds, lease: Lease, task: Task, signal: AbortSignal): Promise<'done' | 'later'> {
  const { authRequestId } = lease;
  const { processorName, processorAuthId } = task;
  const hold = { processorName, processorAuthId };
  const correlationId = randomUUID();

  const fail = async (errorCode: string, retryable: boolean) => {
    const retryBy = happens(0.2) ? 'broker' : 'outbox';
    const nextRetryAt = new Date(Date.now() + dice.between(0, CALM ? 300 : 3_000));
    const failure = { ...hold, errorCode, errorMessage: '', retryable, retryBy, nextRetryAt, correlationId } as const;
    const { state: holdState } = await insist(() => holds.recordVoidFailure(lease, failure), TRIES);
    say({ did: 'fail to void', authRequestId, processorAuthId, holdState, how: errorCode, correlationId });
    // At times it rejects the message all the same, though the next one is in the outbox.
    return retryable && (retryBy === 'broker' || happens(0.1)) ? 'later' : 'done';
  };
  if (happens(0.1)) return await fail('NOT_ASKED', true);
  if (happens(0.05)) return await fail('NO_SUCH_ACCOUNT', false);
  if (happens(0.05)) await delay(dice.between(0, 2 * TTL_MS));
  const limits = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const question = ask<{ state: Ending; endedCents: number }>(`${PROCESSOR}/void`, { id: processorAuthId }, limits);
  const answer = await question.catch(() => undefined);
  if (!answer) return await fail('NO_ANSWER', !happens(0.1));
  // A worker that does not look whether it still has its lease is told when it writes.
  if (dice.chance(0.5)) signal.throwIfAborted();
  if (answer.state === 'voided') {
    const { state: holdState, replayed } = await insist(
      () => holds.recordVoided(lease, { ...hold, correlationId }),
      TRIES,
    );
    say({ did: 'void a hold', authRequestId, processorAuthId, holdState, ...(!replayed && { correlationId }) });
    return 'done';
  }
  // It has ended otherwise: that is a failure for good, or told as the processor would.
  if (dice.chance(0.5)) return await fail(answer.state.toUpperCase(), false);
  const report = {
    ...{ ...hold, authRequestId, told: answer.state, amountCents: answer.endedCents, correlationId },
    ...{ source: 'voider', sourceEventId: `${answer.state} ${answer.endedCents}` },
  };
  const { state: holdState, replayed } = await insist(() => holds.report(report), TRIES);
  say({ did: 'report', authRequestId, processorAuthId, holdState, ...(!replayed && { correlationId }) });
  return 'done';
}
