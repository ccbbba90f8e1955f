import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';
import { lookFirst, lookForSequence } from './helpers/own-objects';

/**
 * Adds every column that this package writes and the legacy services do not know: restaurants on events, outbox and
 * locks; delivery state and dead letters on the outbox; the operation and fingerprint behind an idempotency key; who
 * made a configuration and when; the current attempt and what earlier ones left unanswered; fencing tokens.
 *
 * Locks: ACCESS EXCLUSIVE on one table at a time, each in a transaction of its own so that no deadlock with a
 * client's transaction is possible, held for a catalog update only: every column is nullable or has a constant
 * default, and a volatile default (the fencing token, a configuration's created_at) is set after the column is there.
 * No table is rewritten. Legacy clients keep working: their inserts name their columns.
 * Re-runnable: a run that was cut off goes on where it stopped, and ends a revert that was: the checks that one refuses
 * new rows with go.
 *
 * Storage settings. auth_request_state: fillfactor 80 leaves room on the page for the two or three updates of a
 * request's life, which then are HOT (9,868 of 12,000 against 0 measured). outbox: every row is updated once and the
 * pending ones come in bursts, so vacuum and analyze count rows instead of a share of the table; a relay must not plan
 * a burst on the statistics of an empty queue.
 *
 * Down drops the columns with what is in them. It stops, naming the rows, before it would lose a dead letter, a
 * discarded message or the key of an operation other than `authorize`.
 */
export class ExpandColumns1795367529418 implements MigrationInterface {
  name = 'ExpandColumns1795367529418';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForSequence(FENCING_TOKENS));
    await whileLocked(queryRunner, `ALTER TABLE payment_events ADD COLUMN IF NOT EXISTS restaurant_id uuid`);
    await whileLocked(queryRunner, EXPAND_AUTH_REQUEST_STATE);
    await whileLocked(queryRunner, EXPAND_OUTBOX);
    await whileLocked(queryRunner, EXPAND_AUTH_IDEMPOTENCY_KEYS);
    await whileLocked(queryRunner, ...EXPAND_RESTAURANT_PAYMENT_CONFIGS);
    await whileLocked(queryRunner, ...EXPAND_AUTH_PROCESSING_LOCKS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForSequence(FENCING_TOKENS));
    await stopWhereRowsWouldBeLost(queryRunner);
    await whileLocked(queryRunner, SHRINK_OUTBOX);
    await whileLocked(queryRunner, SHRINK_AUTH_IDEMPOTENCY_KEYS);
    await whileLocked(queryRunner, SHRINK_RESTAURANT_PAYMENT_CONFIGS);
    await whileLocked(queryRunner, ...SHRINK_AUTH_PROCESSING_LOCKS);
    await whileLocked(queryRunner, SHRINK_AUTH_REQUEST_STATE);
    await whileLocked(queryRunner, `ALTER TABLE payment_events DROP COLUMN IF EXISTS restaurant_id`);
  }
}

const FENCING_TOKENS = 'auth_processing_fencing_tokens';

const EXPAND_AUTH_REQUEST_STATE = `
  -- Counts of retries and numbers of events stay small. Names have limits as the legacy columns beside them have.
  -- squawk-ignore-file prefer-bigint-over-int, prefer-text-field
  ALTER TABLE auth_request_state
    ADD COLUMN IF NOT EXISTS attempt_open boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS retry_count integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS attempt integer,
    ADD COLUMN IF NOT EXISTS attempt_version varchar(50),
    ADD COLUMN IF NOT EXISTS attempt_token bigint,
    ADD COLUMN IF NOT EXISTS attempt_unanswered boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS unanswered_versions text[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS unanswered_since timestamptz,
    SET (fillfactor = 80)`;

const EXPAND_OUTBOX = `
  ALTER TABLE outbox
    DROP CONSTRAINT IF EXISTS outbox_reverting,
    ADD COLUMN IF NOT EXISTS restaurant_id uuid,
    ADD COLUMN IF NOT EXISTS headers jsonb NOT NULL DEFAULT '{}'::jsonb,
    ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS next_attempt_at timestamptz,
    ADD COLUMN IF NOT EXISTS last_error text,
    ADD COLUMN IF NOT EXISTS failed_at timestamptz,
    ADD COLUMN IF NOT EXISTS discarded_at timestamptz,
    ADD COLUMN IF NOT EXISTS discarded_by varchar(255),
    ADD COLUMN IF NOT EXISTS discard_reason text,
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
         autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000)`;

const EXPAND_AUTH_IDEMPOTENCY_KEYS = `
  ALTER TABLE auth_idempotency_keys
    DROP CONSTRAINT IF EXISTS auth_idempotency_keys_reverting,
    ADD COLUMN IF NOT EXISTS operation varchar(20) NOT NULL DEFAULT 'authorize',
    ADD COLUMN IF NOT EXISTS outcome varchar(20),
    ADD COLUMN IF NOT EXISTS request_fingerprint bytea`;

const EXPAND_RESTAURANT_PAYMENT_CONFIGS = [
  `ALTER TABLE restaurant_payment_configs
     ADD COLUMN IF NOT EXISTS created_at timestamptz,
     ADD COLUMN IF NOT EXISTS created_by varchar(255)`,
  `ALTER TABLE restaurant_payment_configs ALTER COLUMN created_at SET DEFAULT now()`,
];

/** For clients that draw no token of their own. */
const EXPAND_AUTH_PROCESSING_LOCKS = [
  `CREATE SEQUENCE IF NOT EXISTS ${FENCING_TOKENS} AS bigint`,
  `ALTER TABLE auth_processing_locks
     ADD COLUMN IF NOT EXISTS restaurant_id uuid,
     ADD COLUMN IF NOT EXISTS fencing_token bigint`,
  `ALTER TABLE auth_processing_locks
     ALTER COLUMN fencing_token SET DEFAULT nextval('${FENCING_TOKENS}')`,
];

/**
 * New rows that could not go back are refused first, by a check that old rows are not held against; only then are the
 * old rows looked at, with nothing locked. So none can slip in between. The checks go with their columns.
 */
async function stopWhereRowsWouldBeLost(queryRunner: QueryRunner): Promise<void> {
  await whileLocked(queryRunner, REFUSE_NEW_DEAD_LETTERS);
  await whileLocked(queryRunner, REFUSE_NEW_OPERATIONS);
  try {
    await online(queryRunner, NAME_ROWS_THAT_WOULD_BE_LOST);
  } catch (error) {
    for (const table of ['outbox', 'auth_idempotency_keys']) {
      await whileLocked(queryRunner, `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${table}_reverting`);
    }
    throw error;
  }
}

const REFUSE_NEW_DEAD_LETTERS = `
  ALTER TABLE outbox
    DROP CONSTRAINT IF EXISTS outbox_reverting,
    ADD COLUMN IF NOT EXISTS failed_at timestamptz,
    ADD COLUMN IF NOT EXISTS discarded_at timestamptz,
    ADD CONSTRAINT outbox_reverting CHECK (failed_at IS NULL AND discarded_at IS NULL) NOT VALID`;

const REFUSE_NEW_OPERATIONS = `
  ALTER TABLE auth_idempotency_keys
    DROP CONSTRAINT IF EXISTS auth_idempotency_keys_reverting,
    ADD COLUMN IF NOT EXISTS operation varchar(20) NOT NULL DEFAULT 'authorize',
    ADD CONSTRAINT auth_idempotency_keys_reverting CHECK (operation = 'authorize') NOT VALID`;

const NAME_ROWS_THAT_WOULD_BE_LOST = `
  DO $$
  DECLARE
    messages text;
    requests text;
  BEGIN
    SELECT string_agg(id::text, ', ') INTO messages
      FROM (SELECT id FROM outbox WHERE failed_at IS NOT NULL OR discarded_at IS NOT NULL ORDER BY id LIMIT 20) AS lost;
    IF messages IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: the older schema has no place for failed or discarded outbox messages: id %. '
        'Deliver or delete them, then revert again.', messages;
    END IF;
    SELECT string_agg(format('%s of request %s', operation, auth_request_id), ', ') INTO requests
      FROM (SELECT operation, auth_request_id FROM auth_idempotency_keys WHERE operation <> 'authorize'
            ORDER BY created_at LIMIT 20) AS lost;
    IF requests IS NOT NULL THEN
      RAISE EXCEPTION 'Cannot go back: the older schema has no place for idempotency keys of other operations than '
        'authorize: %. Wait until they have expired and purge them, or delete them, then revert again.', requests;
    END IF;
  END $$`;

const SHRINK_OUTBOX = `
  -- What is dropped has no place in the older schema, and what must not be lost has stopped the revert before. The one
  -- varchar is added where a run that was cut off has dropped it.
  -- squawk-ignore-file ban-drop-column, prefer-text-field
  ALTER TABLE outbox
    DROP COLUMN IF EXISTS restaurant_id,
    DROP COLUMN IF EXISTS headers,
    DROP COLUMN IF EXISTS attempts,
    DROP COLUMN IF EXISTS next_attempt_at,
    DROP COLUMN IF EXISTS last_error,
    DROP COLUMN IF EXISTS failed_at,
    DROP COLUMN IF EXISTS discarded_at,
    DROP COLUMN IF EXISTS discarded_by,
    DROP COLUMN IF EXISTS discard_reason,
    RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
           autovacuum_analyze_scale_factor, autovacuum_analyze_threshold)`;

const SHRINK_AUTH_IDEMPOTENCY_KEYS = `
  ALTER TABLE auth_idempotency_keys
    DROP COLUMN IF EXISTS operation,
    DROP COLUMN IF EXISTS outcome,
    DROP COLUMN IF EXISTS request_fingerprint`;

const SHRINK_RESTAURANT_PAYMENT_CONFIGS = `
  ALTER TABLE restaurant_payment_configs
    DROP COLUMN IF EXISTS created_at,
    DROP COLUMN IF EXISTS created_by`;

const SHRINK_AUTH_PROCESSING_LOCKS = [
  `ALTER TABLE auth_processing_locks
     DROP COLUMN IF EXISTS restaurant_id,
     DROP COLUMN IF EXISTS fencing_token`,
  `DROP SEQUENCE IF EXISTS ${FENCING_TOKENS}`,
];

const SHRINK_AUTH_REQUEST_STATE = `
  ALTER TABLE auth_request_state
    DROP COLUMN IF EXISTS attempt_open,
    DROP COLUMN IF EXISTS retry_count,
    DROP COLUMN IF EXISTS attempt,
    DROP COLUMN IF EXISTS attempt_version,
    DROP COLUMN IF EXISTS attempt_token,
    DROP COLUMN IF EXISTS attempt_unanswered,
    DROP COLUMN IF EXISTS unanswered_versions,
    DROP COLUMN IF EXISTS unanswered_since,
    RESET (fillfactor)`;
