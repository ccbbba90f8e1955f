import { IsOptional } from 'class-validator';
import { FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { bigint, orNull, text, timestamptz } from '../database/columns';
import { rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { AuthorizationConflictError, AuthorizationMismatchError, AuthRequestStatusError } from '../errors';
import { appendEvent, CHANGED, eventOf } from '../event-store/append-event';
import { type LeaseRef } from '../locks/lease';
import { messageHeaders, messageOf } from '../outbox/queue-message';
import { TextMap } from '../validation/json-rules';
import { Currency, Instant, Text, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { IS_OUTDATED, queueVoids, unneededIn, voidMessage, wholeSeconds } from './holds/write-holds';
import { type Standing } from './read-standing';
import { type RecordedResult, resultOf } from './recorded-result';
import { type AuthRequestStatus, SQL } from './statuses';
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

/** The processor has said yes. */
export class AuthorizedCommand extends RecordCommand {
  @Text(1, 50)
  processorName: string;

  /** The processor's own id of the authorization. */
  @Text(1, 255)
  processorAuthId: string;

  /** At most what was asked for; 1 to 2^53 − 1. */
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  authorizedAmountCents: number;

  /** The one that was asked for. */
  @Currency()
  currency: string;

  @FreeText()
  @IsOptional()
  @Text(0, 100)
  authorizationCode?: string;

  /** By the processor's clock, of the years 1970 to 9999. Default: now. */
  @IsOptional()
  @Instant()
  authorizedAt?: Date;

  /** Until when the processor holds the money, of the years 1970 to 9999. Default: not known. */
  @IsOptional()
  @Instant()
  holdExpiresAt?: Date;

  /** Kept in the event. Nothing personal, no card data. */
  @FreeText()
  @IsOptional()
  @TextMap()
  processorMetadata?: Record<string, string>;
}

/**
 * An authorization is told from others by the processor's name and its id: it is a hold. From the one that an AUTHORIZED request
 * names it is told by the id alone, since voiding that one for a name that another client spelled in another way would be
 * worse. One that a worker has recorded before (`known`) is no second one: its event is written only where it answers an
 * attempt that is open, and no message. One that only the processor has told of takes the worker's amount, and keeps what
 * became of it meanwhile: an answer reopens nothing. One that nobody needs, since the request is settled, goes to the
 * outbox to be voided; so does what else the request held, once it is AUTHORIZED by this one.
 *
 * Holds are read in this statement's snapshot, which has them all where it is not outdated: see {@link IS_OUTDATED}. What the same
 * lease writes at the same time has the same event id.
 */
const RECORD_AUTHORIZED = workerWrite({
  name: 'record_authorized',
  input: {
    ...workerColumns,
    reported_name: text,
    reported_id: text,
    reported_cents: bigint,
    reported_currency: text,
    reported_code: text,
    reported_at: timestamptz,
    reported_expiry: orNull(timestamptz),
    event: eventOf('AuthResponseReceived'),
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{
    status: AuthRequestStatus;
    last_event_sequence: number;
    void_queued: boolean;
    is_outdated: boolean;
  }>(),
  sql: (input, lease) => `
    WITH lease AS (${lease.held}
    ), request AS (${REQUEST}
    ), meant AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated, is_named OR status = 'PROCESSING' OR status = 'AUTHORIZED' AND processor_auth_id IS NULL AS needs_it,
             CASE WHEN is_named AND coalesce(processor_name, '') = '' THEN '' ELSE reported_name END AS hold_name
      FROM (SELECT *, status = 'AUTHORIZED' AND coalesce(processor_auth_id = reported_id, false) AS is_named FROM request) AS request
    ), holds AS MATERIALIZED (
      SELECT hold.* FROM auth_holds AS hold JOIN meant USING (auth_request_id)
    ), decided AS (
      SELECT *, own_open AS closes_attempt, ${versionsAfter('own IS NOT NULL')},
        ${eventIdOf('said', 'fencing_token', `'AUTHORIZED'`, 'reported_name', 'reported_id')} AS new_event_id,
        status = 'PROCESSING' OR processor_auth_id IS NULL AS names_it, is_named OR coalesce(was_answered, false) AS known,
        (NOT is_named OR coalesce(processor_name, '') IN ('', reported_name) AND authorized_amount_cents = reported_cents)
          AND (NOT coalesce(was_answered, false) OR cents_before = reported_cents) AS same,
        CASE WHEN coalesce(state_before, 'held') <> 'held' THEN state_before
             WHEN needs_it THEN 'held' ELSE 'voiding' END AS state_after
      FROM meant
      LEFT JOIN (
        SELECT processor_name AS hold_name, processor_auth_id AS reported_id, state AS state_before,
               is_answered AS was_answered, is_needed AS was_needed, amount_cents AS cents_before
        FROM holds
      ) AS before USING (hold_name, reported_id)
      WHERE NOT is_outdated AND status <> 'PENDING' AND amount_cents >= reported_cents AND currency = reported_currency
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = CASE decided.status WHEN 'PROCESSING' THEN 'AUTHORIZED' ELSE decided.status END,
          processor_name = CASE WHEN names_it THEN reported_name ELSE decided.processor_name END,
          processor_auth_id = CASE WHEN names_it THEN reported_id ELSE decided.processor_auth_id END,
          authorized_amount_cents = CASE WHEN names_it THEN reported_cents ELSE decided.authorized_amount_cents END,
          authorization_code = CASE WHEN names_it THEN reported_code ELSE decided.authorization_code END,
          completed_at = coalesce(decided.completed_at, now()), ${ATTEMPTS_AFTER},
          last_event_sequence = decided.last_event_sequence + 1, last_event_id = new_event_id
      FROM decided
      WHERE state.auth_request_id = decided.auth_request_id
        AND same AND (NOT known OR own_open)
        AND NOT EXISTS (SELECT FROM payment_events WHERE event_id = new_event_id)
      RETURNING state.*, own, hold_name, state_after, needs_it AND coalesce(was_needed, true) AS needed_after,
        state_after = 'voiding' AND state_before IS DISTINCT FROM 'voiding' AS void_queued,
        decided.status = 'PROCESSING' AS decides,
        CASE WHEN own IS NOT NULL THEN nullif(decided.attempt_version, '') END AS hold_version
    ), unneeded AS (
      SELECT holds.* FROM holds JOIN changed USING (auth_request_id)
      WHERE decides AND holds.is_needed AND holds.processor_auth_id <> changed.processor_auth_id
    ), hold AS (
      INSERT INTO auth_holds AS hold
        (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, config_version,
         authorized_at, hold_expires_at, state, is_needed, is_answered, first_event_sequence, last_event_sequence)
      SELECT auth_request_id, restaurant_id, hold_name, reported_id, reported_cents, reported_currency, hold_version,
             reported_at, reported_expiry, state_after, needed_after, true, last_event_sequence, last_event_sequence
      FROM ${CHANGED}
      UNION ALL
      SELECT auth_request_id, unneeded.restaurant_id, unneeded.processor_name, unneeded.processor_auth_id,
             unneeded.amount_cents, unneeded.currency, config_version, authorized_at, hold_expires_at,
             CASE state WHEN 'held' THEN 'voiding' ELSE state END, false, is_answered, first_event_sequence,
             changed.last_event_sequence
      FROM unneeded JOIN changed USING (auth_request_id)
      ON CONFLICT (auth_request_id, processor_name, processor_auth_id) DO UPDATE
        SET amount_cents = CASE WHEN hold.is_answered THEN hold.amount_cents ELSE excluded.amount_cents END,
            currency = CASE WHEN hold.is_answered THEN hold.currency ELSE excluded.currency END,
            authorized_at = CASE WHEN hold.is_answered THEN hold.authorized_at ELSE excluded.authorized_at END,
            config_version = coalesce(hold.config_version, excluded.config_version),
            hold_expires_at = coalesce(excluded.hold_expires_at, hold.hold_expires_at),
            state = excluded.state, is_needed = excluded.is_needed, is_answered = excluded.is_answered,
            last_event_sequence = excluded.last_event_sequence
    ), event AS (${appendEvent(input, {
      metadata: `jsonb_strip_nulls(jsonb_build_object('attempt', own, 'status_after', status,
           'void_queued', void_queued, 'hold_state', state_after, 'hold_needed', needed_after,
           'hold_name', CASE WHEN hold_name <> reported_name THEN hold_name END, 'config_version', hold_version,
           ${unneededIn()}))`,
    })}
    ), message AS (${queueVoids(input, {
      holds: `(
            SELECT auth_request_id, hold_name AS processor_name, reported_id AS processor_auth_id,
                   reported_cents AS amount_cents, reported_currency AS currency
            FROM ${CHANGED} WHERE void_queued
            UNION ALL
            SELECT auth_request_id, processor_name, processor_auth_id, amount_cents, currency
            FROM unneeded WHERE state = 'held') AS hold`,
      reason: `CASE WHEN status IN (${SQL.closed}) THEN 'voided_during_authorization' ELSE 'not_needed' END`,
    })}
    )${lease.release}
    SELECT status, last_event_sequence, void_queued, false AS is_outdated FROM changed
    UNION ALL SELECT status, last_event_sequence, false, true FROM meant WHERE is_outdated`,
});

export async function recordAuthorized(
  session: Session,
  lease: LeaseRef,
  input: AuthorizedCommand,
  after: LeaseAfter = 'kept',
): Promise<RecordedResult> {
  const command = screenReport(session.dataSource, 'recordAuthorized', validateCommand({ AuthorizedCommand }, input));
  const { authRequestId, restaurantId } = lease;
  const { processorName, processorAuthId, authorizedAmountCents, currency, authorizationCode = '' } = command;
  const now = new Date();
  // What tells it from other authorizations of the request, for the database to compare.
  const identity = {
    processor_name: processorName,
    processor_auth_id: processorAuthId,
    authorized_amount_cents: authorizedAmountCents,
  };
  const answer = {
    ...workerInput(lease, command, identity),
    reported_name: processorName,
    reported_id: processorAuthId,
    reported_cents: authorizedAmountCents,
    reported_currency: currency,
    reported_code: authorizationCode,
    reported_at: wholeSeconds(command.authorizedAt ?? now),
    reported_expiry: command.holdExpiresAt ? wholeSeconds(command.holdExpiresAt) : null,
    event: {
      authRequestId,
      status: 'AUTHORIZED',
      result: {
        processorAuthId,
        processorName,
        authorizedAmountCents,
        currency,
        authorizationCode,
        authorizedAt: command.authorizedAt ?? now,
        denialCode: '',
        denialReason: '',
        processorMetadata: command.processorMetadata ?? {},
        holdExpiresAt: command.holdExpiresAt,
      },
      receivedAt: now,
    },
    void_message: voidMessage(authRequestId, restaurantId, ''),
    headers: command.headers,
  } as const;
  const repeated = (standing: Standing) => recordedBefore(standing, authRequestId, command);
  const written = await writeUnderLease(session, lease, RECORD_AUTHORIZED[after], answer, repeated, after);
  if (written.row) {
    const { status, last_event_sequence: lastEventSequence, void_queued: voidQueued } = written.row;
    return { status, lastEventSequence, replayed: false, voidQueued };
  }
  if (written.repeat) return written.repeat;
  const { standing } = written;
  if (standing.currency !== currency || standing.amountCents < authorizedAmountCents) {
    throw new AuthorizationMismatchError(authRequestId);
  }
  throw new AuthRequestStatusError(authRequestId, standing.status!, 'recordAuthorized');
}

/**
 * What the same authorization came to before: under this lease, or, for the worker that holds the lease now, under any.
 *
 * @throws AuthorizationConflictError it was another amount then
 */
function recordedBefore(
  standing: Standing,
  authRequestId: string,
  { processorName, processorAuthId, authorizedAmountCents, currency }: AuthorizedCommand,
): RecordedResult | undefined {
  if (standing.currency !== currency) return undefined;
  const byRow = { lastEventSequence: standing.lastEventSequence, replayed: true, voidQueued: false };
  const isNamed = standing.held && standing.status === 'AUTHORIZED' && standing.processorAuthId === processorAuthId;
  if (isNamed) {
    const isSame = !standing.processorName || standing.processorName === processorName;
    if (!isSame || standing.authorizedAmountCents !== authorizedAmountCents) {
      throw new AuthorizationConflictError(authRequestId);
    }
  }
  for (const event of standing.events) {
    if (event.type !== 'AuthResponseReceived' || event.data.status !== 'AUTHORIZED') continue;
    if (!event.own && !standing.held) continue;
    const { result } = event.data;
    if (result?.processorAuthId !== processorAuthId || result.processorName !== processorName) continue;
    if (result.authorizedAmountCents !== authorizedAmountCents) throw new AuthorizationConflictError(authRequestId);
    // A legacy service's event does not say what it came to: the row does.
    return resultOf(event) ?? { ...byRow, status: standing.status! };
  }
  // The row of another client, which wrote no event that says so.
  return isNamed ? { ...byRow, status: 'AUTHORIZED' } : undefined;
}
