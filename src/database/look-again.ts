import { originalOf } from './translate-error';

/** SQLSTATE internal_error: `could not open relation with OID …`, `cache lookup failed for index …`. */
const INTERNAL_ERROR = 'XX000';

/** SQLSTATE in_failed_sql_transaction. */
const IN_FAILED_TRANSACTION = '25P02';

const TIMES = 10;

/**
 * Reads a catalog once more where another session has changed it meanwhile. Functions that print an object, such as
 * `pg_get_viewdef`, look it up by themselves, with a younger snapshot than the statement that names it: what was dropped in between fails
 * them, or gives null. Each look has a snapshot of its own; what fails each time is a fault of the server, and is thrown.
 *
 * @param isWhole of what was read: nothing in it was gone
 */
export async function lookAgain<T>(look: () => Promise<T>, isWhole: (found: T) => boolean = () => true): Promise<T> {
  let first: Error | undefined;
  for (let time = 1; ; time++) {
    try {
      const found = await look();
      if (isWhole(found) || time === TIMES) return found;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const state = (originalOf(error) as { code?: string }).code;
      // Within a transaction there is no second look.
      if (first && state === IN_FAILED_TRANSACTION) throw first;
      if (time === TIMES || state !== INTERNAL_ERROR) throw error;
      first ??= error;
    }
  }
}
