import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';
import { type SeenRequest } from '../../../src/replica-reads/seen-request';
import { anAuthorization, anAuthorizeCommand } from './auth-requests';

const FAILURE = { errorCode: 'T', errorMessage: '', retryable: true, outcome: 'not_asked' } as const;

/**
 * A restaurant whose requests live one after the other: each is accepted, tried twice in vain, authorized and voided. What every step
 * has come to is known, so that any answer about them can be compared.
 */
export class LifeOfRequests {
  readonly restaurantId = uuidv4();
  /** How far each request has been seen, by its id; the newest is the last. */
  readonly seen = new Map<string, number>();
  readonly #statuses = new Map<string, string>();
  readonly #requests: AuthRequests;
  readonly #locks: ProcessingLocks;
  #steps: AsyncGenerator<SeenRequest, never> | undefined;

  constructor(dataSource: DataSource) {
    this.#requests = new AuthRequests(dataSource);
    this.#locks = new ProcessingLocks(dataSource);
  }

  /** Takes the next step. Where that fails, the next one begins another request: nobody knows how far this one has come. */
  async step(): Promise<SeenRequest> {
    this.#steps ??= this.#live();
    try {
      return (await this.#steps.next()).value;
    } catch (error) {
      this.#steps = undefined;
      throw error;
    }
  }

  /** The status that it had after an event, where that was told. */
  statusAt({ authRequestId, lastEventSequence }: SeenRequest): string | undefined {
    return this.#statuses.get(`${authRequestId} ${lastEventSequence}`);
  }

  async *#live(): AsyncGenerator<SeenRequest, never> {
    const { restaurantId } = this;
    for (;;) {
      const { authRequestId, ...accepted } = await this.#requests.authorize(anAuthorizeCommand({ restaurantId }));
      const done = (told: { status: string | null; lastEventSequence: number }): SeenRequest => {
        const { lastEventSequence } = told;
        this.seen.set(authRequestId, lastEventSequence);
        this.#statuses.set(`${authRequestId} ${lastEventSequence}`, told.status!);
        return { authRequestId, lastEventSequence };
      };
      const attempt = async (lease: Lease) => {
        const begun = await this.#requests.startAttempt(lease, { configVersion: 'v1' });
        return done({ status: begun.status, lastEventSequence: 'attempt' in begun ? begun.attempt : NaN });
      };
      yield done(accepted);
      const lease = (await this.#locks.acquire({ restaurantId, authRequestId, workerId: 'w', ttlMs: 3_600_000 }))!;
      for (let failure = 0; failure < 2; failure++) {
        yield await attempt(lease);
        yield done(await this.#requests.recordFailure(lease, FAILURE));
      }
      yield await attempt(lease);
      yield done(await this.#requests.recordAuthorized(lease, anAuthorization()));
      const voiding = { restaurantId, authRequestId, idempotencyKey: uuidv4(), reason: 'left' };
      yield done(await this.#requests.requestVoid(voiding));
    }
  }
}
