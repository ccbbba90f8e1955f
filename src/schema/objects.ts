/** The names of everything that the migrations make. Catalog, grants, checks and tests take them from here. */
export const OBJECTS = {
  tables: [
    'payment_events',
    'auth_request_state',
    'outbox',
    'auth_idempotency_keys',
    'restaurant_payment_configs',
    'auth_processing_locks',
  ],
  sequences: ['payment_events_id_seq', 'outbox_id_seq', 'auth_processing_fencing_tokens'],
  /** Of triggers: those run whatever the privileges on them are. */
  functions: [
    'guard_auth_request_state',
    'guard_restaurant_payment_configs',
    'refuse_payment_events_change',
    'refuse_payment_events_gap',
  ],
} as const;

/** The history of migrations, which the migrator makes before the first of them. */
export const MIGRATIONS_TABLE = 'payment_events_db_migrations';

/** Everything that a privilege can be on. */
export const GRANTED = {
  tables: [...OBJECTS.tables, MIGRATIONS_TABLE],
  sequences: [...OBJECTS.sequences, `${MIGRATIONS_TABLE}_id_seq`],
  functions: OBJECTS.functions,
} as const;
