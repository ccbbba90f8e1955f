import { IsOptional } from 'class-validator';
import { boolean, float8, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { type Session } from '../database/session';
import { EventIdConflictError } from '../errors';
import { appendEvent, eventOf } from '../event-store/append-event';
import { type Lease } from '../locks/lease';
import { textField } from '../protobuf/append-fields';
import { Flag, LONGEST_AGE_MS, Text, Uuid, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { type Standing } from './read-standing';
import { type AuthRequestStatus, SQL } from './statuses';
import { TracedCommand } from './traced-command';
import { LEASE, REQUEST, workerColumns, workerInput, writeUnderLease } from './worker-write';

/** A worker is about to ask the processor. */
export class StartAttemptCommand extends TracedCommand {
  /** The least that Stripe keeps a key (Stripe API reference, "Idempotent requests"). */
  static readonly DEFAULT_SETTLE_WITHIN_MS = 86_400_000;

  /** The version of the restaurant's configuration that the attempt is to go by. */
  @Text(1, 50)
  configVersion: string;

  /**
   * Go by that version although an attempt under another one was never answered, so that two processors may hold the
   * money; the other one stays listed as unsettled. Default false: then `startAttempt` says to settle the other first.
   */
  @IsOptional()
  @Flag()
  besideUnanswered?: boolean;

  /**
   * For how long the processor remembers an idempotency key, in milliseconds: 0 to a hundred years. What has been unanswered for longer is not
   * asked again, which could authorize a second time. Default 24 hours.
   */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;

  /** Of the event. Calls under one lease that carry the same one are one call, repeated. Default: a new one. */
  @IsOptional()
  @Uuid()
  eventId?: string;
}

/** What a worker is to do. */
export type Attempt =
  | {
      /**
       * `proceed`: ask the processor. `settle`: an earlier attempt was never answered; ask again, under its
       * configuration version and the same processor idempotency key (the authRequestId), and record the answer.
       */
      readonly outcome: 'proceed' | 'settle';
      readonly status: AuthRequestStatus;
      /** The version to ask under. Where it settles it may be another than the one that was given. */
      readonly configVersion: string;
      /** The number of the event that began this attempt. */
      readonly attempt: number;
      readonly paymentToken: string;
      readonly amountCents: number;
      readonly currency: string;
      readonly metadata: Record<string, unknown>;
      /** Attempts that have failed and were to be tried again. */
      readonly retryCount: number;
      /** The versions under which earlier attempts are open; an empty one stands for attempts of legacy services. */
      readonly unansweredVersions: readonly string[];
    }
  | {
      /** Nothing was written: acknowledge the message. */
      readonly outcome: 'nothing_to_do';
      readonly status: AuthRequestStatus;
      /** There where an attempt was never answered and nobody can be asked: `listUnsettled` has it, for a person. */
      readonly attemptOpen?: true;
    };

interface StartedRow {
  status: AuthRequestStatus;
  attempt: number;
  version: string;
  payment_token: string;
  amount_cents: string;
  currency: string;
  metadata: Record<string, unknown> | null;
  retry_count: number;
  versions_after: string[];
}

/**
 * `decided` chooses the version on the locked row. The one that was given: where nothing is open, where it is open itself,
 * or where the caller said so. Else one that is open, another than the last that was asked if there is one, so that a
 * processor that is down keeps nobody from the others. None: where the request is settled and nothing is open; where the
 * processor may have forgotten the key, so that asking again could authorize a second time; where only legacy attempts are open,
 * which had no key, and whose age therefore does not matter. A current attempt that is open moves its version to the
 * unanswered ones.
 */
const START_ATTEMPT = operation({
  name: 'start_attempt',
  input: {
    ...workerColumns,
    config_version: text,
    beside_unanswered: boolean,
    settle_within_ms: float8,
    event_id: uuid,
    event: eventOf('AuthAttemptStarted'),
  },
  output: rowsOf<StartedRow>(),
  sql: (input) => `
    WITH lease AS (${LEASE}
    ), request AS (${REQUEST}
    ), decided AS (
      SELECT *,
        CASE WHEN attempt_unanswered AND attempt_version <> ALL (unanswered_versions)
             THEN unanswered_versions || attempt_version::text ELSE unanswered_versions END AS versions_after,
        CASE
          WHEN is_open AND is_forgotten THEN NULL
          WHEN status IN (${SQL.open}) AND (NOT attempt_open OR beside_unanswered) THEN config_version
          WHEN NOT attempt_open OR is_forgotten THEN NULL
          WHEN is_open THEN config_version
          ELSE (SELECT version FROM unnest(unanswered_versions || CASE WHEN attempt_unanswered THEN attempt_version::text END)
                WITH ORDINALITY AS open (version, place)
                WHERE version <> '' ORDER BY version = attempt_version, place LIMIT 1)
        END AS version
      FROM request
      CROSS JOIN LATERAL (
        SELECT attempt_unanswered AND attempt_version = config_version OR config_version = ANY (unanswered_versions) AS is_open,
               unanswered_since < clock_timestamp() - settle_within_ms * interval '1 millisecond' AS is_forgotten
      ) AS given
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = CASE decided.status WHEN 'PENDING' THEN 'PROCESSING' ELSE decided.status END,
          completed_at = CASE WHEN decided.status NOT IN (${SQL.open}) THEN coalesce(decided.completed_at, now()) END,
          attempt = decided.last_event_sequence + 1, attempt_version = version, attempt_token = fencing_token,
          attempt_unanswered = true, unanswered_versions = versions_after, attempt_open = true,
          unanswered_since = CASE WHEN array_remove(versions_after, '') = '{}' THEN now()
                                  ELSE coalesce(decided.unanswered_since, now()) END,
          last_event_sequence = decided.last_event_sequence + 1, last_event_id = event_id
      FROM decided
      WHERE state.auth_request_id = decided.auth_request_id AND version IS NOT NULL
      RETURNING state.*, version, versions_after
    ), event AS (${appendEvent(input, {
      fields: textField(3, 'version'),
      metadata: `jsonb_build_object('attempt', attempt, 'status_after', status)`,
    })}
    )
    SELECT status, attempt, version, payment_token, amount_cents, currency, metadata, retry_count, versions_after
    FROM changed`,
});

export async function startAttempt(session: Session, lease: Lease, input: StartAttemptCommand): Promise<Attempt> {
  const command = validateCommand(StartAttemptCommand, input);
  const { configVersion, besideUnanswered = false } = command;
  const { settleWithinMs = StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS } = command;
  const { authRequestId, workerId } = lease;
  const eventId = command.eventId?.toLowerCase() ?? newId();
  const start = {
    ...workerInput(lease, command),
    config_version: configVersion,
    beside_unanswered: besideUnanswered,
    settle_within_ms: settleWithinMs,
    event_id: eventId,
    // The statement completes the message: it decides which version the attempt goes by.
    event: { authRequestId, workerId, restaurantPaymentConfigVersion: '', startedAt: new Date() },
  };
  const written = await repeatOnce(() =>
    writeUnderLease(session, lease, START_ATTEMPT, start, (standing, idTaken) =>
      startedBefore(standing, eventId, configVersion, idTaken),
    ),
  );
  if (written.row) return started(written.row, configVersion);
  if (written.repeat) return written.repeat;
  const { status, attemptOpen } = written.standing;
  return { outcome: 'nothing_to_do', status: status!, ...(attemptOpen && { attemptOpen }) };
}

const started = (row: StartedRow, configVersion: string): Attempt => ({
  outcome: outcomeOf(row.status, row.version, configVersion),
  status: row.status,
  configVersion: row.version,
  attempt: row.attempt,
  paymentToken: row.payment_token,
  amountCents: Number(row.amount_cents),
  currency: row.currency,
  metadata: row.metadata ?? {},
  retryCount: row.retry_count,
  unansweredVersions: row.versions_after,
});

const outcomeOf = (status: AuthRequestStatus, version: string, asked: string) =>
  status === 'PROCESSING' && version === asked ? 'proceed' : 'settle';

/**
 * What the first call of that event id was told, as long as its attempt is the current one and open: then whatever comes of
 * asking again is an answer to it. Else the lease decides, and where it is held there is nothing left to do.
 */
function startedBefore(standing: Standing, eventId: string, asked: string, idTaken: boolean): Attempt | undefined {
  const event = standing.events.find((each) => each.eventId === eventId);
  if (event?.type !== 'AuthAttemptStarted' || !event.own) {
    if (idTaken) throw new EventIdConflictError(eventId);
    return undefined;
  }
  if (standing.attempt !== event.sequenceNumber || !standing.attemptUnanswered) return undefined;
  const { paymentToken, amountCents, currency, metadata, retryCount, unansweredVersions } = standing;
  const status = event.metadata.status_after as AuthRequestStatus;
  const configVersion = event.data.restaurantPaymentConfigVersion;
  const outcome = outcomeOf(status, configVersion, asked);
  const { sequenceNumber: attempt } = event;
  const request = { paymentToken, amountCents, currency, metadata, retryCount, unansweredVersions };
  return { outcome, status, configVersion, attempt, ...request };
}
