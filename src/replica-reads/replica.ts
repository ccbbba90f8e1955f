import { setTimeout as sleep } from 'node:timers/promises';
import { type DataSource } from 'typeorm';
import { inTime } from '../database/in-time';
import { type Session, sessionOf } from '../database/session';
import { DatabaseUnavailableError, TransactionConflictError } from '../errors';

/** For how long a replica that is of no use is left alone: reads go to the primary at once. */
const REST_MS = 1_000;

/** What one look at a replica has come to. */
export interface Look<T> {
  /** The server follows a primary. */
  readonly follows: boolean;
  /** Undefined where it is not there yet. */
  readonly found: T | undefined;
}

/**
 * Why the primary has to answer: what was asked for is not there (`behind`); the server follows no primary (`promoted`);
 * it did not answer in time, or not a moment ago, or with an error (`away`); nobody is to ask it any more (`closed`).
 */
export type Reason = 'behind' | 'promoted' | 'away' | 'closed';

/** What asking a replica has come to. */
export type Answer<T> =
  | { readonly found: T; readonly reason?: undefined; readonly error?: undefined }
  | { readonly found?: undefined; readonly reason: Reason; readonly error?: unknown };

/** A server that may be behind, away or no replica any more. */
export class Replica {
  readonly #dataSource: DataSource;
  readonly #pollMs: number;
  readonly #withinMs: number;
  #opening: Promise<unknown> | undefined;
  #restsUntil = -Infinity;
  #isClosed = false;

  constructor(dataSource: DataSource, { pollMs, withinMs }: { readonly pollMs: number; readonly withinMs: number }) {
    this.#dataSource = dataSource;
    this.#pollMs = pollMs;
    this.#withinMs = withinMs;
  }

  /**
   * Looks until something is found or the time is up. Never throws.
   *
   * @param mayCome what is not there yet is worth another look
   */
  async ask<T>(look: (session: Session) => Promise<Look<T>>, mayCome: boolean): Promise<Answer<T>> {
    if (performance.now() < this.#restsUntil) return { reason: 'away' };
    const deadline = performance.now() + this.#withinMs;
    for (let pause = this.#pollMs; ; pause *= 2) {
      // Also where it is closed during the pause: a look would open it again, for nobody to close.
      if (this.#isClosed) return { reason: 'closed' };
      try {
        const { follows, found } = await inTime(this.#look(look), deadline - performance.now(), giveUp);
        if (!follows) return this.#rest({ reason: 'promoted' });
        if (found !== undefined) return { found };
      } catch (error) {
        // One statement that stood in the way of what the server replays: the next one need not.
        if (error instanceof TransactionConflictError) return { reason: 'away', error };
        return this.#rest({ reason: 'away', error });
      }
      if (!mayCome || performance.now() + pause >= deadline) return { reason: 'behind' };
      await sleep(pause);
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#opening?.catch(() => undefined);
    if (this.#dataSource.isInitialized) await this.#dataSource.destroy();
  }

  async #look<T>(look: (session: Session) => Promise<Look<T>>): Promise<Look<T>> {
    // Many reads at once open it once; a failure is not kept.
    if (!this.#dataSource.isInitialized) {
      await (this.#opening ??= this.#dataSource.initialize().finally(() => (this.#opening = undefined)));
    }
    return await look(sessionOf(this.#dataSource));
  }

  #rest<R>(answer: R): R {
    this.#restsUntil = performance.now() + REST_MS;
    return answer;
  }
}

/** @throws DatabaseUnavailableError */
function giveUp(): never {
  throw new DatabaseUnavailableError('ETIMEDOUT');
}
