import { QueryFailedError } from 'typeorm';

type Failure = Error & { code?: string; [property: string]: unknown };

/** Where PostgreSQL and TypeORM put what a row or a parameter holds. */
const MAY_HOLD_VALUES = ['parameters', 'detail', 'where', 'internalQuery'];

const WITHHELD = 'The message is withheld, since it quotes a value. The log of the server has it.';

/**
 * Takes the values out of a failed statement's error, for the typeorm CLI prints all that such an error holds: "Failing
 * row contains (…)" is a payment token on the terminal. What remains is the SQLSTATE, the names of table and
 * constraint, and the message, unless it is of the class that quotes values (22, data exception).
 */
export function withoutValues(error: unknown): unknown {
  if (!(error instanceof QueryFailedError)) return error;
  for (const failure of [error, error.driverError] as unknown as Failure[]) {
    for (const property of MAY_HOLD_VALUES) delete failure[property];
    if (!failure.code?.startsWith('22')) continue;
    failure.stack = failure.stack?.replace(failure.message, WITHHELD);
    failure.message = WITHHELD;
  }
  return error;
}
