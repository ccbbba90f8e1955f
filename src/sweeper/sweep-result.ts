import { type AuthRequestStatus } from '../auth-requests/statuses';

/** A request whose message went out again. */
export interface SentRequest {
  readonly authRequestId: string;
  readonly restaurantId: string;
  /** How often by now. */
  readonly sweeps: number;
}

/** A hold. */
export interface HoldRef {
  readonly authRequestId: string;
  readonly restaurantId: string;
  /** Empty where a legacy service did not say. */
  readonly processorName: string;
  readonly processorAuthId: string;
}

/** A hold whose void went out again. */
export interface SentVoid extends HoldRef {
  /** How often by now. */
  readonly sweeps: number;
}

/** What a look for messages to send came to. */
export interface Sending<Sent> {
  readonly sent: readonly Sent[];
  /**
   * Why there may be more. `outbox_late`: nothing was sent, since messages wait in the outbox already. `per_minute` and
   * `batch`: as many were sent as may be. Null: there are no more.
   */
  readonly heldBack: 'outbox_late' | 'per_minute' | 'batch' | null;
}

/**
 * Why a void was given up, as its event says it. `NOT_VOIDED_IN_TIME`: `maxSweeps` messages have changed nothing.
 * `MESSAGE_REFUSED`: a dead letter of the outbox holds back every message of the request.
 */
export type VoidGivenUpReason = 'NOT_VOIDED_IN_TIME' | 'MESSAGE_REFUSED';

/** A hold that is `void_failed` now. */
export interface GivenUpVoid extends HoldRef {
  readonly reason: VoidGivenUpReason;
}

/** A request that gets no further message. */
export interface GivenUpRequest {
  readonly authRequestId: string;
  readonly restaurantId: string;
  readonly status: AuthRequestStatus;
  readonly sweeps: number;
  /** `not_taken_up`: `maxSweeps` messages have changed nothing. `message_refused`: a dead letter holds them back. */
  readonly reason: 'not_taken_up' | 'message_refused';
}

/** A hold that an open or AUTHORIZED request needs, and that lapses soon. */
export interface LapsingHold extends HoldRef {
  readonly holdExpiresAt: Date;
  readonly amountCents: number;
  readonly currency: string;
}

/** What needs a person. Nothing is written for it. */
export interface Listing {
  /** At most `batchSize`, the oldest first. */
  readonly requests: readonly GivenUpRequest[];
  /** At most `batchSize`, the first to lapse first. */
  readonly lapsing: readonly LapsingHold[];
}

/** What a turn came to. A task that is switched off, or whose time has not come, is left out. */
export interface SweepResult {
  /** `another_is_at_work`: another sweeper holds the lease, and nothing was done. */
  readonly outcome: 'swept' | 'another_is_at_work';
  /** Nothing was written: this is what a turn would do. */
  readonly dryRun: boolean;
  /** For how long the oldest message that could go out has waited, in milliseconds; null: none, or nothing was to be sent. */
  readonly outboxAgeMs: number | null;
  readonly voiding?: Sending<SentVoid> & { readonly givenUp: readonly GivenUpVoid[] };
  readonly stuck?: Sending<SentRequest>;
  readonly unsettled?: Sending<SentRequest>;
  readonly listing?: Listing;
  /** The ids of requests that are EXPIRED now. */
  readonly expiry?: readonly string[];
  /** How many idempotency keys were purged; in a dry run counted to 10,000, as in the two that follow. */
  readonly keys?: number;
  /** How many leases. */
  readonly leases?: number;
  /** How many messages. */
  readonly messages?: number;
}

/** What the sweeper does, in the order in which a turn does it: money first. */
export const SWEEPER_TASKS = [
  'voiding',
  'stuck',
  'unsettled',
  'listing',
  'expiry',
  'keys',
  'leases',
  'messages',
] as const;
export type SweeperTask = (typeof SWEEPER_TASKS)[number];
