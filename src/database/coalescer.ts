import { context, type Context, ROOT_CONTEXT, SpanKind, type SpanOptions, trace } from '@opentelemetry/api';
import {
  ConstraintViolationError,
  DatabaseError,
  DatabaseTimeoutError,
  OverloadedError,
  PaymentEventsDbError,
  TransactionConflictError,
  WrongShardError,
} from '../errors';
import { inContext, orNothing, ourMeter, traced } from './telemetry';

/** How calls of one operation are done, alone and together. */
export interface Calls<Request, Outcome> {
  readonly name: string;
  /** What two requests of one statement may not have in common. */
  readonly keyOf: (request: Request) => string;
  readonly bytesOf: (request: Request) => number;
  readonly one: (request: Request) => Promise<Outcome>;
  /** Does several in one statement. Tells of each as soon as it is decided; fails where that leaves some undecided. */
  readonly many: (requests: readonly Request[], tell: (request: Request, outcome: Outcome) => void) => Promise<void>;
  /** Whether an outcome is everybody's who asked with that key before it was looked at. */
  readonly isShared: (outcome: Outcome) => boolean;
}

/** What a process has under way of an operation, at most. */
export interface CoalescerLimits {
  /** Statements in flight. */
  readonly statements: number;
  /** Further statements, in the place of single ones that wait for a lock. */
  readonly spare: number;
  /** For how long a call waits for its place, in milliseconds. */
  readonly patienceMs: number;
}

/** Beyond that a statement gains nothing: its rows cost what they cost. */
const MOST_ROWS = 128;
const MOST_BYTES = 4 * 1024 * 1024;
/** Longer than callers have patience for, at any rate at which there is a point in waiting. */
const MOST_WAITING = 10_000;
const MOST_WAITING_BYTES = 128 * 1024 * 1024;
/** A single statement that takes longer waits for somebody else, and leaves its place to another. */
const STUCK_AFTER_MS = 25;

interface Call<Request, Outcome> {
  readonly request: Request;
  readonly key: string;
  readonly bytes: number;
  /** Whose trace it belongs to. */
  readonly context: Context;
  readonly since: number;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
  /** Was refused together with others: goes by itself. */
  alone: boolean;
  /** Others with its key, who came before it was sent. */
  company: Call<Request, Outcome>[];
}

/**
 * Has calls that would wait anyway travel together. A call goes at once, alone, while fewer statements than the limit are
 * in flight; else it waits for the next one to end and goes in one statement with all that wait by then. Nobody waits for
 * company, so no timer is involved: the statement is sent at the end of the turn of the event loop in which another has
 * ended, when the callers that it has answered have come back.
 *
 * Whatever it travels with, a call is answered as if it had gone alone: where a statement is refused each of its calls goes
 * by itself. Where its connection breaks nobody knows whether it was written, and all of its callers are told so.
 *
 * A call whose key is under way is not sent: one statement may not write a key twice, and a key that somebody else holds
 * would else hold up one statement after the other. It waits for the one that is under way, with all others of that key.
 *
 * The idea is that of group commit (D. DeWitt et al., "Implementation Techniques for Main Memory Database Systems", 1984), one
 * layer up: what a statement costs beside its rows is paid once.
 */
export class Coalescer<Request, Outcome> {
  readonly #calls: Calls<Request, Outcome>;
  readonly #limits: CoalescerLimits;
  /** Who goes next. */
  #queue: Call<Request, Outcome>[] = [];
  /** Who waits behind whose key is under way. */
  readonly #behind = new Map<string, Call<Request, Outcome>[]>();
  readonly #singles = new Set<{ since: number }>();
  #inFlight = 0;
  #lent = 0;
  #waiting = 0;
  #waitingBytes = 0;
  #isDispatching = false;
  #watching: NodeJS.Timeout | undefined;

  constructor(calls: Calls<Request, Outcome>, limits: CoalescerLimits) {
    this.#calls = calls;
    this.#limits = limits;
  }

  /** @throws OverloadedError too many wait already, or there was no place for too long; what the operation throws */
  call(request: Request): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const bytes = this.#calls.bytesOf(request);
      if (this.#waiting >= MOST_WAITING || this.#waitingBytes + bytes > MOST_WAITING_BYTES) {
        reject(new OverloadedError());
        return;
      }
      const key = this.#calls.keyOf(request);
      const since = performance.now();
      const call = {
        request,
        key,
        bytes,
        context: orNothing(() => context.active()) ?? ROOT_CONTEXT,
        since,
        resolve,
        reject,
        alone: false,
        company: [],
      };
      this.#waiting++;
      this.#waitingBytes += bytes;
      const behind = this.#behind.get(key);
      if (behind) {
        behind.push(call);
        return;
      }
      this.#behind.set(key, []);
      if (this.#inFlight < this.#limits.statements && this.#queue.length === 0) void this.#send([call]);
      else this.#wait(call);
    });
  }

  /** At the end of the turn: until then those come back who have just been answered. */
  #dispatch(): void {
    if (this.#isDispatching || this.#queue.length === 0 || this.#inFlight >= this.#limits.statements) return;
    this.#isDispatching = true;
    setImmediate(() => {
      this.#isDispatching = false;
      while (this.#inFlight < this.#limits.statements && this.#queue.length > 0) void this.#send(this.#next());
    });
  }

  /** The first that waits, and those behind it as far as one statement goes. */
  #next(): Call<Request, Outcome>[] {
    let bytes = 0;
    const end = this.#queue.findIndex((call, index) => {
      bytes += call.bytes;
      return index > 0 && (index === MOST_ROWS || bytes > MOST_BYTES || call.alone || this.#queue[0]!.alone);
    });
    return this.#queue.splice(0, end === -1 ? this.#queue.length : end);
  }

  async #send(calls: Call<Request, Outcome>[]): Promise<void> {
    this.#inFlight++;
    for (const call of calls) call.company = this.#behind.get(call.key)!.splice(0);
    this.#observe(calls);
    const [only] = calls;
    if (calls.length === 1) await this.#sendOne(only!);
    else await this.#sendMany(calls);
    this.#dispatch();
  }

  async #sendOne(call: Call<Request, Outcome>): Promise<void> {
    const single = { since: performance.now() };
    this.#singles.add(single);
    try {
      this.#answer(call, await inContext(call.context, () => this.#calls.one(call.request)));
    } catch (error) {
      this.#refuse(call, error);
    } finally {
      if (this.#singles.delete(single)) this.#inFlight--;
      else this.#lent--;
    }
  }

  async #sendMany(calls: readonly Call<Request, Outcome>[]): Promise<void> {
    const undecided = new Map(calls.map((call) => [call.request, call]));
    const tell = (request: Request, outcome: Outcome) => {
      const call = undecided.get(request);
      if (undecided.delete(request)) this.#answer(call!, outcome);
    };
    const send = () => this.#calls.many([...undecided.keys()], tell);
    try {
      // Of no caller's trace: of each.
      await inContext(ROOT_CONTEXT, () => traced(`${this.#calls.name} together`, () => spanOf(calls), send));
    } catch (error) {
      if (mayBeOneRequests(error)) this.#separate([...undecided.values()]);
      else for (const call of undecided.values()) this.#refuse(call, error);
    } finally {
      this.#inFlight--;
    }
  }

  /** One of them was refused, or met a lock, and all with it. They go first, each by itself. */
  #separate(calls: readonly Call<Request, Outcome>[]): void {
    for (const call of calls) {
      call.alone = true;
      this.#behind.get(call.key)!.unshift(...call.company.splice(0));
    }
    this.#queue.unshift(...calls);
    this.#watch();
  }

  #answer(call: Call<Request, Outcome>, outcome: Outcome): void {
    const shared = this.#calls.isShared(outcome) ? call.company : [];
    for (const each of [call, ...shared]) {
      this.#leave(each);
      each.resolve(outcome);
    }
    this.#pass(call, shared.length > 0 ? [] : call.company);
  }

  #refuse(call: Call<Request, Outcome>, error: unknown): void {
    // What has befallen the database has befallen them as well. What is wrong with a request is its own.
    const shared = error instanceof PaymentEventsDbError && error.retryable ? call.company : [];
    for (const each of [call, ...shared]) {
      this.#leave(each);
      each.reject(error);
    }
    this.#pass(call, shared.length > 0 ? [] : call.company);
  }

  /** The key is the next one's that waits for it. */
  #pass({ key }: Call<Request, Outcome>, company: readonly Call<Request, Outcome>[]): void {
    const behind = this.#behind.get(key)!;
    behind.unshift(...company);
    const next = behind.shift();
    if (!next) this.#behind.delete(key);
    else this.#wait(next);
  }

  #wait(call: Call<Request, Outcome>): void {
    this.#queue.push(call);
    this.#watch();
    // The statement that it waited for may go on for others, and places be free.
    this.#dispatch();
  }

  #leave({ bytes }: Call<Request, Outcome>): void {
    this.#waiting--;
    this.#waitingBytes -= bytes;
  }

  /**
   * While somebody waits for a place: places are taken from single statements that do nothing but wait, and who has had to
   * wait for too long is told. Nothing of it was written, also where it was sent with others and they were refused.
   */
  #watch(): void {
    this.#watching ??= setInterval(() => {
      const now = performance.now();
      for (const single of this.#singles) {
        if (this.#queue.length === 0 || this.#lent >= this.#limits.spare) break;
        if (now - single.since < STUCK_AFTER_MS) continue;
        this.#singles.delete(single);
        this.#inFlight--;
        this.#lent++;
        this.#dispatch();
      }
      const isLate = ({ since }: Call<Request, Outcome>) => now - since > this.#limits.patienceMs;
      const late = this.#queue.filter(isLate);
      if (late.length > 0) this.#queue = this.#queue.filter((call) => !isLate(call));
      for (const call of late) this.#refuse(call, new OverloadedError());
      if (this.#queue.length > 0) return;
      clearInterval(this.#watching);
      this.#watching = undefined;
    }, STUCK_AFTER_MS / 2).unref();
  }

  #observe(calls: readonly Call<Request, Outcome>[]): void {
    orNothing(() => {
      const attributes = { 'payment_events_db.operation': this.#calls.name };
      const meter = ourMeter();
      meter.createHistogram(`${METRICS}.batch_size`, { unit: '{request}' }).record(calls.length, attributes);
      const longest = (performance.now() - calls[0]!.since) / 1_000;
      meter.createHistogram(`${METRICS}.wait`, { unit: 's' }).record(longest, attributes);
    });
  }
}

const METRICS = 'payment_events_db.coalescer';

const spanOf = (calls: readonly { readonly context: Context }[]): SpanOptions => ({
  kind: SpanKind.CLIENT,
  attributes: { 'db.system.name': 'postgresql', 'db.operation.batch.size': calls.length },
  links: calls.flatMap((call) => {
    const caller = trace.getSpanContext(call.context);
    return caller ? [{ context: caller }] : [];
  }),
});

/**
 * Whether an error says that nothing was written, and may be due to one request among several. A statement that took too
 * long is none: the server has too much to do already.
 */
const mayBeOneRequests = (error: unknown): boolean =>
  error instanceof DatabaseTimeoutError
    ? error.sqlState === '55P03'
    : [ConstraintViolationError, DatabaseError, TransactionConflictError, WrongShardError].some(
        (type) => error instanceof type,
      );
