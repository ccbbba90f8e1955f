/**
 * A part of a statement that takes an idempotency key: a new one, or one that has expired; an unexpired one gives no row.
 *
 * Two at once with one key: the second waits at the unique index for the first one's end. After a commit it meets that
 * row in ON CONFLICT, whose WHERE reads its newest version; after a rollback it inserts. An expired key is taken over by
 * one of many for the same reason: the others see the winner's expires_at.
 *
 * @param from a query for idempotency_key, restaurant_id, auth_request_id, operation, outcome and request_fingerprint
 */
export const takeKey = (from: string): string => `
  INSERT INTO auth_idempotency_keys AS existing
    (idempotency_key, restaurant_id, auth_request_id, operation, outcome, request_fingerprint)
  ${from}
  ON CONFLICT (idempotency_key, restaurant_id) DO UPDATE
    SET auth_request_id = excluded.auth_request_id, operation = excluded.operation, outcome = excluded.outcome,
        request_fingerprint = excluded.request_fingerprint,
        created_at = excluded.created_at, expires_at = excluded.expires_at
    WHERE existing.expires_at <= now()`;
