import { setTimeout as sleep } from 'node:timers/promises';
import { LockLostError, LockTimeoutError, PaymentEventsDbError } from '../errors';
import { type Lease, type ProcessingLocks } from './processing-locks';

interface Hold {
  readonly ttlMs: number;
  /** From before the database was asked, of `performance.now()`. */
  readonly askedAt: number;
  readonly longestMs: number;
}

/**
 * Keeps a lease while `work` runs. A renewal that fails for a passing reason is tried again at the next tick; the signal
 * aborts when the lease is lost, when it must have expired by this process's own, steady clock, counted from before the
 * database was asked, or when the longest time is over. Then the work is left behind, and its lease to expire, since it
 * may still be asking the processor.
 */
export async function holdLease<T>(
  locks: ProcessingLocks,
  lease: Lease,
  { ttlMs, askedAt, longestMs }: Hold,
  work: (lease: Lease, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  const abort = () => lost.abort(new LockLostError(lease.authRequestId));
  const remaining = (since: number) => ttlMs - (performance.now() - since);
  let expiry = setTimeout(abort, remaining(askedAt));
  let renewal: Promise<void> = Promise.resolve();
  const renew = async () => {
    const asked = performance.now();
    try {
      await locks.renew(lease, ttlMs);
      clearTimeout(expiry);
      if (!lost.signal.aborted) expiry = setTimeout(abort, remaining(asked));
    } catch (error) {
      if (!(error instanceof PaymentEventsDbError && error.retryable)) abort();
    }
  };
  const ticks = setInterval(() => {
    renewal = renewal.then(renew);
  }, ttlMs / 3);
  const timeUp = new AbortController();
  const overdue = sleep(longestMs, undefined, { signal: timeUp.signal }).then(() => {
    const error = new LockTimeoutError(lease.authRequestId, longestMs);
    lost.abort(error);
    throw error;
  });
  overdue.catch(() => undefined);
  // What cannot be released now expires.
  const release = () => renewal.then(() => locks.release(lease)).catch(() => undefined);
  const working = Promise.resolve().then(() => work(lease, lost.signal));
  working.catch(() => undefined);
  try {
    return await Promise.race([working, overdue]);
  } finally {
    timeUp.abort();
    clearInterval(ticks);
    clearTimeout(expiry);
    if (!(lost.signal.reason instanceof LockTimeoutError)) {
      const answered = new AbortController();
      await Promise.race([release(), sleep(ttlMs / 3, undefined, { signal: answered.signal }).catch(() => undefined)]);
      answered.abort();
    }
  }
}
