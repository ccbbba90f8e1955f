import { IsOptional } from 'class-validator';
import { screenReport } from '../card-numbers/screen';
import { boolean, type Columns, float8, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { repeatOnce } from '../database/repeat';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, EventIdConflictError, LockHeldError } from '../errors';
import { appendEvent, eventOf } from '../event-store/append-event';
import { type LeaseRef } from '../locks/lease';
import { releaseLease, takeLease } from '../locks/lease-writes';
import { textField } from '../protobuf/append-fields';
import { Flag, LONGEST_AGE_MS, Text, Uuid, WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { readStanding, type Standing } from './read-standing';
import { type AuthRequestStatus, isOpen, SQL } from './statuses';
import { TracedCommand } from './traced-command';
import { LEASE, REQUEST, workerColumns, workerInput, writeOnce, writeUnderLease } from './worker-write';

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

/** An attempt that was begun: the processor is to be asked. */
export interface BegunAttempt {
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

/** No attempt was begun: acknowledge the message. */
export interface NothingToDo {
  readonly outcome: 'nothing_to_do';
  readonly status: AuthRequestStatus;
  /** There where an attempt was never answered and nobody can be asked: `listUnsettled` has it, for a person. */
  readonly attemptOpen?: true;
}

/** What a worker is to do. */
export type Attempt = BegunAttempt | NothingToDo;

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
const startUnder = <const C extends Columns>({ name, input, lease }: { name: string; input: C; lease: string }) =>
  operation({
    name,
    input: {
      ...workerColumns,
      ...input,
      config_version: text,
      beside_unanswered: boolean,
      settle_within_ms: float8,
      event_id: uuid,
      event: eventOf('AuthAttemptStarted'),
    },
    output: rowsOf<StartedRow>(),
    sql: (columns) => `
    WITH lease AS (${lease}
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
    ), event AS (${appendEvent(columns, {
      fields: textField(3, 'version'),
      metadata: `jsonb_build_object('attempt', attempt, 'status_after', status)`,
    })}
    )
    SELECT status, attempt, version, payment_token, amount_cents, currency, metadata, retry_count, versions_after
    FROM changed`,
  });

const START_ATTEMPT = startUnder({ name: 'start_attempt', input: {}, lease: LEASE });

/**
 * Takes the lease and begins the attempt. The lease is taken before the request's row is touched, as in every write of a worker;
 * which of the two comes first is not the snapshot's to decide. It only spares a lease, where the request is settled and
 * nothing is open: what is so stays so.
 */
const BEGIN_ATTEMPT = startUnder({
  name: 'begin_attempt',
  input: { ttl_ms: float8 },
  lease: takeLease(`EXISTS (SELECT FROM auth_request_state AS seen
                  WHERE seen.auth_request_id = input.auth_request_id AND seen.restaurant_id = input.restaurant_id
                    AND (seen.status IN (${SQL.open}) OR seen.attempt_open))`),
});

const startInput = (lease: LeaseRef, command: StartAttemptCommand, eventId: string) => ({
  ...workerInput(lease, command),
  config_version: command.configVersion,
  beside_unanswered: command.besideUnanswered ?? false,
  settle_within_ms: command.settleWithinMs ?? StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS,
  event_id: eventId,
  event: {
    ...{ authRequestId: lease.authRequestId, workerId: lease.workerId, startedAt: new Date() },
    // The statement completes the message: it decides which version the attempt goes by.
    restaurantPaymentConfigVersion: '',
  },
});

export async function startAttempt(session: Session, lease: LeaseRef, input: StartAttemptCommand): Promise<Attempt> {
  const command = screenReport(session.dataSource, 'startAttempt', validateCommand({ StartAttemptCommand }, input));
  const { configVersion } = command;
  const eventId = command.eventId?.toLowerCase() ?? newId();
  const start = startInput(lease, command, eventId);
  const written = await repeatOnce(() =>
    writeUnderLease(session, lease, START_ATTEMPT, start, (standing, idTaken) =>
      startedBefore(standing, eventId, configVersion, idTaken),
    ),
  );
  if (written.row) return started(written.row, configVersion);
  return written.repeat ?? nothingToDo(written.standing.status!, written.standing);
}

/**
 * Takes a lease that nobody else has had, and begins an attempt under it. Where there is nothing to do, the lease is not
 * kept: it was not taken, or is released by a statement of its own, since no statement deletes a row that it has made.
 *
 * @throws LockHeldError, AuthRequestNotFoundError
 */
export async function beginAttempt(
  session: Session,
  lease: LeaseRef,
  command: StartAttemptCommand & { readonly ttlMs: number },
): Promise<Attempt> {
  const { configVersion, ttlMs } = command;
  const { authRequestId } = lease;
  const eventId = newId();
  const begin = { ...startInput(lease, command, eventId), ttl_ms: ttlMs };
  return await repeatOnce(async () => {
    const { row, idTaken } = await writeOnce(session, BEGIN_ATTEMPT, begin);
    if (row) return started(row, configVersion);
    const standing = await readStanding(session, lease);
    const { held, status, attemptOpen } = standing;
    // The first call's answer was lost. Where its lease is as well, somebody else asks.
    const repeat = held ? startedBefore(standing, eventId, configVersion, idTaken) : undefined;
    if (repeat) return repeat;
    if (held) await releaseLease(session, lease);
    if (status === null) throw new AuthRequestNotFoundError(authRequestId);
    if (!held && (isOpen(status) || attemptOpen)) throw new LockHeldError(authRequestId);
    return nothingToDo(status, standing);
  });
}

const nothingToDo = (status: AuthRequestStatus, { attemptOpen }: Standing): NothingToDo => ({
  outcome: 'nothing_to_do',
  status,
  ...(attemptOpen && { attemptOpen }),
});

const started = (row: StartedRow, configVersion: string): BegunAttempt => ({
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
function startedBefore(standing: Standing, eventId: string, asked: string, idTaken: boolean): BegunAttempt | undefined {
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
