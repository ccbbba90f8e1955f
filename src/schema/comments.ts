/** What one row of a table is, what each of its columns holds, and why it has its constraints, indexes and triggers. */
interface TableComments {
  readonly row: string;
  readonly columns: Readonly<Record<string, string>>;
  /** Also for the index that a primary key or a unique constraint makes under its name. */
  readonly constraints: Readonly<Record<string, string>>;
  readonly indexes?: Readonly<Record<string, string>>;
  readonly triggers?: Readonly<Record<string, string>>;
  /** Why it has storage settings of its own. PostgreSQL has no place for this comment: it stands in the reference alone. */
  readonly storage?: string;
  readonly relations?: readonly Relation[];
}

/** Rows of two tables that belong together by the same value. No foreign key says so. */
export interface Relation {
  readonly columns: readonly string[];
  readonly to: string;
  /** What the columns have the value of. */
  readonly keys: readonly string[];
  /** How many rows belong to one of `to`. */
  readonly many: 'any number' | 'at most one';
  /** What it means, for readers. */
  readonly meaning: string;
}

interface Comments<Table extends string, Sequence extends string, Func extends string> {
  readonly tables: Readonly<Record<Table, TableComments>>;
  readonly sequences: Readonly<Record<Sequence, string>>;
  readonly functions: Readonly<Record<Func, string>>;
  /** Of the table of the history, which the migrator makes. */
  readonly history: string;
}

/** Keeps the names as types, and nothing else of it. */
const commentsOn = <Table extends string, Sequence extends string, Func extends string>(
  comments: Comments<Table, Sequence, Func>,
) => comments;

/**
 * Every object that the migrations make, by name, and what it is there for. The entities, docs/reference/schema.md and
 * the comments in the database are made from it. A changed text needs a migration: `npm run migration:comments -- Name` writes it.
 */
export const COMMENTS = commentsOn({
  tables: {
    payment_events: {
      row: 'One thing that has happened to one authorization request, for good: a row is never changed or deleted. Written in the transaction that changes the request.',
      relations: [
        {
          columns: ['aggregate_id'],
          to: 'auth_request_state',
          keys: ['auth_request_id'],
          many: 'any number',
          meaning: 'The events of a request, from which its row can be rebuilt.',
        },
      ],
      columns: {
        id: 'Position in the store. Gaps are normal, and a larger position does not mean a later commit.',
        event_id:
          'Identity of the event. The writer draws it (UUIDv7; legacy: UUIDv4) and keeps it for a repeat, so that a repeated call is recognized.',
        aggregate_id: 'The authorization request: auth_request_state.auth_request_id.',
        aggregate_type: 'Kind of the aggregate: auth_request.',
        event_type: 'Name of the protobuf message in event_data, such as AuthRequestCreated.',
        event_data:
          'The event itself: a protobuf message of package payments.v1. May hold the payment token: for workers alone to read.',
        metadata:
          'JSON object of the writer: correlation and causation ids, idempotency key, worker, attempt. Nothing personal, no card data. Legacy rows may hold JSON text in a JSON string, or NULL.',
        created_at: "Start of the writing transaction, by the database's clock. Orders nothing: sequence_number does.",
        sequence_number: 'Number of the event within its request: 1, 2, 3 and so on, without gaps.',
        restaurant_id: 'The restaurant of the request. Written with the event; for legacy events by a migration.',
      },
      constraints: {
        payment_events_pkey: 'Names one position, by which readers page through the store.',
        payment_events_event_id_key: 'An event is written once: the repeat of a call meets its own event here.',
        unique_aggregate_sequence:
          'Of two writers that append the same number one fails, so that no decision is made on an old state. Also reads a stream in order.',
        check_sequence_positive: 'Streams begin at 1.',
        payment_events_metadata_present:
          'Readers expect an object. NOT VALID: legacy events without metadata stay as they are.',
      },
      indexes: {
        idx_payment_events_created_at: 'Finds the events of a period. BRIN, since it costs an append next to nothing.',
      },
      triggers: {
        payment_events_append_only:
          'Refuses UPDATE and DELETE by anyone, the owner included. ENABLE ALWAYS: also where session_replication_role is replica.',
        payment_events_no_truncate: 'Refuses TRUNCATE, which fires no row trigger. ENABLE ALWAYS.',
        payment_events_no_gaps:
          'Refuses an event whose predecessor is missing or of another restaurant. Not ENABLE ALWAYS: a logical subscriber receives rows in no order.',
      },
    },
    auth_request_state: {
      row: 'What one authorization request is now: the result of its events, written in the same statement as the event. Can be rebuilt from them.',
      relations: [
        {
          columns: ['last_event_id'],
          to: 'payment_events',
          keys: ['event_id'],
          many: 'at most one',
          meaning: 'The last event of a request.',
        },
        {
          columns: ['restaurant_id', 'attempt_version'],
          to: 'restaurant_payment_configs',
          keys: ['restaurant_id', 'config_version'],
          many: 'any number',
          meaning: 'The configuration under which the current attempt of a request asks.',
        },
      ],
      columns: {
        auth_request_id: 'Identity of the request, drawn by authorize (UUIDv7; legacy: UUIDv4).',
        restaurant_id: 'The restaurant that asked. Never changes.',
        payment_token: 'Stands for the card at the token service. Secret: for workers alone to read. Never changes.',
        status:
          'PENDING, PROCESSING, AUTHORIZED, DENIED, FAILED, VOIDED or EXPIRED. All but the first two are settled. The guard allows only the changes that the life of a request has.',
        amount_cents: "What was asked for, in the currency's minor unit. Never changes.",
        currency: 'ISO 4217, upper case. Never changes.',
        processor_auth_id: "The processor's id of the authorization that this row names. Written by recordAuthorized.",
        processor_name: 'The processor that gave the result. Written with the result.',
        authorized_amount_cents:
          "What the processor authorized, in the currency's minor unit: at most amount_cents. Written by recordAuthorized.",
        authorization_code: "The issuer's code for the authorization. Legacy rows may hold an empty text.",
        denial_code:
          'Why the processor said no, as a code. Written by recordDenied. Legacy rows may hold an empty text.',
        denial_reason:
          'Why the processor said no, in words. Written by recordDenied. Legacy rows may hold an empty text.',
        created_at:
          "When the request was accepted, by the database's clock; legacy rows: by the service's. Never changes.",
        updated_at: 'When the row was last written. Set by the guard, whatever the client says.',
        completed_at: "When it was first settled, by the database's clock. NULL until then, and on some legacy rows.",
        metadata: 'JSON object that the restaurant sent along. Nothing personal, no card data.',
        last_event_sequence: 'sequence_number of its last event. Grows with every event and never falls.',
        last_event_id: 'event_id of its last event.',
        attempt_open:
          'Somebody may have asked the processor and nobody has recorded the answer: money may be held. True where attempt_unanswered is, or unanswered_versions has any.',
        retry_count: 'Attempts that failed and were to be tried again. Written by recordFailure.',
        attempt:
          'The current attempt: sequence_number of its AuthAttemptStarted. NULL before the first. Written by startAttempt.',
        attempt_version:
          'config_version under which the current attempt asks; empty for an attempt of a legacy service.',
        attempt_token: 'Fencing token of the lease under which the current attempt was started.',
        attempt_unanswered: 'The current attempt has neither an answer nor a record that the processor was not asked.',
        unanswered_versions:
          'Versions of earlier attempts that were never answered, oldest first. An answer under a version takes it out.',
        unanswered_since: 'Since when something has been unanswered without a break. NULL where nothing is.',
        sweeps: 'How often the sweeper has sent its message again. Not decided by events.',
        swept_at: 'When the sweeper last did.',
      },
      constraints: {
        auth_request_state_pkey: 'One row a request.',
        check_status: 'No other status exists.',
        auth_request_state_amount_positive:
          'An amount of zero or less is a mistake of the caller. NOT VALID: legacy rows may break it.',
        auth_request_state_authorized_amount_within:
          'A processor that authorizes more than was asked for is a fault, not a result. NOT VALID.',
        auth_request_state_currency_iso: 'Currencies compare as texts, so there is one spelling. NOT VALID.',
        auth_request_state_authorized_complete:
          'An authorization that cannot be named cannot be voided or captured. NOT VALID: legacy rows lack it.',
        auth_request_state_settled_completed: 'Every settled request says since when. NOT VALID: legacy rows lack it.',
        auth_request_state_attempts_consistent:
          'The columns on attempts agree, so that none of them can hide money that may be held.',
      },
      indexes: {
        idx_restaurant_created: "Lists a restaurant's requests, newest first, a page at a time.",
        idx_payment_token: 'For people who look for the requests of one card. No operation of the package reads it.',
        idx_auth_request_state_created_at:
          'Finds stuck, stale and unsettled requests by age. BRIN, and not on status: an index on a column that changes would keep status updates from being HOT.',
      },
      triggers: {
        guard_auth_request_state: 'Refuses an update that the life of a request does not have. ENABLE ALWAYS.',
        guard_new_auth_request_state:
          'Looks only at an insert that does not begin PENDING, or brings an updated_at of its own. ENABLE ALWAYS.',
      },
      storage:
        'Room on each page for the two or three updates of a request, so that they are HOT: no index is written by them.',
    },
    outbox: {
      row: 'One message on its way to a queue, written in the transaction of what it tells and delivered by a relay at least once. Pending until processed_at is set; a dead letter from failed_at on.',
      relations: [
        {
          columns: ['aggregate_id'],
          to: 'auth_request_state',
          keys: ['auth_request_id'],
          many: 'any number',
          meaning: 'The messages that tell of a request.',
        },
      ],
      columns: {
        id: 'Order of delivery within one request. Together with aggregate_id it identifies the message to consumers.',
        aggregate_id: 'The authorization request: auth_request_state.auth_request_id.',
        message_type: "auth_request_queued, void_request_queued, or one of a service's own. Decides the queue.",
        payload: 'The protobuf message. The relay never looks inside.',
        created_at: "Start of the writing transaction, by the database's clock.",
        processed_at:
          'When it was delivered or discarded; the purge deletes the message later. Written by the relay, or by discard.',
        restaurant_id: 'The restaurant of the request. Decides the group of a FIFO queue.',
        headers: 'JSON object of texts that travel with the message, such as the W3C trace context.',
        attempts: 'Deliveries that were tried and refused. Written by the relay; requeue sets it to 0.',
        next_attempt_at:
          'Not to be delivered before then: after a refusal, or where the writer asked for it. NULL: at once.',
        last_error: 'Why the last delivery was refused. NULL once it is delivered.',
        failed_at: 'When the relay gave up: a dead letter, kept until somebody requeues or discards it.',
        discarded_at: 'When somebody discarded it instead of having it delivered.',
        discarded_by: 'Who discarded it.',
        discard_reason: 'Why it was discarded.',
      },
      constraints: {
        outbox_pkey: 'Names one message, for requeue and discard.',
        outbox_discard_attributed:
          'Nobody drops a message without a name and a reason, and it is no longer pending then.',
        outbox_headers_texts: 'Brokers carry texts alone: anything else would be found only at delivery.',
      },
      indexes: {
        idx_outbox_pending: 'What a relay takes next, in order. Holds only messages that may go out at once.',
        idx_outbox_next_attempt:
          'Messages that wait for a time, by that time, so that a relay does not read those that are not due.',
        idx_outbox_refused: 'Counts and lists refused messages and dead letters.',
        idx_outbox_unprocessed_aggregate:
          'Tells whether an older message of the same request is still to be delivered.',
        idx_outbox_processed_at:
          'Counts what was delivered just now, and finds what the purge deletes. BRIN, since it costs a delivery next to nothing.',
      },
      storage:
        'Every row is updated once and pending ones come in bursts: vacuum and analyze count rows instead of a share of the table, so that a relay does not plan a burst on the statistics of an empty queue.',
    },
    auth_idempotency_keys: {
      row: "One key that a restaurant may send twice: what it stood for and what came of it. Written in the operation's own transaction.",
      relations: [
        {
          columns: ['auth_request_id'],
          to: 'auth_request_state',
          keys: ['auth_request_id'],
          many: 'any number',
          meaning: 'The keys that made or changed a request, until they are purged.',
        },
      ],
      columns: {
        idempotency_key: "The restaurant's own text, 1 to 255 characters. Secret outside the API.",
        restaurant_id:
          'The restaurant that chose the key. Equal keys of two restaurants have nothing to do with each other.',
        auth_request_id: 'The request that it made or acted on.',
        created_at: "When it was first used, or taken over after it had expired, by the database's clock.",
        expires_at: 'From then on another request may take the key over: 24 hours after created_at.',
        operation: "authorize, void, or one of a service's own. A key used for another operation is refused.",
        outcome:
          'What the operation answered, where its request alone does not tell: of void not_required, pending or queued.',
        request_fingerprint:
          'SHA-256 of the canonical request, 32 bytes: a key used for another request is refused. NULL on legacy rows, which are not compared.',
      },
      constraints: {
        auth_idempotency_keys_pkey: 'Of two calls with one key one writes, and the other waits and gets its answer.',
        auth_idempotency_keys_key_present:
          'An empty key is a mistake, and would be shared by all who make it. NOT VALID.',
        auth_idempotency_keys_expires_after_created: 'A key that is born expired protects nothing. NOT VALID.',
        auth_idempotency_keys_operation_present: 'An unnamed operation could not be told from another.',
        auth_idempotency_keys_fingerprint_sha256:
          'A hash of another length was made by another rule, and would never match.',
      },
      indexes: {
        idx_idempotency_expires: 'Finds expired keys, oldest first, for the purge.',
      },
    },
    restaurant_payment_configs: {
      row: "One version of how a restaurant's payments are processed. It never changes but for being switched off, once, and for having its secrets sealed, so that an attempt under it can be explained years later.",
      columns: {
        restaurant_id: 'The restaurant.',
        config_version: "Name of the version, the operator's own. Attempts name the version under which they asked.",
        processor_name: 'Its processor, a row of processors; mock is for tests.',
        processor_config:
          "JSON object of settings that the processor's client needs. Versions of legacy services hold its API key as well, until they are sealed: secret, for workers and those who manage configurations alone to read.",
        is_active: 'New attempts use this version. At most one of a restaurant is active. Once false, false for good.',
        updated_at: 'When it was switched off; until then when it was made. Set by the guard.',
        created_at: 'When the version was inserted. Of a legacy row: when it was last changed before the migration.',
        created_by: 'Who made it, where that was told.',
        sealed_secrets:
          'Its secrets, encrypted: a byte for the format, the 16 bytes of data_key_id, and what belongs to the format. NULL where it has none, or has them in plain text. Bound to restaurant, version, processor, fields and settings: it opens nowhere else.',
        sealed_fields: 'The names of the secrets in sealed_secrets.',
        data_key_id: 'The key that sealed_secrets is encrypted under: data_keys.data_key_id.',
        switched_off_by:
          'Who switched it off. NULL on versions that are on, and that were switched off before this was asked.',
        copy_of: 'The version of the restaurant whose content this one has, where somebody has gone back to that.',
      },
      constraints: {
        restaurant_payment_configs_pkey: 'A version of a restaurant is there once.',
        restaurant_payment_configs_processor_fkey:
          'No client exists for a processor that nobody has described. Its secrets and settings are looked up there.',
        restaurant_payment_configs_sealed_whole: 'What is sealed says under which key and what it holds.',
        restaurant_payment_configs_data_key_fkey:
          'A data key that is in use cannot go: nothing else opens what it sealed.',
        restaurant_payment_configs_copy_of_fkey: 'A way back leads to a version that is there.',
      },
      indexes: {
        restaurant_payment_configs_one_active: 'At most one active version a restaurant: no attempt has to choose.',
      },
      triggers: {
        guard_restaurant_payment_configs:
          'Refuses every change but to switch a version off, and to seal its secrets. ENABLE ALWAYS.',
        guard_new_restaurant_payment_configs:
          'Refuses secrets among the settings, settings that the processor does not know, and whatever another rule of the table would refuse, in words that quote nothing of the row. Not ENABLE ALWAYS: a logical subscriber receives versions of legacy services.',
      },
    },
    processors: {
      row: 'One processor that restaurants can be configured for. stripe, chase, worldpay and mock come with the migrations; a team inserts its own.',
      columns: {
        processor_name: 'Its name, as versions of configurations give it.',
        secret_fields: 'Names of its secrets. None may be among the settings of a configuration, at any depth.',
        required_secret_fields: 'Those that a new configuration has to have.',
        settings_schema:
          'JSON Schema of its settings: of an object without additional properties. The guard of configurations knows the names in properties; clients check the rest.',
        created_at: 'When it was inserted. Of those that come with the migrations: when they were described.',
      },
      constraints: {
        processors_pkey: 'A processor is there once.',
        processors_name_format: 'Names compare as texts, so there is one spelling.',
        processors_secrets_named: 'A secret without a name could not be found among settings.',
        processors_required_known: 'What has to be there is one of the secrets.',
        processors_settings_closed:
          'Unknown settings are refused, so the schema names all. It would be of no use as another kind of schema.',
        processors_settings_not_secret: 'A secret that is a setting as well would be kept in plain text.',
      },
    },
    data_keys: {
      row: 'One key that secrets of configurations are sealed with, itself encrypted under a key that the database does not have. Shared by many versions.',
      columns: {
        data_key_id: 'Its identity, which every ciphertext names. Never changes.',
        key_encryption_key_id: 'The key that it is wrapped under, as its key provider names it.',
        wrapped: 'The key, encrypted. Of no use without the key encryption key.',
        created_at: 'When it was inserted. Never changes.',
        rewrapped_at: 'When it was last wrapped under another key.',
      },
      constraints: {
        data_keys_pkey: 'A key is there once.',
        data_keys_key_encryption_key_named: 'A key that does not say what it is wrapped under cannot be unwrapped.',
        data_keys_wrapped_length: 'Nothing that long is a wrapped key, and nothing empty.',
      },
      triggers: {
        guard_data_keys: 'Refuses a change of data_key_id and created_at. ENABLE ALWAYS.',
      },
    },
    auth_processing_locks: {
      row: "One worker's lease on one authorization request. Deleted when it is released; others may take it over once it has expired.",
      relations: [
        {
          columns: ['auth_request_id'],
          to: 'auth_request_state',
          keys: ['auth_request_id'],
          many: 'at most one',
          meaning: 'The lease of the worker that works on a request.',
        },
      ],
      columns: {
        auth_request_id: 'The request that the worker works on: auth_request_state.auth_request_id.',
        worker_id: 'The worker that holds the lease, by the name it gave itself.',
        locked_at: "When the lease was acquired, by the database's clock.",
        expires_at: "Until when it holds, by the database's clock. renew moves it on.",
        restaurant_id: 'The restaurant of the request.',
        fencing_token:
          'Drawn at random for every acquisition: by it every write of the worker proves that it still has the lease. Compared for equality, never for order.',
      },
      constraints: {
        auth_processing_locks_pkey: 'At most one worker a request: of two that acquire, one gets the lease.',
        check_expires_after_locked: 'A lease that is born expired protects nothing.',
      },
    },
    auth_holds: {
      row: 'One authorization that a processor has reported for one request, and where its money is. Written by the statement that writes the event which says so; the fold of the events.',
      relations: [
        {
          columns: ['auth_request_id'],
          to: 'auth_request_state',
          keys: ['auth_request_id'],
          many: 'any number',
          meaning: 'The authorizations of a request, a second one or one that came too late among them.',
        },
      ],
      columns: {
        auth_request_id: 'The request: auth_request_state.auth_request_id.',
        restaurant_id: 'The restaurant of the request.',
        processor_name: 'The processor that holds the money. Empty where a legacy service did not say.',
        processor_auth_id: "The processor's own id of the authorization.",
        amount_cents: "What was authorized, in the currency's minor unit; 0 where nobody has said.",
        currency: 'Of the amounts: three letters of ISO 4217.',
        config_version:
          'The configuration version that it was asked under, and is voided by. NULL where nobody knows: of a legacy service, or told by the processor alone.',
        authorized_at: "When it was authorized, by the processor's clock.",
        hold_expires_at: 'Until when the processor holds the money. NULL where it did not say.',
        state:
          'held, voiding (nobody needs it: a void is on its way), void_failed (a person has to see to it), or how it ended: voided, captured, lapsed.',
        state_since: 'Since when it is in this state. Set by the guard.',
        is_needed:
          'Its request may use it: it is open, or AUTHORIZED by this authorization. Once false, false for good.',
        is_answered:
          'A worker has recorded it. Until then the processor alone has told of it, and its amount may change.',
        ended_amount_cents: 'What was captured, voided or given up. NULL where nobody has said.',
        ended_by: 'Who has told how it ended: a worker, a source such as stripe, or a person.',
        closed_by: 'The person who has seen to it, where it had to be seen to: it is on no list any more.',
        void_failures: 'Voids that have failed since a person last asked for one.',
        last_void_error: 'Error code of the last void that failed.',
        next_void_at: 'When the next void is due, after one that has failed.',
        sweeps: 'How often the sweeper has sent its void on its way again.',
        swept_at: 'When the sweeper last did.',
        first_event_sequence: 'Number of the event that told of it first.',
        last_event_sequence: 'Number of the last event about it. Every change of state comes with one.',
      },
      constraints: {
        auth_holds_pkey: 'An authorization of a request is there once, however often it is reported.',
        auth_holds_last_event_fkey: 'No client can say where money is without an event that says so.',
        auth_holds_state: 'Readers know no other state.',
        auth_holds_voiding_unneeded: 'What a request may still use is never voided.',
        auth_holds_amount_not_negative: 'Money that is held is not negative.',
      },
      indexes: {
        idx_auth_holds_processor: "Finds requests by the processor's id, as webhooks name them.",
        idx_auth_holds_held: 'Finds what is about to lapse.',
        idx_auth_holds_open:
          'Lists what nobody needs and may still stand: all that a worker or a person has to see to.',
      },
      triggers: {
        guard_auth_holds:
          'Refuses a change without a newer event, a state that does not follow, and another amount than a worker has recorded. ENABLE ALWAYS.',
      },
    },
  },
  sequences: {
    payment_events_id_seq: 'Draws payment_events.id.',
    outbox_id_seq: 'Draws outbox.id.',
    auth_processing_fencing_tokens:
      'Draws a fencing token for clients that bring none. Those of this package bring a random one.',
  },
  functions: {
    guard_auth_holds:
      'Keeps what a hold is, allows only the changes of state that follow, each with a newer event, and sets state_since.',
    guard_auth_request_state:
      'Allows only the status changes of a request, keeps what was asked for as it was, never loses an event or an open attempt, and sets updated_at. Only the owner of the table may insert rows that are not PENDING, to rebuild them.',
    guard_data_keys: 'Keeps what ciphertexts name: of a data key only that may change which wraps it.',
    guard_restaurant_payment_configs:
      'Keeps secrets out of the settings of a new configuration version. Keeps a version as it was inserted, but for being switched off by somebody and for having its secrets sealed, and sets updated_at.',
    refuse_payment_events_change: 'Makes payment_events append-only.',
    refuse_payment_events_gap: 'Looks for the event before: streams have no gaps and belong to one restaurant.',
  },
  history:
    'One row a migration that this database has run, written by the migrator. npx payment-events-db history prints it. Do not edit.',
});

export type TableName = keyof typeof COMMENTS.tables;
