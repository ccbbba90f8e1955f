import { type RelayMessage } from './publisher';
import { type TurnResult } from './relay-turn';
import { countMessages } from './telemetry';

/** Called by a relay. What a hook throws, or rejects with later, is swallowed: it must not stop deliveries. */
export interface RelayHooks {
  /** A message went out. */
  published?(message: RelayMessage): void;
  /** A message was refused and will be tried again. */
  refused?(message: RelayMessage, reason: string): void;
  /** A message is a dead letter now. Tell somebody. */
  failed?(message: RelayMessage, reason: string): void;
  /** Database or broker cannot be reached; said once, however long it lasts. */
  unavailable?(error: unknown): void;
  /** They are back. */
  recovered?(): void;
}

/** Tells hooks and metrics what a relay does. */
export class Reporter {
  readonly #hooks: RelayHooks;
  #unavailable: unknown;

  constructor(hooks: RelayHooks) {
    this.#hooks = hooks;
  }

  turn(results: readonly TurnResult[]): void {
    countMessages(results);
    for (const { message, outcome, failed } of results) {
      if (outcome.published) this.#tell(() => this.#hooks.published?.(message));
      else if (failed) this.#tell(() => this.#hooks.failed?.(message, outcome.reason));
      else this.#tell(() => this.#hooks.refused?.(message, outcome.reason));
    }
  }

  unavailable(error: unknown): void {
    if (this.#unavailable === undefined) this.#tell(() => this.#hooks.unavailable?.(error));
    this.#unavailable = error;
  }

  recovered(): void {
    if (this.#unavailable === undefined) return;
    this.#unavailable = undefined;
    this.#tell(() => this.#hooks.recovered?.());
  }

  /** See RelayHooks. Nobody waits for a hook that is asynchronous. */
  #tell(hook: () => unknown): void {
    new Promise((resolve) => resolve(hook())).catch(() => undefined);
  }
}
