import { type HoldState } from './states';

/** An authorization that a processor has reported, and what happened to the money since. */
export interface Hold {
  readonly authRequestId: string;
  readonly restaurantId: string;
  /** Empty where a legacy service did not say. */
  readonly processorName: string;
  readonly processorAuthId: string;
  /** What was authorized, in the currency's minor unit; 0 where nobody has said. */
  readonly amountCents: number;
  readonly currency: string;
  /** The configuration version that it is voided under; null where nobody knows. */
  readonly configVersion: string | null;
  /** By the processor's clock. */
  readonly authorizedAt: Date;
  /** Until when the processor holds the money, where it has said so. */
  readonly holdExpiresAt: Date | null;
  readonly state: HoldState;
  readonly stateSince: Date;
  /** The request may use it: it is open, or AUTHORIZED by this one. Once false, it stays false. */
  readonly isNeeded: boolean;
  /** A worker has recorded it. Until then the processor alone has told of it. */
  readonly isAnswered: boolean;
  /** What was captured, voided or given up, where somebody has said so. */
  readonly endedAmountCents: number | null;
  /** Who has told how it ended: a worker, a source such as `stripe`, or a person. */
  readonly endedBy: string | null;
  /** The person who has seen to it: it is on no list any more. */
  readonly closedBy: string | null;
  /** Voids that have failed since a person last asked for one. */
  readonly voidFailures: number;
  /** The error code of the last of them. */
  readonly lastVoidError: string | null;
  /** When the next void is due, after one that has failed. */
  readonly nextVoidAt: Date | null;
  /** How often the sweeper has sent it on its way again, and when it last did. */
  readonly sweeps: number;
  readonly sweptAt: Date | null;
  /** The numbers of the event that made it, and of the last one about it. */
  readonly firstEventSequence: number;
  readonly lastEventSequence: number;
}

/** The columns that make it. */
export const HOLD_COLUMNS = `
  auth_request_id, restaurant_id, processor_name, processor_auth_id, amount_cents, currency, config_version,
  authorized_at, hold_expires_at, state, state_since, is_needed, is_answered, ended_amount_cents, ended_by, closed_by,
  void_failures, last_void_error, next_void_at, sweeps, swept_at, first_event_sequence, last_event_sequence`;

export interface HoldRow {
  auth_request_id: string;
  restaurant_id: string;
  processor_name: string;
  processor_auth_id: string;
  amount_cents: string;
  currency: string;
  config_version: string | null;
  authorized_at: Date;
  hold_expires_at: Date | null;
  state: HoldState;
  state_since: Date;
  is_needed: boolean;
  is_answered: boolean;
  ended_amount_cents: string | null;
  ended_by: string | null;
  closed_by: string | null;
  void_failures: number;
  last_void_error: string | null;
  next_void_at: Date | null;
  sweeps: number;
  swept_at: Date | null;
  first_event_sequence: number;
  last_event_sequence: number;
}

export const toHold = (row: HoldRow): Hold => ({
  authRequestId: row.auth_request_id,
  restaurantId: row.restaurant_id,
  processorName: row.processor_name,
  processorAuthId: row.processor_auth_id,
  amountCents: Number(row.amount_cents),
  currency: row.currency,
  configVersion: row.config_version,
  authorizedAt: row.authorized_at,
  holdExpiresAt: row.hold_expires_at,
  state: row.state,
  stateSince: row.state_since,
  isNeeded: row.is_needed,
  isAnswered: row.is_answered,
  endedAmountCents: row.ended_amount_cents === null ? null : Number(row.ended_amount_cents),
  endedBy: row.ended_by,
  closedBy: row.closed_by,
  voidFailures: row.void_failures,
  lastVoidError: row.last_void_error,
  nextVoidAt: row.next_void_at,
  sweeps: row.sweeps,
  sweptAt: row.swept_at,
  firstEventSequence: row.first_event_sequence,
  lastEventSequence: row.last_event_sequence,
});
