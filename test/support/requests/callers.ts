import { setTimeout as delay } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { PaymentEventsDbError } from '../../../src/errors';
import { type Query } from '../migrations/half-done';
import { anAuthorizeCommand } from './auth-requests';

/**
 * Callers of `authorize`, so many at once that their calls travel together: one request after the other, each asked for
 * until it is confirmed, as real ones do. Anything that is not retryable ends them and fails `stop`.
 */
export class Callers {
  /** What they were told of: request by key. */
  readonly confirmed = new Map<string, string>();
  readonly failures: PaymentEventsDbError[] = [];
  readonly #requests: AuthRequests;
  readonly #confirm: (key: string, authRequestId: string) => void;
  readonly #callers: Promise<void>[];
  #stopping = false;

  constructor(
    dataSource: DataSource,
    count: number,
    confirm: (key: string, authRequestId: string) => void = () => undefined,
  ) {
    this.#requests = new AuthRequests(dataSource);
    this.#confirm = confirm;
    this.#callers = Array.from({ length: count }, () => this.#call());
    for (const caller of this.#callers) caller.catch(() => (this.#stopping = true));
  }

  /** Waits until so many more requests have been confirmed. */
  async progress(requests: number): Promise<void> {
    const goal = this.confirmed.size + requests;
    while (this.confirmed.size < goal && !this.#stopping) await delay(5);
  }

  /** Ends after the current calls. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#callers);
  }

  /** Expects each confirmed request to be the one of its key. */
  async expectKept(query: Query): Promise<void> {
    await expectKept(query, this.confirmed);
  }

  async #call(): Promise<void> {
    while (!this.#stopping) {
      const command = anAuthorizeCommand();
      try {
        const { authRequestId } = await this.#askUntilTold(command);
        this.confirmed.set(command.idempotencyKey, authRequestId);
        this.#confirm(command.idempotencyKey, authRequestId);
      } catch (error) {
        if (!(this.#stopping && error instanceof PaymentEventsDbError && error.retryable)) throw error;
      }
    }
  }

  async #askUntilTold(command: ReturnType<typeof anAuthorizeCommand>) {
    for (;;) {
      try {
        return await this.#requests.authorize(command);
      } catch (error) {
        if (!(error instanceof PaymentEventsDbError && error.retryable)) throw error;
        this.failures.push(error);
        if (this.#stopping) throw error;
        await delay(100);
      }
    }
  }
}

/** Expects that each key stands for the request that its caller was told of. */
export async function expectKept(query: Query, confirmed: ReadonlyMap<string, string>): Promise<void> {
  const kept = await query<{ key: string; id: string }>(
    `SELECT idempotency_key AS key, auth_request_id AS id FROM auth_idempotency_keys WHERE idempotency_key = ANY ($1)`,
    [[...confirmed.keys()]],
  );
  const ids = new Map(kept.map(({ key, id }) => [key, id]));
  expect([...confirmed].filter(([key, id]) => ids.get(key) !== id)).toEqual([]);
}
