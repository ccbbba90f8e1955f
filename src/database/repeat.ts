import { DatabaseUnavailableError, TransactionConflictError } from '../errors';

/**
 * Does once more what broke off with its connection, so that nobody knows whether it took place. Only for what may be
 * repeated: a statement that knows its own earlier run, by an id or a token that was drawn before the first time.
 */
export async function repeatOnce<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DatabaseUnavailableError)) throw error;
    return await work();
  }
}

const TIMES = 3;

/**
 * Does work until it gives something: a write that found its row taken, and then a look that found it free again, since
 * another transaction ended in between.
 *
 * @throws TransactionConflictError it has given nothing three times
 */
export async function untilDecided<T>(work: () => Promise<T | undefined>): Promise<T> {
  for (let time = 1; time <= TIMES; time++) {
    const result = await work();
    if (result !== undefined) return result;
  }
  throw new TransactionConflictError('40001');
}
