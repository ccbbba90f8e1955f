import { IsIn, IsOptional, ValidateIf } from 'class-validator';
import { screenReport } from '../../card-numbers/screen';
import { bigint, orNull, text, timestamptz, uuid } from '../../database/columns';
import { operation, rowsOf } from '../../database/operation';
import { type Session } from '../../database/session';
import { AuthRequestNotFoundError } from '../../errors';
import { appendEvent, eventMetadata, eventOf } from '../../event-store/append-event';
import { messageHeaders, messageOf } from '../../outbox/queue-message';
import { Currency, Instant, Text, Uuid, WholeNumber } from '../../validation/rules';
import { validateCommand } from '../../validation/validate-command';
import { TracedCommand } from '../traced-command';
import { eventIdOf } from '../worker-write';
import { SQL } from '../statuses';
import { findOrPlace, keptUnder } from './find-hold';
import { HOLD_ENDS, type HoldEndState, type HoldState } from './states';
import { IS_OUTDATED, isMeant, mayUse, queueVoids, voidMessage, wholeSeconds } from './write-holds';

/** A processor tells by itself about an authorization: a webhook, a line of a report. */
export class ReportHoldCommand extends TracedCommand {
  /** The request, where the processor was given it as a reference. Then the hold need not be known yet. */
  @IsOptional()
  @Uuid()
  authRequestId?: string;

  /** Where the processor's id alone stands for several requests. */
  @IsOptional()
  @Uuid()
  restaurantId?: string;

  @Text(1, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @Text(1, 255)
  processorAuthId: string;

  /** What it says: that it holds the money, or how the hold ended. */
  @IsIn(['authorized', ...HOLD_ENDS])
  told: 'authorized' | HoldEndState;

  /** Who says so, such as `stripe`. */
  @Text(1, 100)
  source: string;

  /** The id that the message has there. The same one again, for the same hold and saying the same, has no further effect. */
  @Text(1, 255)
  sourceEventId: string;

  /**
   * What is held, captured, voided or given up, in the currency's minor unit: 1 to 2^53 − 1. Needed where it is `authorized`; of
   * an end the default is: not said.
   */
  @ValidateIf(({ told, amountCents }: ReportHoldCommand) => told === 'authorized' || amountCents != null)
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  amountCents?: number;

  /** Default: the request's. */
  @IsOptional()
  @Currency()
  currency?: string;

  /** When, by the processor's clock, of the years 1970 to 9999. Default: now. */
  @IsOptional()
  @Instant()
  at?: Date;

  /** Until when the processor holds the money, of the years 1970 to 9999. Default: not said. */
  @IsOptional()
  @Instant()
  holdExpiresAt?: Date;
}

/** What a report came to. */
export interface ReportedHold {
  readonly authRequestId: string;
  readonly restaurantId: string;
  /** Where the hold stands now: what counts for more stays, whatever comes later. */
  readonly state: HoldState;
  /** The same was told before: nothing was written. */
  readonly replayed: boolean;
  /** Nobody needs the hold: a message went out that has a worker void it. */
  readonly voidQueued: boolean;
}

interface ReportedRow {
  readonly state: HoldState;
  readonly is_written: boolean;
  readonly void_queued: boolean;
  readonly is_outdated: boolean;
}

/** The columns of `input` that say which hold a report is about, and what it says. */
const reportColumns = {
  auth_request_id: uuid,
  restaurant_id: uuid,
  hold_name: text,
  hold_id: text,
  source: text,
  source_event_id: text,
  told_cents: orNull(bigint),
  told_currency: orNull(text),
  told_at: timestamptz,
  event_metadata: eventMetadata,
} as const;

/**
 * SQL: the parts of a report before it writes. The request's row, as its newest version is; the hold, as the snapshot has it,
 * which is right where the snapshot is not outdated; and the event's id, made of what makes the report the same as another.
 *
 * A hold that nobody knew of is needed where the request has no answer yet, or is AUTHORIZED by it.
 */
const beforeReport = (told: string) => `
    request AS (
      SELECT input.*, status, processor_name, processor_auth_id, last_event_sequence
      FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
      FOR UPDATE OF state
    ), seen AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated,
        ${eventIdOf(`'REPORTED'`, 'hold_name', 'hold_id', 'source', 'source_event_id', told)} AS new_event_id
      FROM request
    ), before AS (
      SELECT seen.*, state_before,
        EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id) AS is_told,
        coalesce(was_needed, ${mayUse('seen', 'hold_id')}) AS needs_it
      FROM seen
      LEFT JOIN LATERAL (
        SELECT state AS state_before, is_needed AS was_needed FROM auth_holds AS hold
        WHERE ${isMeant('seen')}
      ) AS hold ON true
      WHERE NOT is_outdated
    ), changed AS (
      UPDATE auth_request_state AS state
      SET last_event_sequence = before.last_event_sequence + 1, last_event_id = new_event_id
      FROM before
      WHERE state.auth_request_id = before.auth_request_id AND NOT is_told
      RETURNING state.auth_request_id, state.restaurant_id, state.status, state.currency, state.last_event_sequence,
                new_event_id, needs_it, state_before
    )`;

const AFTER_REPORT = `
    SELECT coalesce(hold.state, state_before) AS state, NOT is_told AS is_written,
           coalesce(hold.state = 'voiding' AND state_before IS NULL, false) AS void_queued, false AS is_outdated
    FROM before LEFT JOIN (SELECT auth_request_id, state FROM hold) AS hold USING (auth_request_id)
    UNION ALL SELECT NULL, false, false, true FROM seen WHERE is_outdated`;

const HOLD_METADATA = `jsonb_build_object('hold_state', hold.state, 'hold_needed', hold.is_needed)`;
const WITH_HOLD = `changed JOIN input USING (auth_request_id, restaurant_id)
         JOIN (SELECT auth_request_id, state, is_needed FROM hold) AS hold USING (auth_request_id)`;

/**
 * The processor says that it holds the money. That moves no request: its worker will be answered. A hold that is known keeps
 * its state, also where this says nothing new; one that no request needs is voided.
 */
const REPORT_AUTHORIZED = operation({
  name: 'report_authorized',
  input: {
    ...reportColumns,
    told_expiry: orNull(timestamptz),
    event: eventOf('AuthHoldReported'),
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<ReportedRow>(),
  sql: (input) => `
    WITH ${beforeReport(`'authorized'`)}, hold AS (
      INSERT INTO auth_holds AS hold
        (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at,
         hold_expires_at, state, is_needed, is_answered, first_event_sequence, last_event_sequence)
      SELECT auth_request_id, restaurant_id, hold_name, hold_id, told_cents,
             coalesce(told_currency, currency), told_at, told_expiry, CASE WHEN needs_it THEN 'held' ELSE 'voiding' END, needs_it,
             false, last_event_sequence, last_event_sequence
      FROM changed JOIN input USING (auth_request_id, restaurant_id)
      ON CONFLICT (auth_request_id, processor_name, processor_auth_id) DO UPDATE
        SET amount_cents = CASE WHEN hold.is_answered THEN hold.amount_cents ELSE excluded.amount_cents END,
            currency = CASE WHEN hold.is_answered THEN hold.currency ELSE excluded.currency END,
            authorized_at = CASE WHEN hold.is_answered THEN hold.authorized_at ELSE excluded.authorized_at END,
            hold_expires_at = coalesce(excluded.hold_expires_at, hold.hold_expires_at),
            last_event_sequence = excluded.last_event_sequence
      RETURNING hold.*
    ), event AS (${appendEvent(input, { from: WITH_HOLD, id: 'new_event_id', metadata: HOLD_METADATA })}
    ), message AS (${queueVoids(input, {
      holds: `(SELECT hold.* FROM hold JOIN changed USING (auth_request_id) WHERE state_before IS NULL AND state = 'voiding') AS hold`,
      reason: `CASE WHEN status IN (${SQL.closed}) THEN 'reported_too_late' ELSE 'not_needed' END`,
    })}
    )
    ${AFTER_REPORT}`,
});

/** SQL: what a state counts for: what has not ended nothing. */
const rankOf = (state: string) =>
  `coalesce(array_position('{${HOLD_ENDS.toReversed().join(',')}}'::text[], ${state}::text), 0)`;

/** SQL: the end that is told counts for more than what is known of the hold. */
const COUNTS_MORE = `${rankOf('excluded.state')} > ${rankOf('hold.state')}`;

/** SQL: a capture that is known was of a larger amount. */
const TELLS_MORE = `(hold.state = 'captured' AND excluded.state = 'captured'
              AND excluded.ended_amount_cents > coalesce(hold.ended_amount_cents, 0))`;

/**
 * The processor, or a person, says how a hold ended. Ranked captured, voided, lapsed: what counts for more wins, whatever was told before,
 * and what counts for less is kept as an event alone. "What ended is final" would lose captures that come late. Of several
 * captures the largest amount stays, since processors report the sum so far. A person who has seen to a hold has not seen to
 * what the processor tells later: then it is listed again.
 */
export const REPORT_END = operation({
  name: 'report_hold_end',
  input: {
    ...reportColumns,
    told: text,
    closing_person: orNull(text),
    event: eventOf('AuthHoldEnded'),
  },
  output: rowsOf<ReportedRow>(),
  sql: (input) => `
    WITH ${beforeReport('told')}, hold AS (
      INSERT INTO auth_holds AS hold
        (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at,
         state, is_needed, is_answered, ended_amount_cents, ended_by, first_event_sequence, last_event_sequence)
      SELECT auth_request_id, restaurant_id, hold_name, hold_id, coalesce(told_cents, 0), coalesce(told_currency, currency),
             told_at, told, needs_it, false, told_cents, source, last_event_sequence, last_event_sequence
      FROM changed JOIN input USING (auth_request_id, restaurant_id)
      ON CONFLICT (auth_request_id, processor_name, processor_auth_id) DO UPDATE
        SET state = CASE WHEN ${COUNTS_MORE} THEN excluded.state ELSE hold.state END,
            ended_by = CASE WHEN ${COUNTS_MORE} THEN excluded.ended_by ELSE hold.ended_by END,
            ended_amount_cents = CASE WHEN ${COUNTS_MORE} OR ${TELLS_MORE} THEN excluded.ended_amount_cents
                                      ELSE hold.ended_amount_cents END,
            closed_by = coalesce(CASE WHEN ${COUNTS_MORE} OR ${TELLS_MORE} THEN NULL ELSE hold.closed_by END,
                                 CASE WHEN NOT hold.is_needed THEN (SELECT closing_person FROM input) END),
            last_event_sequence = excluded.last_event_sequence
      RETURNING hold.*
    ), event AS (${appendEvent(input, {
      from: WITH_HOLD,
      id: 'new_event_id',
      metadata: `${HOLD_METADATA} || jsonb_strip_nulls(jsonb_build_object('closed_by', CASE WHEN NOT hold.is_needed THEN closing_person END))`,
    })}
    )
    ${AFTER_REPORT}`,
});

/** How a hold ended, as its event says. */
export const END_NAMES = { captured: 'CAPTURED', voided: 'VOIDED', lapsed: 'LAPSED' } as const;

export async function reportHold(session: Session, input: ReportHoldCommand): Promise<ReportedHold> {
  const command = screenReport(session.dataSource, 'report', validateCommand({ ReportHoldCommand }, input));
  const { processorName, processorAuthId, told, source, sourceEventId, amountCents, currency = '' } = command;
  const { correlationId, causationId, headers, holdExpiresAt } = command;
  const found = await findOrPlace(session, command);
  const [authRequestId, restaurantId] = [found.auth_request_id, found.restaurant_id];
  const now = new Date();
  const at = command.at ?? now;
  const report = {
    ...{ auth_request_id: authRequestId, restaurant_id: restaurantId },
    ...{ hold_name: found.processor_name, hold_id: processorAuthId, source, source_event_id: sourceEventId },
    ...{ told_cents: amountCents ?? null, told_currency: currency || null, told_at: wholeSeconds(at) },
    event_metadata: { correlationId, causationId, ...keptUnder(found, processorName) },
  };
  const said = {
    ...{ authRequestId, processorName, processorAuthId, amountCents: amountCents ?? 0, currency },
    ...{ source, sourceEventId, reportedAt: now },
  };
  const row = await (told === 'authorized'
    ? session.newest(REPORT_AUTHORIZED, {
        ...report,
        told_expiry: holdExpiresAt ? wholeSeconds(holdExpiresAt) : null,
        event: { ...said, authorizedAt: at, holdExpiresAt },
        void_message: voidMessage(authRequestId, restaurantId, ''),
        headers,
      })
    : session.newest(REPORT_END, {
        ...report,
        ...{ told, closing_person: null },
        event: { ...said, end: END_NAMES[told], endedAt: at, reason: '' },
      }));
  if (!row) throw new AuthRequestNotFoundError(authRequestId);
  return { authRequestId, restaurantId, state: row.state, replayed: !row.is_written, voidQueued: row.void_queued };
}
