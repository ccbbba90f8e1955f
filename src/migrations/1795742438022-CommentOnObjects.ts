import { type MigrationInterface, type QueryRunner } from 'typeorm';
import { type CommentChanges, putComments, takeBackComments } from './helpers/comments';

/**
 * Says of every table, column, constraint, index, trigger, function and sequence what it is there for, so that \d+ of psql
 * and every graphical client explain the schema by themselves.
 *
 * The texts are those that src/schema/comments.ts had when this was written. One that changes there comes with a migration
 * of its own, which `npm run migration:comments` writes: this one stays as it is.
 *
 * A comment that the owner of a database has written stays, up and down: up writes only where there is none, down removes
 * only what up wrote. An object that is missing is passed over; that is for `check` to find.
 *
 * Locks: SHARE UPDATE EXCLUSIVE on all tables, in one transaction, for some milliseconds: it stops no reads or writes, and
 * waits for VACUUM, ANALYZE, CREATE INDEX CONCURRENTLY and other migrations. Clients of the version before keep working.
 * Re-runnable. In one transaction, since the catalog that a cut-off run is judged by has no comments.
 */
export class CommentOnObjects1795742438022 implements MigrationInterface {
  name = 'CommentOnObjects1795742438022';
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await putComments(queryRunner, COMMENTS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await takeBackComments(queryRunner, COMMENTS);
  }
}

/** As src/schema/comments.ts had them when this was written. */
const COMMENTS: CommentChanges = {
  payment_events: {
    'TABLE payment_events':
      'One thing that has happened to one authorization request, for good: a row is never changed or deleted. Written in the transaction that changes the request.',
    'COLUMN payment_events.id':
      'Position in the store. Gaps are normal, and a larger position does not mean a later commit.',
    'COLUMN payment_events.event_id':
      'Identity of the event. The writer draws it (UUIDv7; legacy: UUIDv4) and keeps it for a repeat, so that a repeated call is recognized.',
    'COLUMN payment_events.aggregate_id': 'The authorization request: auth_request_state.auth_request_id.',
    'COLUMN payment_events.aggregate_type': 'Kind of the aggregate: auth_request.',
    'COLUMN payment_events.event_type': 'Name of the protobuf message in event_data, such as AuthRequestCreated.',
    'COLUMN payment_events.event_data':
      'The event itself: a protobuf message of package payments.v1. May hold the payment token: for workers alone to read.',
    'COLUMN payment_events.metadata':
      'JSON object of the writer: correlation and causation ids, idempotency key, worker, attempt. Nothing personal, no card data. Legacy rows may hold JSON text in a JSON string, or NULL.',
    'COLUMN payment_events.created_at':
      "Start of the writing transaction, by the database's clock. Orders nothing: sequence_number does.",
    'COLUMN payment_events.sequence_number': 'Number of the event within its request: 1, 2, 3 and so on, without gaps.',
    'COLUMN payment_events.restaurant_id':
      'The restaurant of the request. Written with the event; for legacy events by a migration.',
    'CONSTRAINT check_sequence_positive ON payment_events': 'Streams begin at 1.',
    'CONSTRAINT payment_events_event_id_key ON payment_events':
      'An event is written once: the repeat of a call meets its own event here.',
    'CONSTRAINT payment_events_metadata_present ON payment_events':
      'Readers expect an object. NOT VALID: legacy events without metadata stay as they are.',
    'CONSTRAINT payment_events_pkey ON payment_events': 'Names one position, by which readers page through the store.',
    'CONSTRAINT unique_aggregate_sequence ON payment_events':
      'Of two writers that append the same number one fails, so that no decision is made on an old state. Also reads a stream in order.',
    'INDEX idx_payment_events_created_at':
      'Finds the events of a period. BRIN, since it costs an append next to nothing.',
    'TRIGGER payment_events_append_only ON payment_events':
      'Refuses UPDATE and DELETE by anyone, the owner included. ENABLE ALWAYS: also where session_replication_role is replica.',
    'TRIGGER payment_events_no_gaps ON payment_events':
      'Refuses an event whose predecessor is missing or of another restaurant. Not ENABLE ALWAYS: a logical subscriber receives rows in no order.',
    'TRIGGER payment_events_no_truncate ON payment_events':
      'Refuses TRUNCATE, which fires no row trigger. ENABLE ALWAYS.',
    'FUNCTION refuse_payment_events_change()': 'Makes payment_events append-only.',
    'FUNCTION refuse_payment_events_gap()':
      'Looks for the event before: streams have no gaps and belong to one restaurant.',
    'SEQUENCE payment_events_id_seq': 'Draws payment_events.id.',
  },
  auth_request_state: {
    'TABLE auth_request_state':
      'What one authorization request is now: the result of its events, written in the same statement as the event. Can be rebuilt from them.',
    'COLUMN auth_request_state.auth_request_id':
      'Identity of the request, drawn by authorize (UUIDv7; legacy: UUIDv4).',
    'COLUMN auth_request_state.restaurant_id': 'The restaurant that asked. Never changes.',
    'COLUMN auth_request_state.payment_token':
      'Stands for the card at the token service. Secret: for workers alone to read. Never changes.',
    'COLUMN auth_request_state.status':
      'PENDING, PROCESSING, AUTHORIZED, DENIED, FAILED, VOIDED or EXPIRED. All but the first two are settled. The guard allows only the changes that the life of a request has.',
    'COLUMN auth_request_state.amount_cents': "What was asked for, in the currency's minor unit. Never changes.",
    'COLUMN auth_request_state.currency': 'ISO 4217, upper case. Never changes.',
    'COLUMN auth_request_state.processor_auth_id':
      "The processor's id of the authorization that this row names. Written by recordAuthorized.",
    'COLUMN auth_request_state.processor_name': 'The processor that gave the result. Written with the result.',
    'COLUMN auth_request_state.authorized_amount_cents':
      "What the processor authorized, in the currency's minor unit: at most amount_cents. Written by recordAuthorized.",
    'COLUMN auth_request_state.authorization_code':
      "The issuer's code for the authorization. Legacy rows may hold an empty text.",
    'COLUMN auth_request_state.denial_code':
      'Why the processor said no, as a code. Written by recordDenied. Legacy rows may hold an empty text.',
    'COLUMN auth_request_state.denial_reason':
      'Why the processor said no, in words. Written by recordDenied. Legacy rows may hold an empty text.',
    'COLUMN auth_request_state.created_at':
      "When the request was accepted, by the database's clock; legacy rows: by the service's. Never changes.",
    'COLUMN auth_request_state.updated_at':
      'When the row was last written. Set by the guard, whatever the client says.',
    'COLUMN auth_request_state.completed_at':
      "When it was first settled, by the database's clock. NULL until then, and on some legacy rows.",
    'COLUMN auth_request_state.metadata': 'JSON object that the restaurant sent along. Nothing personal, no card data.',
    'COLUMN auth_request_state.last_event_sequence':
      'sequence_number of its last event. Grows with every event and never falls.',
    'COLUMN auth_request_state.last_event_id': 'event_id of its last event.',
    'COLUMN auth_request_state.attempt_open':
      'Somebody may have asked the processor and nobody has recorded the answer: money may be held. True where attempt_unanswered is, or unanswered_versions has any.',
    'COLUMN auth_request_state.retry_count':
      'Attempts that failed and were to be tried again. Written by recordFailure.',
    'COLUMN auth_request_state.attempt':
      'The current attempt: sequence_number of its AuthAttemptStarted. NULL before the first. Written by startAttempt.',
    'COLUMN auth_request_state.attempt_version':
      'config_version under which the current attempt asks; empty for an attempt of a legacy service.',
    'COLUMN auth_request_state.attempt_token':
      'Fencing token of the lease under which the current attempt was started.',
    'COLUMN auth_request_state.attempt_unanswered':
      'The current attempt has neither an answer nor a record that the processor was not asked.',
    'COLUMN auth_request_state.unanswered_versions':
      'Versions of earlier attempts that were never answered, oldest first. An answer under a version takes it out.',
    'COLUMN auth_request_state.unanswered_since':
      'Since when something has been unanswered without a break. NULL where nothing is.',
    'CONSTRAINT auth_request_state_amount_positive ON auth_request_state':
      'An amount of zero or less is a mistake of the caller. NOT VALID: legacy rows may break it.',
    'CONSTRAINT auth_request_state_attempts_consistent ON auth_request_state':
      'The columns on attempts agree, so that none of them can hide money that may be held.',
    'CONSTRAINT auth_request_state_authorized_amount_within ON auth_request_state':
      'A processor that authorizes more than was asked for is a fault, not a result. NOT VALID.',
    'CONSTRAINT auth_request_state_authorized_complete ON auth_request_state':
      'An authorization that cannot be named cannot be voided or captured. NOT VALID: legacy rows lack it.',
    'CONSTRAINT auth_request_state_currency_iso ON auth_request_state':
      'Currencies compare as texts, so there is one spelling. NOT VALID.',
    'CONSTRAINT auth_request_state_pkey ON auth_request_state': 'One row a request.',
    'CONSTRAINT auth_request_state_settled_completed ON auth_request_state':
      'Every settled request says since when. NOT VALID: legacy rows lack it.',
    'CONSTRAINT check_status ON auth_request_state': 'No other status exists.',
    'INDEX idx_auth_request_state_created_at':
      'Finds stuck, stale and unsettled requests by age. BRIN, and not on status: an index on a column that changes would keep status updates from being HOT.',
    'INDEX idx_payment_token':
      'For people who look for the requests of one card. No operation of the package reads it.',
    'INDEX idx_restaurant_created': "Lists a restaurant's requests, newest first, a page at a time.",
    'TRIGGER guard_auth_request_state ON auth_request_state':
      'Refuses an update that the life of a request does not have. ENABLE ALWAYS.',
    'TRIGGER guard_new_auth_request_state ON auth_request_state':
      'Looks only at an insert that does not begin PENDING, or brings an updated_at of its own. ENABLE ALWAYS.',
    'FUNCTION guard_auth_request_state()':
      'Allows only the status changes of a request, keeps what was asked for as it was, never loses an event or an open attempt, and sets updated_at. Only the owner of the table may insert rows that are not PENDING, to rebuild them.',
  },
  outbox: {
    'TABLE outbox':
      'One message on its way to a queue, written in the transaction of what it tells and delivered by a relay at least once. Pending until processed_at is set; a dead letter from failed_at on.',
    'COLUMN outbox.id':
      'Order of delivery within one request. Together with aggregate_id it identifies the message to consumers.',
    'COLUMN outbox.aggregate_id': 'The authorization request: auth_request_state.auth_request_id.',
    'COLUMN outbox.message_type':
      "auth_request_queued, void_request_queued, or one of a service's own. Decides the queue.",
    'COLUMN outbox.payload': 'The protobuf message. The relay never looks inside.',
    'COLUMN outbox.created_at': "Start of the writing transaction, by the database's clock.",
    'COLUMN outbox.processed_at':
      'When it was delivered or discarded; the purge deletes the message later. Written by the relay, or by discard.',
    'COLUMN outbox.restaurant_id': 'The restaurant of the request. Decides the group of a FIFO queue.',
    'COLUMN outbox.headers': 'JSON object of texts that travel with the message, such as the W3C trace context.',
    'COLUMN outbox.attempts': 'Deliveries that were tried and refused. Written by the relay; requeue sets it to 0.',
    'COLUMN outbox.next_attempt_at':
      'Not to be delivered before then: after a refusal, or where the writer asked for it. NULL: at once.',
    'COLUMN outbox.last_error': 'Why the last delivery was refused. NULL once it is delivered.',
    'COLUMN outbox.failed_at': 'When the relay gave up: a dead letter, kept until somebody requeues or discards it.',
    'COLUMN outbox.discarded_at': 'When somebody discarded it instead of having it delivered.',
    'COLUMN outbox.discarded_by': 'Who discarded it.',
    'COLUMN outbox.discard_reason': 'Why it was discarded.',
    'CONSTRAINT outbox_discard_attributed ON outbox':
      'Nobody drops a message without a name and a reason, and it is no longer pending then.',
    'CONSTRAINT outbox_headers_texts ON outbox':
      'Brokers carry texts alone: anything else would be found only at delivery.',
    'CONSTRAINT outbox_pkey ON outbox': 'Names one message, for requeue and discard.',
    'INDEX idx_outbox_next_attempt':
      'Messages that wait for a time, by that time, so that a relay does not read those that are not due.',
    'INDEX idx_outbox_pending': 'What a relay takes next, in order. Holds only messages that may go out at once.',
    'INDEX idx_outbox_processed_at':
      'Counts what was delivered just now, and finds what the purge deletes. BRIN, since it costs a delivery next to nothing.',
    'INDEX idx_outbox_refused': 'Counts and lists refused messages and dead letters.',
    'INDEX idx_outbox_unprocessed_aggregate':
      'Tells whether an older message of the same request is still to be delivered.',
    'SEQUENCE outbox_id_seq': 'Draws outbox.id.',
  },
  auth_idempotency_keys: {
    'TABLE auth_idempotency_keys':
      "One key that a restaurant may send twice: what it stood for and what came of it. Written in the operation's own transaction.",
    'COLUMN auth_idempotency_keys.idempotency_key':
      "The restaurant's own text, 1 to 255 characters. Secret outside the API.",
    'COLUMN auth_idempotency_keys.restaurant_id':
      'The restaurant that chose the key. Equal keys of two restaurants have nothing to do with each other.',
    'COLUMN auth_idempotency_keys.auth_request_id': 'The request that it made or acted on.',
    'COLUMN auth_idempotency_keys.created_at':
      "When it was first used, or taken over after it had expired, by the database's clock.",
    'COLUMN auth_idempotency_keys.expires_at':
      'From then on another request may take the key over: 24 hours after created_at.',
    'COLUMN auth_idempotency_keys.operation':
      "authorize, void, or one of a service's own. A key used for another operation is refused.",
    'COLUMN auth_idempotency_keys.outcome':
      'What the operation answered, where its request alone does not tell: of void not_required, pending or queued.',
    'COLUMN auth_idempotency_keys.request_fingerprint':
      'SHA-256 of the canonical request, 32 bytes: a key used for another request is refused. NULL on legacy rows, which are not compared.',
    'CONSTRAINT auth_idempotency_keys_expires_after_created ON auth_idempotency_keys':
      'A key that is born expired protects nothing. NOT VALID.',
    'CONSTRAINT auth_idempotency_keys_fingerprint_sha256 ON auth_idempotency_keys':
      'A hash of another length was made by another rule, and would never match.',
    'CONSTRAINT auth_idempotency_keys_key_present ON auth_idempotency_keys':
      'An empty key is a mistake, and would be shared by all who make it. NOT VALID.',
    'CONSTRAINT auth_idempotency_keys_operation_present ON auth_idempotency_keys':
      'An unnamed operation could not be told from another.',
    'CONSTRAINT auth_idempotency_keys_pkey ON auth_idempotency_keys':
      'Of two calls with one key one writes, and the other waits and gets its answer.',
    'INDEX idx_idempotency_expires': 'Finds expired keys, oldest first, for the purge.',
  },
  restaurant_payment_configs: {
    'TABLE restaurant_payment_configs':
      "One version of how a restaurant's payments are processed. It never changes but for being switched on or off, so that an attempt under it can be explained years later.",
    'COLUMN restaurant_payment_configs.restaurant_id': 'The restaurant.',
    'COLUMN restaurant_payment_configs.config_version':
      "Name of the version, the operator's own. Attempts name the version under which they asked.",
    'COLUMN restaurant_payment_configs.processor_name':
      'One of the processors that check_processor names; mock is for tests.',
    'COLUMN restaurant_payment_configs.processor_config':
      "JSON object that the processor's client needs. Holds its API key: secret, for workers alone to read.",
    'COLUMN restaurant_payment_configs.is_active':
      'New attempts use this version. At most one of a restaurant is active.',
    'COLUMN restaurant_payment_configs.updated_at': 'When it was last switched on or off. Set by the guard.',
    'COLUMN restaurant_payment_configs.created_at':
      'When the version was inserted. Of a legacy row: when it was last changed before the migration.',
    'COLUMN restaurant_payment_configs.created_by': 'Who made it, where that was told.',
    'CONSTRAINT check_processor ON restaurant_payment_configs': 'No client exists for any other processor.',
    'CONSTRAINT restaurant_payment_configs_pkey ON restaurant_payment_configs':
      'A version of a restaurant is there once.',
    'INDEX restaurant_payment_configs_one_active': 'At most one active version a restaurant: no attempt has to choose.',
    'TRIGGER guard_restaurant_payment_configs ON restaurant_payment_configs':
      'Refuses every change but of is_active. ENABLE ALWAYS.',
    'FUNCTION guard_restaurant_payment_configs()':
      'Keeps a configuration version as it was inserted, but for is_active, and sets updated_at.',
  },
  auth_processing_locks: {
    'TABLE auth_processing_locks':
      "One worker's lease on one authorization request. Deleted when it is released; others may take it over once it has expired.",
    'COLUMN auth_processing_locks.auth_request_id':
      'The request that the worker works on: auth_request_state.auth_request_id.',
    'COLUMN auth_processing_locks.worker_id': 'The worker that holds the lease, by the name it gave itself.',
    'COLUMN auth_processing_locks.locked_at': "When the lease was acquired, by the database's clock.",
    'COLUMN auth_processing_locks.expires_at': "Until when it holds, by the database's clock. renew moves it on.",
    'COLUMN auth_processing_locks.restaurant_id': 'The restaurant of the request.',
    'COLUMN auth_processing_locks.fencing_token':
      'Drawn at random for every acquisition: by it every write of the worker proves that it still has the lease. Compared for equality, never for order.',
    'CONSTRAINT auth_processing_locks_pkey ON auth_processing_locks':
      'At most one worker a request: of two that acquire, one gets the lease.',
    'CONSTRAINT check_expires_after_locked ON auth_processing_locks': 'A lease that is born expired protects nothing.',
    'SEQUENCE auth_processing_fencing_tokens':
      'Draws a fencing token for clients that bring none. Those of this package bring a random one.',
  },
  payment_events_db_migrations: {
    'TABLE payment_events_db_migrations':
      'One row a migration that this database has run, written by the migrator. npx payment-events-db history prints it. Do not edit.',
  },
};
