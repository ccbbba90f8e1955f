import { QueryFailedError } from 'typeorm';

type Failure = Error & { code?: string; [property: string]: unknown };

/** Where PostgreSQL and TypeORM put what a row or a parameter holds. */
const MAY_HOLD_VALUES = ['parameters', 'detail', 'where', 'internalQuery'];

/** Feature not supported, dependent objects: their detail names objects, such as the view in the way, and no rows. */
const NAME_OBJECTS = /^(0A|2B)/;

const WITHHELD = 'The message is withheld, since it quotes a value. The log of the server has it.';

/**
 * Takes the values out of a failed statement's error, since those who catch it print all that such an error holds: "Failing
 * row contains (…)" is a payment token on the terminal. What remains is the SQLSTATE, the names of table and
 * constraint, the objects that depend on what was to be changed, and the message, unless it is of the class that quotes
 * values (22, data exception).
 */
export function withoutValues(error: unknown): unknown {
  if (!(error instanceof QueryFailedError)) return error;
  for (const failure of [error, error.driverError] as unknown as Failure[]) {
    const { message, detail } = failure;
    if (NAME_OBJECTS.test(failure.code ?? '') && typeof detail === 'string') {
      failure.message = `${message}: ${detail}`;
      failure.stack = failure.stack?.replace(message, failure.message);
    }
    for (const property of MAY_HOLD_VALUES) delete failure[property];
    if (!failure.code?.startsWith('22')) continue;
    failure.stack = failure.stack?.replace(failure.message, WITHHELD);
    failure.message = WITHHELD;
  }
  return error;
}
