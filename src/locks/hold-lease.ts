import { LockLostError, PaymentEventsDbError } from '../errors';
import { type Lease, type ProcessingLocks } from './processing-locks';

/**
 * Keeps a lease while `work` runs. A renewal that fails for a passing reason is tried again at the next tick; the signal
 * aborts when the lease is lost, or when it must have expired by this process's own, steady clock, counted from before the
 * database was asked (`askedAt`, of `performance.now()`).
 */
export async function holdLease<T>(
  locks: ProcessingLocks,
  lease: Lease,
  { ttlMs, askedAt }: { ttlMs: number; askedAt: number },
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
      expiry = setTimeout(abort, remaining(asked));
    } catch (error) {
      if (!(error instanceof PaymentEventsDbError && error.retryable)) abort();
    }
  };
  const ticks = setInterval(() => {
    renewal = renewal.then(renew);
  }, ttlMs / 3);
  try {
    return await work(lease, lost.signal);
  } finally {
    clearInterval(ticks);
    await renewal;
    clearTimeout(expiry);
    // What cannot be released now expires.
    await locks.release(lease).catch(() => undefined);
  }
}
