import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';

/**
 * States in the database what a row may hold.
 *
 * A check that legacy rows may break is added NOT VALID and stays so, in every database alike: history is not rewritten
 * to please a rule. It holds for every insert, and for the next update of an old row as well: one that breaks it can only
 * be updated into a state that does not. A check on columns that legacy rows have only by default is validated.
 *
 * PostgreSQL reads the condition of every check again for each statement that writes the table, and works out what is
 * constant in it: all of them together take a fifth of the statement that accepts a request. So there is none that only
 * says a counter is not negative, and each is written with as few terms as will do. A list of texts is one constant, which
 * IN with its casts is not; check_status is restated so and validated, which made that statement 7 % faster.
 *
 * Locks: ACCESS EXCLUSIVE on one table at a time for a catalog update, since NOT VALID spares the scan; VALIDATE takes
 * SHARE UPDATE EXCLUSIVE, which stops no reads or writes. Re-runnable.
 */
export class ContractChecks1795368418205 implements MigrationInterface {
  name = 'ContractChecks1795368418205';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const [table, name, condition] of [...CHECKS, ...CHECKS_ON_NEW_COLUMNS]) {
      await whileLocked(
        queryRunner,
        `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${name}, ADD CONSTRAINT ${name} CHECK (${condition}) NOT VALID`,
      );
    }
    for (const [table, name] of CHECKS_ON_NEW_COLUMNS) {
      await online(queryRunner, `ALTER TABLE ${table} VALIDATE CONSTRAINT ${name}`);
    }
    await restateStatus(queryRunner, STATUS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await restateStatus(queryRunner, LEGACY_STATUS);
    for (const [table, name] of [...CHECKS, ...CHECKS_ON_NEW_COLUMNS]) {
      await whileLocked(queryRunner, `ALTER TABLE ${table} DROP CONSTRAINT IF EXISTS ${name}`);
    }
  }
}

/** Never without the check: dropped and added in one transaction. */
async function restateStatus(queryRunner: QueryRunner, condition: string): Promise<void> {
  await whileLocked(
    queryRunner,
    `ALTER TABLE auth_request_state
       DROP CONSTRAINT IF EXISTS check_status, ADD CONSTRAINT check_status CHECK (${condition}) NOT VALID`,
  );
  await online(queryRunner, `ALTER TABLE auth_request_state VALIDATE CONSTRAINT check_status`);
}

const STATUS = `status::text = ANY ('{PENDING,PROCESSING,AUTHORIZED,DENIED,FAILED,VOIDED,EXPIRED}'::text[])`;
const LEGACY_STATUS = `status IN ('PENDING', 'PROCESSING', 'AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED')`;

type Check = readonly [table: string, name: string, condition: string];

const CHECKS: Check[] = [
  ['payment_events', 'payment_events_metadata_present', `metadata IS NOT NULL`],
  ['auth_request_state', 'auth_request_state_amount_positive', `amount_cents > 0`],
  [
    'auth_request_state',
    'auth_request_state_authorized_amount_within',
    `authorized_amount_cents BETWEEN 1 AND amount_cents`,
  ],
  ['auth_request_state', 'auth_request_state_currency_iso', `currency ~ '^[A-Z]{3}$'`],
  [
    'auth_request_state',
    'auth_request_state_authorized_complete',
    `status <> 'AUTHORIZED' OR (processor_auth_id IS NOT NULL AND authorized_amount_cents IS NOT NULL)`,
  ],
  [
    'auth_request_state',
    'auth_request_state_settled_completed',
    `completed_at IS NOT NULL OR status::text = ANY ('{PENDING,PROCESSING}'::text[])`,
  ],
  ['auth_idempotency_keys', 'auth_idempotency_keys_key_present', `idempotency_key <> ''`],
  ['auth_idempotency_keys', 'auth_idempotency_keys_expires_after_created', `expires_at > created_at`],
];

const CHECKS_ON_NEW_COLUMNS: Check[] = [
  [
    'auth_request_state',
    'auth_request_state_attempts_consistent',
    `attempt_open = (attempt_unanswered OR unanswered_versions <> '{}') AND attempt_open = (unanswered_since IS NOT NULL) AND (attempt_version IS NOT NULL OR NOT attempt_unanswered) AND array_position(unanswered_versions, NULL) IS NULL`,
  ],
  [
    'outbox',
    'outbox_discard_attributed',
    `discarded_at IS NULL OR (discarded_by IS NOT NULL AND discard_reason IS NOT NULL AND processed_at IS NOT NULL)`,
  ],
  // One term for both: an object, and in it nothing that is no text.
  [
    'outbox',
    'outbox_headers_texts',
    `headers @@ 'strict $.type() == "object" && !exists($.* ? (@.type() != "string"))'`,
  ],
  ['auth_idempotency_keys', 'auth_idempotency_keys_operation_present', `operation <> ''`],
  ['auth_idempotency_keys', 'auth_idempotency_keys_fingerprint_sha256', `octet_length(request_fingerprint) = 32`],
];
