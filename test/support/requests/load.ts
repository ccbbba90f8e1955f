import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { PaymentEventsDbError } from '../../../src/errors';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from './auth-requests';
import { type Query } from '../migrations/half-done';

/** A request as its client saw it. */
class Life {
  readonly command = anAuthorizeCommand();
  /** Which streams of events would be right: a pattern over {@link LETTERS}, `S?` being a start that was not confirmed. */
  expected = '';
}

const LETTERS = { AuthRequestCreated: 'C', AuthAttemptStarted: 'S', AuthResponseReceived: 'R', AuthVoidRequested: 'V' };
type Step = keyof typeof LETTERS;

/**
 * Clients that take requests through their lives, many at once, and ask again after a retryable error, as real ones do.
 * They write down what was confirmed to them.
 */
export class Load {
  /** What they were told when something went wrong. Anything that is not retryable ends the load and fails `stop`. */
  readonly failures: PaymentEventsDbError[] = [];
  confirmed = 0;
  readonly #lives: Life[] = [];
  readonly #requests: AuthRequests;
  readonly #locks: ProcessingLocks;
  readonly #clients: Promise<void>[];
  #stopping = false;
  /** Why it ended before it was stopped. */
  #end: { error: unknown } | undefined;

  /** Before there are holds a request is accepted and begun, as an earlier version does it, and not answered. */
  readonly #answers: boolean;

  constructor(dataSource: DataSource, clients: number, { answers = true } = {}) {
    this.#answers = answers;
    this.#requests = new AuthRequests(dataSource);
    this.#locks = new ProcessingLocks(dataSource);
    this.#clients = Array.from({ length: clients }, async () => {
      while (!this.#stopping) await this.#live();
    });
    for (const client of this.#clients) {
      client.catch((error: unknown) => {
        this.#stopping = true;
        this.#end ??= { error };
      });
    }
  }

  /** Waits until so many more operations have been confirmed. */
  async progress(operations: number): Promise<void> {
    const goal = this.confirmed + operations;
    await this.#until(() => this.confirmed >= goal);
  }

  /** Waits until more than so many failures have been told. */
  async failing(failures: number): Promise<void> {
    await this.#until(() => this.failures.length > failures);
  }

  /** Ends after the operations in hand, be they confirmed or not. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#clients);
  }

  /** Expects that all that was confirmed is there, and nothing that was never asked for. */
  async expectKept(query: Query): Promise<void> {
    const streams = await query<{ key: string; events: Step[] }>(
      `SELECT min(metadata ->> 'idempotency_key') FILTER (WHERE sequence_number = 1) AS key,
              array_agg(event_type::text ORDER BY sequence_number) AS events
       FROM payment_events GROUP BY aggregate_id`,
    );
    const found = new Map(streams.map(({ key, events }) => [key, events.map((type) => LETTERS[type]).join('')]));
    const wrong = this.#lives
      .map(({ command, expected }) => ({ expected, found: found.get(command.idempotencyKey) ?? '' }))
      .filter((life) => !new RegExp(`^${life.expected}$`).test(life.found));
    expect(wrong).toEqual([]);
  }

  async #until(condition: () => boolean): Promise<void> {
    for (; !condition(); await delay(5)) if (this.#end) throw this.#end.error;
  }

  async #live(): Promise<void> {
    const life = new Life();
    this.#lives.push(life);
    const receipt = await this.#ask(life, 'AuthRequestCreated', () => this.#requests.authorize(life.command));
    if (!receipt) return;
    const { authRequestId } = receipt;
    const ref = { restaurantId: RESTAURANT, authRequestId };
    // Of a lease whose confirmation was lost nobody knows the token: left to expire.
    const lease = await this.#ask(life, undefined, () =>
      this.#locks.acquire({ ...ref, workerId: uuidv4(), ttlMs: 60_000 }),
    );
    if (!lease) return;
    if (
      !(await this.#ask(life, 'AuthAttemptStarted', () => this.#requests.startAttempt(lease, { configVersion: 'v1' })))
    )
      return;
    if (this.#answers) await this.#answer(life, lease);
    await this.#ask(life, undefined, () => this.#locks.release(lease));
  }

  async #answer(life: Life, lease: Lease): Promise<void> {
    const { restaurantId, authRequestId } = lease;
    const authorization = anAuthorization();
    const result = () => this.#requests.recordAuthorized(lease, authorization);
    if (!(await this.#ask(life, 'AuthResponseReceived', result))) return;
    const idempotencyKey = uuidv4();
    const command = { restaurantId, authRequestId, idempotencyKey, reason: 'customer left' };
    const undo = () => this.#requests.requestVoid(command);
    if (Math.random() < 0.5) await this.#ask(life, 'AuthVoidRequested', undo);
  }

  /** Asks until it is confirmed. What is asked again is written down once, but for a start, which is a new attempt. */
  async #ask<T>(life: Life, step: Step | undefined, operation: () => Promise<T>): Promise<T | undefined> {
    const letter = step ? LETTERS[step] : '';
    const before = life.expected;
    for (let unconfirmed = ''; ;) {
      try {
        const result = await operation();
        life.expected = before + (step === 'AuthAttemptStarted' ? unconfirmed : '') + letter;
        this.confirmed++;
        return result;
      } catch (error) {
        if (letter && (step === 'AuthAttemptStarted' || !unconfirmed)) unconfirmed += `${letter}?`;
        life.expected = before + unconfirmed;
        if (!(error instanceof PaymentEventsDbError && error.retryable)) throw error;
        this.failures.push(error);
        if (this.#stopping) return undefined;
        await delay(100);
      }
    }
  }
}
