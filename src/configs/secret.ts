import { inspect } from 'node:util';
import { InvalidCommandError } from '../errors';

const SHOWN = '[secret]';

/**
 * A text that shows itself to nobody who does not ask for it: not in a log, in JSON, in a template, in an error's `cause`,
 * in the message of an assertion or in a structured clone.
 *
 * ```ts
 * const { api_key } = config.secrets;
 * `${api_key}`; // '[secret]'
 * api_key.reveal(); // 'sk_live_…': hand it to the processor's client, and keep it nowhere
 * ```
 */
export class Secret {
  readonly #text: string;

  /** @throws InvalidCommandError where it is no text */
  constructor(text: string) {
    // The type of a caller without types is not to be trusted, nor is its value to be shown.
    if (typeof (text as unknown) !== 'string') throw new InvalidCommandError('Secret', ['it must be text']);
    this.#text = text;
    Object.freeze(this);
  }

  /** The text itself. */
  reveal(): string {
    return this.#text;
  }

  /** Also in a template or a concatenation. */
  toString(): string {
    return SHOWN;
  }

  /** Also inside of what else is written as JSON. */
  toJSON(): string {
    return SHOWN;
  }
}

// Of console.log and the like.
Object.defineProperty(Secret.prototype, inspect.custom, { value: () => SHOWN });
