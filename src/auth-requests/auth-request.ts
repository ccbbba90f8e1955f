import { type AuthRequestStatus } from './statuses';

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
  /** How often the sweeper has sent it on its way again. */
  readonly sweeps: number;
  /** The number of its last event. */
  readonly lastEventSequence: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** When it was first settled. */
  readonly completedAt: Date | null;
}

/** The columns that make it. */
export const COLUMNS = `
  auth_request_id, restaurant_id, status, amount_cents, currency, processor_name, processor_auth_id,
  authorized_amount_cents, authorization_code, denial_code, denial_reason, metadata, attempt_open, attempt_version,
  attempt_unanswered, unanswered_versions, unanswered_since, retry_count, sweeps, last_event_sequence, created_at,
  updated_at, completed_at`;

export interface Row {
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
  sweeps: number;
  last_event_sequence: number;
  created_at: Date;
  updated_at: Date;
  completed_at: Date | null;
}

export const toAuthRequest = (row: Row): AuthRequest => ({
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
  sweeps: row.sweeps,
  lastEventSequence: row.last_event_sequence,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  completedAt: row.completed_at,
});

/** The current attempt's version is among those of earlier ones where it has been tried before. */
const openVersionsOf = ({ attempt_unanswered, attempt_version, unanswered_versions }: Row): string[] =>
  attempt_unanswered ? [...new Set([...unanswered_versions, attempt_version!])] : unanswered_versions;
