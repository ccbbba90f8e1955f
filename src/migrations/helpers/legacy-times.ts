/** The columns that the legacy schema made as `timestamp`. Those of later migrations were born as timestamptz. */
export const TIMES = new Map([
  ['payment_events', ['created_at']],
  ['outbox', ['created_at', 'processed_at']],
  ['auth_request_state', ['created_at', 'updated_at', 'completed_at']],
  ['restaurant_payment_configs', ['updated_at']],
  ['auth_idempotency_keys', ['created_at', 'expires_at']],
  ['auth_processing_locks', ['locked_at', 'expires_at']],
]);
