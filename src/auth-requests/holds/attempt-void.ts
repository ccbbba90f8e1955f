import { IsIn, IsOptional } from 'class-validator';
import { screenReport } from '../../card-numbers/screen';
import { type Session } from '../../database/session';
import { validWork } from '../../locks/hold-lease';
import { wantedLease } from '../../locks/lease';
import { releaseLease } from '../../locks/lease-writes';
import { Text } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { askUnderLease, commandOf, LeasedCommand } from '../leased-work';
import { type RequestRef } from '../queries';
import { type RecordedVoidFailure, recordVoidFailure, VoidFailureCommand } from './record-void-failure';
import { type RecordedVoid, recordVoided, VoidedCommand } from './record-voided';
import { type ReportedHold, reportHold, ReportHoldCommand } from './report-hold';
import { beginVoid, type HoldToVoid, type NothingToVoid } from './to-void';

/** A worker is to have the processor void a hold, if that is still to be voided. */
export class AttemptVoidCommand extends LeasedCommand {
  /** `processorName` of the message. Default, as messages of earlier versions have it: the hold that the request names. */
  @IsOptional()
  @Text(0, 50)
  processorName?: string;

  /** `processorAuthId` of the message. Default: the one that the request names. */
  @IsOptional()
  @Text(0, 255)
  processorAuthId?: string;
}

/**
 * What the processor said, or why it said nothing. Each may carry `correlationId`, `causationId` and `headers` of its own;
 * default: those of the command.
 *
 * - `voided`: now or before.
 * - `failed`: no answer, or no. With `retryable: false` the hold is `void_failed`, and a person has to see to it.
 * - `captured`, `lapsed`: how it has ended instead, which counts as a report of the processor. Say `processorName` where the
 *   hold has none, as legacy ones have.
 */
export type VoidAnswer =
  | ({ readonly outcome: 'voided' } & Omit<VoidedCommand, 'processorName' | 'processorAuthId'>)
  | ({ readonly outcome: 'failed' } & Omit<VoidFailureCommand, 'processorName' | 'processorAuthId'>)
  | ({ readonly outcome: 'captured' | 'lapsed'; readonly processorName?: string } & Pick<
      ReportHoldCommand,
      'amountCents' | 'currency' | 'at' | 'correlationId' | 'causationId' | 'headers'
    >);

/**
 * What the call came to: what was recorded, with the outcome that the answer said, or that there was nothing to do. `error` is
 * what was thrown instead of an answer, or says what is wrong with the answer; the failure is recorded for it.
 */
export type AttemptVoidResult =
  | ({ readonly outcome: 'voided' } & RecordedVoid)
  | ({ readonly outcome: 'failed'; readonly error?: unknown } & RecordedVoidFailure)
  | ({ readonly outcome: 'captured' | 'lapsed' } & ReportedHold)
  | NothingToVoid;

/** Has the processor void it. The signal aborts when the lease is lost or the time is over: stop asking then. */
export type VoidAtProcessor = (hold: HoldToVoid & RequestRef, signal: AbortSignal) => Promise<VoidAnswer>;

/** That much is looked at first: it says which command the rest is. */
class AnswerToVoid {
  @IsIn(['voided', 'failed', 'captured', 'lapsed'])
  outcome: VoidAnswer['outcome'];
}

export async function attemptVoid(
  session: Session,
  input: AttemptVoidCommand,
  ask: VoidAtProcessor,
): Promise<AttemptVoidResult> {
  const command = screenReport(session.dataSource, 'attemptVoid', validateCommand({ AttemptVoidCommand }, input));
  validWork(ask);
  const lease = wantedLease(command);
  const { authRequestId, restaurantId } = lease;
  const askedAt = performance.now();
  const hold = await beginVoid(session, lease, command);
  if (hold.outcome === 'nothing_to_do') return hold;
  const { processorName, processorAuthId } = hold;
  const named = { processorName, processorAuthId };
  return await askUnderLease(
    session,
    lease,
    { ...command, askedAt },
    {
      ask: async (signal) => await ask({ ...hold, authRequestId, restaurantId }, signal),
      async record(answer) {
        const { outcome } = validateCommand({ AnswerToVoid }, answer);
        switch (outcome) {
          case 'voided': {
            const voided = commandOf({ VoidedCommand }, answer, command, named);
            return { outcome, ...(await recordVoided(session, lease, voided, 'released')) };
          }
          case 'failed': {
            const failed = commandOf({ VoidFailureCommand }, answer, command, named);
            return { outcome, ...(await recordVoidFailure(session, lease, failed, 'released')) };
          }
          case 'captured':
          case 'lapsed': {
            const source = { source: 'worker', sourceEventId: `${lease.fencingToken}` };
            const whose = { processorAuthId, ...(processorName && { processorName }), authRequestId, restaurantId };
            const told = { ...whose, told: outcome, ...source };
            const reported = await reportHold(session, commandOf({ ReportHoldCommand }, answer, command, told));
            await releaseLease(session, lease);
            return { outcome, ...reported };
          }
        }
      },
      async fail(failure, error) {
        const failed = commandOf({ VoidFailureCommand }, { ...failure, retryable: true }, command, named);
        return { outcome: 'failed', ...(await recordVoidFailure(session, lease, failed, 'released')), error };
      },
    },
  );
}
