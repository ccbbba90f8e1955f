import { jsonb, uuid } from '../database/columns';
import { operation } from '../database/operation';
import { type Session } from '../database/session';
import { type RebuildPlan } from './plan-rebuild';

/**
 * Deletes the holds of a request and inserts others. The caller has locked auth_request_state, so that no writer of holds is under way. A
 * row that stays keeps what no event says: how often it was swept, the time of a state that it had before, and the state
 * itself of a hold that is undecided. The count comes before the first insert, and with it every delete: a key is free
 * by then.
 */
const REPLACE_HOLDS = operation({
  name: 'read_model_replace_holds',
  input: { auth_request_id: uuid, restaurant_id: uuid, folded: jsonb },
  sql: `
  WITH deleted AS (
    DELETE FROM auth_holds AS hold USING input WHERE hold.auth_request_id = input.auth_request_id
    RETURNING hold.processor_name, hold.processor_auth_id, hold.state, hold.state_since, hold.sweeps, hold.swept_at
  ), kept AS (
    SELECT hold.*, deleted.sweeps, deleted.swept_at, deleted.state AS state_before, deleted.state_since AS since_before,
      CASE WHEN is_undecided AND NOT is_needed AND deleted.state = 'voiding' THEN 'voiding' ELSE hold.state END AS state_after
    FROM input CROSS JOIN jsonb_to_recordset(folded) AS hold (
      processor_name text, processor_auth_id text, amount_cents bigint, currency text, config_version text,
      authorized_at timestamptz, hold_expires_at timestamptz, state text, state_since timestamptz, is_needed boolean,
      is_answered boolean, ended_amount_cents bigint, ended_by text, closed_by text, void_failures integer,
      last_void_error text, next_void_at timestamptz, first_event_sequence integer, last_event_sequence integer,
      is_undecided boolean)
    LEFT JOIN deleted USING (processor_name, processor_auth_id)
    WHERE (SELECT count(*) FROM deleted) >= 0
  )
  INSERT INTO auth_holds
    (auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, config_version,
     authorized_at, hold_expires_at, state, state_since, is_needed, is_answered, ended_amount_cents, ended_by, closed_by,
     void_failures, last_void_error, next_void_at, sweeps, swept_at, first_event_sequence, last_event_sequence)
  SELECT auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, config_version,
    authorized_at, hold_expires_at, state_after, CASE WHEN state_after = state_before THEN since_before ELSE state_since END,
    is_needed, is_answered, ended_amount_cents, ended_by, closed_by, void_failures, last_void_error, next_void_at,
    coalesce(sweeps, 0), swept_at, first_event_sequence, last_event_sequence
  FROM kept CROSS JOIN input`,
});

export async function replaceHolds(session: Session, { rebuild, row }: RebuildPlan): Promise<void> {
  await session.write(REPLACE_HOLDS, {
    auth_request_id: rebuild.authRequestId,
    restaurant_id: row.restaurantId,
    folded: row.holds.map((hold) => ({
      processor_name: hold.processorName,
      processor_auth_id: hold.processorAuthId,
      amount_cents: hold.amountCents,
      currency: hold.currency,
      config_version: hold.configVersion,
      authorized_at: hold.authorizedAt,
      hold_expires_at: hold.holdExpiresAt,
      state: hold.state,
      state_since: hold.stateSince,
      is_needed: hold.isNeeded,
      is_answered: hold.isAnswered,
      ended_amount_cents: hold.endedAmountCents,
      ended_by: hold.endedBy,
      closed_by: hold.closedBy,
      void_failures: hold.voidFailures,
      last_void_error: hold.lastVoidError,
      next_void_at: hold.nextVoidAt,
      first_event_sequence: hold.firstEventSequence,
      last_event_sequence: hold.lastEventSequence,
      is_undecided: hold.isUndecided,
    })),
  });
}
