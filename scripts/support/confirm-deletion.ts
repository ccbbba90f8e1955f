import { createInterface } from 'node:readline/promises';
import { type DatabaseAddress } from '../../src/database/database-address';
import { PaymentEventsDbError } from '../../src/errors';

/** Nobody has agreed to the deletion, so nothing was deleted. */
export class NotConfirmedError extends PaymentEventsDbError {
  readonly code = 'NOT_CONFIRMED';
}

/** Databases that belong to the server; the first is also the one from which others are dropped. */
const SERVER_DATABASES = ['postgres', 'template0', 'template1'];

/**
 * Warns and asks, unless told `yes`.
 *
 * @throws NotConfirmedError unless the answer is yes; also where there is no terminal to ask at
 */
export async function assertMayDelete({ host, port, database }: DatabaseAddress, { yes = false }): Promise<void> {
  if (SERVER_DATABASES.includes(database)) {
    throw new NotConfirmedError(
      `Refused: ${database} is a database of the server itself. Name another in DATABASE_URL.`,
    );
  }
  console.warn(`This deletes the database ${database} at ${host}:${port} with ALL its data.`);
  if (yes) return;
  if (!process.stdin.isTTY) {
    throw new NotConfirmedError('Nothing was deleted: there is no terminal to ask at. Say --yes to go ahead.');
  }
  const terminal = createInterface({ input: process.stdin, output: process.stdout });
  // Ctrl-C and Ctrl-D reject the question: no answer is no.
  const answer = await terminal.question('Go ahead? [y/N] ').catch(() => '');
  terminal.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new NotConfirmedError('Nothing was deleted.');
}
