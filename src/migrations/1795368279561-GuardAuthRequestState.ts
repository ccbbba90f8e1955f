import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { online, whileLocked } from './helpers/locking';
import { FORGET_PROTOBUF, READ_PROTOBUF_FIELD } from './helpers/read-protobuf';
import { lookFirst, lookForFunction } from './helpers/own-objects';
import { CREATE_UPDATED_AT_TRIGGER, DROP_UPDATED_AT_TRIGGER, LOOK_FOR_UPDATED_AT } from './helpers/updated-at-trigger';

/**
 * Guards the read model: a request begins PENDING, changes status only as its life allows, never loses an event and
 * never becomes another request. The guard sets updated_at as well, so the legacy trigger goes; its function stays where
 * other tables use it.
 *
 * Before that, rows are told what their events say: how often they were retried, which attempt is the current one, and
 * which were never answered. Without the latter, money that an unanswered attempt holds would stay held.
 * updated_at is not touched by it, since the legacy trigger is gone and the guard not there yet.
 * Nor do the checks hold it up, which come after: a legacy row may break one, and an update would be held against it.
 *
 * Locks on auth_request_state, each for a catalog update: ACCESS EXCLUSIVE to drop a trigger, SHARE ROW EXCLUSIVE (writes
 * wait, reads do not) to create one. The backfill locks the rows of one batch (1,000) at a time and commits after each.
 * Re-runnable. Down brings the legacy trigger back; the backfilled values stay.
 */
export class GuardAuthRequestState1795368279561 implements MigrationInterface {
  name = 'GuardAuthRequestState1795368279561';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_auth_request_state'));
    await whileLocked(queryRunner, DROP_UPDATED_AT_TRIGGER);
    // One by one: a batch commits, which it may not as one of several statements.
    for (const statement of [READ_PROTOBUF_FIELD, BACKFILL_ATTEMPTS, FORGET_PROTOBUF])
      await online(queryRunner, statement);
    await whileLocked(queryRunner, CREATE_GUARD, ...ENABLE_GUARD);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await lookFirst(queryRunner, lookForFunction('guard_auth_request_state'), LOOK_FOR_UPDATED_AT);
    await whileLocked(
      queryRunner,
      `DROP TRIGGER IF EXISTS guard_auth_request_state ON auth_request_state`,
      `DROP TRIGGER IF EXISTS guard_new_auth_request_state ON auth_request_state`,
      `DROP FUNCTION IF EXISTS guard_auth_request_state()`,
      CREATE_UPDATED_AT_TRIGGER,
    );
  }
}

/** Error codes of the legacy worker that mean: the processor was not asked. After any other it may hold money. */
const NOT_ASKED = [
  'TOKEN_SERVICE_TIMEOUT',
  'TokenNotFound',
  'TokenExpired',
  'Forbidden',
  'NOT_FOUND',
  'CONFIG_NOT_FOUND',
]
  .map((code) => `'${code}'`)
  .join(', ');

/**
 * The rule of fold.ts, told as sets. An attempt is an AuthAttemptStarted; it is open until
 *
 * - an answer to it, or to another attempt under its version, as the metadata of the events of this package say: a
 *   result, a failure that holds nothing (of a version that a person closed, too);
 * - a failure of its own that did not ask;
 * - where the event says nothing, as those of legacy services: a result, or a failure whose error code means that the
 *   processor was not asked, before the next attempt. Legacy attempts have the empty version, and an answer to one says
 *   nothing about another.
 *
 * The last one is the current attempt; the versions of earlier ones that are open are unanswered. A row is written only
 * where that is not what it says: also one that holds what was so before a revert. A batch is locked before its events are read: a writer that appends one holds the lock of the
 * request's row, so that no attempt starts or ends in between.
 */
const BACKFILL_ATTEMPTS = `
  DO $$
  DECLARE
    ids uuid[];
  BEGIN
    FOR ids IN
      SELECT array_agg(auth_request_id)
      FROM (SELECT auth_request_id, row_number() OVER (ORDER BY auth_request_id) / 1000 AS batch
            FROM auth_request_state) AS request
      GROUP BY batch
    LOOP
      PERFORM 1 FROM auth_request_state WHERE auth_request_id = ANY (ids) ORDER BY auth_request_id FOR UPDATE;
      WITH event AS (
        SELECT aggregate_id AS id, sequence_number, event_type, event_data, created_at,
               CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END AS metadata,
               count(*) FILTER (WHERE event_type = 'AuthAttemptStarted')
                 OVER (PARTITION BY aggregate_id ORDER BY sequence_number) AS number
        FROM payment_events
        WHERE aggregate_id = ANY (ids)
          AND event_type IN ('AuthAttemptStarted', 'AuthAttemptFailed', 'AuthResponseReceived')
      ), start AS (
        SELECT id, number, sequence_number, created_at,
               CASE WHEN jsonb_typeof(metadata -> 'fencing_token') = 'string'
                     AND substring(metadata ->> 'fencing_token' FROM '^[0-9]{1,19}$')::numeric < 9223372036854775808
                    THEN (metadata ->> 'fencing_token')::bigint END AS token,
               CASE WHEN metadata -> 'attempt' = to_jsonb(sequence_number)
                    THEN coalesce(pg_temp.read_protobuf_field(event_data, 3), '') ELSE '' END AS version,
               number = max(number) OVER (PARTITION BY id) AS is_last
        FROM event WHERE event_type = 'AuthAttemptStarted'
      ), ending AS (
        SELECT id, number, sequence_number, metadata -> 'attempt' AS attempt,
               CASE WHEN event_type = 'AuthAttemptFailed' AND jsonb_typeof(metadata -> 'closed_version') = 'string'
                    THEN metadata ->> 'closed_version' END AS closed,
               metadata ? 'status_after' AS told,
               CASE WHEN event_type = 'AuthResponseReceived' THEN 'answered'
                    WHEN metadata ? 'status_after' THEN metadata ->> 'outcome'
                    WHEN pg_temp.read_protobuf_field(event_data, 2) IN (${NOT_ASKED}) THEN 'not_asked' END AS outcome
        FROM event WHERE event_type <> 'AuthAttemptStarted'
      ), open AS (
        SELECT start.* FROM start
        WHERE NOT EXISTS (
          SELECT FROM ending LEFT JOIN start AS own ON own.id = ending.id AND to_jsonb(own.sequence_number) = ending.attempt
          WHERE ending.id = start.id AND ending.sequence_number > start.sequence_number
            AND CASE
              WHEN closed IS NOT NULL THEN closed = start.version
              WHEN NOT told THEN ending.number = start.number AND outcome IN ('answered', 'not_asked')
              WHEN own.number IS DISTINCT FROM ending.number THEN false -- told of another attempt than the current one
              WHEN outcome = 'not_asked' THEN own.number = start.number
              ELSE outcome IN ('answered', 'nothing_held')
                AND (own.number = start.number OR own.version <> '' AND own.version = start.version) END)
      ), attempts AS (
        SELECT request.id, last.sequence_number AS attempt, last.version, last.token,
               EXISTS (SELECT FROM open WHERE open.id = request.id AND is_last) AS unanswered,
               ARRAY(SELECT version FROM open WHERE open.id = request.id AND NOT is_last
                     GROUP BY version ORDER BY min(sequence_number)) AS versions,
               (SELECT min(created_at) FROM open WHERE open.id = request.id) AS since, request.retries
        FROM (
          SELECT id, count(*) FILTER (
            WHERE event_type = 'AuthAttemptFailed' AND jsonb_typeof(metadata -> 'closed_version') IS DISTINCT FROM 'string'
              AND pg_temp.read_protobuf_field(event_data, 4) = '1')::integer AS retries
          FROM event GROUP BY id
        ) AS request
        LEFT JOIN start AS last ON last.id = request.id AND last.is_last
      )
      UPDATE auth_request_state AS state
      SET attempt = attempts.attempt, attempt_version = version, attempt_token = token, attempt_unanswered = unanswered,
          unanswered_versions = versions, unanswered_since = since, attempt_open = since IS NOT NULL,
          retry_count = retries
      FROM attempts
      WHERE state.auth_request_id = attempts.id
        AND ((state.attempt_unanswered, state.unanswered_versions, state.attempt_open, state.retry_count)
              IS DISTINCT FROM (unanswered, versions, since IS NOT NULL, retries)
          OR unanswered AND (state.attempt, state.attempt_version, state.attempt_token)
              IS DISTINCT FROM (attempts.attempt, version, token));
      COMMIT;
    END LOOP;
  END $$`;

/**
 * The search path is pinned: without that, a temporary table named pg_class makes an owner of anybody.
 *
 * Under session_replication_role = replica it refuses what it refuses, and sets nothing: a logical subscriber and a
 * restore of data take rows as they are, updated_at included.
 */
const CREATE_GUARD = `
  CREATE OR REPLACE FUNCTION guard_auth_request_state() RETURNS trigger LANGUAGE plpgsql
  SET search_path = pg_catalog, pg_temp AS $$
  DECLARE
    open_before text[];
    open_after text[];
  BEGIN
    IF current_setting('session_replication_role') <> 'replica' THEN
      NEW.updated_at := now();
    END IF;
    IF TG_OP = 'INSERT' THEN
      IF NEW.status <> 'PENDING'
        AND NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
      THEN
        RAISE EXCEPTION 'a request begins PENDING, not %', NEW.status USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_begins_pending',
          HINT = 'Only the owner of the table may insert other rows, to rebuild them from their events.';
      END IF;
      RETURN NEW;
    END IF;
    IF NEW.status <> OLD.status AND NEW.status <> ALL (CASE OLD.status
      WHEN 'PENDING' THEN ARRAY['PROCESSING', 'FAILED', 'VOIDED', 'EXPIRED']
      WHEN 'PROCESSING' THEN ARRAY['AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED']
      WHEN 'AUTHORIZED' THEN ARRAY['VOIDED']
      WHEN 'VOIDED' THEN ARRAY['EXPIRED']
      ELSE ARRAY[]::text[] END)
    THEN
      RAISE EXCEPTION 'a request does not go from % to %', OLD.status, NEW.status USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_status_change';
    END IF;
    IF NEW.last_event_sequence < OLD.last_event_sequence THEN
      RAISE EXCEPTION 'last_event_sequence never falls' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_sequence_never_falls';
    END IF;
    IF (NEW.attempt, NEW.attempt_version, NEW.attempt_token, NEW.attempt_unanswered, NEW.unanswered_versions)
      IS DISTINCT FROM
       (OLD.attempt, OLD.attempt_version, OLD.attempt_token, OLD.attempt_unanswered, OLD.unanswered_versions)
    THEN
      IF NEW.last_event_sequence = OLD.last_event_sequence THEN
        RAISE EXCEPTION 'attempts change only with an event' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_attempts_need_event';
      END IF;
      open_before := ARRAY(SELECT unnest(OLD.unanswered_versions) UNION SELECT OLD.attempt_version WHERE OLD.attempt_unanswered);
      open_after := ARRAY(SELECT unnest(NEW.unanswered_versions) UNION SELECT NEW.attempt_version WHERE NEW.attempt_unanswered);
      IF cardinality(ARRAY(SELECT unnest(open_before) EXCEPT SELECT unnest(open_after))) > 1
        OR NEW.attempt IS DISTINCT FROM OLD.attempt AND NOT open_before <@ open_after
        OR NEW.attempt = OLD.attempt
          AND (NEW.attempt_version, NEW.attempt_token) IS DISTINCT FROM (OLD.attempt_version, OLD.attempt_token)
      THEN
        RAISE EXCEPTION 'an event ends at most one version''s attempts, a new attempt ends none, and none is rewritten' USING
          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_attempts_not_forgotten';
      END IF;
    END IF;
    IF (NEW.auth_request_id, NEW.restaurant_id, NEW.payment_token, NEW.amount_cents, NEW.currency, NEW.created_at)
      IS DISTINCT FROM
       (OLD.auth_request_id, OLD.restaurant_id, OLD.payment_token, OLD.amount_cents, OLD.currency, OLD.created_at)
    THEN
      RAISE EXCEPTION 'what was asked for does not change: id, restaurant, token, amount, currency, created_at' USING
        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_request_immutable';
    END IF;
    RETURN NEW;
  END $$`;

/**
 * A new request that begins as it should needs no function: calling it took an eighth of the statement that accepts one.
 * ALWAYS: also where session_replication_role is replica.
 */
const ENABLE_GUARD = [
  `CREATE OR REPLACE TRIGGER guard_auth_request_state BEFORE UPDATE ON auth_request_state
     FOR EACH ROW EXECUTE FUNCTION guard_auth_request_state()`,
  `CREATE OR REPLACE TRIGGER guard_new_auth_request_state BEFORE INSERT ON auth_request_state
     FOR EACH ROW WHEN (NEW.status <> 'PENDING' OR NEW.updated_at IS DISTINCT FROM now())
     EXECUTE FUNCTION guard_auth_request_state()`,
  `ALTER TABLE auth_request_state
     ENABLE ALWAYS TRIGGER guard_auth_request_state,
     ENABLE ALWAYS TRIGGER guard_new_auth_request_state`,
];
