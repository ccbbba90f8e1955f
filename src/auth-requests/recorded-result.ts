import { type AuthRequestStatus } from './statuses';
import { type StandingEvent } from './read-standing';

/** What recording a result came to. */
export interface RecordedResult {
  /** AUTHORIZED or DENIED; or the settled status that had overtaken the attempt and stays. */
  readonly status: AuthRequestStatus;
  /** The number of the event that recorded it. See `ReplicaReads`. */
  readonly lastEventSequence: number;
  /** The same result had been recorded before: nothing was written, and this is what the first one came to. */
  readonly replayed: boolean;
  /** The request cannot use this authorization: a message went out that has the processor release the money. */
  readonly voidQueued: boolean;
}

/** What recording this event came to, as it says itself; nothing where a legacy service wrote it. */
export function resultOf({ metadata, sequenceNumber: lastEventSequence }: StandingEvent): RecordedResult | undefined {
  const { status_after: status, void_queued: voidQueued } = metadata;
  if (typeof status !== 'string') return undefined;
  return { status: status as AuthRequestStatus, lastEventSequence, replayed: true, voidQueued: voidQueued === true };
}
