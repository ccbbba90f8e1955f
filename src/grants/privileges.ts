import { MIGRATIONS_TABLE } from '../schema/objects';

/** Groups without a login; see {@link roleName} for their names. */
export const ROLES = ['api', 'worker', 'relay', 'sweeper', 'configs', 'secrets', 'readonly'] as const;
export type Role = (typeof ROLES)[number];

/** USAGE is for sequences, the others for tables. */
export type Privilege = 'SELECT' | 'INSERT' | 'UPDATE' | 'DELETE' | 'USAGE';

/** For the whole table, with the columns that later versions add; for a sequence. */
export const WHOLE = 'whole';

/** The columns that each privilege is for, or the whole. */
export type Grant = Partial<Record<Privilege, readonly string[] | typeof WHOLE>>;

const columns = (names: string): readonly string[] => names.trim().split(/,\s*/);

const ANY_EVENT = columns(
  'event_id, aggregate_id, aggregate_type, event_type, event_data, metadata, sequence_number, restaurant_id',
);
const ANY_MESSAGE = columns('aggregate_id, restaurant_id, message_type, payload, headers');

/** What `AuthRequests` shows of a request. */
const SHOWN_OF_A_REQUEST = `
  auth_request_id, restaurant_id, status, amount_cents, currency, processor_name, processor_auth_id,
  authorized_amount_cents, authorization_code, denial_code, denial_reason, metadata, attempt_open, attempt_version,
  attempt_unanswered, unanswered_versions, unanswered_since, retry_count, sweeps, last_event_sequence, created_at,
  updated_at, completed_at`;

/** Of a hold all may be read by those who may see requests. */
const ANY_HOLD = columns(`
  auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, config_version, authorized_at,
  hold_expires_at, state, state_since, is_needed, is_answered, ended_amount_cents, ended_by, closed_by, void_failures,
  last_void_error, next_void_at, sweeps, swept_at, first_event_sequence, last_event_sequence`);
/** What reports, voids and persons write of holds. */
const INSERTED_OF_A_HOLD = `
  auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, authorized_at,
  hold_expires_at, state, is_needed, is_answered, ended_amount_cents, ended_by, first_event_sequence,
  last_event_sequence`;
const UPDATED_OF_A_HOLD = `
  amount_cents, currency, authorized_at, hold_expires_at, state, is_needed, ended_amount_cents, ended_by, closed_by,
  void_failures, last_void_error, next_void_at, sweeps, swept_at, last_event_sequence`;

/** What is written of a new version. The rest is the database's, or comes later. */
const INSERTED_OF_A_CONFIG = `
  restaurant_id, config_version, processor_name, processor_config, created_by, sealed_secrets, sealed_fields, data_key_id,
  copy_of`;
const ANY_CONFIG = columns(`${INSERTED_OF_A_CONFIG}, is_active, updated_at, created_at, switched_off_by`);
const ANY_PROCESSOR = columns('processor_name, secret_fields, required_secret_fields, settings_schema, created_at');
const ANY_DATA_KEY = columns('data_key_id, key_encryption_key_id, wrapped, created_at, rewrapped_at');
const INSERTED_OF_A_DATA_KEY = columns('data_key_id, key_encryption_key_id, wrapped');

/** Every service asks at its start whether a migration is pending. */
const STARTING: Record<string, Grant> = { [MIGRATIONS_TABLE]: { SELECT: WHOLE } };

/**
 * What each role may do, by table or sequence: what its operations need, and nothing else. Columns are those that may be
 * read, so that one that is added later stays hidden until somebody decides.
 *
 * Secrets are for the worker alone to read: payment tokens, event_data and metadata of events (which quote tokens and
 * idempotency keys). processor_config and sealed_secrets are for those who manage and seal configurations as well. The payload of a message is for the relay, an idempotency key for the API.
 */
export const PRIVILEGES: Readonly<Record<Role, Readonly<Record<string, Grant>>>> = {
  /** AuthRequests but for attempts and expiry, IdempotencyKeys, enqueue. */
  api: {
    payment_events: {
      // The trigger payment_events_no_gaps looks for the event before, as the user that inserts.
      // And reports of a processor look whether they were taken in before.
      SELECT: columns('aggregate_id, sequence_number, restaurant_id, event_id'),
      INSERT: ANY_EVENT,
    },
    auth_request_state: {
      SELECT: columns(SHOWN_OF_A_REQUEST),
      INSERT: columns(`
        auth_request_id, restaurant_id, payment_token, status, amount_cents, currency, created_at, metadata,
        last_event_sequence, last_event_id`),
      UPDATE: columns('status, completed_at, last_event_sequence, last_event_id'),
    },
    auth_idempotency_keys: {
      // ctid: the purge finds its batch by it.
      SELECT: columns(`
        ctid, idempotency_key, restaurant_id, auth_request_id, created_at, expires_at, operation, outcome,
        request_fingerprint`),
      INSERT: columns('idempotency_key, restaurant_id, auth_request_id, operation, outcome, request_fingerprint'),
      UPDATE: columns('auth_request_id, created_at, expires_at, operation, outcome, request_fingerprint'),
      // For the purge. A role that may let a key expire may as well delete it.
      DELETE: WHOLE,
    },
    outbox: { SELECT: ['id'], INSERT: ANY_MESSAGE },
    auth_holds: {
      SELECT: ANY_HOLD,
      INSERT: columns(INSERTED_OF_A_HOLD),
      UPDATE: columns(UPDATED_OF_A_HOLD),
    },
    ...STARTING,
  },

  /** Attempts and expiry, ProcessingLocks, EventStore, verify, enqueue. */
  worker: {
    payment_events: { SELECT: WHOLE, INSERT: ANY_EVENT },
    auth_request_state: {
      SELECT: WHOLE,
      UPDATE: columns(`
        status, processor_name, processor_auth_id, authorized_amount_cents, authorization_code, denial_code,
        denial_reason, attempt_open, attempt, attempt_version, attempt_token, attempt_unanswered, unanswered_versions,
        unanswered_since, retry_count, completed_at, last_event_sequence, last_event_id`),
    },
    auth_processing_locks: {
      SELECT: columns('auth_request_id, restaurant_id, worker_id, fencing_token, expires_at'),
      INSERT: columns('auth_request_id, restaurant_id, worker_id, fencing_token, locked_at, expires_at'),
      UPDATE: columns('restaurant_id, worker_id, fencing_token, locked_at, expires_at'),
      DELETE: WHOLE,
    },
    restaurant_payment_configs: { SELECT: WHOLE },
    processors: { SELECT: ANY_PROCESSOR },
    data_keys: { SELECT: ANY_DATA_KEY },
    outbox: {
      // Beside the id: whether a retry waits.
      SELECT: columns('id, aggregate_id, message_type, processed_at, next_attempt_at'),
      INSERT: [...ANY_MESSAGE, 'next_attempt_at'],
    },
    auth_holds: {
      SELECT: ANY_HOLD,
      // And what an answer says.
      INSERT: [...columns(INSERTED_OF_A_HOLD), 'config_version'],
      UPDATE: [...columns(UPDATED_OF_A_HOLD), 'config_version', 'is_answered'],
    },
    ...STARTING,
  },

  /** OutboxRelay, and Outbox but for enqueue: also for people who requeue or discard messages. */
  relay: {
    outbox: {
      SELECT: columns(`
        id, aggregate_id, restaurant_id, message_type, payload, headers, attempts, next_attempt_at, last_error,
        created_at, processed_at, failed_at`),
      UPDATE: columns(`
        attempts, next_attempt_at, last_error, processed_at, failed_at, discarded_at, discarded_by, discard_reason`),
      // For the purge. A role that may mark a message as delivered may as well delete it.
      DELETE: WHOLE,
    },
    ...STARTING,
  },

  /** Sweeper: what is stuck, unsettled or to be voided gets its message again; what is over is expired and purged. */
  sweeper: {
    payment_events: { SELECT: columns('aggregate_id, sequence_number, restaurant_id'), INSERT: ANY_EVENT },
    auth_request_state: {
      SELECT: [...columns(SHOWN_OF_A_REQUEST), 'swept_at', 'last_event_id'],
      UPDATE: columns('status, completed_at, last_event_sequence, last_event_id, sweeps, swept_at'),
    },
    auth_holds: {
      SELECT: ANY_HOLD,
      UPDATE: columns(
        'state, is_needed, void_failures, last_void_error, next_void_at, sweeps, swept_at, last_event_sequence',
      ),
    },
    auth_processing_locks: {
      SELECT: columns('auth_request_id, restaurant_id, worker_id, fencing_token, expires_at'),
      INSERT: columns('auth_request_id, restaurant_id, worker_id, fencing_token, locked_at, expires_at'),
      UPDATE: columns('restaurant_id, worker_id, fencing_token, locked_at, expires_at'),
      DELETE: WHOLE,
    },
    // A purge locks its batch, which takes the right to update a column: a role that may delete a key may end it.
    auth_idempotency_keys: { SELECT: columns('ctid, expires_at'), UPDATE: ['expires_at'], DELETE: WHOLE },
    outbox: {
      SELECT: columns('id, aggregate_id, message_type, attempts, created_at, next_attempt_at, processed_at, failed_at'),
      INSERT: ANY_MESSAGE,
      DELETE: WHOLE,
    },
    ...STARTING,
  },

  /**
   * For those who manage configurations: writes versions and switches them off. The API and the worker do not, so that one
   * of them in the wrong hands cannot send money elsewhere.
   */
  configs: {
    restaurant_payment_configs: {
      SELECT: ANY_CONFIG,
      INSERT: columns(INSERTED_OF_A_CONFIG),
      UPDATE: columns('is_active, switched_off_by'),
    },
    processors: { SELECT: ANY_PROCESSOR },
    data_keys: { SELECT: ANY_DATA_KEY, INSERT: INSERTED_OF_A_DATA_KEY },
    ...STARTING,
  },

  /** For the job that seals the plain secrets of legacy versions, and wraps data keys under another key. Writes no version. */
  secrets: {
    restaurant_payment_configs: {
      SELECT: ANY_CONFIG,
      UPDATE: columns('processor_config, sealed_secrets, sealed_fields, data_key_id'),
    },
    processors: { SELECT: ANY_PROCESSOR },
    data_keys: {
      SELECT: ANY_DATA_KEY,
      INSERT: INSERTED_OF_A_DATA_KEY,
      UPDATE: columns('wrapped, key_encryption_key_id, rewrapped_at'),
    },
    ...STARTING,
  },

  /** For people who look: requests, stuck and unsettled ones, the state of the outbox. */
  readonly: {
    payment_events: {
      SELECT: columns(
        'id, event_id, aggregate_id, aggregate_type, event_type, created_at, sequence_number, restaurant_id',
      ),
    },
    auth_request_state: { SELECT: [...columns(SHOWN_OF_A_REQUEST), 'swept_at', 'last_event_id'] },
    auth_idempotency_keys: {
      SELECT: columns('restaurant_id, auth_request_id, created_at, expires_at, operation, outcome'),
    },
    auth_holds: { SELECT: ANY_HOLD },
    auth_processing_locks: {
      SELECT: columns('auth_request_id, restaurant_id, worker_id, locked_at, expires_at'),
    },
    restaurant_payment_configs: {
      SELECT: columns(`
        restaurant_id, config_version, processor_name, is_active, updated_at, created_at, created_by, sealed_fields,
        data_key_id, switched_off_by, copy_of`),
    },
    processors: { SELECT: ANY_PROCESSOR },
    outbox: {
      SELECT: columns(`
        id, aggregate_id, restaurant_id, message_type, attempts, next_attempt_at, last_error, created_at,
        processed_at, failed_at, discarded_at, discarded_by, discard_reason`),
    },
    ...STARTING,
  },
};
