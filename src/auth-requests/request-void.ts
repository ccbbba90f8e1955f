import { FreeId, FreeText } from '../card-numbers/free-fields';
import { screenReport } from '../card-numbers/screen';
import { bytea, text, uuid } from '../database/columns';
import { newId } from '../database/new-id';
import { operation, rowsOf } from '../database/operation';
import { untilDecided } from '../database/repeat';
import { type Session } from '../database/session';
import { AuthRequestNotFoundError, IdempotencyKeyReuseError, NotVoidableError } from '../errors';
import { appendEvent, eventMetadata, eventOf } from '../event-store/append-event';
import { fingerprint } from '../idempotency/fingerprint';
import { readKey } from '../idempotency/read-key';
import { takeKey } from '../idempotency/take-key';
import { messageHeaders, messageOf } from '../outbox/queue-message';
import { Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { IS_OUTDATED, queueVoids, unneededHolds, unneededIn, voidMessage } from './holds/write-holds';
import { readStatus } from './read-status';
import { type AuthRequestStatus, isVoidable, SQL } from './statuses';
import { TracedCommand } from './traced-command';

/** A restaurant takes a request back. */
export class VoidCommand extends TracedCommand {
  @Uuid()
  restaurantId: string;

  @Uuid()
  authRequestId: string;

  @FreeId()
  @Text(1, 255)
  idempotencyKey: string;

  /** Why, in a word or a sentence. */
  @FreeText()
  @Text(0, 1000)
  reason: string;
}

/**
 * What a void means for the money. `not_required`: nothing is held: nobody had asked the processor (was PENDING), or the
 * hold has lapsed or was voided there. `pending`: an attempt was under way (was PROCESSING) and is settled when it ends.
 * `queued`: the message has gone out that has a worker void the hold.
 */
export type VoidOutcome = 'not_required' | 'pending' | 'queued';

/** What {@link VoidCommand} comes to. */
export interface VoidReceipt {
  readonly authRequestId: string;
  /** VOIDED; a replay tells the current status. */
  readonly status: AuthRequestStatus;
  /** The number of its last event, as of the status; 0 where a replayed legacy key's request has no row. See `ReplicaReads`. */
  readonly lastEventSequence: number;
  readonly outcome: VoidOutcome;
  /** The key was used before, for the same void: nothing was written. */
  readonly replayed: boolean;
}

/** SQL: of `seen`, whether the request is AUTHORIZED by a hold that was never written: a client of an earlier version did. */
const LACKS_ITS_HOLD = `
  status = 'AUTHORIZED' AND NOT EXISTS (
    SELECT FROM auth_holds AS hold
    WHERE (hold.auth_request_id, hold.processor_name, hold.processor_auth_id)
        = (seen.auth_request_id, coalesce(seen.processor_name, ''), coalesce(seen.processor_auth_id, '')))`;

/**
 * FOR UPDATE waits for a worker's write and then gives the row as that has left it; from there on nobody else can change
 * it. Holds are read in the snapshot, which has them all where it is not outdated: see {@link IS_OUTDATED}. The key is written
 * only where the request can be voided, so that a refused void burns none; the row only where the key was written, so that a
 * replay changes nothing. A message goes out for each hold that stands.
 */
const REQUEST_VOID = operation({
  name: 'request_void',
  input: {
    auth_request_id: uuid,
    restaurant_id: uuid,
    idempotency_key: text,
    request_fingerprint: bytea,
    event_id: uuid,
    event: eventOf('AuthVoidRequested'),
    event_metadata: eventMetadata,
    void_message: messageOf('void_request_queued'),
    headers: messageHeaders,
  },
  output: rowsOf<{ outcome: VoidOutcome; last_event_sequence: number; is_outdated: boolean }>(),
  sql: (input) => `
    WITH prior AS (
      SELECT auth_request_id, restaurant_id, status, processor_name, processor_auth_id, authorized_amount_cents,
             amount_cents, currency, last_event_sequence
      FROM auth_request_state AS state JOIN input USING (auth_request_id, restaurant_id)
      FOR UPDATE OF state
    ), seen AS (
      SELECT *, ${IS_OUTDATED} AS is_outdated FROM prior
    ), decided AS (
      SELECT seen.*, lacks_its_hold,
             CASE WHEN status = 'PROCESSING' THEN 'pending'
                  WHEN lacks_its_hold OR holds.held THEN 'queued' ELSE 'not_required' END AS outcome
      FROM seen
      CROSS JOIN LATERAL (SELECT ${LACKS_ITS_HOLD} AS lacks_its_hold) AS own
      CROSS JOIN LATERAL (
        SELECT coalesce(bool_or(state = 'held'), false) AS held, coalesce(bool_or(state = 'captured'), false) AS captured
        FROM auth_holds AS hold WHERE hold.auth_request_id = seen.auth_request_id AND is_needed
      ) AS holds
      WHERE NOT is_outdated AND status IN (${SQL.voidable}) AND NOT captured
    ), key AS (${takeKey(`
      SELECT idempotency_key, restaurant_id, auth_request_id, 'void', outcome, request_fingerprint
      FROM decided JOIN input USING (auth_request_id, restaurant_id)`)}
      RETURNING outcome
    ), changed AS (
      UPDATE auth_request_state AS state
      SET status = 'VOIDED', completed_at = coalesce(state.completed_at, now()),
          last_event_sequence = state.last_event_sequence + 1, last_event_id = event_id
      FROM decided, key, input
      WHERE state.auth_request_id = decided.auth_request_id
      RETURNING state.auth_request_id, state.restaurant_id, state.processor_name, state.processor_auth_id,
                state.authorized_amount_cents, state.amount_cents, state.currency, state.completed_at,
                state.last_event_sequence, lacks_its_hold
    ), unneeded AS (${unneededHolds()}
    ), its_hold AS (
      INSERT INTO auth_holds
        (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at, state,
         is_needed, is_answered, first_event_sequence, last_event_sequence)
      SELECT auth_request_id, restaurant_id, coalesce(processor_name, ''), coalesce(processor_auth_id, ''),
             coalesce(authorized_amount_cents, amount_cents), currency, completed_at, 'voiding', false, true,
             last_event_sequence, last_event_sequence
      FROM changed WHERE lacks_its_hold
      RETURNING *
    ), voids AS (
      SELECT * FROM unneeded UNION ALL SELECT * FROM its_hold
    ), event AS (${appendEvent(input, {
      id: 'event_id',
      metadata: `jsonb_strip_nulls(jsonb_build_object(${unneededIn('voids')}))`,
    })}
    ), message AS (${queueVoids(input, { holds: `voids WHERE state = 'voiding'` })}
    )
    SELECT outcome, last_event_sequence, false AS is_outdated FROM key CROSS JOIN changed
    UNION ALL SELECT NULL, last_event_sequence, true FROM seen WHERE is_outdated`,
});

const FIND_CAPTURED = operation({
  name: 'find_captured',
  input: { auth_request_id: uuid, restaurant_id: uuid },
  output: rowsOf<object>(),
  sql: `
    SELECT 1 FROM auth_holds JOIN input USING (auth_request_id, restaurant_id)
    WHERE is_needed AND state = 'captured' LIMIT 1`,
});

export async function requestVoid(session: Session, input: VoidCommand): Promise<VoidReceipt> {
  const given = validateCommand({ VoidCommand }, input);
  const command = screenReport(session.dataSource, 'requestVoid', given);
  const { idempotencyKey, reason, correlationId, causationId } = command;
  const restaurantId = command.restaurantId.toLowerCase();
  const authRequestId = command.authRequestId.toLowerCase();
  const requestedAt = new Date();
  // Of what is recorded: beside the masked number, a hash of the whole one would tell the digits between.
  const requestFingerprint = fingerprint('void', restaurantId, authRequestId, reason);
  // Of what an earlier version has recorded.
  const unmaskedFingerprint = () => fingerprint('void', restaurantId, authRequestId, given.reason);
  const voiding = {
    auth_request_id: authRequestId,
    restaurant_id: restaurantId,
    idempotency_key: idempotencyKey,
    request_fingerprint: requestFingerprint,
    event_id: newId(),
    event: { authRequestId, reason, requestedAt },
    event_metadata: { correlationId, causationId, idempotency_key: idempotencyKey },
    void_message: voidMessage(authRequestId, restaurantId, reason),
    headers: command.headers,
  };
  // Neither written nor explained: key or status has changed in between.
  return await untilDecided(async () => {
    const written = await session.newest(REQUEST_VOID, voiding);
    if (written) {
      const { outcome, last_event_sequence: lastEventSequence } = written;
      return { authRequestId, status: 'VOIDED', lastEventSequence, outcome, replayed: false };
    }
    const key = await readKey(session, { idempotencyKey, restaurantId });
    if (key) {
      const isSame = key.stoodFor('void', requestFingerprint) || key.stoodFor('void', unmaskedFingerprint());
      if (!isSame) throw new IdempotencyKeyReuseError(key.authRequestId);
      const status = (key.status ?? 'VOIDED') as AuthRequestStatus;
      const { lastEventSequence } = key;
      return { authRequestId, status, lastEventSequence, outcome: key.outcome as VoidOutcome, replayed: true };
    }
    const status = await readStatus(session, { authRequestId, restaurantId });
    if (!status) throw new AuthRequestNotFoundError(authRequestId);
    if (!isVoidable(status)) throw new NotVoidableError(authRequestId, status);
    const captured = await session.row(FIND_CAPTURED, { auth_request_id: authRequestId, restaurant_id: restaurantId });
    if (captured) throw new NotVoidableError(authRequestId, status, 'captured');
    return undefined;
  });
}
