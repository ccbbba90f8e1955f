import { IsIn, IsOptional } from 'class-validator';
import { screenReport } from '../card-numbers/screen';
import { type Session } from '../database/session';
import { AuthorizationConflictError, AuthorizationMismatchError } from '../errors';
import { validWork } from '../locks/hold-lease';
import { type LeaseRef, wantedLease } from '../locks/lease';
import { Flag, LONGEST_AGE_MS, Text, WholeNumber } from '../validation/rules';
import { type Named } from '../validation/named';
import { validateCommand } from '../validation/validate-command';
import { reportHold } from './holds/report-hold';
import { askUnderLease, commandOf, LeasedCommand } from './leased-work';
import { type RequestRef } from './queries';
import { AuthorizedCommand, recordAuthorized } from './record-authorized';
import { DeniedCommand, recordDenied } from './record-denied';
import { FailureCommand, type RecordedFailure, recordFailure } from './record-failure';
import { type RecordedResult } from './recorded-result';
import { type RecordCommand } from './worker-write';
import { beginAttempt, type BegunAttempt, type NothingToDo } from './start-attempt';

/** A worker is to ask the processor about a request, if there is anything to ask. */
export class AttemptCommand extends LeasedCommand {
  /** The version of the restaurant's configuration that the attempt is to go by. */
  @Text(1, 50)
  configVersion: string;

  /** As of `StartAttemptCommand`. Default false. */
  @IsOptional()
  @Flag()
  besideUnanswered?: boolean;

  /** As of `StartAttemptCommand`, in milliseconds: 0 to a hundred years. Default 24 hours. */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;
}

/**
 * What the processor said, or why it said nothing. Each may carry `correlationId`, `causationId` and `headers` of its own;
 * default: those of the command.
 *
 * - `authorized`, `denied`: yes, no.
 * - `not_asked`: this attempt did not reach it. `unknown`: it may have authorized, as after a time-out. `nothing_held`:
 *   asked again under the same key, it says that it holds nothing.
 */
export type ProcessorAnswer =
  | ({ readonly outcome: 'authorized' } & Omit<AuthorizedCommand, 'attempt'>)
  | ({ readonly outcome: 'denied' } & Omit<DeniedCommand, 'attempt'>)
  | Omit<FailureCommand, 'attempt'>;

/**
 * What the call came to: what was recorded, with the outcome that the answer said, or that there was nothing to do. `error` is
 * what was thrown instead of an answer, or says what is wrong with the answer; the failure is recorded for it.
 */
export type AttemptResult =
  | ({ readonly outcome: 'authorized' | 'denied' } & RecordedResult)
  | ({ readonly outcome: FailureCommand['outcome']; readonly error?: unknown } & RecordedFailure)
  | NothingToDo;

/** Asks the processor. The signal aborts when the lease is lost or the time is over: stop asking then. */
export type AskProcessor = (attempt: BegunAttempt & RequestRef, signal: AbortSignal) => Promise<ProcessorAnswer>;

/** That much is looked at first: it says which command the rest is. */
class AnswerToAttempt {
  @IsIn(['authorized', 'denied', 'not_asked', 'unknown', 'nothing_held'])
  outcome: ProcessorAnswer['outcome'];
}

export async function attempt(session: Session, input: AttemptCommand, ask: AskProcessor): Promise<AttemptResult> {
  const command = screenReport(session.dataSource, 'attempt', validateCommand({ AttemptCommand }, input));
  validWork(ask);
  const lease = wantedLease(command);
  const { authRequestId, restaurantId } = lease;
  const askedAt = performance.now();
  const begun = await beginAttempt(session, lease, command);
  if (begun.outcome === 'nothing_to_do') return begun;
  return await askUnderLease(
    session,
    lease,
    { ...command, askedAt },
    {
      ask: async (signal) => await ask({ ...begun, authRequestId, restaurantId }, signal),
      async record(answer) {
        const { outcome } = validateCommand({ AnswerToAttempt }, answer);
        const as = <T extends RecordCommand>(named: Named<T>) =>
          commandOf<RecordCommand>(named, answer, command, { attempt: begun.attempt }) as T;
        switch (outcome) {
          case 'authorized':
            return { outcome, ...(await recordAuthorized(session, lease, as({ AuthorizedCommand }), 'released')) };
          case 'denied':
            return { outcome, ...(await recordDenied(session, lease, as({ DeniedCommand }), 'released')) };
          case 'not_asked':
          case 'unknown':
          case 'nothing_held':
            return { outcome, ...(await recordFailure(session, lease, as({ FailureCommand }), 'released')) };
        }
      },
      async fail(failure, error, answer) {
        if (answer && error instanceof AuthorizationMismatchError)
          await keep(session, lease, answer as AuthorizedCommand);
        // The same question has the same answer: what was refused is refused again.
        const isForGood = error instanceof AuthorizationMismatchError || error instanceof AuthorizationConflictError;
        const unknown = { ...failure, retryable: !isForGood, outcome: 'unknown' };
        const recorded = commandOf({ FailureCommand }, unknown, command, { attempt: begun.attempt });
        return { outcome: 'unknown', ...(await recordFailure(session, lease, recorded, 'released')), error };
      },
    },
  );
}

/** An authorization that is no answer to the request is money all the same: as a hold it is seen to. */
async function keep(session: Session, { authRequestId, restaurantId }: LeaseRef, answer: AuthorizedCommand) {
  const { processorName, processorAuthId, authorizedAmountCents: amountCents, currency, holdExpiresAt } = answer;
  const hold = { authRequestId, restaurantId, processorName, processorAuthId, amountCents, currency, holdExpiresAt };
  await reportHold(session, { ...hold, told: 'authorized', source: 'worker', sourceEventId: processorAuthId });
}
