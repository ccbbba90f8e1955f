/** How long a processor holds money of which it has said no end, in days, where the session says nothing else. */
const HOLD_LIFE_DAYS = 31;

/** The session's setting that says something else. */
export const HOLD_LIFE_SETTING = 'payment_events_db.hold_life_days';

/**
 * What an event says of a hold, null where it does not say so: one function, since each message has numbers of its own. A number that no
 * amount or time can be counts as not said.
 */
export const READ_HOLD = `
  CREATE OR REPLACE FUNCTION pg_temp.read_hold(event_type text, event_data bytea,
    OUT name text, OUT id text, OUT cents bigint, OUT currency text, OUT at timestamptz, OUT expires timestamptz,
    OUT ended text, OUT source text)
  LANGUAGE plpgsql AS $$
  DECLARE
    fields integer[] := CASE event_type
      WHEN 'AuthResponseReceived' THEN '{2,1,3,4,6,10}'
      WHEN 'AuthHoldReported' THEN '{2,3,4,5,6,7}'
      WHEN 'AuthHoldEnded' THEN '{2,3,5,6,9,NULL}'
      ELSE '{2,3,NULL,NULL,NULL,NULL}' END;
    message bytea := CASE event_type
      WHEN 'AuthResponseReceived' THEN pg_temp.read_nested_protobuf(event_data, 3) ELSE event_data END;
    number text;
  BEGIN
    name := coalesce(pg_temp.read_protobuf_field(message, fields[1]), '');
    id := left(coalesce(pg_temp.read_protobuf_field(message, fields[2]), ''), 255);
    number := pg_temp.read_protobuf_field(message, fields[3]);
    cents := CASE WHEN number ~ '^[0-9]{1,18}$' THEN number::bigint ELSE 0 END;
    currency := nullif(pg_temp.read_protobuf_field(message, fields[4]), '');
    number := pg_temp.read_protobuf_field(message, fields[5]);
    at := CASE WHEN number ~ '^[1-9][0-9]{0,10}$' THEN to_timestamp(number::bigint) END;
    number := pg_temp.read_protobuf_field(message, fields[6]);
    expires := CASE WHEN number ~ '^[1-9][0-9]{0,10}$' THEN to_timestamp(number::bigint) END;
    IF event_type = 'AuthHoldEnded' THEN
      ended := CASE pg_temp.read_protobuf_field(message, 4)
        WHEN '1' THEN 'captured' WHEN '2' THEN 'voided' WHEN '3' THEN 'lapsed' END;
      source := left(nullif(pg_temp.read_protobuf_field(message, 7), ''), 255);
    END IF;
  END $$`;

export const FORGET_READ_HOLD = `DROP FUNCTION pg_temp.read_hold(text, bytea)`;

/**
 * Makes the rows of holds from all events: the rule of fold-holds.ts, and of fold.ts as far as it decides which holds are
 * needed. What the metadata of an event says of a hold is taken as it is; an event without it says no more than that money is held. Then
 * the request, as its events have left it, decides whether the hold is needed, and where it is not, the age of the hold:
 * `voiding` for as long as the processor may hold the money, else `held`, for a person.
 *
 * A row that is there stays as it is. A batch is locked before its events are read: a writer that appends one holds the
 * lock of the request's row. A text that a column cannot hold is cut, and what cannot be read counts as not said: money
 * is held all the same.
 */
export const BACKFILL_HOLDS = `
  DO $$
  DECLARE
    life_days integer := coalesce(nullif(current_setting('${HOLD_LIFE_SETTING}', true), ''), '${HOLD_LIFE_DAYS}');
    ids uuid[];
    batch auth_holds[];
    event record;
    -- The request so far, and its holds.
    status_now text;
    its_id text;
    its_currency text;
    holds auth_holds[];
    undecided boolean[];
    -- What the event says, and the hold that it is about.
    answer text;
    told text;
    said record;
    stays boolean;
    closed boolean;
    i integer;
    hold auth_holds;
    before text;
    made record;
    needed integer := 0;
    to_void integer := 0;
    listed integer := 0;
    others integer := 0;
  BEGIN
    FOR ids IN
      SELECT array_agg(aggregate_id)
      FROM (SELECT aggregate_id, row_number() OVER (ORDER BY aggregate_id) / 1000 AS number
            FROM payment_events WHERE event_type IN ('AuthResponseReceived', 'AuthHoldReported', 'AuthHoldEnded')
            GROUP BY aggregate_id) AS request
      GROUP BY number
    LOOP
      PERFORM 1 FROM auth_request_state WHERE auth_request_id = ANY (ids) ORDER BY auth_request_id FOR UPDATE;
      batch := '{}';
      FOR event IN
        SELECT aggregate_id, restaurant_id, sequence_number, event_type, event_data, created_at,
               CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END AS metadata,
               lag(aggregate_id) OVER stream IS DISTINCT FROM aggregate_id AS is_first,
               lead(aggregate_id) OVER stream IS DISTINCT FROM aggregate_id AS is_last
        FROM payment_events WHERE aggregate_id = ANY (ids)
        WINDOW stream AS (ORDER BY aggregate_id, sequence_number)
        ORDER BY aggregate_id, sequence_number
      LOOP
        IF event.is_first THEN
          status_now := 'PENDING';
          its_id := NULL;
          its_currency := CASE event.event_type
            WHEN 'AuthRequestCreated' THEN pg_temp.read_protobuf_field(event.event_data, 5) END;
          holds := '{}';
          undecided := '{}';
        END IF;

        answer := CASE WHEN event.event_type = 'AuthResponseReceived' THEN
          CASE pg_temp.read_protobuf_field(event.event_data, 2)
            WHEN '3' THEN 'AUTHORIZED' WHEN '4' THEN 'DENIED' WHEN '5' THEN 'FAILED' END END;
        told := CASE WHEN event.metadata ->> 'hold_state' IN ('held', 'voiding', 'voided', 'void_failed', 'captured', 'lapsed')
          THEN event.metadata ->> 'hold_state' END;
        SELECT NULL::text AS name, NULL::text AS id INTO said;
        IF event.event_type IN ('AuthResponseReceived', 'AuthHoldReported', 'AuthHoldEnded', 'AuthVoidCompleted',
                                'AuthVoidFailed', 'AuthVoidRequeued')
        THEN
          said := pg_temp.read_hold(event.event_type, event.event_data);
        END IF;

        -- What the request becomes.
        stays := event.metadata ? 'status_after' AND status_now NOT IN ('PENDING', 'PROCESSING');
        closed := status_now IN ('FAILED', 'VOIDED', 'EXPIRED');
        IF answer = 'AUTHORIZED' AND (NOT stays OR its_id IS NULL) THEN
          its_id := nullif(said.id, '');
        END IF;
        status_now := CASE
          WHEN event.event_type = 'AuthRequestExpired' AND (status_now = 'VOIDED' OR NOT closed) THEN 'EXPIRED'
          WHEN closed THEN status_now
          WHEN event.event_type = 'AuthVoidRequested' THEN 'VOIDED'
          WHEN stays THEN status_now
          WHEN event.event_type = 'AuthAttemptStarted' THEN 'PROCESSING'
          WHEN answer IS NOT NULL THEN answer
          WHEN event.event_type = 'AuthAttemptFailed'
            AND jsonb_typeof(event.metadata -> 'closed_version') IS DISTINCT FROM 'string'
            AND pg_temp.read_protobuf_field(event.event_data, 4) IS DISTINCT FROM '1' THEN 'FAILED'
          ELSE status_now END;

        -- Which hold it is about: an answer or a report makes one, the others change one, or make it, only if they say its state.
        i := NULL;
        IF answer = 'AUTHORIZED' OR event.event_type = 'AuthHoldReported'
          OR event.event_type <> 'AuthResponseReceived' AND said.id IS NOT NULL AND told IS NOT NULL
        THEN
          said.name := left(CASE jsonb_typeof(event.metadata -> 'hold_name')
            WHEN 'string' THEN event.metadata ->> 'hold_name' ELSE said.name END, 50);
          i := (SELECT number FROM generate_subscripts(holds, 1) AS number
                WHERE (holds[number].processor_name, holds[number].processor_auth_id) = (said.name, said.id));
          IF i IS NULL AND event.event_type NOT LIKE 'AuthVoid%' THEN
            i := cardinality(holds) + 1;
            hold := NULL;
            hold.auth_request_id := event.aggregate_id;
            hold.restaurant_id := event.restaurant_id;
            hold.processor_name := said.name;
            hold.processor_auth_id := said.id;
            hold.amount_cents := said.cents;
            hold.currency := left(coalesce(said.currency, its_currency, ''), 3);
            hold.authorized_at := coalesce(said.at, event.created_at);
            hold.state := 'held';
            hold.state_since := event.created_at;
            hold.is_needed := false;
            hold.is_answered := false;
            hold.void_failures := 0;
            hold.sweeps := 0;
            hold.first_event_sequence := event.sequence_number;
            holds[i] := hold;
            undecided[i] := true;
          END IF;
        END IF;

        IF i IS NOT NULL THEN
          hold := holds[i];
          before := hold.state;
          hold.last_event_sequence := event.sequence_number;
          IF event.event_type IN ('AuthResponseReceived', 'AuthHoldReported') THEN
            IF NOT hold.is_answered THEN
              hold.amount_cents := said.cents;
              hold.currency := left(coalesce(said.currency, its_currency, ''), 3);
              hold.authorized_at := coalesce(said.at, event.created_at);
            END IF;
            hold.hold_expires_at := coalesce(said.expires, hold.hold_expires_at);
          END IF;
          IF event.event_type = 'AuthResponseReceived' THEN
            hold.is_answered := true;
            IF jsonb_typeof(event.metadata -> 'config_version') = 'string' THEN
              hold.config_version := coalesce(hold.config_version, left(nullif(event.metadata ->> 'config_version', ''), 50));
            END IF;
          END IF;

          IF told IS NOT NULL THEN
            hold.is_needed := told NOT IN ('voiding', 'void_failed') AND CASE
              WHEN jsonb_typeof(event.metadata -> 'hold_needed') = 'boolean' THEN (event.metadata ->> 'hold_needed')::boolean
              WHEN undecided[i] THEN status_now IN ('PENDING', 'PROCESSING') OR status_now = 'AUTHORIZED'
                AND coalesce(its_id, '') = said.id
              ELSE hold.is_needed END;
            hold.state := told;
            IF told <> before THEN
              hold.state_since := event.created_at;
            END IF;
            undecided[i] := false;
          END IF;

          IF event.event_type = 'AuthHoldEnded' THEN
            IF told <> before
              OR told = 'captured' AND said.ended = 'captured' AND said.cents > coalesce(hold.ended_amount_cents, 0)
            THEN
              hold.closed_by := NULL;
            END IF;
            IF jsonb_typeof(event.metadata -> 'closed_by') = 'string' THEN
              hold.closed_by := coalesce(hold.closed_by, left(nullif(event.metadata ->> 'closed_by', ''), 255));
            END IF;
            IF told = said.ended AND told <> before THEN
              hold.ended_amount_cents := nullif(said.cents, 0);
              hold.ended_by := said.source;
            ELSIF told = said.ended AND told = 'captured' THEN
              hold.ended_amount_cents := nullif(greatest(said.cents, hold.ended_amount_cents), 0);
            END IF;
          ELSIF event.event_type = 'AuthVoidCompleted' AND told = 'voided' AND before <> 'voided' THEN
            hold.ended_by := CASE jsonb_typeof(event.metadata -> 'worker_id') WHEN 'string'
              THEN left(nullif(event.metadata ->> 'worker_id', ''), 255) END;
            hold.ended_amount_cents := nullif(hold.amount_cents, 0);
          ELSIF event.event_type = 'AuthVoidFailed' THEN
            hold.void_failures := CASE WHEN pg_temp.read_protobuf_field(event.event_data, 7) ~ '^[0-9]{1,9}$'
              THEN pg_temp.read_protobuf_field(event.event_data, 7)::integer ELSE 0 END;
            hold.last_void_error := left(nullif(pg_temp.read_protobuf_field(event.event_data, 4), ''), 100);
            BEGIN
              hold.next_void_at := (event.metadata ->> 'next_void_at')::timestamptz;
            EXCEPTION WHEN data_exception THEN
              hold.next_void_at := NULL;
            END;
          ELSIF event.event_type = 'AuthVoidRequeued' THEN
            hold.void_failures := 0;
            hold.last_void_error := NULL;
            hold.next_void_at := NULL;
          END IF;
          holds[i] := hold;
        END IF;

        -- The request has another answer now, so that nobody will use these.
        IF jsonb_typeof(event.metadata -> 'unneeded') = 'array' THEN
          FOR i IN
            SELECT number FROM generate_subscripts(holds, 1) AS number
            WHERE jsonb_build_array(holds[number].processor_name, holds[number].processor_auth_id)
              IN (SELECT jsonb_array_elements(event.metadata -> 'unneeded'))
          LOOP
            hold := holds[i];
            hold.is_needed := false;
            hold.last_event_sequence := event.sequence_number;
            IF hold.state = 'held' THEN
              hold.state := 'voiding';
              hold.state_since := event.created_at;
            END IF;
            holds[i] := hold;
            undecided[i] := false;
          END LOOP;
        END IF;

        IF event.is_last THEN
          FOR i IN
            SELECT number FROM generate_subscripts(holds, 1) AS number
            WHERE undecided[number] OR holds[number].is_needed
          LOOP
            hold := holds[i];
            hold.is_needed := status_now IN ('PENDING', 'PROCESSING') OR status_now = 'AUTHORIZED'
              AND coalesce(its_id, '') = hold.processor_auth_id;
            IF undecided[i] AND NOT hold.is_needed
              AND coalesce(hold.hold_expires_at, hold.authorized_at + life_days * interval '1 day') > now()
            THEN
              hold.state := 'voiding';
            END IF;
            holds[i] := hold;
          END LOOP;
          batch := batch || holds;
        END IF;
      END LOOP;

      WITH inserted AS (
        INSERT INTO auth_holds SELECT * FROM unnest(batch) ON CONFLICT DO NOTHING RETURNING state, is_needed
      )
      SELECT count(*) AS total, count(*) FILTER (WHERE is_needed) AS needed,
             count(*) FILTER (WHERE state = 'voiding') AS to_void,
             count(*) FILTER (WHERE state = 'held' AND NOT is_needed) AS listed
      INTO made FROM inserted;
      needed := needed + made.needed;
      to_void := to_void + made.to_void;
      listed := listed + made.listed;
      others := others + made.total - made.needed - made.to_void - made.listed;
      COMMIT;
    END LOOP;
    IF needed + to_void + listed + others > 0 THEN
      RAISE NOTICE 'Holds made from events: % that requests need, % to be voided, % older than % days that a person has to see to, % others.',
        needed, to_void, listed, life_days, others
        USING TABLE = 'auth_holds';
    END IF;
  END $$`;
