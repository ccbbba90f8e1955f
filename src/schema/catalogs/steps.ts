/** Made by `npm run catalog:update`; do not edit. */
export const STEPS: Readonly<Record<string, string>> = {
  ExpandColumns1795367529418: `@@ -6,0 +7,3 @@ table auth_idempotency_keys
+  column operation character varying(20) not null default 'authorize'::character varying
+  column outcome character varying(20)
+  column request_fingerprint bytea
@@ -14,0 +18,2 @@ table auth_processing_locks
+  column restaurant_id uuid
+  column fencing_token bigint default nextval('auth_processing_fencing_tokens'::regclass)
@@ -19 +24 @@ table auth_processing_locks
-table auth_request_state
+table auth_request_state with (fillfactor=80)
@@ -37,0 +43,8 @@ table auth_request_state
+  column attempt_open boolean not null default false
+  column retry_count integer not null default 0
+  column attempt integer
+  column attempt_version character varying(50)
+  column attempt_token bigint
+  column attempt_unanswered boolean not null default false
+  column unanswered_versions text[] not null default '{}'::text[]
+  column unanswered_since timestamp with time zone
@@ -46 +59 @@ table auth_request_state
-table outbox
+table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=5000, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=10000)
@@ -52,0 +66,9 @@ table outbox
+  column restaurant_id uuid
+  column headers jsonb not null default '{}'::jsonb
+  column attempts integer not null default 0
+  column next_attempt_at timestamp with time zone
+  column last_error text
+  column failed_at timestamp with time zone
+  column discarded_at timestamp with time zone
+  column discarded_by character varying(255)
+  column discard_reason text
@@ -65,0 +88 @@ table payment_events
+  column restaurant_id uuid
@@ -82,0 +106,2 @@ table restaurant_payment_configs
+  column created_at timestamp with time zone default now()
+  column created_by character varying(255)
@@ -86,0 +112 @@ table restaurant_payment_configs
+sequence auth_processing_fencing_tokens bigint start 1 increment 1 range 1 to 9223372036854775807
`,
  ExpandIndexes1795367683950: `@@ -75,0 +76,4 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
+  index CREATE INDEX idx_outbox_next_attempt ON outbox USING btree (next_attempt_at) WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NOT NULL
+  index CREATE INDEX idx_outbox_pending ON outbox USING btree (id) WHERE processed_at IS NULL AND failed_at IS NULL AND next_attempt_at IS NULL
+  index CREATE INDEX idx_outbox_refused ON outbox USING btree (failed_at, id) WHERE processed_at IS NULL AND (attempts > 0 OR failed_at IS NOT NULL)
+  index CREATE INDEX idx_outbox_unprocessed_aggregate ON outbox USING btree (aggregate_id, id) WHERE processed_at IS NULL
@@ -110,0 +115 @@ table restaurant_payment_configs
+  index CREATE UNIQUE INDEX restaurant_payment_configs_one_active ON restaurant_payment_configs USING btree (restaurant_id) WHERE is_active
@@ -111,0 +117 @@ table restaurant_payment_configs
+  index CREATE UNIQUE INDEX restaurant_payment_configs_version_key ON restaurant_payment_configs USING btree (restaurant_id, config_version)
`,
  ContractTimestamps1795367842073: `@@ -5,2 +5,2 @@ table auth_idempotency_keys
-  column created_at timestamp without time zone not null default now()
-  column expires_at timestamp without time zone not null default (now() + '24:00:00'::interval)
+  column created_at timestamp with time zone not null default now()
+  column expires_at timestamp with time zone not null default (now() + '24:00:00'::interval)
@@ -16,2 +16,2 @@ table auth_processing_locks
-  column locked_at timestamp without time zone not null default now()
-  column expires_at timestamp without time zone not null default (now() + '00:00:30'::interval)
+  column locked_at timestamp with time zone not null default now()
+  column expires_at timestamp with time zone not null default (now() + '00:00:30'::interval)
@@ -23 +22,0 @@ table auth_processing_locks
-  index CREATE INDEX idx_lock_expires ON auth_processing_locks USING btree (expires_at)
@@ -37,3 +36,3 @@ table auth_request_state with (fillfactor=80)
-  column created_at timestamp without time zone not null
-  column updated_at timestamp without time zone not null default now()
-  column completed_at timestamp without time zone
+  column created_at timestamp with time zone not null
+  column updated_at timestamp with time zone not null default now()
+  column completed_at timestamp with time zone
@@ -54 +53 @@ table auth_request_state with (fillfactor=80)
-  index CREATE INDEX idx_completed_at ON auth_request_state USING btree (completed_at DESC) WHERE completed_at IS NOT NULL
+  index CREATE INDEX idx_auth_request_state_created_at ON auth_request_state USING brin (created_at)
@@ -64,2 +63,2 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
-  column created_at timestamp without time zone not null default now()
-  column processed_at timestamp without time zone
+  column created_at timestamp with time zone not null default now()
+  column processed_at timestamp with time zone
@@ -77,0 +77 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
+  index CREATE INDEX idx_outbox_processed_at ON outbox USING brin (processed_at) WITH (autosummarize='on')
@@ -80 +79,0 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
-  index CREATE INDEX idx_unprocessed ON outbox USING btree (created_at) WHERE processed_at IS NULL
@@ -90 +89 @@ table payment_events
-  column created_at timestamp without time zone not null default now()
+  column created_at timestamp with time zone not null default now()
@@ -98,2 +97 @@ table payment_events
-  index CREATE INDEX idx_created_at ON payment_events USING btree (created_at DESC)
-  index CREATE INDEX idx_event_type_created ON payment_events USING btree (event_type, created_at DESC)
+  index CREATE INDEX idx_payment_events_created_at ON payment_events USING brin (created_at)
@@ -109 +107 @@ table restaurant_payment_configs
-  column updated_at timestamp without time zone not null default now()
+  column updated_at timestamp with time zone not null default now()
`,
  ContractRestaurants1795367990317: `@@ -18,2 +18,2 @@ table auth_processing_locks
-  column restaurant_id uuid
-  column fencing_token bigint default nextval('auth_processing_fencing_tokens'::regclass)
+  column restaurant_id uuid not null
+  column fencing_token bigint not null default nextval('auth_processing_fencing_tokens'::regclass)
@@ -65 +65 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
-  column restaurant_id uuid
+  column restaurant_id uuid not null
@@ -91 +91 @@ table payment_events
-  column restaurant_id uuid
+  column restaurant_id uuid not null
`,
  ContractKeysAndIndexes1795368131744: `@@ -56 +55,0 @@ table auth_request_state with (fillfactor=80)
-  index CREATE INDEX idx_status ON auth_request_state USING btree (status) WHERE status::text = ANY (ARRAY['PENDING'::character varying, 'PROCESSING'::character varying]::text[])
@@ -96 +94,0 @@ table payment_events
-  index CREATE INDEX idx_aggregate_events ON payment_events USING btree (aggregate_id, sequence_number)
@@ -108 +106 @@ table restaurant_payment_configs
-  column created_at timestamp with time zone default now()
+  column created_at timestamp with time zone not null default now()
@@ -111,2 +109 @@ table restaurant_payment_configs
-  constraint restaurant_payment_configs_pkey PRIMARY KEY (restaurant_id)
-  index CREATE INDEX idx_active_configs ON restaurant_payment_configs USING btree (is_active) WHERE is_active = true
+  constraint restaurant_payment_configs_pkey PRIMARY KEY (restaurant_id, config_version)
@@ -114,2 +111 @@ table restaurant_payment_configs
-  index CREATE UNIQUE INDEX restaurant_payment_configs_pkey ON restaurant_payment_configs USING btree (restaurant_id)
-  index CREATE UNIQUE INDEX restaurant_payment_configs_version_key ON restaurant_payment_configs USING btree (restaurant_id, config_version)
+  index CREATE UNIQUE INDEX restaurant_payment_configs_pkey ON restaurant_payment_configs USING btree (restaurant_id, config_version)
`,
  GuardAuthRequestState1795368279561: `@@ -56 +56,2 @@ table auth_request_state with (fillfactor=80)
-  trigger CREATE TRIGGER update_auth_request_state_updated_at BEFORE UPDATE ON auth_request_state FOR EACH ROW EXECUTE FUNCTION update_updated_at_column() enabled
+  trigger CREATE TRIGGER guard_auth_request_state BEFORE UPDATE ON auth_request_state FOR EACH ROW EXECUTE FUNCTION guard_auth_request_state() enabled always
+  trigger CREATE TRIGGER guard_new_auth_request_state BEFORE INSERT ON auth_request_state FOR EACH ROW WHEN (new.status::text <> 'PENDING'::text OR new.updated_at IS DISTINCT FROM now()) EXECUTE FUNCTION guard_auth_request_state() enabled always
@@ -115,2 +116,2 @@ sequence payment_events_id_seq bigint start 1 increment 1 range 1 to 92233720368
-function update_updated_at_column
-CREATE OR REPLACE FUNCTION update_updated_at_column()
+function guard_auth_request_state
+CREATE OR REPLACE FUNCTION guard_auth_request_state()
@@ -118,0 +120 @@ CREATE OR REPLACE FUNCTION update_updated_at_column()
+ SET search_path TO 'pg_catalog', 'pg_temp'
@@ -119,0 +122,3 @@ AS $function$
+  DECLARE
+    open_before text[];
+    open_after text[];
@@ -121 +126,53 @@ AS $function$
-    NEW.updated_at = NOW();
+    IF current_setting('session_replication_role') <> 'replica' THEN
+      NEW.updated_at := now();
+    END IF;
+    IF TG_OP = 'INSERT' THEN
+      IF NEW.status <> 'PENDING'
+        AND NOT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')
+      THEN
+        RAISE EXCEPTION 'a request begins PENDING, not %', NEW.status USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_begins_pending',
+          HINT = 'Only the owner of the table may insert other rows, to rebuild them from their events.';
+      END IF;
+      RETURN NEW;
+    END IF;
+    IF NEW.status <> OLD.status AND NEW.status <> ALL (CASE OLD.status
+      WHEN 'PENDING' THEN ARRAY['PROCESSING', 'FAILED', 'VOIDED', 'EXPIRED']
+      WHEN 'PROCESSING' THEN ARRAY['AUTHORIZED', 'DENIED', 'FAILED', 'VOIDED', 'EXPIRED']
+      WHEN 'AUTHORIZED' THEN ARRAY['VOIDED']
+      WHEN 'VOIDED' THEN ARRAY['EXPIRED']
+      ELSE ARRAY[]::text[] END)
+    THEN
+      RAISE EXCEPTION 'a request does not go from % to %', OLD.status, NEW.status USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_status_change';
+    END IF;
+    IF NEW.last_event_sequence < OLD.last_event_sequence THEN
+      RAISE EXCEPTION 'last_event_sequence never falls' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_sequence_never_falls';
+    END IF;
+    IF (NEW.attempt, NEW.attempt_version, NEW.attempt_token, NEW.attempt_unanswered, NEW.unanswered_versions)
+      IS DISTINCT FROM
+       (OLD.attempt, OLD.attempt_version, OLD.attempt_token, OLD.attempt_unanswered, OLD.unanswered_versions)
+    THEN
+      IF NEW.last_event_sequence = OLD.last_event_sequence THEN
+        RAISE EXCEPTION 'attempts change only with an event' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_attempts_need_event';
+      END IF;
+      open_before := ARRAY(SELECT unnest(OLD.unanswered_versions) UNION SELECT OLD.attempt_version WHERE OLD.attempt_unanswered);
+      open_after := ARRAY(SELECT unnest(NEW.unanswered_versions) UNION SELECT NEW.attempt_version WHERE NEW.attempt_unanswered);
+      IF cardinality(ARRAY(SELECT unnest(open_before) EXCEPT SELECT unnest(open_after))) > 1
+        OR NEW.attempt IS DISTINCT FROM OLD.attempt AND NOT open_before <@ open_after
+        OR NEW.attempt = OLD.attempt
+          AND (NEW.attempt_version, NEW.attempt_token) IS DISTINCT FROM (OLD.attempt_version, OLD.attempt_token)
+      THEN
+        RAISE EXCEPTION 'an event ends at most one version''s attempts, a new attempt ends none, and none is rewritten' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_attempts_not_forgotten';
+      END IF;
+    END IF;
+    IF (NEW.auth_request_id, NEW.restaurant_id, NEW.payment_token, NEW.amount_cents, NEW.currency, NEW.created_at)
+      IS DISTINCT FROM
+       (OLD.auth_request_id, OLD.restaurant_id, OLD.payment_token, OLD.amount_cents, OLD.currency, OLD.created_at)
+    THEN
+      RAISE EXCEPTION 'what was asked for does not change: id, restaurant, token, amount, currency, created_at' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_request_state_request_immutable';
+    END IF;
@@ -123,2 +180 @@ AS $function$
-  END;
-  $function$
+  END $function$
`,
  ContractChecks1795368418205: `@@ -9,0 +10,4 @@ table auth_idempotency_keys
+  constraint auth_idempotency_keys_expires_after_created CHECK ((expires_at > created_at)) NOT VALID
+  constraint auth_idempotency_keys_fingerprint_sha256 CHECK ((octet_length(request_fingerprint) = 32))
+  constraint auth_idempotency_keys_key_present CHECK (((idempotency_key)::text <> ''::text)) NOT VALID
+  constraint auth_idempotency_keys_operation_present CHECK (((operation)::text <> ''::text))
@@ -49,0 +54,5 @@ table auth_request_state with (fillfactor=80)
+  constraint auth_request_state_amount_positive CHECK ((amount_cents > 0)) NOT VALID
+  constraint auth_request_state_attempts_consistent CHECK (((attempt_open = (attempt_unanswered OR (unanswered_versions <> '{}'::text[]))) AND (attempt_open = (unanswered_since IS NOT NULL)) AND ((attempt_version IS NOT NULL) OR (NOT attempt_unanswered)) AND (array_position(unanswered_versions, NULL::text) IS NULL)))
+  constraint auth_request_state_authorized_amount_within CHECK (((authorized_amount_cents >= 1) AND (authorized_amount_cents <= amount_cents))) NOT VALID
+  constraint auth_request_state_authorized_complete CHECK ((((status)::text <> 'AUTHORIZED'::text) OR ((processor_auth_id IS NOT NULL) AND (authorized_amount_cents IS NOT NULL)))) NOT VALID
+  constraint auth_request_state_currency_iso CHECK (((currency)::text ~ '^[A-Z]{3}$'::text)) NOT VALID
@@ -51 +60,2 @@ table auth_request_state with (fillfactor=80)
-  constraint check_status CHECK (((status)::text = ANY ((ARRAY['PENDING'::character varying, 'PROCESSING'::character varying, 'AUTHORIZED'::character varying, 'DENIED'::character varying, 'FAILED'::character varying, 'VOIDED'::character varying, 'EXPIRED'::character varying])::text[])))
+  constraint auth_request_state_settled_completed CHECK (((completed_at IS NOT NULL) OR ((status)::text = ANY ('{PENDING,PROCESSING}'::text[])))) NOT VALID
+  constraint check_status CHECK (((status)::text = ANY ('{PENDING,PROCESSING,AUTHORIZED,DENIED,FAILED,VOIDED,EXPIRED}'::text[])))
@@ -73,0 +84,2 @@ table outbox with (autovacuum_analyze_scale_factor=0, autovacuum_analyze_thresho
+  constraint outbox_discard_attributed CHECK (((discarded_at IS NULL) OR ((discarded_by IS NOT NULL) AND (discard_reason IS NOT NULL) AND (processed_at IS NOT NULL))))
+  constraint outbox_headers_texts CHECK ((headers @@ 'strict ($.type() == "object" && !(exists ($.*?(@.type() != "string"))))'::jsonpath))
@@ -93,0 +106 @@ table payment_events
+  constraint payment_events_metadata_present CHECK ((metadata IS NOT NULL)) NOT VALID
`,
  GuardConfigVersions1795368551890: `@@ -125,0 +126 @@ table restaurant_payment_configs
+  trigger CREATE TRIGGER guard_restaurant_payment_configs BEFORE UPDATE ON restaurant_payment_configs FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs() enabled always
@@ -194,0 +196,18 @@ AS $function$
+function guard_restaurant_payment_configs
+CREATE OR REPLACE FUNCTION guard_restaurant_payment_configs()
+ RETURNS trigger
+ LANGUAGE plpgsql
+ SET search_path TO 'pg_catalog', 'pg_temp'
+AS $function$
+  BEGIN
+    IF current_setting('session_replication_role') <> 'replica' THEN
+      NEW.updated_at := now();
+    END IF;
+    IF to_jsonb(NEW) - '{is_active,updated_at}'::text[] <> to_jsonb(OLD) - '{is_active,updated_at}'::text[] THEN
+      RAISE EXCEPTION 'a configuration version does not change but for is_active' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_version_immutable',
+        HINT = 'Insert a new config_version, and switch the old one off in the same transaction.';
+    END IF;
+    RETURN NEW;
+  END $function$
+
`,
  GuardPaymentEvents1795368694337: `@@ -112,0 +113,3 @@ table payment_events
+  trigger CREATE TRIGGER payment_events_append_only BEFORE DELETE OR UPDATE ON payment_events FOR EACH ROW EXECUTE FUNCTION refuse_payment_events_change() enabled always
+  trigger CREATE TRIGGER payment_events_no_gaps BEFORE INSERT ON payment_events FOR EACH ROW WHEN (new.sequence_number > 1) EXECUTE FUNCTION refuse_payment_events_gap() enabled
+  trigger CREATE TRIGGER payment_events_no_truncate BEFORE TRUNCATE ON payment_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_payment_events_change() enabled always
@@ -213,0 +217,33 @@ AS $function$
+function refuse_payment_events_change
+CREATE OR REPLACE FUNCTION refuse_payment_events_change()
+ RETURNS trigger
+ LANGUAGE plpgsql
+AS $function$
+  BEGIN
+    RAISE EXCEPTION 'payment_events is append-only: % refused', TG_OP USING
+      ERRCODE = 'restrict_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME,
+      HINT = 'Append a new event that corrects the old one.';
+  END $function$
+
+function refuse_payment_events_gap
+CREATE OR REPLACE FUNCTION refuse_payment_events_gap()
+ RETURNS trigger
+ LANGUAGE plpgsql
+ SET search_path FROM CURRENT
+AS $function$
+  DECLARE
+    owner uuid;
+  BEGIN
+    SELECT restaurant_id INTO owner FROM payment_events
+      WHERE aggregate_id = NEW.aggregate_id AND sequence_number = NEW.sequence_number - 1;
+    IF NOT FOUND THEN
+      RAISE EXCEPTION 'event % of a stream needs event % before it', NEW.sequence_number, NEW.sequence_number - 1 USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = TG_NAME;
+    END IF;
+    IF owner <> NEW.restaurant_id THEN
+      RAISE EXCEPTION 'a stream belongs to one restaurant' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'payment_events_one_restaurant';
+    END IF;
+    RETURN NEW;
+  END $function$
+
`,
  CommentOnObjects1795742438022: ``,
  AddHolds1795775136521: `@@ -0,0 +1,34 @@
+table auth_holds
+  column auth_request_id uuid not null
+  column restaurant_id uuid not null
+  column processor_name character varying(50) not null
+  column processor_auth_id character varying(255) not null
+  column amount_cents bigint not null
+  column currency character varying(3) not null
+  column config_version character varying(50)
+  column authorized_at timestamp with time zone not null
+  column hold_expires_at timestamp with time zone
+  column state character varying(20) not null
+  column state_since timestamp with time zone not null default now()
+  column is_needed boolean not null
+  column is_answered boolean not null
+  column ended_amount_cents bigint
+  column ended_by character varying(255)
+  column closed_by character varying(255)
+  column void_failures integer not null default 0
+  column last_void_error character varying(100)
+  column next_void_at timestamp with time zone
+  column sweeps integer not null default 0
+  column swept_at timestamp with time zone
+  column first_event_sequence integer not null
+  column last_event_sequence integer not null
+  constraint auth_holds_amount_not_negative CHECK ((amount_cents >= 0))
+  constraint auth_holds_last_event_fkey FOREIGN KEY (auth_request_id, last_event_sequence) REFERENCES payment_events(aggregate_id, sequence_number)
+  constraint auth_holds_pkey PRIMARY KEY (auth_request_id, processor_name, processor_auth_id)
+  constraint auth_holds_state CHECK (((state)::text = ANY ('{held,voiding,voided,void_failed,captured,lapsed}'::text[])))
+  constraint auth_holds_voiding_unneeded CHECK (((NOT is_needed) OR ((state)::text <> ALL ('{voiding,void_failed}'::text[]))))
+  index CREATE UNIQUE INDEX auth_holds_pkey ON auth_holds USING btree (auth_request_id, processor_name, processor_auth_id)
+  index CREATE INDEX idx_auth_holds_held ON auth_holds USING btree (hold_expires_at) WHERE state::text = 'held'::text AND is_needed
+  index CREATE INDEX idx_auth_holds_open ON auth_holds USING btree (state_since) WHERE NOT is_needed AND closed_by IS NULL AND (state::text = ANY ('{held,voiding,void_failed,captured}'::text[]))
+  index CREATE INDEX idx_auth_holds_processor ON auth_holds USING btree (processor_auth_id, processor_name)
+  trigger CREATE TRIGGER guard_auth_holds BEFORE UPDATE ON auth_holds FOR EACH ROW EXECUTE FUNCTION guard_auth_holds() enabled always
@@ -53,0 +88,2 @@ table auth_request_state with (fillfactor=80)
+  column sweeps integer not null default 0
+  column swept_at timestamp with time zone
@@ -132,0 +169,49 @@ sequence payment_events_id_seq bigint start 1 increment 1 range 1 to 92233720368
+function guard_auth_holds
+CREATE OR REPLACE FUNCTION guard_auth_holds()
+ RETURNS trigger
+ LANGUAGE plpgsql
+ SET search_path TO 'pg_catalog', 'pg_temp'
+AS $function$
+  BEGIN
+    IF (NEW.auth_request_id, NEW.restaurant_id, NEW.processor_name, NEW.processor_auth_id, NEW.first_event_sequence)
+      IS DISTINCT FROM
+       (OLD.auth_request_id, OLD.restaurant_id, OLD.processor_name, OLD.processor_auth_id, OLD.first_event_sequence)
+      OR OLD.is_answered AND (NEW.amount_cents, NEW.currency, NEW.is_answered) IS DISTINCT FROM (OLD.amount_cents, OLD.currency, true)
+      OR NEW.closed_by IS DISTINCT FROM OLD.closed_by AND OLD.closed_by IS NOT NULL AND NEW.state = OLD.state
+        AND NEW.ended_amount_cents IS NOT DISTINCT FROM OLD.ended_amount_cents
+    THEN
+      RAISE EXCEPTION 'what a hold is does not change: request, processor, id, and its amount once a worker has recorded it' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_immutable';
+    END IF;
+    IF NEW.last_event_sequence < OLD.last_event_sequence
+      OR NEW.last_event_sequence = OLD.last_event_sequence
+        AND (NEW.state, NEW.is_needed, NEW.is_answered, NEW.amount_cents, NEW.ended_amount_cents, NEW.ended_by, NEW.closed_by)
+          IS DISTINCT FROM
+            (OLD.state, OLD.is_needed, OLD.is_answered, OLD.amount_cents, OLD.ended_amount_cents, OLD.ended_by, OLD.closed_by)
+    THEN
+      RAISE EXCEPTION 'a hold changes only with an event' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_need_event';
+    END IF;
+    IF NEW.is_needed AND NOT OLD.is_needed THEN
+      RAISE EXCEPTION 'a hold that is not needed any more is not needed again' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_unneeded_for_good';
+    END IF;
+    IF NEW.state <> OLD.state THEN
+      IF NEW.state <> ALL (CASE OLD.state
+        WHEN 'held' THEN ARRAY['voiding', 'voided', 'captured', 'lapsed']
+        WHEN 'voiding' THEN ARRAY['void_failed', 'voided', 'captured', 'lapsed']
+        WHEN 'void_failed' THEN ARRAY['voiding', 'voided', 'captured', 'lapsed']
+        WHEN 'lapsed' THEN ARRAY['voided', 'captured']
+        WHEN 'voided' THEN ARRAY['captured']
+        ELSE ARRAY[]::text[] END)
+      THEN
+        RAISE EXCEPTION 'a hold does not go from % to %', OLD.state, NEW.state USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'auth_holds_state_change';
+      END IF;
+      IF current_setting('session_replication_role') <> 'replica' THEN
+        NEW.state_since := now();
+      END IF;
+    END IF;
+    RETURN NEW;
+  END $function$
+
`,
  CommentOnHolds1795780298253: ``,
  AddProcessors1795824155529: `@@ -151,0 +152,13 @@ table payment_events
+table processors
+  column processor_name character varying(50) not null
+  column secret_fields text[] not null
+  column required_secret_fields text[] not null default '{}'::text[]
+  column settings_schema jsonb not null
+  column created_at timestamp with time zone not null default now()
+  constraint processors_name_format CHECK (((processor_name)::text ~ '^[a-z][a-z0-9_]{0,49}$'::text))
+  constraint processors_pkey PRIMARY KEY (processor_name)
+  constraint processors_required_known CHECK ((required_secret_fields <@ secret_fields))
+  constraint processors_secrets_named CHECK ((array_position(secret_fields, NULL::text) IS NULL))
+  constraint processors_settings_closed CHECK ((settings_schema @> '{"type": "object", "properties": {}, "additionalProperties": false}'::jsonb))
+  constraint processors_settings_not_secret CHECK ((NOT ((settings_schema -> 'properties'::text) ?| secret_fields)))
+  index CREATE UNIQUE INDEX processors_pkey ON processors USING btree (processor_name)
@@ -161 +173,0 @@ table restaurant_payment_configs
-  constraint check_processor CHECK (((processor_name)::text = ANY ((ARRAY['stripe'::character varying, 'chase'::character varying, 'worldpay'::character varying, 'mock'::character varying])::text[])))
@@ -162,0 +175 @@ table restaurant_payment_configs
+  constraint restaurant_payment_configs_processor_fkey FOREIGN KEY (processor_name) REFERENCES processors(processor_name)
`,
  AddConfigSecrets1795824219347: `@@ -103,0 +104,11 @@ table auth_request_state with (fillfactor=80)
+table data_keys
+  column data_key_id uuid not null
+  column key_encryption_key_id character varying(2048) not null
+  column wrapped bytea not null
+  column created_at timestamp with time zone not null default now()
+  column rewrapped_at timestamp with time zone
+  constraint data_keys_key_encryption_key_named CHECK (((key_encryption_key_id)::text <> ''::text))
+  constraint data_keys_pkey PRIMARY KEY (data_key_id)
+  constraint data_keys_wrapped_length CHECK (((octet_length(wrapped) >= 1) AND (octet_length(wrapped) <= 10000)))
+  index CREATE UNIQUE INDEX data_keys_pkey ON data_keys USING btree (data_key_id)
+  trigger CREATE TRIGGER guard_data_keys BEFORE UPDATE ON data_keys FOR EACH ROW EXECUTE FUNCTION guard_data_keys() enabled always
@@ -173,0 +185,7 @@ table restaurant_payment_configs
+  column sealed_secrets bytea
+  column sealed_fields text[]
+  column data_key_id uuid
+  column switched_off_by character varying(255)
+  column copy_of character varying(50)
+  constraint restaurant_payment_configs_copy_of_fkey FOREIGN KEY (restaurant_id, copy_of) REFERENCES restaurant_payment_configs(restaurant_id, config_version)
+  constraint restaurant_payment_configs_data_key_fkey FOREIGN KEY (data_key_id) REFERENCES data_keys(data_key_id)
@@ -175,0 +194 @@ table restaurant_payment_configs
+  constraint restaurant_payment_configs_sealed_whole CHECK ((num_nulls(sealed_secrets, sealed_fields, data_key_id) = ANY ('{0,3}'::integer[])))
@@ -294,0 +314,15 @@ AS $function$
+  END $function$
+
+function guard_data_keys
+CREATE OR REPLACE FUNCTION guard_data_keys()
+ RETURNS trigger
+ LANGUAGE plpgsql
+ SET search_path TO 'pg_catalog', 'pg_temp'
+AS $function$
+  BEGIN
+    IF (NEW.data_key_id, NEW.created_at) IS DISTINCT FROM (OLD.data_key_id, OLD.created_at) THEN
+      RAISE EXCEPTION 'a data key keeps its id and its time: only how it is wrapped changes' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'data_keys_immutable',
+        HINT = 'Insert a new data key.';
+    END IF;
+    RETURN NEW;
`,
  GuardConfigSecrets1795824264020: `@@ -196,0 +197 @@ table restaurant_payment_configs
+  trigger CREATE TRIGGER guard_new_restaurant_payment_configs BEFORE INSERT ON restaurant_payment_configs FOR EACH ROW EXECUTE FUNCTION guard_restaurant_payment_configs() enabled
@@ -335 +336 @@ CREATE OR REPLACE FUNCTION guard_restaurant_payment_configs()
- SET search_path TO 'pg_catalog', 'pg_temp'
+ SET search_path FROM CURRENT
@@ -336,0 +338,9 @@ AS $function$
+  DECLARE
+    allowed record;
+    is_switched_off boolean := false;
+    is_sealed_now boolean := false;
+    missing text;
+    secrets text[];
+    settings jsonb;
+    revealed text;
+    unknown bigint;
@@ -338,2 +348,58 @@ AS $function$
-    IF current_setting('session_replication_role') <> 'replica' THEN
-      NEW.updated_at := now();
+    IF TG_OP = 'UPDATE' THEN
+      is_switched_off := OLD.is_active AND NEW.is_active IS NOT DISTINCT FROM false;
+      is_sealed_now := OLD.sealed_secrets IS NULL AND NEW.sealed_secrets IS NOT NULL;
+      IF current_setting('session_replication_role') <> 'replica' OR NEW.updated_at IS NULL THEN
+        NEW.updated_at := CASE WHEN is_switched_off THEN clock_timestamp() ELSE OLD.updated_at END;
+      END IF;
+      allowed := OLD;
+      allowed.updated_at := NEW.updated_at;
+      IF is_switched_off THEN
+        allowed.is_active := false;
+        allowed.switched_off_by := NEW.switched_off_by;
+      ELSIF is_sealed_now AND jsonb_typeof(OLD.processor_config) = 'object' THEN
+        allowed.sealed_secrets := NEW.sealed_secrets;
+        allowed.sealed_fields := NEW.sealed_fields;
+        allowed.data_key_id := NEW.data_key_id;
+        allowed.processor_config := OLD.processor_config - NEW.sealed_fields;
+      END IF;
+      IF NEW IS DISTINCT FROM allowed THEN
+        RAISE EXCEPTION 'a configuration version does not change but for being switched off, or its secrets being sealed' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_version_immutable',
+          HINT = 'Insert a new config_version, and switch the old one off in the same transaction.';
+      END IF;
+      IF is_switched_off AND coalesce(NEW.switched_off_by, '') = '' THEN
+        RAISE EXCEPTION 'a version that is switched off says by whom' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_switched_off',
+          HINT = 'Set switched_off_by in the same UPDATE.';
+      END IF;
+      IF NOT is_sealed_now THEN
+        RETURN NEW;
+      END IF;
+    ELSE
+      missing := CASE
+        WHEN NEW.restaurant_id IS NULL THEN 'restaurant_id'
+        WHEN NEW.config_version IS NULL THEN 'config_version'
+        WHEN NEW.processor_name IS NULL THEN 'processor_name'
+        WHEN NEW.processor_config IS NULL THEN 'processor_config'
+        WHEN NEW.is_active IS NULL THEN 'is_active'
+        WHEN NEW.updated_at IS NULL THEN 'updated_at'
+        WHEN NEW.created_at IS NULL THEN 'created_at' END;
+      IF missing IS NOT NULL THEN
+        RAISE EXCEPTION 'a configuration version needs a value for %', missing USING
+          ERRCODE = 'not_null_violation', TABLE = TG_TABLE_NAME, COLUMN = missing;
+      END IF;
+      -- After the lock of the version that was active, if the same statement has switched it off.
+      NEW.created_at := clock_timestamp();
+      NEW.updated_at := NEW.created_at;
+    END IF;
+
+    SELECT secret_fields, settings_schema -> 'properties' INTO secrets, settings
+      FROM processors WHERE processor_name = NEW.processor_name;
+    IF NOT FOUND THEN
+      RAISE EXCEPTION 'processors has no row of that processor_name' USING
+        ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_processor_fkey',
+        HINT = 'Correct the name, or insert the processor into processors first.';
+    END IF;
+    IF num_nulls(NEW.sealed_secrets, NEW.sealed_fields, NEW.data_key_id) NOT IN (0, 3) THEN
+      RAISE EXCEPTION 'sealed_secrets, sealed_fields and data_key_id belong together' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_whole';
@@ -341,4 +407,52 @@ AS $function$
-    IF to_jsonb(NEW) - '{is_active,updated_at}'::text[] <> to_jsonb(OLD) - '{is_active,updated_at}'::text[] THEN
-      RAISE EXCEPTION 'a configuration version does not change but for is_active' USING
-        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_version_immutable',
-        HINT = 'Insert a new config_version, and switch the old one off in the same transaction.';
+    IF NEW.data_key_id IS NOT NULL THEN
+      IF substring(NEW.sealed_secrets FROM 2 FOR 16) <> uuid_send(NEW.data_key_id) THEN
+        RAISE EXCEPTION 'the header of sealed_secrets names another data key than data_key_id' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_header';
+      END IF;
+      IF NOT EXISTS (SELECT FROM data_keys WHERE data_keys.data_key_id = NEW.data_key_id) THEN
+        RAISE EXCEPTION 'data_keys has no row of that data_key_id' USING
+          ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_data_key_fkey',
+          HINT = 'Insert the data key first.';
+      END IF;
+      IF NOT NEW.sealed_fields <@ secrets
+        OR cardinality(NEW.sealed_fields) <> (SELECT count(DISTINCT field) FROM unnest(NEW.sealed_fields) AS field)
+        OR is_sealed_now AND NOT (OLD.processor_config ?& NEW.sealed_fields AND NOT NEW.processor_config ?| secrets)
+      THEN
+        RAISE EXCEPTION 'sealed_fields names secret fields of the processor, each once, and all that a version has when it is sealed' USING
+          ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_sealed_fields',
+          HINT = format('The secret fields of this processor are: %s.', array_to_string(secrets, ', '));
+      END IF;
+    END IF;
+    IF TG_OP = 'UPDATE' THEN
+      RETURN NEW;
+    END IF;
+
+    IF jsonb_typeof(NEW.processor_config) <> 'object' THEN
+      RAISE EXCEPTION 'processor_config is an object of settings' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_object';
+    END IF;
+    -- A secret of any processor, since one may stand in the settings of another; unless this one has a setting of that name.
+    SELECT string_agg(DISTINCT field, ', ' ORDER BY field) INTO revealed
+      FROM jsonb_path_query(NEW.processor_config, 'strict $.**') AS part, processors CROSS JOIN unnest(secret_fields) AS field
+      WHERE jsonb_typeof(part) = 'object' AND part ? field AND NOT settings ? field;
+    IF revealed IS NOT NULL THEN
+      RAISE EXCEPTION 'a secret is among the settings: %', revealed USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_not_secret',
+        HINT = 'Secrets are sealed and go into sealed_secrets. One that was sent in plain text should be changed at the processor.';
+    END IF;
+    SELECT count(*) INTO unknown FROM jsonb_object_keys(NEW.processor_config) AS key WHERE NOT settings ? key;
+    IF unknown > 0 THEN
+      RAISE EXCEPTION 'the processor does not know % of the settings', unknown USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_settings_known',
+        HINT = 'Those that it knows are in settings_schema of its row of processors.';
+    END IF;
+    IF NEW.is_active AND NEW.switched_off_by IS NOT NULL THEN
+      RAISE EXCEPTION 'a version that is on was switched off by nobody' USING
+        ERRCODE = 'check_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_switched_off';
+    END IF;
+    IF NEW.copy_of IS NOT NULL AND NOT EXISTS (
+      SELECT FROM restaurant_payment_configs AS source
+      WHERE source.restaurant_id = NEW.restaurant_id AND source.config_version = NEW.copy_of)
+    THEN
+      RAISE EXCEPTION 'the restaurant has no version copy_of' USING
+        ERRCODE = 'foreign_key_violation', TABLE = TG_TABLE_NAME, CONSTRAINT = 'restaurant_payment_configs_copy_of_fkey';
`,
};
