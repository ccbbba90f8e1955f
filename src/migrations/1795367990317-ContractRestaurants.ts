import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';
import { FORGET_PROTOBUF, READ_PROTOBUF_FIELD } from './helpers/read-protobuf';

/**
 * Gives every event, outbox message and lock its restaurant, then requires it. Expired locks are purged first; live
 * ones of legacy workers get a fencing token.
 *
 * The restaurant of a row comes from the read model, else from the idempotency key of its request, else from the
 * AuthRequestCreated event, else from another row of the same request that has one. Where nothing tells, the migration
 * stops, names the requests and says what to do.
 *
 * Locks: the backfill locks the rows of one batch (10,000) at a time and commits after each; VALIDATE takes SHARE
 * UPDATE EXCLUSIVE, which stops no reads or writes; SET NOT NULL takes ACCESS EXCLUSIVE for a catalog update, as the
 * validated check spares it the scan. Re-runnable: a backfill goes on where it stopped.
 *
 * Down: the columns may be empty again; what was filled in stays.
 */
export class ContractRestaurants1795367990317 implements MigrationInterface {
  name = 'ContractRestaurants1795367990317';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await online(queryRunner, PURGE_EXPIRED_LOCKS);
    await online(queryRunner, backfillFromReadModel('payment_events'));
    await online(queryRunner, backfillFromReadModel('outbox'));
    await online(queryRunner, BACKFILL_LOCKS_FROM_READ_MODEL);
    await online(queryRunner, [READ_PROTOBUF_FIELD, BACKFILL_WITHOUT_READ_MODEL, FORGET_PROTOBUF].join(';'));
    await online(queryRunner, STOP_WHERE_RESTAURANT_IS_UNKNOWN);
    for (const [table, column] of REQUIRED) await requireColumn(queryRunner, table, column);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const [table, column] of REQUIRED) {
      await whileLocked(queryRunner, allowEmpty(table, column));
    }
  }
}

const REQUIRED = [
  ['payment_events', 'restaurant_id'],
  ['outbox', 'restaurant_id'],
  ['auth_processing_locks', 'restaurant_id'],
  ['auth_processing_locks', 'fencing_token'],
] as const;

const requiredCheck = (table: string, column: string) => `${table}_${column}_required`;

/** Of a way up that was cut off the check may be there still, which refuses the inserts of legacy clients. */
const allowEmpty = (table: string, column: string) => `
  -- The clients of the older schema do not write it.
  -- squawk-ignore-file ban-drop-not-null
  ALTER TABLE ${table}
    DROP CONSTRAINT IF EXISTS ${requiredCheck(table, column)},
    ALTER COLUMN ${column} DROP NOT NULL`;

async function requireColumn(queryRunner: QueryRunner, table: string, column: string): Promise<void> {
  const check = requiredCheck(table, column);
  await whileLocked(
    queryRunner,
    `ALTER TABLE ${table}
       DROP CONSTRAINT IF EXISTS ${check},
       ADD CONSTRAINT ${check} CHECK (${column} IS NOT NULL) NOT VALID`,
  );
  await online(queryRunner, `ALTER TABLE ${table} VALIDATE CONSTRAINT ${check}`);
  await whileLocked(queryRunner, `ALTER TABLE ${table} ALTER COLUMN ${column} SET NOT NULL`);
  await whileLocked(queryRunner, `ALTER TABLE ${table} DROP CONSTRAINT ${check}`);
}

const PURGE_EXPIRED_LOCKS = `DELETE FROM auth_processing_locks WHERE expires_at <= clock_timestamp()`;

/** Walks the primary key, so that no batch reads what an earlier one has done. */
const backfillFromReadModel = (table: 'payment_events' | 'outbox') => `
  DO $$
  DECLARE
    batch CONSTANT bigint := 10000;
    first bigint := (SELECT min(id) FROM ${table} WHERE restaurant_id IS NULL);
    last CONSTANT bigint := (SELECT max(id) FROM ${table});
  BEGIN
    WHILE first <= last LOOP
      UPDATE ${table} AS target
      SET restaurant_id = state.restaurant_id
      FROM auth_request_state AS state
      WHERE target.id >= first AND target.id < first + batch
        AND target.restaurant_id IS NULL
        AND state.auth_request_id = target.aggregate_id;
      COMMIT;
      first := first + batch;
    END LOOP;
  END $$`;

const BACKFILL_LOCKS_FROM_READ_MODEL = `
  UPDATE auth_processing_locks AS target
  SET restaurant_id = coalesce(target.restaurant_id, state.restaurant_id),
      fencing_token = coalesce(target.fencing_token, nextval('auth_processing_fencing_tokens'))
  FROM auth_processing_locks AS source
  LEFT JOIN auth_request_state AS state USING (auth_request_id)
  WHERE source.auth_request_id = target.auth_request_id
    AND (target.restaurant_id IS NULL OR target.fencing_token IS NULL)`;

/** The few requests that the read model lacks. Field 3 of AuthRequestCreated is the restaurant's id. */
const BACKFILL_WITHOUT_READ_MODEL = `
  DO $$
  BEGIN
    CREATE TEMP TABLE restaurant_of_request ON COMMIT DROP AS
    WITH request AS (
      SELECT aggregate_id AS id FROM payment_events WHERE restaurant_id IS NULL
      UNION SELECT aggregate_id FROM outbox WHERE restaurant_id IS NULL
      UNION SELECT auth_request_id FROM auth_processing_locks WHERE restaurant_id IS NULL
    ), key AS (
      SELECT DISTINCT ON (auth_request_id) auth_request_id, restaurant_id
      FROM auth_idempotency_keys WHERE auth_request_id IN (SELECT id FROM request)
      ORDER BY auth_request_id, created_at
    ), created AS (
      SELECT aggregate_id, pg_temp.read_protobuf_field(event_data, 3) AS restaurant_id
      FROM payment_events WHERE event_type = 'AuthRequestCreated' AND aggregate_id IN (SELECT id FROM request)
    ), sibling AS (
      SELECT aggregate_id, min(restaurant_id::text) AS restaurant_id
      FROM (SELECT aggregate_id, restaurant_id FROM payment_events WHERE aggregate_id IN (SELECT id FROM request)
            UNION ALL SELECT aggregate_id, restaurant_id FROM outbox WHERE aggregate_id IN (SELECT id FROM request)
           ) AS row
      GROUP BY aggregate_id
    )
    SELECT request.id, coalesce(key.restaurant_id::text,
      CASE WHEN created.restaurant_id ~ '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
           THEN created.restaurant_id END,
      sibling.restaurant_id)::uuid AS restaurant_id
    FROM request
    LEFT JOIN key ON key.auth_request_id = request.id
    LEFT JOIN created ON created.aggregate_id = request.id
    LEFT JOIN sibling ON sibling.aggregate_id = request.id;

    UPDATE payment_events SET restaurant_id = known.restaurant_id FROM restaurant_of_request AS known
      WHERE aggregate_id = known.id AND payment_events.restaurant_id IS NULL;
    UPDATE outbox SET restaurant_id = known.restaurant_id FROM restaurant_of_request AS known
      WHERE aggregate_id = known.id AND outbox.restaurant_id IS NULL;
    UPDATE auth_processing_locks SET restaurant_id = known.restaurant_id FROM restaurant_of_request AS known
      WHERE auth_request_id = known.id AND auth_processing_locks.restaurant_id IS NULL;
  END $$`;

const STOP_WHERE_RESTAURANT_IS_UNKNOWN = `
  DO $$
  DECLARE
    unknown text;
  BEGIN
    SELECT string_agg(format('%s %s', source, id), ', ') INTO unknown FROM (
      SELECT 'payment_events of request' AS source, aggregate_id AS id FROM payment_events WHERE restaurant_id IS NULL
      UNION SELECT 'outbox of request', aggregate_id FROM outbox WHERE restaurant_id IS NULL
      UNION SELECT 'auth_processing_locks of request', auth_request_id FROM auth_processing_locks
            WHERE restaurant_id IS NULL
      ORDER BY 1, 2 LIMIT 20
    ) AS row;
    IF unknown IS NOT NULL THEN
      RAISE EXCEPTION 'The restaurant is unknown for: %. No read model row, idempotency key or event tells it. Set it '
        'by hand, for example UPDATE outbox SET restaurant_id = ''<restaurant>'' WHERE aggregate_id = ''<request>'', or '
        'delete the row if it is not needed, then run the migration again.', unknown;
    END IF;
  END $$`;
