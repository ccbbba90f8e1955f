import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { text } from '../database/columns';
import { rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthRequestStatusError } from '../errors';
import { appendEvent, eventOf } from '../event-store/append-event';
import { type LeaseRef } from '../locks/lease';
import { messageHeaders, messageOf } from '../outbox/queue-message';
import { TextMap } from '../validation/json-rules';
import { Text } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { IS_OUTDATED, queueVoids, TO_BE_VOIDED, unneededHolds, unneededIn, voidMessage } from './holds/write-holds';
import { lastOwnAttempt, type Standing } from './read-standing';
import { type RecordedResult, resultOf } from './recorded-result';
import { type AuthRequestStatus } from './statuses';
import {
  ATTEMPTS_AFTER,
  eventIdOf,
  type LeaseAfter,
  RecordCommand,
  REQUEST,
  versionsAfter,
  workerColumns,
  workerInput,
  workerWrite,
  writeUnderLease,
} from './worker-write';

/** The processor has said no. */
export class DeniedCommand extends RecordCommand {
  @Text(1, 50)
  processorName: string;

  @FreeText()
  @IsOptional()
  @Text(0, 50)
  denialCode?: string;

  @FreeText()
  @IsOptional()
  @Text(0, 1000)
  denialReason?: string;

  /** Kept in the event. Nothing personal, no card data. */
  @FreeText()
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/**
 * A settled request keeps its status and its row; the event says what the processor answered, and closes the attempt. What
 * the processor has told of by itself meanwhile is voided, since nobody will use it.
 */
const RECORD_DENIED = workerWrite({
  name: 'record_denied',
  input: {
    ...workerColumns,
    reported_name: text,
    reported_code: text,
    reported_reason: text,
    event: eventOf('AuthResponseReceived'),
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ status: AuthRequestStatus; last_event_sequence: number; is_outdated: boolean }>(),
  sql: (input, lease) => `
    WITH lease AS (${lease.held}
    ), request AS (${REQUEST}
    ), seen AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated FROM request
    ), decided AS (
      SELECT *, own_open AS closes_attempt, ${versionsAfter('own IS NOT NULL')}, status = 'PROCESSING' AS decides,
        ${eventIdOf('said', 'fencing_token', `'DENIED'`, 'reported_name', 'reported_code')} AS new_event_id
      FROM seen WHERE NOT is_outdated AND status <> 'PENDING'
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = CASE WHEN decides THEN 'DENIED' ELSE decided.status END,
          processor_name = CASE WHEN decides THEN reported_name ELSE decided.processor_name END,
          denial_code = CASE WHEN decides THEN reported_code ELSE decided.denial_code END,
          denial_reason = CASE WHEN decides THEN reported_reason ELSE decided.denial_reason END,
          completed_at = coalesce(decided.completed_at, now()), ${ATTEMPTS_AFTER},
          last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
      FROM decided
      WHERE state.auth_request_id = decided.auth_request_id
        AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
      RETURNING state.*, own, decides
    ), unneeded AS (${unneededHolds('decides')}
    ), event AS (${appendEvent(input, {
      metadata: `jsonb_strip_nulls(jsonb_build_object('attempt', own, 'status_after', status, ${unneededIn()}))`,
    })}
    ), message AS (${queueVoids(input, { holds: TO_BE_VOIDED })}
    )${lease.release}
    SELECT status, last_event_sequence, false AS is_outdated FROM changed
    UNION ALL SELECT status, last_event_sequence, true FROM seen WHERE is_outdated`,
});

export async function recordDenied(
  session: Session,
  lease: LeaseRef,
  input: DeniedCommand,
  after: LeaseAfter = 'kept',
): Promise<RecordedResult> {
  const command = screenReport(session.dataSource, 'recordDenied', validateCommand({ DeniedCommand }, input));
  const { authRequestId } = lease;
  const { processorName, denialCode = '', denialReason = '' } = command;
  const answer = {
    void_message: voidMessage(authRequestId, lease.restaurantId, 'denied'),
    headers: command.headers,
    ...workerInput(lease, command),
    reported_name: processorName,
    reported_code: denialCode,
    reported_reason: denialReason,
    event: {
      authRequestId,
      status: 'DENIED',
      result: {
        processorAuthId: '',
        processorName,
        authorizedAmountCents: 0,
        currency: '',
        authorizationCode: '',
        authorizedAt: undefined,
        denialCode,
        denialReason,
        processorMetadata: command.processorMetadata ?? {},
        holdExpiresAt: undefined,
      },
      receivedAt: new Date(),
    },
  } as const;
  const repeated = (standing: Standing) => recordedBefore(standing, command.attempt, processorName, denialCode);
  const written = await writeUnderLease(session, lease, RECORD_DENIED[after], answer, repeated, after);
  if (written.row) {
    const { status, last_event_sequence: lastEventSequence } = written.row;
    return { status, lastEventSequence, replayed: false, voidQueued: false };
  }
  if (written.repeat) return written.repeat;
  throw new AuthRequestStatusError(authRequestId, written.standing.status!, 'recordDenied');
}

/** What the same denial of the same attempt came to before. */
function recordedBefore(
  standing: Standing,
  attempt: number | undefined,
  processorName: string,
  denialCode: string,
): RecordedResult | undefined {
  const begun = attempt ?? lastOwnAttempt(standing) ?? 0;
  const recorded = standing.events.find(
    ({ type, data, own, sequenceNumber }) =>
      own &&
      type === 'AuthResponseReceived' &&
      data.status === 'DENIED' &&
      sequenceNumber > begun &&
      data.result?.processorName === processorName &&
      data.result.denialCode === denialCode,
  );
  return recorded && resultOf(recorded);
}
