import { type HoldState } from '../../../src/auth-requests/holds/states';
import { type AuthRequestStatus } from '../../../src/auth-requests/statuses';
import { type HoldEnd, type HoldId, type Operation, type Version } from './model-operations';

/** What a processor holds for a request, or has held. */
export interface Hold {
  id: HoldId;
  state: HoldState;
  isNeeded: boolean;
  isAnswered: boolean;
  cents: number;
  version: Version | null;
  endedCents: number | null;
  endedBy: string | null;
  closedBy: string | null;
  failures: number;
  lastError: string | null;
  /** A void that is to be tried again has a message that waits for its time. */
  waits: boolean;
}

interface Request {
  readonly status: AuthRequestStatus;
  readonly authId: string | null;
  readonly events: string[];
  readonly messages: string[];
  readonly holds: Hold[];
  readonly told: string[];
  readonly voids: { said: string; answer: Record<string, unknown> }[];
}

/** A capture is money taken, a void money given back, and a hold lapses where nobody does anything. */
const COUNTS_FOR: Partial<Record<HoldState, number>> = { lapsed: 1, voided: 2, captured: 3 };

/**
 * The promises about the holds of one request, beside {@link Model}: each hold belongs to an open request, or to the AUTHORIZED
 * one that names it, or somebody sees to it.
 */
export class ModelHolds {
  constructor(private readonly request: Request) {}

  find(id: HoldId): Hold | undefined {
    return this.request.holds.find((hold) => hold.id === id);
  }

  /** The request has its answer, or is closed: what it does not name is to be voided. */
  needNone(reason: string, except?: HoldId): void {
    for (const hold of this.request.holds) {
      if (hold.id === except || !hold.isNeeded) continue;
      hold.isNeeded = false;
      if (hold.state === 'held') this.#sendVoid(hold, reason);
    }
  }

  /** The worker's answer, before it changes the request. Whether it has the hold voided. */
  answered(id: HoldId, cents: number, version: Version | undefined): boolean {
    const isClosed = ['VOIDED', 'EXPIRED', 'FAILED'].includes(this.request.status);
    const isNew = !this.find(id);
    const hold = this.find(id) ?? this.#make(id, cents);
    if (!hold.isAnswered) Object.assign(hold, { isAnswered: true, cents });
    hold.version ??= version ?? null;
    if (this.request.status === 'PROCESSING') this.needNone('not_needed', id);
    const crosses = isNew && !hold.isNeeded;
    if (crosses) this.#sendVoid(hold, isClosed ? 'voided_during_authorization' : 'not_needed');
    return crosses;
  }

  report(id: HoldId, told: 'authorized' | HoldEnd, event: string, cents: number) {
    const said = `${told} ${id} ${event}`;
    const known = this.find(id);
    if (this.request.told.includes(said)) return { state: known!.state, replayed: true, voidQueued: false };
    this.request.told.push(said);
    if (told !== 'authorized') {
      const state = this.#end(id, told, 'stripe', cents);
      return { state, replayed: false, voidQueued: false };
    }
    const hold = known ?? this.#make(id, cents);
    this.request.events.push(`told of ${id}`);
    if (!hold.isAnswered) hold.cents = cents;
    const isTooLate = !known && !hold.isNeeded;
    const isClosed = ['VOIDED', 'EXPIRED', 'FAILED'].includes(this.request.status);
    if (isTooLate) this.#sendVoid(hold, isClosed ? 'reported_too_late' : 'not_needed');
    return { state: hold.state, replayed: false, voidQueued: isTooLate };
  }

  recordEnd(id: HoldId, end: HoldEnd, person: string) {
    const said = `${end} ${id} by ${person}`;
    if (!this.request.told.includes(said)) {
      this.request.told.push(said);
      this.#end(id, end, person, null);
      const hold = this.find(id)!;
      if (!hold.isNeeded) hold.closedBy ??= person;
    }
    return { state: this.find(id)!.state };
  }

  toVoid(id: HoldId): unknown {
    const hold = this.find(id);
    if (!hold) return 'HOLD_NOT_FOUND';
    const { state, cents, version, failures } = hold;
    return state === 'voiding' ? { outcome: 'void', cents, version, failures } : { outcome: 'nothing_to_do', state };
  }

  voided({ hold: id, worker }: Operation & { does: 'voided' }, token: number, held: boolean): unknown {
    const hold = this.find(id);
    const said = `${token} voided ${id}`;
    const before = this.request.voids.find((each) => each.said === said);
    if (before) return { state: hold!.state, replayed: true };
    if (!held) return 'LOCK_LOST';
    if (!hold) return 'HOLD_NOT_FOUND';
    if (hold.state === 'voided') return { state: 'voided', replayed: true };
    if (hold.state !== 'captured') {
      Object.assign(hold, { state: 'voided', endedBy: worker, endedCents: hold.cents });
    }
    this.request.events.push(`voided ${id}`);
    this.request.voids.push({ said, answer: {} });
    return { state: hold.state, replayed: false };
  }

  voidFailed(
    { hold: id, retryable, code, by }: Operation & { does: 'void failed' },
    token: number,
    held: boolean,
  ): unknown {
    const hold = this.find(id);
    const said = `${token} void failed ${id} ${retryable} ${code}`;
    const before = this.request.voids.find((each) => each.said === said);
    if (before) return before.answer;
    if (!held) return 'LOCK_LOST';
    if (!hold) return 'HOLD_NOT_FOUND';
    const triesAgain = retryable && hold.state === 'voiding';
    if (hold.state === 'voiding' && !retryable) hold.state = 'void_failed';
    hold.failures += 1;
    hold.lastError = code;
    if (triesAgain && by === 'outbox' && !hold.waits) this.#send(id, 'void_failed');
    hold.waits = triesAgain && (hold.waits || by === 'outbox');
    this.request.events.push(`void of ${id} failed: ${code}, ${hold.failures}`);
    const answer = { state: hold.state, failures: hold.failures, isToCome: triesAgain };
    this.request.voids.push({ said, answer });
    return answer;
  }

  requeue(id: HoldId): unknown {
    const hold = this.find(id);
    if (!hold) return 'HOLD_NOT_FOUND';
    if (hold.state === 'voiding') return { queued: false };
    if (hold.state !== 'void_failed') return 'HOLD_STATE';
    Object.assign(hold, { failures: 0, lastError: null, waits: false });
    this.request.events.push(`void of ${id} asked again`);
    this.#sendVoid(hold, 'by hand');
    return { queued: true };
  }

  #end(id: HoldId, end: HoldEnd, by: string, cents: number | null): HoldState {
    const known = this.find(id);
    const hold = known ?? this.#make(id, cents ?? 0);
    this.request.events.push(`${id} ended: ${end}, by ${by}`);
    if (!known || rankOf(end) > rankOf(hold.state)) {
      Object.assign(hold, { state: end, endedBy: by, endedCents: cents, closedBy: null });
    } else if (end === 'captured') {
      if ((cents ?? 0) > (hold.endedCents ?? 0)) hold.closedBy = null;
      hold.endedCents = largest(cents, hold.endedCents);
    }
    return hold.state;
  }

  /** Held for as long as the request may use it. */
  #make(id: HoldId, cents: number): Hold {
    const { status, authId, holds } = this.request;
    const isNeeded = ['PENDING', 'PROCESSING'].includes(status) || (status === 'AUTHORIZED' && authId === id);
    const hold: Hold = {
      ...{ id, state: 'held', isNeeded, isAnswered: false, cents, version: null },
      ...{ endedCents: null, endedBy: null, closedBy: null, failures: 0, lastError: null, waits: false },
    };
    holds.push(hold);
    return hold;
  }

  #sendVoid(hold: Hold, reason: string): void {
    hold.state = 'voiding';
    this.#send(hold.id, reason);
  }

  #send(id: HoldId, reason: string): void {
    this.request.messages.push(`void_request_queued ${id}: ${reason}`);
  }
}

const rankOf = (state: HoldState) => COUNTS_FOR[state] ?? 0;
const largest = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b));
