import { IsIn, IsOptional } from 'class-validator';
import { FreeText } from '../../card-numbers/free-fields';
import { screenReport } from '../../card-numbers/screen';
import { type Session } from '../../database/session';
import { AuthRequestNotFoundError, HoldNotFoundError } from '../../errors';
import { Text, WholeNumber } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { HoldCommand } from './hold-command';
import { findHold, keptUnder } from './find-hold';
import { END_NAMES, REPORT_END } from './report-hold';
import { HOLD_ENDS, type HoldEndState, type HoldState } from './states';
import { wholeSeconds } from './write-holds';

/** A person has found out how a hold ended. */
export class RecordEndCommand extends HoldCommand {
  /** How, as the processor shows it. What was captured stays `captured`, whatever is said here. */
  @IsIn(HOLD_ENDS)
  end: HoldEndState;

  /** What was captured, voided or given up, in the currency's minor unit: 1 to 2^53 − 1. Default: not said. */
  @IsOptional()
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  amountCents?: number;

  /** Who says so: a name of your staff's system. It stays in the event for good, so nothing personal. */
  @FreeText()
  @Text(1, 255)
  by: string;

  /** What was found and done, such as `refunded as re_3Oq`. */
  @FreeText()
  @Text(1, 1000)
  reason: string;
}

export async function recordEnd(session: Session, input: RecordEndCommand): Promise<{ readonly state: HoldState }> {
  const command = screenReport(session.dataSource, 'recordEnd', validateCommand({ RecordEndCommand }, input));
  const { processorName, processorAuthId, end, amountCents, by, reason, correlationId, causationId } = command;
  const found = await findHold(session, command);
  if (!found) throw new HoldNotFoundError(processorName, processorAuthId);
  const [authRequestId, restaurantId] = [found.auth_request_id, found.restaurant_id];
  const now = new Date();
  const row = await session.newest(REPORT_END, {
    ...{ auth_request_id: authRequestId, restaurant_id: restaurantId },
    ...{ hold_name: found.processor_name, hold_id: processorAuthId, source: by },
    // What is said again in other words is said again.
    source_event_id: `${amountCents ?? ''} ${reason}`,
    ...{
      told: end,
      told_cents: amountCents ?? null,
      told_currency: null,
      told_at: wholeSeconds(now),
      closing_person: by,
    },
    event_metadata: { correlationId, causationId, ...keptUnder(found, processorName) },
    event: {
      ...{
        authRequestId,
        processorName,
        processorAuthId,
        end: END_NAMES[end],
        amountCents: amountCents ?? 0,
        currency: '',
      },
      ...{ source: by, sourceEventId: '', endedAt: now, reportedAt: now, reason },
    },
  });
  if (!row) throw new AuthRequestNotFoundError(authRequestId);
  return { state: row.state };
}
