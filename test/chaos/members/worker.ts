import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type FailureCommand } from '../../../src/auth-requests/record-failure';
import { type RecordedResult } from '../../../src/auth-requests/recorded-result';
import { type Attempt } from '../../../src/auth-requests/start-attempt';
import { LockLostError, LockTimeoutError } from '../../../src/errors';
import { decodeOutboxMessage } from '../../../src/outbox/message-codec';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { ask } from '../http';
import { say } from '../journal';
import { type Line } from '../ledger';
import { consume } from './consume';
import { ANSWER_MS, CALM, dice, happens, insist, isPassing, PROCESSOR, work } from './member';
import { settleWithinMs } from './restaurants';

const TTL_MS = CALM ? 30_000 : 6_000;
/** How often a write is made again under its lease before the message is left for the next worker. */
const TRIES = 4;
type Begun = Exclude<Attempt, { outcome: 'nothing_to_do' }>;

void work(6, async (dataSource) => {
  const requests = new AuthRequests(dataSource);
  const locks = new ProcessingLocks(dataSource);
  await consume('auth_request_queued', async (delivery) => {
    // A message that is lost: the sweeper sends another.
    if (happens(0.03)) return 'done';
    const { data } = decodeOutboxMessage(delivery.messageType, Buffer.from(delivery.payload, 'base64'));
    const { restaurantId, authRequestId } = data;
    try {
      return await locks.withLock({ restaurantId, authRequestId, ttlMs: TTL_MS }, (lease, signal) =>
        process(requests, lease, signal),
      );
    } catch (error) {
      const isLost = error instanceof LockLostError || error instanceof LockTimeoutError;
      if (!isLost && !isPassing(error)) throw error;
      say({ met: error.code });
      return 'later';
    }
  });
});

/** As "Process a request in a worker" has it. */
async function process(requests: AuthRequests, lease: Lease, signal: AbortSignal): Promise<'done' | 'later'> {
  const { authRequestId, restaurantId } = lease;
  const correlationId = randomUUID();
  const start = {
    configVersion: dice.pick(['v1', 'v1', 'v2']),
    besideUnanswered: happens(0.1),
    settleWithinMs: settleWithinMs(restaurantId),
    eventId: randomUUID(),
    correlationId,
  };
  const attempt = await insist(() => requests.startAttempt(lease, start), TRIES);
  if (attempt.outcome === 'nothing_to_do') return 'done';
  say({ did: 'start', authRequestId, status: attempt.status, correlationId, how: attempt.outcome });

  const fail = async (outcome: FailureCommand['outcome']) => {
    const retryable = !happens(0.15);
    const retryBy = happens(0.2) ? 'broker' : 'outbox';
    const failure = {
      errorCode: outcome.toUpperCase(),
      errorMessage: '',
      retryable,
      retryBy,
      nextRetryAt: new Date(Date.now() + dice.between(0, CALM ? 300 : 3_000)),
      outcome,
      correlationId: randomUUID(),
    } as const;
    const { status } = await insist(() => requests.recordFailure(lease, failure), TRIES);
    say({ did: 'failed', authRequestId, status, correlationId: failure.correlationId, how: outcome });
    // At times it rejects the message all the same, though the retry is in the outbox.
    return retryable && (retryBy === 'broker' || happens(0.1)) ? 'later' : 'done';
  };
  if (happens(0.1)) return await fail('not_asked');
  // Where nobody wants the money any more, it may look instead of asking for it once more.
  const looks = attempt.outcome === 'settle' && attempt.status !== 'PROCESSING' && dice.chance(0.5);
  const answer = await askProcessor(looks ? 'inquire' : 'authorize', attempt, authRequestId, signal);
  if (!answer) return await fail('unknown');
  // A worker that does not look whether it still has its lease is told when it writes.
  if (dice.chance(0.5)) signal.throwIfAborted();
  if (answer.state === 'unused' && looks) return await fail('nothing_held');
  await record(requests, lease, answer);
  return 'done';
}

async function askProcessor(
  what: 'inquire' | 'authorize',
  { configVersion: account, amountCents, currency }: Begun,
  key: string,
  signal: AbortSignal,
): Promise<Line | undefined> {
  const limits = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  if (happens(0.05)) await delay(dice.between(0, 2 * TTL_MS));
  return await ask<Line>(`${PROCESSOR}/${what}`, { account, key, amountCents, currency }, limits).catch(
    () => undefined,
  );
}

async function record(requests: AuthRequests, lease: Lease, { id, state, amountCents, currency }: Line): Promise<void> {
  const { authRequestId } = lease;
  const processorName = 'stripe';
  const correlationId = randomUUID();
  const told = ({ status, replayed }: RecordedResult) => ({
    ...{ authRequestId, status },
    ...(!replayed && { correlationId }),
  });
  if (state === 'declined' || state === 'unused') {
    const denial = { processorName, denialCode: state, correlationId };
    return say({ did: 'denied', ...told(await insist(() => requests.recordDenied(lease, denial), TRIES)) });
  }
  const yes = { processorName, processorAuthId: id, authorizedAmountCents: amountCents, currency, correlationId };
  const recorded = await insist(() => requests.recordAuthorized(lease, yes), TRIES);
  say({
    did: 'authorized',
    processorAuthId: id,
    ...told(recorded),
    ...(recorded.voidQueued && { how: 'to be released' }),
  });
}
