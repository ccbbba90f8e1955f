import { type AuthRequest } from '../auth-requests/auth-request';
import { type Hold } from '../auth-requests/holds/hold';
import { type PaymentEventType } from '../event-store/event-codec';
import { type RequestDifference } from '../read-model/verification';

/** Everything that the database knows of one request at one moment. Payment tokens and fencing tokens are not in it. */
export interface Inspection {
  readonly authRequestId: string;
  /** Null where neither a row nor an event says it. */
  readonly restaurantId: string | null;
  /** When it was looked at, by the database's clock. */
  readonly at: Date;
  /** The row of `auth_request_state`; null where there are events alone. */
  readonly request: AuthRequest | null;
  /**
   * Attempts are open, and `startAttempt` will say to settle them, where the processor remembers a key for 24 hours. If not,
   * nobody can be asked: see `closeUnanswered`.
   */
  readonly canBeAsked: boolean;
  /** Its holds, also those that have ended, in the order in which they were reported. */
  readonly holds: readonly InspectedHold[];
  /** In their order. */
  readonly events: readonly InspectedEvent[];
  /** What the outbox has of it, in the order of their ids. Null: not shown. */
  readonly messages: readonly InspectedMessage[] | null;
  /** Null: not shown. */
  readonly keys: readonly InspectedKey[] | null;
  /** The lease on it, also an expired one. */
  readonly lease: InspectedLease | null;
  /** As `verify` says it. Null: nothing differs, or not shown. */
  readonly difference: RequestDifference | null;
  /** What could not be read; empty where all could. */
  readonly notShown: readonly NotShown[];
  /** What a person should do, the most urgent first: one sentence or two each. */
  readonly next: readonly string[];
}

/** A hold of the request. */
export interface InspectedHold extends Hold {
  /** It may still stand, or was captured although nobody needed it: `Holds.list` has it. */
  readonly isListed: boolean;
}

/** A part that is left out of an {@link Inspection}. */
export interface NotShown {
  readonly part: 'contents of events' | 'difference' | 'messages' | 'delivered messages' | 'keys' | 'texts of keys';
  /**
   * `privilege`: the role must not read it. `timeout`: no index serves the search, and it took longer than 10 seconds, or
   * the table was locked for 2.
   */
  readonly because: 'privilege' | 'timeout';
}

/** An event, in one line. */
export interface InspectedEvent {
  readonly sequenceNumber: number;
  readonly eventId: string;
  /** By the database's clock. */
  readonly createdAt: Date;
  /** One of another version has a name that this one does not know. */
  readonly type: PaymentEventType | (string & {});
  /** What happened, in English. Null where this role must not read it, or this version cannot. */
  readonly says: string | null;
  /** The request's status after it; null for what legacy services wrote, and where it must not be read. */
  readonly statusAfter: string | null;
  readonly correlationId: string | null;
  readonly causationId: string | null;
  readonly workerId: string | null;
}

/**
 * `waiting`: for a time to come, before its first attempt. `pending`: to be delivered. `refused`: and to be tried again.
 * `dead_letter`: given up. The others are at the end of their life.
 */
export type MessageState = 'waiting' | 'pending' | 'refused' | 'dead_letter' | 'delivered' | 'discarded';

/** A message of the outbox. Its payload is not shown. */
export interface InspectedMessage {
  readonly id: bigint;
  readonly messageType: string;
  readonly state: MessageState;
  /** Deliveries tried and refused. */
  readonly attempts: number;
  readonly lastError: string | null;
  readonly createdAt: Date;
  /** Not before then. */
  readonly nextAttemptAt: Date | null;
  /** When it was delivered, given up or discarded. */
  readonly endedAt: Date | null;
  readonly discardedBy: string | null;
  readonly discardReason: string | null;
  /** An earlier message of the same request that has to be delivered, requeued or discarded first. */
  readonly behind: bigint | null;
}

/** An idempotency key that stands for this request. */
export interface InspectedKey {
  /** Its first characters, at most eight and at most half of it; null where this role must not read it. */
  readonly beginning: string | null;
  readonly operation: string;
  readonly outcome: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** A worker's lease. */
export interface InspectedLease {
  readonly workerId: string;
  readonly expiresAt: Date;
  /** Not expired: the worker may be asking the processor. */
  readonly held: boolean;
}
