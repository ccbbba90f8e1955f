import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type ProcessorAnswer } from '../../../src/auth-requests/attempt';
import { type FailureCommand, type RecordedFailure } from '../../../src/auth-requests/record-failure';
import { type RecordedResult } from '../../../src/auth-requests/recorded-result';
import { type BegunAttempt } from '../../../src/auth-requests/start-attempt';
import { LockLostError, LockTimeoutError } from '../../../src/errors';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { type Lease } from '../../../src/locks/processing-locks';
import { type Shard } from '../../../src/shards/shard';
import { type Shards } from '../../../src/shards/shards';
import { ask } from '../http';
import { say } from '../journal';
import { type Line } from '../ledger';
import { consume } from './consume';
import { ANSWER_MS, CALM, dice, happens, insistAt, isPassing, PROCESSOR, work } from './member';
import { settleWithinMs } from './restaurants';

const TTL_MS = CALM ? 30_000 : 6_000;
/** How often a write is made again under its lease before the message is left for the next worker. */
const TRIES = 4;

/** How a worker that has a message ends. */
type End = 'done' | 'later';
interface Ref {
  readonly restaurantId: string;
  readonly authRequestId: string;
}

void work(6, async (shards) => {
  await consume('auth_request_queued', async (delivery) => {
    // A message that is lost: the sweeper sends another.
    if (happens(0.03)) return 'done';
    const { data } = decodeOutboxMessage(delivery.messageType, Buffer.from(delivery.payload, 'base64'));
    const { restaurantId, authRequestId } = data;
    const ref = { restaurantId, authRequestId };
    try {
      if (dice.chance(0.5)) return await inOneCall(shards, ref);
      return await shards.run(restaurantId, ({ locks }) =>
        locks.withLock({ ...ref, ttlMs: TTL_MS }, (lease, signal) => stepByStep(shards, lease, signal)),
      );
    } catch (error) {
      // Its failure could not be recorded either.
      if (error instanceof Stumble) return 'later';
      const isLost = error instanceof LockLostError || error instanceof LockTimeoutError;
      if (!isLost && !isPassing(error)) throw error;
      say({ met: error.code });
      return 'later';
    }
  });
});

/** What a worker's own code may throw. */
class Stumble extends Error {}

const aStart = ({ restaurantId }: Ref) => ({
  configVersion: dice.pick(['v1', 'v1', 'v2']),
  besideUnanswered: happens(0.1),
  settleWithinMs: settleWithinMs(restaurantId),
  correlationId: randomUUID(),
});

/** As "Process a request in a worker" has it. */
async function inOneCall(shards: Shards, ref: Ref): Promise<End> {
  const { authRequestId } = ref;
  let answer: ProcessorAnswer | undefined;
  const result = await shards.run(ref.restaurantId, ({ requests }) =>
    requests.attempt({ ...ref, ...aStart(ref), ttlMs: TTL_MS }, async (attempt, signal) => {
      // Without its correlation id, which what is recorded of an error has as well.
      say({ did: 'start', authRequestId, status: attempt.status, how: attempt.outcome });
      answer = await answerOf(attempt, authRequestId, signal);
      if (happens(0.03)) throw new Stumble();
      return answer;
    }),
  );
  // What was thrown is a failure by now, and its retry waits.
  if (!answer || result.outcome === 'nothing_to_do' || 'error' in result) return 'done';
  sayRecorded(authRequestId, answer, result);
  return endOf(answer);
}

/** By the single calls, each made again by itself; under a lease that moves with its request. */
async function stepByStep(shards: Shards, lease: Lease, signal: AbortSignal): Promise<End> {
  const { authRequestId } = lease;
  const start = { ...aStart(lease), eventId: randomUUID() };
  const attempt = await insistAt(shards, lease, ({ requests }) => requests.startAttempt(lease, start), TRIES);
  if (attempt.outcome === 'nothing_to_do') return 'done';
  const { correlationId } = start;
  say({ did: 'start', authRequestId, status: attempt.status, correlationId, how: attempt.outcome });
  const answer = await answerOf(attempt, authRequestId, signal);
  const record = ({ requests }: Shard): Promise<RecordedResult | RecordedFailure> => {
    if (answer.outcome === 'authorized') return requests.recordAuthorized(lease, answer);
    if (answer.outcome === 'denied') return requests.recordDenied(lease, answer);
    return requests.recordFailure(lease, answer);
  };
  const recorded = await insistAt(shards, lease, record, TRIES);
  sayRecorded(authRequestId, answer, recorded);
  return endOf(answer);
}

function sayRecorded(
  authRequestId: string,
  answer: ProcessorAnswer,
  recorded: Pick<RecordedResult, 'status'> & Partial<RecordedResult>,
): void {
  const { status, replayed, voidQueued } = recorded;
  const told = { authRequestId, status, ...(!replayed && { correlationId: answer.correlationId! }) };
  if (answer.outcome === 'denied') return say({ did: 'denied', ...told });
  if (answer.outcome !== 'authorized') return say({ did: 'failed', ...told, how: answer.outcome });
  const { processorAuthId } = answer;
  say({ did: 'authorized', processorAuthId, ...told, ...(voidQueued && { how: 'to be released' }) });
}

/** At times it rejects the message all the same, though the retry is in the outbox. */
const endOf = (answer: ProcessorAnswer): End =>
  'retryable' in answer && answer.retryable && (answer.retryBy === 'broker' || happens(0.1)) ? 'later' : 'done';

/** Asks, and says what came of it. */
async function answerOf(attempt: BegunAttempt, authRequestId: string, signal: AbortSignal): Promise<ProcessorAnswer> {
  const correlationId = randomUUID();
  const failed = (outcome: FailureCommand['outcome']): ProcessorAnswer => ({
    ...{ outcome, errorCode: outcome.toUpperCase(), errorMessage: '', correlationId, retryable: !happens(0.15) },
    retryBy: happens(0.2) ? 'broker' : 'outbox',
    nextRetryAt: new Date(Date.now() + dice.between(0, CALM ? 300 : 3_000)),
  });
  if (happens(0.1)) return failed('not_asked');
  // Where nobody wants the money any more, it may look instead of asking for it once more.
  const looks = attempt.outcome === 'settle' && attempt.status !== 'PROCESSING' && dice.chance(0.5);
  const answer = await askProcessor(looks ? 'inquire' : 'authorize', attempt, authRequestId, signal);
  if (!answer) return failed('unknown');
  // A worker that does not look whether it still has its lease is told when it writes.
  if (dice.chance(0.5)) signal.throwIfAborted();
  const { id, state, amountCents, currency } = answer;
  if (state === 'unused' && looks) return failed('nothing_held');
  const processorName = 'stripe';
  if (state === 'declined' || state === 'unused') {
    return { outcome: 'denied', processorName, denialCode: state, correlationId };
  }
  const yes = { processorName, processorAuthId: id, authorizedAmountCents: amountCents, currency };
  return { outcome: 'authorized', ...yes, correlationId };
}

async function askProcessor(
  what: 'inquire' | 'authorize',
  { configVersion: account, amountCents, currency }: BegunAttempt,
  key: string,
  signal: AbortSignal,
): Promise<Line | undefined> {
  const limits = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  if (happens(0.05)) await delay(dice.between(0, 2 * TTL_MS));
  return await ask<Line>(`${PROCESSOR}/${what}`, { account, key, amountCents, currency }, limits).catch(
    () => undefined,
  );
}
