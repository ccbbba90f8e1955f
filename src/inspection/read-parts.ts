import { type AuthRequest, COLUMNS, type Row, toAuthRequest } from '../auth-requests/auth-request';
import { CAN_BE_ASKED } from '../auth-requests/find-requests';
import { StartAttemptCommand } from '../auth-requests/start-attempt';
import { HOLD_COLUMNS, type HoldRow, toHold } from '../auth-requests/holds/hold';
import { IS_LISTED } from '../auth-requests/holds/standing';
import { float8, timestamptz, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';
import { type StoredEventRow } from './describe-event';
import {
  type InspectedHold,
  type InspectedKey,
  type InspectedLease,
  type InspectedMessage,
  type MessageState,
} from './inspection';

/** What the role may read beside what every one may that inspects. */
export interface Sight {
  /** Of events, and the columns that are compared with them. */
  readonly contents: boolean;
  readonly messages: boolean;
  readonly keys: boolean;
  readonly textsOfKeys: boolean;
  readonly at: Date;
}

/** The first statement of the transaction: its snapshot, which is that of all others, is of this moment. */
const READ_SIGHT = operation({
  name: 'inspect_sight',
  input: {},
  output: rowsOf<Sight>(),
  sql: `
  SELECT has_table_privilege('payment_events', 'SELECT') AND has_table_privilege('auth_request_state', 'SELECT') AS contents,
         has_column_privilege('outbox', 'discard_reason', 'SELECT') AS messages,
         has_column_privilege('auth_idempotency_keys', 'outcome', 'SELECT') AS keys,
         has_column_privilege('auth_idempotency_keys', 'idempotency_key', 'SELECT') AS "textsOfKeys",
         statement_timestamp() AS at`,
});

export const readSight = async (session: Session): Promise<Sight> => (await session.row(READ_SIGHT, {}))!;

const ref = { auth_request_id: uuid } as const;

const READ_REQUEST = operation({
  name: 'inspect_request',
  input: { ...ref, settle_within_ms: float8 },
  output: rowsOf<Row & { can_be_asked: boolean | null }>(),
  sql: `
  SELECT ${COLUMNS}, ${CAN_BE_ASKED} AS can_be_asked
  FROM auth_request_state JOIN input USING (auth_request_id)`,
});

/** The row, and whether its open attempts can be asked about: false where none is open. */
export async function readRequest(
  session: Session,
  authRequestId: string,
): Promise<{ request: AuthRequest | null; canBeAsked: boolean }> {
  const row = await session.row(READ_REQUEST, {
    auth_request_id: authRequestId,
    settle_within_ms: StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS,
  });
  return { request: row ? toAuthRequest(row) : null, canBeAsked: row?.can_be_asked === true };
}

const READ_HOLDS = operation({
  name: 'inspect_holds',
  input: ref,
  output: rowsOf<HoldRow & { is_listed: boolean }>(),
  sql: `
  SELECT ${HOLD_COLUMNS}, ${IS_LISTED} AS is_listed FROM auth_holds JOIN input USING (auth_request_id)
  ORDER BY first_event_sequence, processor_name, processor_auth_id`,
});

export const readHolds = async (session: Session, authRequestId: string): Promise<InspectedHold[]> =>
  (await session.rows(READ_HOLDS, { auth_request_id: authRequestId })).map((row) => ({
    ...toHold(row),
    isListed: row.is_listed,
  }));

/** What every role may read of them that inspects. */
const READ_EVENTS = operation({
  name: 'inspect_events',
  input: ref,
  output: rowsOf<StoredEventRow & { restaurantId: string }>(),
  sql: `
  SELECT event_id AS "eventId", event_type AS "eventType", sequence_number AS "sequenceNumber",
         created_at AS "createdAt", restaurant_id AS "restaurantId"
  FROM payment_events JOIN input ON aggregate_id = auth_request_id
  ORDER BY sequence_number`,
});

export const readEvents = (session: Session, authRequestId: string) =>
  session.rows(READ_EVENTS, { auth_request_id: authRequestId });

const READ_LEASE = operation({
  name: 'inspect_lease',
  input: ref,
  output: rowsOf<InspectedLease>(),
  sql: `
  SELECT worker_id AS "workerId", expires_at AS "expiresAt", expires_at > statement_timestamp() AS held
  FROM auth_processing_locks JOIN input USING (auth_request_id)`,
});

export const readLease = async (session: Session, authRequestId: string): Promise<InspectedLease | null> =>
  (await session.row(READ_LEASE, { auth_request_id: authRequestId })) ?? null;

type MessageRow = Omit<InspectedMessage, 'id' | 'behind'> & { readonly id: string };

const MESSAGE = `
  SELECT id, message_type AS "messageType", attempts, last_error AS "lastError", outbox.created_at AS "createdAt",
         next_attempt_at AS "nextAttemptAt", coalesce(processed_at, failed_at) AS "endedAt",
         discarded_by AS "discardedBy", discard_reason AS "discardReason",
         CASE WHEN discarded_at IS NOT NULL THEN 'discarded'
              WHEN processed_at IS NOT NULL THEN 'delivered'
              WHEN failed_at IS NOT NULL THEN 'dead_letter'
              WHEN attempts > 0 THEN 'refused'
              WHEN next_attempt_at > statement_timestamp() THEN 'waiting'
              ELSE 'pending' END AS state
  FROM outbox JOIN input ON aggregate_id = auth_request_id`;

/** By idx_outbox_unprocessed_aggregate. */
const READ_UNDELIVERED = operation({
  name: 'inspect_undelivered',
  input: ref,
  output: rowsOf<MessageRow>(),
  sql: `${MESSAGE} WHERE processed_at IS NULL ORDER BY id`,
});

export const readUndelivered = (session: Session, authRequestId: string) =>
  session.rows(READ_UNDELIVERED, { auth_request_id: authRequestId });

/** No index finds them by request: the one on processed_at leaves out what was delivered before the request was there. */
const READ_DELIVERED = operation({
  name: 'inspect_delivered',
  input: { ...ref, since: timestamptz },
  output: rowsOf<MessageRow>(),
  sql: `${MESSAGE} WHERE processed_at >= since ORDER BY id`,
});

export const readDelivered = (session: Session, authRequestId: string, since: Date) =>
  session.rows(READ_DELIVERED, { auth_request_id: authRequestId, since });

const HOLDS_BACK: readonly MessageState[] = ['pending', 'refused', 'dead_letter'];

/** In the order of their ids, each with what holds it back. */
export function inOrder(rows: readonly MessageRow[]): InspectedMessage[] {
  const messages = rows.map((row) => ({ ...row, id: BigInt(row.id) })).sort((a, b) => (a.id < b.id ? -1 : 1));
  const first = messages.find(({ state }) => HOLDS_BACK.includes(state))?.id;
  return messages.map((message) => {
    const isHeldBack = HOLDS_BACK.includes(message.state) && first !== undefined && first < message.id;
    return { ...message, behind: isHeldBack ? first : null };
  });
}

/** No index finds them by request: the one on expires_at leaves out what had expired before the request was there. */
const keysIn = (withTexts: boolean) =>
  operation({
    name: withTexts ? 'inspect_keys' : 'inspect_keys_without_texts',
    input: { ...ref, since: timestamptz },
    output: rowsOf<InspectedKey>(),
    sql: `
  SELECT ${withTexts ? `left(idempotency_key, least(8, length(idempotency_key) / 2))` : 'NULL'} AS beginning,
         operation, outcome, keys.created_at AS "createdAt", expires_at AS "expiresAt"
  FROM auth_idempotency_keys AS keys JOIN input USING (auth_request_id)
  WHERE expires_at >= since ORDER BY keys.created_at`,
  });

const READ_KEYS = keysIn(true);
const READ_KEYS_WITHOUT_TEXTS = keysIn(false);

export const readKeys = (session: Session, authRequestId: string, since: Date, withTexts: boolean) =>
  session.rows(withTexts ? READ_KEYS : READ_KEYS_WITHOUT_TEXTS, { auth_request_id: authRequestId, since });
