import { type Session } from '../database/session';
import { LockLostError, LockTimeoutError, PaymentEventsDbError } from '../errors';
import { Callable } from '../validation/option-rules';
import { validateCommand } from '../validation/validate-command';
import { type LeaseRef } from './lease';
import { renewLease } from './lease-writes';

/** What to do under a lease. */
class Work {
  @Callable()
  work: unknown;
}

/** @throws InvalidCommandError it is no function */
export const validWork = (work: unknown): void => void validateCommand({ Work }, { work });

interface Hold {
  readonly ttlMs: number;
  /** From before the database was asked, of `performance.now()`. */
  readonly askedAt: number;
  readonly longestMs: number;
  /** Gives the lease back in the end. Default: the work does so. */
  readonly giveBack?: () => Promise<unknown>;
}

/**
 * Keeps a lease while `work` runs. A renewal that fails for a passing reason is tried again at the next tick; the signal
 * aborts when the lease is lost, when it must have expired by this process's own, steady clock, counted from before the
 * database was asked, or when the longest time is over. Then the work is left behind, and its lease to expire, since it
 * may still be asking the processor.
 */
export async function holdLease<T>(
  session: Session,
  lease: LeaseRef,
  { ttlMs, askedAt, longestMs, giveBack = () => Promise.resolve() }: Hold,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const lost = new AbortController();
  const abort = () => lost.abort(new LockLostError(lease.authRequestId));
  const remaining = (since: number) => ttlMs - (performance.now() - since);
  let expiry = setTimeout(abort, remaining(askedAt));
  let renewal: Promise<void> = Promise.resolve();
  const renew = async () => {
    const asked = performance.now();
    try {
      await renewLease(session, lease, ttlMs);
      clearTimeout(expiry);
      if (!lost.signal.aborted) expiry = setTimeout(abort, remaining(asked));
    } catch (error) {
      if (!(error instanceof PaymentEventsDbError && error.retryable)) abort();
    }
  };
  const ticks = setInterval(() => {
    renewal = renewal.then(renew);
  }, ttlMs / 3);
  let timeUp: NodeJS.Timeout | undefined;
  const overdue = new Promise<never>((_, reject) => {
    timeUp = setTimeout(() => {
      const error = new LockTimeoutError(lease.authRequestId, longestMs);
      lost.abort(error);
      reject(error);
    }, longestMs);
  });
  const working = Promise.resolve().then(() => work(lost.signal));
  working.catch(() => undefined);
  try {
    return await Promise.race([working, overdue]);
  } finally {
    clearTimeout(timeUp);
    clearInterval(ticks);
    clearTimeout(expiry);
    // What cannot be given back now expires.
    if (!(lost.signal.reason instanceof LockTimeoutError)) await atMost(ttlMs / 3, renewal.then(giveBack));
  }
}

/** Waits until something has ended, however it did, and no longer than so many milliseconds. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([work.catch(() => undefined), over]);
  clearTimeout(timer);
}
