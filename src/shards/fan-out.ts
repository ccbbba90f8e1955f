import { InvalidCommandError, PaymentEventsDbError } from '../errors';

/** A database that gave no answer, and why. */
export interface Away {
  readonly shard: string;
  readonly error: PaymentEventsDbError;
}

/** What several databases answered, in the order of the map. */
export interface Fanned<T> {
  readonly results: readonly { readonly shard: string; readonly value: T }[];
  /** Those that gave none: what they have is not among the results. Empty: these are all. */
  readonly away: readonly Away[];
}

/**
 * Asks all at once, and waits for every one. What stops one of them stops no other.
 *
 * @throws InvalidCommandError, which all of them say, and what is no error of this package
 */
export async function fanOut<Of extends { readonly name: string }, T>(
  shards: readonly Of[],
  ask: (shard: Of) => Promise<T>,
): Promise<Fanned<T>> {
  const answers = await Promise.allSettled(shards.map(async (shard) => await ask(shard)));
  const results: { shard: string; value: T }[] = [];
  const away: Away[] = [];
  for (const [index, answer] of answers.entries()) {
    const shard = shards[index]!.name;
    if (answer.status === 'fulfilled') {
      results.push({ shard, value: answer.value });
      continue;
    }
    const error: unknown = answer.reason;
    if (!(error instanceof PaymentEventsDbError) || error instanceof InvalidCommandError) throw error;
    away.push({ shard, error });
  }
  return { results, away };
}
