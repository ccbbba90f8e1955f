import { arrayOf, bigint, boolean, integer, jsonb, orNull, text, timestamptz, uuid } from '../database/columns';
import { operation } from '../database/operation';
import { type Session } from '../database/session';
import { type RebuildPlan } from './plan-rebuild';
import { inZone, oncePerShape, type ReadShape, type Zones } from './read-shape';

/** Columns of the row that take what the events say. */
const OF_REQUEST = {
  restaurant_id: uuid,
  payment_token: text,
  status: text,
  amount_cents: bigint,
  currency: text,
  processor_auth_id: orNull(text),
  processor_name: orNull(text),
  authorized_amount_cents: orNull(bigint),
  authorization_code: orNull(text),
  denial_code: orNull(text),
  denial_reason: orNull(text),
  last_event_sequence: integer,
};

/** The same, but only where rows have attempts; earlier the backfill looks for rows that have none yet. */
const OF_ATTEMPTS = {
  attempt_open: boolean,
  retry_count: integer,
  attempt: orNull(integer),
  attempt_version: orNull(text),
  attempt_token: orNull(bigint),
  attempt_unanswered: boolean,
  unanswered_versions: arrayOf(text),
  unanswered_since: orNull(timestamptz),
};

/** Made once for each shape of the tables. */
export const replacingIn = oncePerShape((shape: ReadShape, zones: Zones) => {
  const columns = Object.keys(shape.hasAttempts ? { ...OF_REQUEST, ...OF_ATTEMPTS } : OF_REQUEST).join(', ');
  return operation({
    name: 'read_model_replace',
    input: {
      auth_request_id: uuid,
      first_metadata: jsonb,
      newest_event_id: uuid,
      settled_at: orNull(timestamptz),
      ...OF_REQUEST,
      ...OF_ATTEMPTS,
    },
    sql: `
  WITH deleted AS (
    DELETE FROM auth_request_state AS state USING input WHERE state.auth_request_id = input.auth_request_id
    RETURNING created_at, metadata, last_event_id, completed_at
  ), kept AS (
    SELECT * FROM deleted
    UNION ALL
    SELECT ${inZone(inZone('created_at', zones.event), zones.createdAt)}, first_metadata, newest_event_id, NULL
    FROM payment_events, input
    WHERE aggregate_id = auth_request_id AND sequence_number = 1 AND NOT EXISTS (SELECT FROM deleted)
  )
  INSERT INTO auth_request_state
    (auth_request_id, created_at, updated_at, metadata, last_event_id, completed_at, ${columns})
  SELECT auth_request_id, created_at, ${inZone('now()', zones.updatedAt)}, metadata, last_event_id,
    CASE WHEN settled_at IS NOT NULL THEN coalesce(completed_at, ${inZone('settled_at', zones.completedAt)}) END,
    ${columns}
  FROM kept, input`,
  });
});

/** Deletes the row of a request, where there is one, and inserts what a plan says. */
export async function replaceRow(session: Session, plan: RebuildPlan): Promise<void> {
  const { rebuild, row, lastEventId, shape, zones } = plan;
  await session.write(replacingIn(shape, zones), {
    auth_request_id: rebuild.authRequestId,
    first_metadata: row.metadata,
    newest_event_id: lastEventId,
    settled_at: row.completedAt,
    restaurant_id: row.restaurantId,
    payment_token: row.paymentToken,
    status: row.status,
    amount_cents: row.amountCents,
    currency: row.currency,
    processor_auth_id: row.processorAuthId,
    processor_name: row.processorName,
    authorized_amount_cents: row.authorizedAmountCents,
    authorization_code: row.authorizationCode,
    denial_code: row.denialCode,
    denial_reason: row.denialReason,
    last_event_sequence: row.lastEventSequence,
    attempt_open: row.attemptOpen,
    retry_count: row.retryCount,
    attempt: row.attempt,
    attempt_version: row.attemptVersion,
    attempt_token: row.attemptToken,
    attempt_unanswered: row.attemptUnanswered,
    unanswered_versions: row.unansweredVersions,
    unanswered_since: row.unansweredSince,
  });
}
