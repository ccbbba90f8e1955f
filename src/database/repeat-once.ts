import { DatabaseUnavailableError } from '../errors';

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
