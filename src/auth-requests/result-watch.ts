import { type DataSource } from 'typeorm';
import { arrayOf, boolean, uuid } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session, sessionOf } from '../database/session';
import { AuthRequestNotFoundError, DatabaseUnavailableError, PaymentEventsDbError } from '../errors';
import { reconnectDelayMs } from '../outbox/background';
import { COLUMNS, type Row } from './auth-request';
import { type RequestRef } from './queries';
import { isSettled, SQL } from './statuses';

/** Pauses between two turns: short where the turn before has found a result, twice as long each time that it has not. */
const SHORTEST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 100;
/** A turn that took long is followed by a pause of so many times that, but of no more than {@link LONGEST_REST_MS}. */
const PAUSES_A_TURN = 10;
const LONGEST_REST_MS = 1_000;
/** For how long after its time is up a waiter waits for the last look. */
const LAST_LOOK_MS = 1_000;
/** Ids a statement, which takes the server a millisecond or two. */
const MOST_IDS = 1_000;

/**
 * Of open requests nothing is sent unless it is asked for: most turns find few results among many requests. The restaurant
 * is compared with that of each who waits: two may name one request, and one of them may have no right to it. In the
 * statement, as a second list to join with, that took twice as long.
 */
const LOOK = operation({
  name: 'look_for_results',
  input: { auth_request_ids: arrayOf(uuid), even_open: boolean },
  output: rowsOf<Row>(),
  // One connection that the network swallows would keep everybody waiting.
  answerWithinMs: 5_000,
  sql: `
    SELECT ${COLUMNS} FROM auth_request_state CROSS JOIN input
    WHERE auth_request_id = ANY (auth_request_ids) AND (even_open OR status NOT IN (${SQL.open}))`,
});

/** Somebody who waits for the result of one request. */
interface Waiter {
  readonly restaurantId: string;
  /** The first look that counts. One sent before it came may show less than what its caller has done by then. */
  from: number;
  /** Its time is up: the next look ends it, whatever it finds. */
  isLast: boolean;
  readonly resolve: (row: Row) => void;
  readonly reject: (error: Error) => void;
}

/**
 * Looks for the results that a process waits for, those of all who wait in one statement a turn, and one statement at a
 * time. Between turns it looks at once at requests that are due: somebody has begun to wait for them, does not want
 * to wait longer, or their result was recorded by this process. Nobody is told what has not been read.
 */
export class ResultWatch {
  readonly #session: Session;
  readonly #waiters = new Map<string, Set<Waiter>>();
  readonly #due = new Set<string>();
  #looks = 0;
  /** What the last look failed with, if it did. */
  #failure: Error | undefined;
  #isRunning = false;
  #wake = () => undefined as void;

  constructor(session: Session) {
    this.#session = session;
  }

  /**
   * @param ref in lower case
   * @returns the row with a result, or as it is when the time is up
   */
  wait(
    { authRequestId, restaurantId }: RequestRef,
    { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
  ): Promise<Row> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        forgetSignal?.();
        this.#remove(authRequestId, waiter);
      };
      const waiter: Waiter = {
        restaurantId,
        from: this.#looks + 1,
        isLast: timeoutMs === 0,
        resolve: (row) => (leave(), resolve(row)),
        reject: (error) => (leave(), reject(error)),
      };
      const timeUp = () => {
        if (this.#failure !== undefined) return waiter.reject(this.#failure);
        timer = setTimeout(
          () => waiter.reject(this.#failure ?? new DatabaseUnavailableError('ETIMEDOUT')),
          LAST_LOOK_MS,
        );
        if (waiter.isLast) return;
        waiter.isLast = true;
        waiter.from = this.#looks + 1;
        this.lookAt([authRequestId]);
      };
      let timer = setTimeout(timeUp, timeoutMs);
      const forgetSignal = signal && onAbort(signal, () => waiter.reject(signal.reason as Error));
      this.#waiters.set(authRequestId, (this.#waiters.get(authRequestId) ?? new Set()).add(waiter));
      this.lookAt([authRequestId]);
      if (!this.#isRunning) void this.#run();
    });
  }

  /** Has these looked at at once, as far as somebody waits for them. */
  lookAt(authRequestIds: readonly string[]): void {
    for (const id of authRequestIds) if (this.#waiters.has(id)) this.#due.add(id);
    if (this.#due.size > 0) this.#wake();
  }

  #remove(authRequestId: string, waiter: Waiter): void {
    const others = this.#waiters.get(authRequestId);
    others?.delete(waiter);
    if (others?.size !== 0) return;
    this.#waiters.delete(authRequestId);
    this.#due.delete(authRequestId);
    if (this.#waiters.size === 0) this.#wake();
  }

  /** As long as anybody waits. Never throws. */
  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#failure = undefined;
    let pause = SHORTEST_PAUSE_MS;
    let failures = 0;
    let nextTurn = performance.now() + pause;
    while (this.#waiters.size > 0) {
      try {
        await this.#lookAtDue();
        const began = performance.now();
        if (began >= nextTurn) {
          const found = await this.#look([...this.#waiters.keys()], false);
          pause = found ? SHORTEST_PAUSE_MS : Math.min(LONGEST_PAUSE_MS, 2 * pause);
          const ended = performance.now();
          nextTurn = ended + Math.min(LONGEST_REST_MS, Math.max(pause, PAUSES_A_TURN * (ended - began)));
        }
        failures = 0;
        this.#failure = undefined;
      } catch (error) {
        this.#fail(error as Error);
        nextTurn = performance.now() + reconnectDelayMs(++failures, LONGEST_REST_MS);
      }
      // While the database is away nothing makes it look earlier.
      while (this.#waiters.size > 0 && (this.#due.size === 0 || failures > 0) && performance.now() < nextTurn) {
        await this.#rest(nextTurn - performance.now());
      }
    }
    this.#isRunning = false;
  }

  async #lookAtDue(): Promise<void> {
    const due = [...this.#due];
    this.#due.clear();
    try {
      await this.#look(due, true);
    } catch (error) {
      this.lookAt(due);
      throw error;
    }
  }

  /** @returns whether there was a result */
  async #look(authRequestIds: string[], even_open: boolean): Promise<boolean> {
    let found = false;
    for (let first = 0; first < authRequestIds.length; first += MOST_IDS) {
      const ids = authRequestIds.slice(first, first + MOST_IDS);
      const look = ++this.#looks;
      const rows = await this.#session.rows(LOOK, { auth_request_ids: ids, even_open });
      const byId = new Map(rows.map((row) => [row.auth_request_id, row]));
      for (const id of even_open ? ids : byId.keys()) this.#tell(id, byId.get(id), look);
      found ||= rows.some(({ status }) => isSettled(status));
    }
    return found;
  }

  #tell(authRequestId: string, row: Row | undefined, look: number): void {
    for (const waiter of this.#waiters.get(authRequestId) ?? []) {
      if (look < waiter.from) continue;
      if (row?.restaurant_id !== waiter.restaurantId) waiter.reject(new AuthRequestNotFoundError(authRequestId));
      else if (waiter.isLast || isSettled(row.status)) waiter.resolve(row);
    }
  }

  /** What may pass is tried again for those who have time. */
  #fail(error: Error): void {
    const passes = error instanceof PaymentEventsDbError && error.retryable;
    this.#failure = passes ? error : undefined;
    for (const waiters of this.#waiters.values()) {
      for (const waiter of waiters) if (!passes || waiter.isLast) waiter.reject(error);
    }
  }

  async #rest(milliseconds: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => (clearTimeout(timer), resolve());
    });
  }
}

/** One for all who use a DataSource, however many instances of `AuthRequests` they have. */
const watches = new WeakMap<DataSource, ResultWatch>();

export function watchOf(dataSource: DataSource): ResultWatch {
  const watch = watches.get(dataSource) ?? new ResultWatch(sessionOf(dataSource));
  watches.set(dataSource, watch);
  return watch;
}

/** Has those who wait for these requests look at once: this process has committed what may be their result. */
export function tellRecorded(dataSource: DataSource, authRequestIds: readonly string[]): void {
  watches.get(dataSource)?.lookAt(authRequestIds.map((id) => String(id).toLowerCase()));
}

const callbacks = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back when a signal aborts, by one listener a signal: Node warns of a leak where a signal has more than ten, and
 * that of a server's shutdown is given to everyone who waits.
 *
 * @returns to be called when it does not matter any more
 */
function onAbort(signal: AbortSignal, callback: () => void): () => void {
  const all = callbacks.get(signal) ?? new Set();
  if (!callbacks.has(signal)) {
    callbacks.set(signal, all);
    signal.addEventListener('abort', () => all.forEach((call) => call()), { once: true });
  }
  all.add(callback);
  return () => all.delete(callback);
}
