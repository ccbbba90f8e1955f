import { arrayOf, orNull, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { type FoldedRequest } from './fold';
import { type HoldRow } from './hold-differences';
import { inZone, type ReadShape, type Zones, oncePerShape } from './read-shape';

/** An event as it is stored. */
export interface EventRow {
  eventId: string;
  eventType: string;
  eventData: Uint8Array;
  metadata: unknown;
  createdAt: Date;
  sequenceNumber: number;
}

/** What `auth_request_state` holds of what the events decide; rows of other writers may hold any status. */
export type StateRow = Omit<
  FoldedRequest,
  'metadata' | 'holds' | 'status' | 'amountCents' | 'authorizedAmountCents'
> & {
  status: string;
  /** Beyond 2^53 − 1, where no event can hold it, its digits. */
  amountCents: number | string;
  authorizedAmountCents: number | string | null;
};

/** A request as it is stored: its row, if there is one, its events in order, and its holds. */
export interface RequestRecord {
  authRequestId: string;
  /** Null where neither its row nor its events have it in a column. */
  restaurantId: string | null;
  row: StateRow | undefined;
  events: EventRow[];
  /** Its rows of `auth_holds`; none where the table is not there yet. */
  holds: HoldRow[];
}

/** What to read, and from which tables. */
export interface ReadScope {
  shape: ReadShape;
  zones: Zones;
  /** Only its requests, and those of which no column says whose they are. Default: all. */
  restaurantId?: string;
}

/** One line of what is read: the row, or nulls, beside one event, or nulls. Amounts are as `pg` gives a bigint. */
type Line = { [K in keyof StateRow]: StateRow[K] | null } & { [K in keyof EventRow]: EventRow[K] | null } & {
  authRequestId: string;
  hasRow: boolean;
  knownRestaurantId: string | null;
  /** Beside the first event, or beside the row of a request that has none. */
  holds: (HoldRow & { amountCents: string; endedAmountCents: string | null })[] | null;
};

const ATTEMPTS = `
         state.attempt_open AS "attemptOpen", state.attempt, state.attempt_version AS "attemptVersion",
         state.attempt_token AS "attemptToken", state.attempt_unanswered AS "attemptUnanswered",
         state.unanswered_versions AS "unansweredVersions", state.unanswered_since AS "unansweredSince",
         state.retry_count AS "retryCount"`;

const NO_ATTEMPTS = `NULL AS "attemptToken", NULL AS "unansweredSince"`;

/** Amounts as text, since JSON has no bigint. */
const HOLDS = `
  LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object(
      'processorName', processor_name, 'processorAuthId', processor_auth_id, 'amountCents', amount_cents::text,
      'currency', currency, 'configVersion', config_version, 'state', state, 'isNeeded', is_needed, 'isAnswered', is_answered,
      'endedAmountCents', ended_amount_cents::text, 'endedBy', ended_by, 'closedBy', closed_by,
      'voidFailures', void_failures, 'lastVoidError', last_void_error,
      'firstEventSequence', first_event_sequence, 'lastEventSequence', last_event_sequence)
      ORDER BY first_event_sequence, processor_name, processor_auth_id) AS holds
    FROM auth_holds WHERE auth_request_id = requested.id AND coalesce(event.sequence_number, 1) = 1
  ) AS hold ON true`;

/**
 * Row, events and holds in one statement, hence in one snapshot: an operation writes both in one transaction, so that it is
 * seen wholly or not at all, however many are under way.
 *
 * OFFSET 0 keeps both joins what they are meant to be, one index probe a request: without it, on a table that has not
 * been analyzed, the planner sorts all events for every page.
 */
export const recordsIn = oncePerShape((shape: ReadShape, zones: Zones) => {
  const restaurant = shape.hasRestaurants
    ? 'coalesce(state.restaurant_id, event.restaurant_id)'
    : 'state.restaurant_id';
  return operation({
    name: 'read_model_records',
    input: { ids: arrayOf(uuid), wanted_restaurant: orNull(uuid) },
    output: rowsOf<Line>(),
    sql: `
  SELECT requested.id AS "authRequestId", state.auth_request_id IS NOT NULL AS "hasRow",
         ${restaurant} AS "knownRestaurantId",
         state.restaurant_id AS "restaurantId", state.payment_token AS "paymentToken", state.status,
         state.amount_cents AS "amountCents", state.currency,
         state.processor_auth_id AS "processorAuthId", state.processor_name AS "processorName",
         state.authorized_amount_cents AS "authorizedAmountCents", state.authorization_code AS "authorizationCode",
         state.denial_code AS "denialCode", state.denial_reason AS "denialReason",
         ${inZone('state.completed_at', zones.completedAt)} AS "completedAt", state.last_event_sequence AS "lastEventSequence",
         ${shape.hasAttempts ? ATTEMPTS : NO_ATTEMPTS},
         event.sequence_number AS "sequenceNumber", event.event_id AS "eventId", event.event_type AS "eventType",
         ${shape.hasHolds ? 'hold.holds' : 'NULL::jsonb AS holds'}, event.event_data AS "eventData", event.metadata, ${inZone('event.created_at', zones.event)} AS "createdAt"
  FROM input CROSS JOIN unnest(ids) AS requested (id)
  LEFT JOIN LATERAL (
    SELECT * FROM auth_request_state WHERE auth_request_id = requested.id OFFSET 0
  ) AS state ON true
  LEFT JOIN LATERAL (
    SELECT * FROM payment_events WHERE aggregate_id = requested.id OFFSET 0
  ) AS event ON true${shape.hasHolds ? HOLDS : ''}
  WHERE coalesce(state.auth_request_id, event.aggregate_id) IS NOT NULL
    AND (wanted_restaurant IS NULL OR coalesce(${restaurant}, wanted_restaurant) = wanted_restaurant)
  ORDER BY requested.id, event.sequence_number`,
  });
});

/** Reads requests by id, those that exist and may belong to the restaurant, where one is named. */
export async function readRecords(
  session: Session,
  authRequestIds: readonly string[],
  { shape, zones, restaurantId }: ReadScope,
): Promise<RequestRecord[]> {
  const input = { ids: authRequestIds, wanted_restaurant: restaurantId ?? null };
  const lines = await session.rows(recordsIn(shape, zones), input);
  const records: RequestRecord[] = [];
  for (const line of lines) {
    let record = records.at(-1);
    if (record?.authRequestId !== line.authRequestId) {
      record = { authRequestId: line.authRequestId, restaurantId: null, row: rowOf(line), events: [], holds: [] };
      records.push(record);
    }
    record.restaurantId ??= line.knownRestaurantId;
    if (line.holds) record.holds = line.holds.map(holdOf);
    if (line.sequenceNumber !== null) record.events.push(line as EventRow);
  }
  return records;
}

function rowOf(line: Line): StateRow | undefined {
  if (!line.hasRow) return undefined;
  const { amountCents, authorizedAmountCents } = line as StateRow;
  return {
    ...(line as StateRow),
    amountCents: exact(amountCents),
    authorizedAmountCents: authorizedAmountCents === null ? null : exact(authorizedAmountCents),
    attemptToken: line.attemptToken === null ? null : BigInt(line.attemptToken),
  };
}

function holdOf(hold: NonNullable<Line['holds']>[number]): HoldRow {
  const { amountCents, endedAmountCents } = hold;
  return {
    ...hold,
    amountCents: exact(amountCents),
    endedAmountCents: endedAmountCents === null ? null : exact(endedAmountCents),
  };
}

/** `pg` gives a bigint as text. */
const exact = (digits: number | string) => (Number.isSafeInteger(Number(digits)) ? Number(digits) : digits);
