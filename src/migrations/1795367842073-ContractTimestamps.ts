import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { TIMES } from './helpers/legacy-times';
import { createIndexOnline, dropIndexOnline, indexName, online, whileLocked } from './helpers/locking';

/**
 * Turns every `timestamp` into `timestamptz`, so that an instant is the same instant to every client, and replaces the
 * indexes on times. Contract begins here: legacy clients must be gone.
 *
 * The old values were written in UTC. Under TimeZone UTC and without a USING clause PostgreSQL knows that the stored
 * bits stay the same and rewrites nothing. A database that was adopted with another zone says so in its history, and
 * which columns are in UTC all the same: its tables are rewritten, each under its lock for as long as that takes, some
 * 10 s a million events. Each time becomes the instant at which it was written, and comes back on the way down.
 *
 * Locks: ACCESS EXCLUSIVE on one table at a time for a catalog update; the indexes on times are dropped before, since
 * they would be rebuilt under the lock, and their successors built concurrently after. So are the partial indexes of the
 * outbox, which have no time among their columns but one in their condition. A check on times is verified again under
 * the lock, which only auth_processing_locks has, and it holds only what is in flight. An index that somebody else has
 * made on these columns stays, and is built again under the lock.
 * Re-runnable.
 *
 * Of the indexes, (restaurant_id, created_at) and the one on expiring keys come back. Two B-trees on the event store's
 * created_at become one BRIN, which costs an append nothing; requests get one as well, to find those that are stuck, and
 * the outbox one on processed_at, to count what went out in the last minute and to purge what went out long ago. An
 * index on completed_at, on pending rows by created_at or on a lock's expiry serves no query of this package and makes
 * updates dearer.
 */
export class ContractTimestamps1795367842073 implements MigrationInterface {
  name = 'ContractTimestamps1795367842073';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of LEGACY_INDEXES_ON_TIMES) await dropIndexOnline(queryRunner, indexName(statement));
    await purgeExpiredLocks(queryRunner);
    for (const table of TIMES.keys()) await whileLocked(queryRunner, ...changeType(table, 'timestamptz'));
    for (const statement of INDEXES_ON_TIMES) await createIndexOnline(queryRunner, statement);
    for (const [table, columns] of TIMES) await online(queryRunner, `ANALYZE ${table} (${columns.join(', ')})`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of INDEXES_ON_TIMES) await dropIndexOnline(queryRunner, indexName(statement));
    await purgeExpiredLocks(queryRunner);
    for (const table of TIMES.keys()) await whileLocked(queryRunner, ...changeType(table, 'timestamp'));
    for (const statement of LEGACY_INDEXES_ON_TIMES) await createIndexOnline(queryRunner, statement);
    for (const [table, columns] of TIMES) await online(queryRunner, `ANALYZE ${table} (${columns.join(', ')})`);
  }
}

const OUTBOX_INDEXES = [
  `CREATE INDEX CONCURRENTLY idx_outbox_pending ON outbox (id)
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL`,
  `CREATE INDEX CONCURRENTLY idx_outbox_next_attempt ON outbox (next_attempt_at)
     WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NOT NULL`,
  `CREATE INDEX CONCURRENTLY idx_outbox_refused ON outbox (failed_at, id)
     WHERE processed_at IS NULL AND (attempts > 0 OR failed_at IS NOT NULL)`,
  `CREATE INDEX CONCURRENTLY idx_outbox_unprocessed_aggregate ON outbox (aggregate_id, id) WHERE processed_at IS NULL`,
];

const LEGACY_INDEXES_ON_TIMES = [
  ...OUTBOX_INDEXES,
  `CREATE INDEX CONCURRENTLY idx_event_type_created ON payment_events (event_type, created_at DESC)`,
  `CREATE INDEX CONCURRENTLY idx_created_at ON payment_events (created_at DESC)`,
  `CREATE INDEX CONCURRENTLY idx_unprocessed ON outbox (created_at) WHERE processed_at IS NULL`,
  `CREATE INDEX CONCURRENTLY idx_restaurant_created ON auth_request_state (restaurant_id, created_at DESC)`,
  `CREATE INDEX CONCURRENTLY idx_completed_at ON auth_request_state (completed_at DESC) WHERE completed_at IS NOT NULL`,
  `CREATE INDEX CONCURRENTLY idx_idempotency_expires ON auth_idempotency_keys (expires_at)`,
  `CREATE INDEX CONCURRENTLY idx_lock_expires ON auth_processing_locks (expires_at)`,
];

const INDEXES_ON_TIMES = [
  ...OUTBOX_INDEXES,
  `CREATE INDEX CONCURRENTLY idx_payment_events_created_at ON payment_events USING brin (created_at)`,
  `CREATE INDEX CONCURRENTLY idx_restaurant_created ON auth_request_state (restaurant_id, created_at DESC)`,
  `CREATE INDEX CONCURRENTLY idx_auth_request_state_created_at ON auth_request_state USING brin (created_at)`,
  `CREATE INDEX CONCURRENTLY idx_idempotency_expires ON auth_idempotency_keys (expires_at)`,
  `CREATE INDEX CONCURRENTLY idx_outbox_processed_at ON outbox USING brin (processed_at) WITH (autosummarize = on)`,
];

type TimeType = 'timestamp' | 'timestamptz';

function changeType(table: string, type: TimeType): string[] {
  const changes = TIMES.get(table)!.map((column) => `ALTER COLUMN ${column} TYPE ${type}`);
  const change = `ALTER TABLE ${table} ${changes.join(', ')}`;
  return [
    SET_LEGACY_TIMEZONE,
    liftTimeout(table),
    `${ACCEPTED}\n${table === 'auth_request_state' ? changeTypeOfTwoClocks(change, type) : change}`,
  ];
}

/** Under TimeZone UTC nothing is rewritten, and no index of ours on these columns is left. Down, the legacy type is the aim. */
const ACCEPTED = `-- squawk-ignore-file changing-column-type, prefer-timestamp-tz`;

const LEGACY_HISTORY = `FROM payment_events_db_migrations AS history WHERE name = 'LegacySchema1795367318204'`;

/** Of this transaction. */
const SET_LEGACY_TIMEZONE = `
  SELECT set_config('TimeZone', coalesce(
    (SELECT to_jsonb(history) ->> 'legacy_timezone' ${LEGACY_HISTORY}), 'UTC'), true)`;

/** For a rewrite, and where an index that is not ours is built again under the lock. */
const liftTimeout = (table: string) => `
  SELECT set_config('statement_timeout', '0', true)
  WHERE current_setting('TimeZone') <> 'UTC' OR EXISTS (
    SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indrelid = '${table}'::regclass AND attname IN (${TIMES.get(table)!
      .map((column) => `'${column}'`)
      .join(', ')}))`;

/**
 * Of a request the clients have written created_at and completed_at, by a clock of theirs, and updated_at together with
 * created_at; who updated it since has set updated_at to now() of the server. A USING clause would convert a second time
 * what is converted already.
 */
const changeTypeOfTwoClocks = (change: string, type: TimeType) => `
  DO $$
  DECLARE
    zone CONSTANT text := current_setting('TimeZone');
    in_utc CONSTANT jsonb := (SELECT to_jsonb(history) -> 'legacy_utc_columns' ${LEGACY_HISTORY});
    created CONSTANT text := CASE WHEN in_utc ? 'created_at' THEN 'UTC' ELSE zone END;
    completed CONSTANT text := CASE WHEN in_utc ? 'completed_at' THEN 'UTC' ELSE zone END;
  BEGIN
    IF created = zone AND completed = zone THEN
      ${change};
    ELSIF EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'auth_request_state'::regclass AND attname = 'created_at'
                  AND atttypid <> '${type}'::regtype) THEN
      EXECUTE format('ALTER TABLE auth_request_state
        ALTER COLUMN created_at TYPE ${type} USING created_at AT TIME ZONE %1$L,
        ALTER COLUMN updated_at TYPE ${type} USING updated_at AT TIME ZONE
          CASE WHEN updated_at = created_at THEN %1$L ELSE %3$L END,
        ALTER COLUMN completed_at TYPE ${type} USING completed_at AT TIME ZONE %2$L', created, completed, zone);
    END IF;
  END $$`;

/**
 * A lock that has expired is in nobody's way but of its own check: what is 30 s after in one zone may be before in
 * another, where clocks were changed in between.
 */
async function purgeExpiredLocks(queryRunner: QueryRunner): Promise<void> {
  await whileLocked(
    queryRunner,
    SET_LEGACY_TIMEZONE,
    `DELETE FROM auth_processing_locks WHERE expires_at <= clock_timestamp()`,
  );
}
