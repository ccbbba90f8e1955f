import { type HoldState } from '../../../src/auth-requests/holds/states';
import { type StoredEvent } from '../../../src/event-store/event-store';

/** A hold, as far as the events tell of it. */
export interface ToldHold {
  readonly name: string;
  readonly id: string;
  state: HoldState;
  isNeeded: boolean;
  isAnswered: boolean;
  cents: number;
  endedCents: number | null;
  endedBy: string | null;
  closedBy: string | null;
  failures: number;
  lastError: string | null;
  nextVoidAt: string | null;
}

/** The request before an event. */
interface Before {
  readonly status: string | undefined;
  readonly processorAuthId: string | null;
}

const RANK: Partial<Record<HoldState, number>> = { lapsed: 1, voided: 2, captured: 3 };
const ENDS = { CAPTURED: 'captured', VOIDED: 'voided', LAPSED: 'lapsed' } as const;

/**
 * What the events make of the holds of one request, and which voids they call for: told a second time, from what the
 * messages of the events say and the order that they came in, and not from what the statements decided.
 */
export class ToldHolds {
  readonly holds: ToldHold[] = [];
  readonly #retries = new Set<unknown>();

  /** Takes in the next event, and gives the ids of the holds that go to the outbox with it to be voided. */
  take(event: StoredEvent, before: Before): string[] {
    const isOpen = before.status === 'PENDING' || before.status === 'PROCESSING';
    switch (event.type) {
      case 'AuthResponseReceived':
        if (event.data.status === 'AUTHORIZED') return this.#authorized(event, before);
        return before.status === 'PROCESSING' ? this.#needNone() : [];
      case 'AuthAttemptFailed':
        return isOpen && !event.data.isRetryable ? this.#needNone() : [];
      case 'AuthVoidRequested':
      case 'AuthRequestExpired':
        return this.#needNone();
      case 'AuthHoldReported': {
        const { amountCents } = event.data;
        const known = this.#find(event.data);
        if (!known) return voidsOf(this.#add(event.data, before, { cents: amountCents }));
        if (!known.isAnswered) known.cents = amountCents;
        return [];
      }
      case 'AuthHoldEnded':
        this.#ended(event, before);
        return [];
      case 'AuthVoidCompleted': {
        const hold = this.#find(event.data)!;
        if (hold.state === 'captured') return [];
        const endedBy = event.metadata.worker_id as string;
        Object.assign(hold, { state: 'voided', endedBy, endedCents: hold.cents || null });
        return [];
      }
      case 'AuthVoidFailed':
        return this.#voidFailed(event);
      case 'AuthVoidRequeued': {
        const hold = this.#find(event.data)!;
        Object.assign(hold, { state: 'voiding', failures: 0, lastError: null, nextVoidAt: null });
        return [hold.id];
      }
      case 'AuthRequestCreated':
      case 'AuthAttemptStarted':
        return [];
    }
  }

  #authorized({ data }: StoredEvent & { type: 'AuthResponseReceived' }, before: Before): string[] {
    const { processorName, processorAuthId, authorizedAmountCents: cents } = data.result!;
    const name = { processorName, processorAuthId };
    const decides = before.status === 'PROCESSING';
    const known = this.#find(name);
    const hold = known ?? this.#add(name, before, { cents });
    const voids = known ? [] : voidsOf(hold);
    if (known && !isNeededBy(before, processorAuthId, decides)) voids.push(...needNot(hold));
    if (!hold.isAnswered) Object.assign(hold, { isAnswered: true, cents });
    return decides ? [...voids, ...this.#needNone(hold)] : voids;
  }

  #ended({ data }: StoredEvent & { type: 'AuthHoldEnded' }, before: Before): void {
    const { amountCents, source, sourceEventId } = data;
    const state = ENDS[data.end as keyof typeof ENDS];
    const told = amountCents || null;
    const known = this.#find(data);
    const hold = known ?? this.#add(data, before, { cents: amountCents });
    if (!known || rankOf(state) > rankOf(hold.state)) {
      Object.assign(hold, { state, endedBy: source, endedCents: told, closedBy: null });
    } else if (state === 'captured' && told && told > (hold.endedCents ?? 0)) {
      Object.assign(hold, { endedCents: told, closedBy: null });
    }
    // What a processor tells has an id; what a person says has none.
    if (sourceEventId === '' && !hold.isNeeded) hold.closedBy ??= source;
  }

  #voidFailed({ data, metadata }: StoredEvent & { type: 'AuthVoidFailed' }): string[] {
    const hold = this.#find(data)!;
    const wasVoiding = hold.state === 'voiding';
    hold.failures += 1;
    hold.lastError = data.errorCode;
    hold.nextVoidAt = (metadata.next_void_at as string | undefined) ?? null;
    if (wasVoiding && !data.isRetryable) hold.state = 'void_failed';
    if (!wasVoiding || !data.isRetryable || metadata.retry_by !== 'outbox') return [];
    // One that comes while a message waits names the time of that one.
    const retry = `${hold.name} ${hold.id} ${hold.nextVoidAt}`;
    if (this.#retries.has(retry)) return [];
    this.#retries.add(retry);
    return [hold.id];
  }

  #add({ processorName: name, processorAuthId: id }: Name, before: Before, { cents }: { cents: number }): ToldHold {
    const isOpen = before.status === 'PENDING' || before.status === 'PROCESSING';
    const isNeeded = isNeededBy(before, id, isOpen);
    const hold: ToldHold = {
      ...{ name, id, cents, state: isNeeded ? 'held' : 'voiding', isNeeded, isAnswered: false },
      ...{ endedCents: null, endedBy: null, closedBy: null, failures: 0, lastError: null, nextVoidAt: null },
    };
    this.holds.push(hold);
    return hold;
  }

  #needNone(except?: ToldHold): string[] {
    return this.holds.flatMap((hold) => (hold === except ? [] : needNot(hold)));
  }

  #find({ processorName, processorAuthId }: Name): ToldHold | undefined {
    return this.holds.find(({ name, id }) => name === processorName && id === processorAuthId);
  }
}

interface Name {
  readonly processorName: string;
  readonly processorAuthId: string;
}

const isNeededBy = ({ status, processorAuthId }: Before, id: string, otherwise: boolean) =>
  otherwise || (status === 'AUTHORIZED' && processorAuthId === id);

/** The request needs it no more: what is held is to be voided, what has ended stays as it is. */
function needNot(hold: ToldHold): string[] {
  hold.isNeeded = false;
  if (hold.state !== 'held') return [];
  hold.state = 'voiding';
  return [hold.id];
}

const voidsOf = ({ state, id }: ToldHold) => (state === 'voiding' ? [id] : []);
const rankOf = (state: HoldState) => RANK[state] ?? 0;
