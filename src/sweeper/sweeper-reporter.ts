import { type GivenUpRequest, type GivenUpVoid, type SweepResult } from './sweep-result';
import { countGivenUp, countSweep } from './telemetry';

/** Called by a sweeper. What a hook throws, or rejects with later, is swallowed: it must not stop the sweeper. */
export interface SweeperHooks {
  /** A turn is over. */
  swept?(result: SweepResult): void;
  /** Told once: a hold is `void_failed`, or a request gets no further message. Tell somebody. */
  gaveUp?(what: GivenUpVoid | GivenUpRequest): void;
  /** Another sweeper is at work; said once, however long it lasts. */
  waiting?(): void;
  /** The database cannot be reached, or refuses something; said once, however long it lasts. */
  unavailable?(error: unknown): void;
  /** It is back. */
  recovered?(): void;
}

/** Tells hooks and metrics what a sweeper does. */
export class SweeperReporter {
  readonly #hooks: SweeperHooks;
  #unavailable = false;
  #waiting = false;
  /** The requests of the last list, by id: they have been told. */
  #told = new Set<string>();

  constructor(hooks: SweeperHooks) {
    this.#hooks = hooks;
  }

  turn(result: SweepResult): void {
    countSweep(result);
    this.#tell(() => this.#hooks.swept?.(result));
    for (const given of [...(result.voiding?.givenUp ?? []), ...this.#untold(result)]) {
      countGivenUp(given);
      this.#tell(() => this.#hooks.gaveUp?.(given));
    }
  }

  waiting(): void {
    if (!this.#waiting) this.#tell(() => this.#hooks.waiting?.());
    this.#waiting = true;
  }

  working(): void {
    this.#waiting = false;
  }

  unavailable(error: unknown): void {
    if (!this.#unavailable) this.#tell(() => this.#hooks.unavailable?.(error));
    this.#unavailable = true;
  }

  recovered(): void {
    if (this.#unavailable) this.#tell(() => this.#hooks.recovered?.());
    this.#unavailable = false;
  }

  #untold({ listing }: SweepResult): readonly GivenUpRequest[] {
    if (!listing) return [];
    const untold = listing.requests.filter(({ authRequestId }) => !this.#told.has(authRequestId));
    this.#told = new Set(listing.requests.map(({ authRequestId }) => authRequestId));
    return untold;
  }

  /** Nobody waits for a hook that is asynchronous. */
  #tell(hook: () => unknown): void {
    new Promise((resolve) => resolve(hook())).catch(() => undefined);
  }
}
