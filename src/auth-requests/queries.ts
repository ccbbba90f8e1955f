import { type DataSource, type EntityManager } from 'typeorm';
import { run } from '../database/run';
import { statement } from '../database/statement';
import { type AuthRequestStatus } from '../entities/auth-request-state.entity';
import { validateCommand } from '../validation/validate-command';
import { FindCommand, FindUnsettledCommand, ListCommand, RequestRef, StartAttemptCommand } from './commands';

/** An authorization request as it is now. The payment token is left out on purpose: it is for workers alone. */
export interface AuthRequest {
  readonly authRequestId: string;
  readonly restaurantId: string;
  readonly status: AuthRequestStatus;
  /** In the currency's minor unit. */
  readonly amountCents: number;
  readonly currency: string;
  readonly processorName: string | null;
  readonly processorAuthId: string | null;
  readonly authorizedAmountCents: number | null;
  readonly authorizationCode: string | null;
  readonly denialCode: string | null;
  readonly denialReason: string | null;
  readonly metadata: Record<string, unknown>;
  /** Someone may have asked the processor, and nobody has recorded the answer: money may be held. */
  readonly attemptOpen: boolean;
  /** The configuration versions under which attempts are open; an empty one stands for attempts of legacy services. */
  readonly unansweredVersions: readonly string[];
  /** Since when something has been open without a break. */
  readonly unansweredSince: Date | null;
  readonly retryCount: number;
  /** The number of its last event. */
  readonly lastEventSequence: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** When it was first settled. */
  readonly completedAt: Date | null;
}

/** A request that may hold money which it does not name. */
export interface UnsettledRequest extends AuthRequest {
  /**
   * `startAttempt` will say to settle it. If not, nobody can be asked: its attempts are those of legacy services, which had
   * no key to ask again under, or the processor may have forgotten the key. See `closeUnanswered`.
   */
  readonly canBeAsked: boolean;
}

/** A page of requests, newest first. */
export interface AuthRequestPage {
  readonly requests: readonly AuthRequest[];
  /** Pass it as `after` for the next page; undefined at the end. */
  readonly next: string | undefined;
}

const COLUMNS = `
  auth_request_id, restaurant_id, status, amount_cents, currency, processor_name, processor_auth_id,
  authorized_amount_cents, authorization_code, denial_code, denial_reason, metadata, attempt_open, attempt_version,
  attempt_unanswered, unanswered_versions, unanswered_since, retry_count, last_event_sequence, created_at, updated_at,
  completed_at`;

const GET = statement(
  'get_auth_request',
  `SELECT ${COLUMNS} FROM auth_request_state WHERE auth_request_id = $1 AND restaurant_id = $2`,
);

/**
 * Keyset pages (M. Winand, "We need tool support for keyset pagination"), by time and id, since many requests may share
 * an instant. The cursor carries microseconds: a Date would cut them off and repeat or skip rows. The first page begins at
 * infinity: with "$2 IS NULL OR …" a generic plan could not begin at the cursor, and read all newer rows for each page.
 */
const LIST = statement(
  'list_auth_requests',
  `SELECT ${COLUMNS}, (extract(epoch FROM created_at) * 1000000)::bigint AS created_at_us
   FROM auth_request_state
   WHERE restaurant_id = $1
     AND (created_at, auth_request_id)
         < (coalesce(timestamptz 'epoch' + $2::bigint * interval '1 microsecond', 'infinity'), $3::uuid)
   ORDER BY created_at DESC, auth_request_id DESC
   LIMIT $4`,
);

/**
 * statement_timestamp(), since no index serves a comparison with a volatile function such as clock_timestamp(). $2 null: of
 * any age.
 */
const FIND_STUCK = statement(
  'list_stuck',
  `SELECT ${COLUMNS} FROM auth_request_state
   WHERE status IN ('PENDING', 'PROCESSING')
     AND created_at < statement_timestamp() - $1 * interval '1 millisecond'
     AND created_at >= coalesce(statement_timestamp() - $2 * interval '1 millisecond', '-infinity')
   ORDER BY created_at LIMIT $3`,
);

const FIND_UNSETTLED = statement(
  'list_unsettled',
  `SELECT ${COLUMNS},
     (attempt_unanswered AND attempt_version <> '' OR array_remove(unanswered_versions, '') <> '{}')
       AND unanswered_since >= statement_timestamp() - $4 * interval '1 millisecond' AS can_be_asked
   FROM auth_request_state
   WHERE attempt_open
     AND created_at < statement_timestamp() - $1 * interval '1 millisecond'
     AND created_at >= coalesce(statement_timestamp() - $2 * interval '1 millisecond', '-infinity')
   ORDER BY can_be_asked DESC, created_at LIMIT $3`,
);

export async function get(
  dataSource: DataSource,
  input: RequestRef,
  manager?: EntityManager,
): Promise<AuthRequest | null> {
  const { authRequestId, restaurantId } = validateCommand(RequestRef, input);
  const [row] = await run<Row>(dataSource, GET, [authRequestId, restaurantId], manager);
  return row ? toAuthRequest(row) : null;
}

export async function list(
  dataSource: DataSource,
  input: ListCommand,
  manager?: EntityManager,
): Promise<AuthRequestPage> {
  const { restaurantId, limit = 50, after } = validateCommand(ListCommand, input);
  const [microseconds = null, id = null] = after?.split('_') ?? [];
  const values = [restaurantId, microseconds, id, limit];
  const rows = await run<Row & { created_at_us: string }>(dataSource, LIST, values, manager);
  const last = rows.length === limit ? rows.at(-1) : undefined;
  return {
    requests: rows.map(toAuthRequest),
    next: last && `${last.created_at_us}_${last.auth_request_id}`,
  };
}

export async function listStuck(
  dataSource: DataSource,
  input: FindCommand,
  manager?: EntityManager,
): Promise<AuthRequest[]> {
  const values = windowOf(validateCommand(FindCommand, input));
  return (await run<Row>(dataSource, FIND_STUCK, values, manager)).map(toAuthRequest);
}

export async function listUnsettled(
  dataSource: DataSource,
  input: FindUnsettledCommand,
  manager?: EntityManager,
): Promise<UnsettledRequest[]> {
  const command = validateCommand(FindUnsettledCommand, input);
  const { settleWithinMs = StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS } = command;
  const values = [...windowOf(command), settleWithinMs];
  const rows = await run<Row & { can_be_asked: boolean }>(dataSource, FIND_UNSETTLED, values, manager);
  return rows.map((row) => ({ ...toAuthRequest(row), canBeAsked: row.can_be_asked }));
}

const windowOf = ({ olderThanMs, withinMs, limit = 100 }: FindCommand) => [olderThanMs, withinMs ?? null, limit];

interface Row {
  auth_request_id: string;
  restaurant_id: string;
  status: AuthRequestStatus;
  amount_cents: string;
  currency: string;
  processor_name: string | null;
  processor_auth_id: string | null;
  authorized_amount_cents: string | null;
  authorization_code: string | null;
  denial_code: string | null;
  denial_reason: string | null;
  metadata: Record<string, unknown> | null;
  attempt_open: boolean;
  attempt_version: string | null;
  attempt_unanswered: boolean;
  unanswered_versions: string[];
  unanswered_since: Date | null;
  retry_count: number;
  last_event_sequence: number;
  created_at: Date;
  updated_at: Date;
  completed_at: Date | null;
}

const toAuthRequest = (row: Row): AuthRequest => ({
  authRequestId: row.auth_request_id,
  restaurantId: row.restaurant_id,
  status: row.status,
  amountCents: Number(row.amount_cents),
  currency: row.currency,
  processorName: row.processor_name,
  processorAuthId: row.processor_auth_id,
  authorizedAmountCents: row.authorized_amount_cents === null ? null : Number(row.authorized_amount_cents),
  authorizationCode: row.authorization_code,
  denialCode: row.denial_code,
  denialReason: row.denial_reason,
  metadata: row.metadata ?? {},
  attemptOpen: row.attempt_open,
  unansweredVersions: openVersionsOf(row),
  unansweredSince: row.unanswered_since,
  retryCount: row.retry_count,
  lastEventSequence: row.last_event_sequence,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  completedAt: row.completed_at,
});

/** The current attempt's version is among those of earlier ones where it has been tried before. */
const openVersionsOf = ({ attempt_unanswered, attempt_version, unanswered_versions }: Row): string[] =>
  attempt_unanswered ? [...new Set([...unanswered_versions, attempt_version!])] : unanswered_versions;
