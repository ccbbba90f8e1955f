import { PaymentEventsDbError } from '../errors';
import { type Publisher, type PublishOutcome, type RelayMessage } from './publisher';

/** One publisher for everything, or one for each message type. */
export type Publishers = Publisher | Readonly<Record<string, Publisher>>;

/** The broker cannot be reached, or did not answer in time. Nothing is counted against the messages. */
export class BrokerUnavailableError extends PaymentEventsDbError {
  readonly code = 'BROKER_UNAVAILABLE';
  override readonly retryable = true;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
  }
}

/** A publisher gave no answer for a batch. */
export class NoAnswer extends Error {
  constructor(
    readonly error: BrokerUnavailableError,
    /**
     * Who may be at fault: the broker, where the publisher says so by a BrokerUnavailableError; else a message as well,
     * over which it threw or hung.
     */
    readonly because: 'unavailable' | 'threw' | 'timeout',
  ) {
    super(error.message);
  }
}

/**
 * Hands messages to a publisher and waits for its answer, at most `timeoutMs`. What it answers later is not heard.
 *
 * @returns the outcome of each message, in their order; of one of which nothing sensible is said, a refusal
 * @throws NoAnswer and nothing else
 */
export async function ask(
  publisher: Publisher,
  messages: readonly RelayMessage[],
  timeoutMs: number,
): Promise<PublishOutcome[]> {
  // Not AbortSignal.timeout: it would keep the messages of every turn in memory for as long as the time-out lasts.
  const timeUp = new AbortController();
  const timer = setTimeout(() => timeUp.abort(), timeoutMs);
  try {
    // A list of its own: what the publisher does to it must not change which message an answer is for.
    const answers: unknown = await Promise.race([publisher.publish([...messages], timeUp.signal), end(timeUp.signal)]);
    const outcomes = toOutcomes(answers, messages.length);
    if (outcomes.every(isBrokerFault)) throw new BrokerUnavailableError(outcomes[0]!.reason);
    return outcomes;
  } catch (error) {
    // Told to give up, a publisher says so in its own way, and perhaps before the race is over.
    if (timeUp.signal.aborted) {
      const text = `The publisher did not answer within ${timeoutMs} ms.`;
      throw new NoAnswer(new BrokerUnavailableError(text), 'timeout');
    }
    if (error instanceof BrokerUnavailableError) throw new NoAnswer(error, 'unavailable');
    const text = error instanceof WrongCountError ? error.message : 'The publisher cannot reach its broker.';
    throw new NoAnswer(new BrokerUnavailableError(text, { cause: withoutTexts(error) }), 'threw');
  } finally {
    clearTimeout(timer);
  }
}

const end = (signal: AbortSignal) =>
  new Promise<never>((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });

/** Whether it says nothing about the message itself. */
export const isBrokerFault = (outcome: PublishOutcome): outcome is PublishOutcome & { published: false } =>
  !outcome.published && outcome.brokerFault === true;

class WrongCountError extends Error {}

/**
 * Of a wrong number of answers nobody can tell which message each is for: the relay asks again, about fewer messages. About
 * one, it is a refusal.
 */
function toOutcomes(answers: unknown, count: number): PublishOutcome[] {
  if (Array.isArray(answers) && answers.length === count) return Array.from(answers, toOutcome);
  if (count === 1) return [NOT_SAID];
  const given = Array.isArray(answers) ? answers.length : 'no';
  throw new WrongCountError(`The publisher gave ${given} answers for ${count} messages.`);
}

/** Publishers need not be written in TypeScript. */
function toOutcome(answer: unknown): PublishOutcome {
  const { published, reason, permanent, brokerFault } = (answer ?? {}) as Record<string, unknown>;
  if (published === true) return { published };
  if (published !== false) return NOT_SAID;
  const text = typeof reason === 'string' && reason !== '' ? reason : 'The publisher refused it and gave no reason.';
  return { published, reason: text, permanent: permanent === true, brokerFault: brokerFault === true };
}

const NOT_SAID: PublishOutcome = { published: false, reason: 'The publisher did not say whether it was published.' };

const MAX_CAUSES = 5;

/** What somebody's error is called, and what caused it: its texts may quote an address with a password in it. */
function withoutTexts(error: unknown, depth = 0): Error | undefined {
  if (!(error instanceof Error) || depth > MAX_CAUSES) return undefined;
  const { name, code, cause } = error as Error & { code?: unknown };
  const bareCause = withoutTexts(cause, depth + 1);
  const bare = new Error('', bareCause && { cause: bareCause });
  // What is printed of an error is its stack, which begins with its text.
  bare.stack = bare.name = String(name);
  return Object.assign(bare, typeof code === 'string' && { code });
}

/** Whether one publisher takes everything. */
export const isOne = (publishers: Publishers): publishers is Publisher => typeof publishers.publish === 'function';
