import { type AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type AuthorizeCommand, type AuthorizeReceipt } from '../../../src/auth-requests/authorize';
import { type DatabaseOfFile } from '../database/use-test-database';
import { anAuthorizeCommand } from './auth-requests';
import { outcomeOf } from './races';

/**
 * Has calls of `authorize` travel in one statement: one goes ahead and takes the only place, so that they wait together.
 *
 * @param requests of a DataSource with `coalescedStatements: 1`, whose place is free
 * @param call makes its calls before it first waits for anything
 */
export async function together<T>(requests: AuthRequests, call: () => Promise<T>): Promise<T> {
  const ahead = requests.authorize(anAuthorizeCommand());
  const travelling = call();
  travelling.catch(() => undefined);
  await ahead;
  return await travelling;
}

/** A token that the package takes and the database refuses, from {@link refusePoison} on. */
export const POISON = 'poison';

export const refusePoison = (database: DatabaseOfFile) =>
  database.query(
    `ALTER TABLE auth_request_state ADD CONSTRAINT no_poison CHECK (payment_token <> '${POISON}') NOT VALID`,
  );

/** With whom a call travels. */
export interface Company {
  /** Of the statement, the call included: 2 to 128. */
  readonly size: number;
  /** Whether one of them is refused by the database: then all are sent again, each by itself. */
  readonly poisoned: boolean;
}

/** Mostly replays, which leave nothing behind. */
const COMPANIONS = Array.from({ length: 128 }, (_, index) =>
  anAuthorizeCommand({ idempotencyKey: `companion ${index}` }),
);

/** Authorizes in the middle of others, and requires that they are answered as if they had gone alone. */
export async function authorizeInCompany(
  requests: AuthRequests,
  command: AuthorizeCommand,
  { size, poisoned }: Company,
): Promise<AuthorizeReceipt> {
  const fresh = anAuthorizeCommand(poisoned ? { paymentToken: POISON } : {});
  const others = [fresh, ...COMPANIONS].slice(0, size - 1);
  const half = others.length / 2;
  return await together(requests, async () => {
    const before = others.slice(0, half).map((other) => outcomeOf(requests.authorize(other)));
    const mine = requests.authorize(command);
    const after = others.slice(half).map((other) => outcomeOf(requests.authorize(other)));
    mine.catch(() => undefined);
    const [first, ...rest] = await Promise.all([...before, ...after]);
    expect(first).toEqual(poisoned ? 'ConstraintViolationError' : expect.objectContaining({ replayed: false }));
    expect(rest.filter((outcome) => typeof outcome === 'string')).toEqual([]);
    return await mine;
  });
}
