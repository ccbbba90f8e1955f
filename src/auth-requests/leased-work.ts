import { setTimeout as sleep } from 'node:timers/promises';
import { IsIn, IsOptional } from 'class-validator';
import { type Session } from '../database/session';
import {
  DatabaseTimeoutError,
  DatabaseUnavailableError,
  LockLostError,
  PaymentEventsDbError,
  TransactionConflictError,
} from '../errors';
import { holdLease } from '../locks/hold-lease';
import { type LeaseRef } from '../locks/lease';
import { HoldOptions } from '../locks/processing-locks';
import { type Named } from '../validation/named';
import { Text, Uuid, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { TracedCommand } from './traced-command';

/** A request to be worked on under a lease, which the call takes, renews and gives back. */
export abstract class LeasedCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  /** Unlike that of any other worker. Default: host, process id and a UUID, the same for the whole process. */
  @IsOptional()
  @Text(1, 255)
  workerId?: string;

  /** Until others may take over, in milliseconds: 100 to 24 hours. Longer than the processor may take to answer. */
  @WholeNumber(100, 86_400_000)
  ttlMs: number;

  /**
   * Who brings the next message after a failure to be retried: as of `FailureCommand`. For what is thrown, and for answers that
   * do not say. Default `outbox`.
   */
  @IsOptional()
  @IsIn(['outbox', 'broker'])
  retryBy?: 'outbox' | 'broker';

  /** How long it may take in all, in milliseconds: 1 to 24 hours. Default 15 minutes. */
  @IsOptional()
  @WholeNumber(1, 86_400_000)
  longestMs?: number;
}

/**
 * An answer as the command that records it. What it does not say itself is as the call has it; what is fixed is not its to say.
 *
 * @throws InvalidCommandError
 */
export const commandOf = <T extends TracedCommand>(
  named: Named<T>,
  answer: object,
  { correlationId, causationId, headers, retryBy }: TracedCommand & { readonly retryBy?: 'outbox' | 'broker' },
  fixed: Partial<T>,
): T => ({
  correlationId,
  causationId,
  headers,
  ...(retryBy && { retryBy }),
  // Of an answer that is an instance of a class, by its getters as well.
  ...validateCommand(named, Object.create(answer, Object.getOwnPropertyDescriptors(fixed)) as T),
});

/** A failure as it is recorded. */
interface Failure {
  readonly errorCode: string;
  readonly errorMessage: string;
}

interface Asking<Answer, Result> {
  /** Asks the processor. */
  readonly ask: (signal: AbortSignal) => Promise<Answer>;
  /** Records what it said, and gives the lease back with it. */
  readonly record: (answer: Answer) => Promise<Result>;
  /** Records that it was not heard, or that what it said was refused with an error, and gives the lease back with it. */
  readonly fail: (failure: Failure, error: unknown, answer: Answer | undefined) => Promise<Result>;
}

/**
 * Asks a processor under a lease and records what came of it: the answer, or what was thrown instead of it. The lease is
 * given back by what records, and by nothing else. Rejects where nothing was recorded, or nobody knows: who has the message
 * delivered again after a failure that is recorded, and whose retry waits, would have the processor asked twice.
 */
export async function askUnderLease<Answer, Result>(
  session: Session,
  lease: LeaseRef,
  { ttlMs, longestMs = HoldOptions.DEFAULT_LONGEST_MS, askedAt }: LeasedCommand & { readonly askedAt: number },
  { ask, record, fail }: Asking<Answer, Result>,
): Promise<Result> {
  return await holdLease(session, lease, { ttlMs, askedAt, longestMs }, async (signal) => {
    const failed = (error: unknown, answer?: Answer): Promise<Result> => {
      // Whose time is over has been told that nothing was recorded: the message is delivered again, and no retry is to wait.
      if (signal.aborted) throw error;
      return insist(signal, () => fail(failureOf(error), error, answer)).catch(() => {
        // Where that cannot be recorded either, the attempt stays open, and its lease expires.
        throw error;
      });
    };
    let answer: Answer;
    try {
      answer = await ask(signal);
    } catch (error) {
      return await failed(error);
    }
    return await insist(signal, () => record(answer)).catch((error: unknown) => {
      if (isPassing(error) || error instanceof LockLostError) throw error;
      return failed(error, answer);
    });
  });
}

/** What the same call may overcome a moment later. */
const isPassing = (error: unknown): boolean =>
  error instanceof DatabaseUnavailableError ||
  error instanceof DatabaseTimeoutError ||
  error instanceof TransactionConflictError;

const FIRST_PAUSE_MS = 20;
const LONGEST_PAUSE_MS = 1_000;

/**
 * What is said of money is not given up for a connection that broke, or a server that is being replaced: it is said again for
 * as long as the lease is held. Each write knows its own earlier run.
 */
async function insist<T>(signal: AbortSignal, write: () => Promise<T>): Promise<T> {
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await write();
    } catch (error) {
      if (!isPassing(error) || signal.aborted) throw error;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

/** For the event, which is kept for good: the message of somebody else's error may quote a token or a customer. */
function failureOf(error: unknown): Failure {
  if (error instanceof PaymentEventsDbError) {
    return { errorCode: error.code, errorMessage: error.message.slice(0, 1_000) };
  }
  return { errorCode: 'WORKER_ERROR', errorMessage: nameOf(error) };
}

function nameOf(error: unknown): string {
  if (!(error instanceof Error)) return typeof error;
  try {
    const name: unknown = error.name;
    return typeof name === 'string' && /^[\w$.]{1,100}$/.test(name) ? name : 'Error';
  } catch {
    return 'Error';
  }
}
