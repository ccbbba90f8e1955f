import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type VoidAnswer } from '../../../src/auth-requests/holds/attempt-void';
import { type HoldState } from '../../../src/auth-requests/holds/states';
import { type HoldToVoid } from '../../../src/auth-requests/holds/to-void';
import { LockLostError, LockTimeoutError } from '../../../src/errors';
import { type Lease } from '../../../src/locks/processing-locks';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { type Shard } from '../../../src/shards/shard';
import { type Shards } from '../../../src/shards/shards';
import { ask } from '../http';
import { say } from '../journal';
import { type Ending } from '../ledger';
import { consume } from './consume';
import { ANSWER_MS, CALM, dice, happens, insistAt, isPassing, PROCESSOR, work } from './member';

const TTL_MS = CALM ? 30_000 : 6_000;
/** How often a write is made again under its lease before the message is left for the next worker. */
const TRIES = 4;

/** Carries out what messages ask for: has the processor void holds, and writes down what came of it. */
void work(3, async (shards) => {
  await consume('void_request_queued', async ({ messageType, payload }) => {
    // A message that is lost: the sweeper sends another.
    if (happens(0.03)) return 'done';
    const message = decodeOutboxMessage(messageType, Buffer.from(payload, 'base64'));
    if (message.type !== 'void_request_queued') throw new Error(`It got a message ${message.type}.`);
    const { restaurantId, authRequestId, processorName, processorAuthId } = message.data;
    const hold = { processorName, processorAuthId };
    const ref = { restaurantId, authRequestId };
    try {
      if (dice.chance(0.5)) return await inOneCall(shards, { ...ref, ...hold });
      return await shards.run(restaurantId, ({ locks }) =>
        locks.withLock({ ...ref, ttlMs: TTL_MS }, async (lease, signal) => {
          const task = await insistAt(shards, lease, ({ holds }) => holds.toVoid(lease, hold), TRIES);
          return task.outcome === 'void' ? await stepByStep(shards, lease, task, signal) : 'done';
        }),
      );
    } catch (error) {
      const isLost = error instanceof LockLostError || error instanceof LockTimeoutError;
      if (!isLost && !isPassing(error)) throw error;
      say({ met: error.code });
      return 'later';
    }
  });
});

/** How a worker that has a message ends. */
type End = 'done' | 'later';

/** As "Void a hold in a worker" has it. */
async function inOneCall(
  shards: Shards,
  message: { restaurantId: string; authRequestId: string; processorName: string; processorAuthId: string },
): Promise<End> {
  let asked: { answer: VoidAnswer; task: HoldToVoid } | undefined;
  const result = await shards.run(message.restaurantId, ({ holds }) =>
    holds.attemptVoid({ ...message, ttlMs: TTL_MS }, async (task, signal) => {
      const answer = await answerOf(task, signal);
      asked = { answer, task };
      return answer;
    }),
  );
  if (!asked || result.outcome === 'nothing_to_do') return 'done';
  sayRecorded(message.authRequestId, asked.task, asked.answer, result);
  return endOf(asked.answer);
}

/** By the single calls, each made again by itself; under a lease that moves with its request. */
async function stepByStep(shards: Shards, lease: Lease, task: HoldToVoid, signal: AbortSignal): Promise<End> {
  const { authRequestId, restaurantId } = lease;
  const { processorName, processorAuthId } = task;
  const hold = { processorName, processorAuthId };
  const answer = await answerOf(task, signal);
  const record = ({ holds }: Shard): Promise<{ state: HoldState; replayed?: boolean }> => {
    if (answer.outcome === 'voided') return holds.recordVoided(lease, { ...answer, ...hold });
    if (answer.outcome === 'failed') return holds.recordVoidFailure(lease, { ...answer, ...hold });
    const source = { source: 'voider', sourceEventId: `${answer.outcome} ${answer.amountCents}` };
    return holds.report({ ...answer, ...hold, authRequestId, restaurantId, told: answer.outcome, ...source });
  };
  const recorded = await insistAt(shards, lease, record, TRIES);
  sayRecorded(authRequestId, task, answer, recorded);
  return endOf(answer);
}

const DID = { voided: 'void a hold', failed: 'fail to void', captured: 'report', lapsed: 'report' } as const;

function sayRecorded(
  authRequestId: string,
  { processorAuthId }: HoldToVoid,
  answer: VoidAnswer,
  { state: holdState, replayed }: { state: HoldState; replayed?: boolean },
): void {
  const { outcome, correlationId } = answer;
  const how = outcome === 'failed' && { how: answer.errorCode };
  const told = { did: DID[outcome], authRequestId, processorAuthId, holdState, ...how };
  say({ ...told, ...(!replayed && { correlationId: correlationId! }) });
}

/** At times it rejects the message all the same, though the next one is in the outbox. */
const endOf = (answer: VoidAnswer): End =>
  answer.outcome === 'failed' && answer.retryable && (answer.retryBy === 'broker' || happens(0.1)) ? 'later' : 'done';

/** Asks, and says what came of it. */
async function answerOf({ processorAuthId }: HoldToVoid, signal: AbortSignal): Promise<VoidAnswer> {
  const correlationId = randomUUID();
  const failed = (errorCode: string, retryable: boolean): VoidAnswer => ({
    ...{ outcome: 'failed', errorCode, errorMessage: '', retryable, correlationId },
    retryBy: happens(0.2) ? 'broker' : 'outbox',
    nextRetryAt: new Date(Date.now() + dice.between(0, CALM ? 300 : 3_000)),
  });
  if (happens(0.1)) return failed('NOT_ASKED', true);
  if (happens(0.05)) return failed('NO_SUCH_ACCOUNT', false);
  if (happens(0.05)) await delay(dice.between(0, 2 * TTL_MS));
  const limits = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const question = ask<{ state: Ending; endedCents: number }>(`${PROCESSOR}/void`, { id: processorAuthId }, limits);
  const answer = await question.catch(() => undefined);
  if (!answer) return failed('NO_ANSWER', !happens(0.1));
  // A worker that does not look whether it still has its lease is told when it writes.
  if (dice.chance(0.5)) signal.throwIfAborted();
  const { state, endedCents: amountCents } = answer;
  if (state === 'voided') return { outcome: state, correlationId };
  // It has ended otherwise: that is a failure for good, or told as the processor would.
  return dice.chance(0.5) ? failed(state.toUpperCase(), false) : { outcome: state, amountCents, correlationId };
}
