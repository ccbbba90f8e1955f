import { type DataSource } from 'typeorm';
import { repeatOnce } from '../database/repeat-once';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { EventIdConflictError } from '../errors';
import { textField } from '../protobuf/append-fields';
import { type Lease } from '../locks/processing-locks';
import { newId } from '../database/new-id';
import { validateCommand } from '../validation/validate-command';
import { StartAttemptCommand } from './commands';
import { type Standing } from './read-standing';
import { LEASE, requestOf, workerValues, writeUnderLease } from './worker-write';

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
 * processor may have forgotten the key, so that asking again could authorize anew; where only legacy attempts are open,
 * which had no key, and whose age therefore does not matter. A current attempt that is open moves its version to the
 * unanswered ones.
 */
export const START_ATTEMPT = statement(
  'start_attempt',
  `WITH lease AS (${LEASE}
   ), request AS (${requestOf('NULL')}
   ), decided AS (
     SELECT *,
       CASE WHEN attempt_unanswered AND attempt_version <> ALL (unanswered_versions)
            THEN unanswered_versions || attempt_version::text ELSE unanswered_versions END AS versions_after,
       CASE
         WHEN is_open AND unanswered_since < clock_timestamp() - $9 * interval '1 millisecond' THEN NULL
         WHEN status IN ('PENDING', 'PROCESSING') AND (NOT attempt_open OR $8::boolean) THEN $7::text
         WHEN NOT attempt_open OR unanswered_since < clock_timestamp() - $9 * interval '1 millisecond' THEN NULL
         WHEN is_open THEN $7
         ELSE (SELECT version FROM unnest(unanswered_versions || CASE WHEN attempt_unanswered THEN attempt_version::text END)
               WITH ORDINALITY AS open (version, place)
               WHERE version <> '' ORDER BY version = attempt_version, place LIMIT 1)
       END AS version
     FROM request
     CROSS JOIN LATERAL (
       SELECT attempt_unanswered AND attempt_version = $7::text OR $7 = ANY (unanswered_versions) AS is_open
     ) AS given
   ), changed AS (
     UPDATE auth_request_state AS state
     SET status = CASE decided.status WHEN 'PENDING' THEN 'PROCESSING' ELSE decided.status END,
         completed_at = CASE WHEN decided.status NOT IN ('PENDING', 'PROCESSING')
                             THEN coalesce(decided.completed_at, now()) END,
         attempt = decided.last_event_sequence + 1, attempt_version = decided.version, attempt_token = $4,
         attempt_unanswered = true, unanswered_versions = decided.versions_after, attempt_open = true,
         unanswered_since = CASE WHEN array_remove(decided.versions_after, '') = '{}' THEN now()
                                 ELSE coalesce(decided.unanswered_since, now()) END,
         last_event_sequence = decided.last_event_sequence + 1, last_event_id = $10
     FROM decided
     WHERE state.auth_request_id = decided.auth_request_id AND decided.version IS NOT NULL
     RETURNING state.*, decided.version, decided.versions_after
   ), event AS (
     INSERT INTO payment_events
       (event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id)
     SELECT $10, auth_request_id, 'auth_request', 'AuthAttemptStarted', $5::bytea || ${textField(3, 'version')},
            $6::jsonb || jsonb_build_object('attempt', attempt, 'status_after', status), attempt, restaurant_id
     FROM changed
   )
   SELECT status, attempt, version, payment_token, amount_cents, currency, metadata, retry_count, versions_after FROM changed`,
);

export async function startAttempt(dataSource: DataSource, lease: Lease, input: StartAttemptCommand): Promise<Attempt> {
  const command = validateCommand(StartAttemptCommand, input);
  const { configVersion, besideUnanswered = false } = command;
  const { settleWithinMs = StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS } = command;
  const eventId = command.eventId?.toLowerCase() ?? newId();
  // The statement completes the message: it decides which version the attempt goes by.
  const event = {
    type: 'AuthAttemptStarted',
    data: {
      authRequestId: lease.authRequestId,
      workerId: lease.workerId,
      restaurantPaymentConfigVersion: '',
      startedAt: new Date(),
    },
  } as const;
  const values = [...workerValues(lease, command, event), configVersion, besideUnanswered, settleWithinMs, eventId];
  const written = await repeatOnce(() =>
    writeUnderLease<StartedRow, Attempt>(dataSource, START_ATTEMPT, values, (standing, idTaken) =>
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
