import { type EventEmitter } from 'node:events';
import { type PoolClient } from 'pg';
import { DatabaseUnavailableError, OutcomeUnknownError, TransactionAbortedError } from '../errors';
import { originalOf, translateError } from './translate-error';

/**
 * Sends COMMIT and tells how it ended, which neither `pg` nor TypeORM look at:
 *
 * - PostgreSQL answers the COMMIT of an aborted transaction with the tag ROLLBACK and without an error;
 * - where the connection breaks after CommandComplete was heard, the transaction is committed;
 * - where it breaks before, nobody knows.
 *
 * @throws TransactionAbortedError, OutcomeUnknownError; what the server reports instead of committing
 */
export async function commit<T>(client: PoolClient, send: () => Promise<T>): Promise<T | undefined> {
  await requireNotAborted(client);
  let tag: string | undefined;
  const hear = ({ text }: { text: string }) => (tag = text);
  const { connection } = client as unknown as { connection?: EventEmitter };
  connection?.on('commandComplete', hear);
  try {
    const result = await send();
    if (tag === 'ROLLBACK') throw new TransactionAbortedError();
    return result;
  } catch (error) {
    if (tag === 'COMMIT') return undefined;
    throw isInDoubt(error) ? new OutcomeUnknownError() : error;
  } finally {
    connection?.off('commandComplete', hear);
  }
}

/**
 * Says before anything is sent that a transaction has nothing to commit, as the server tells whenever it is ready for a
 * query.
 *
 * @throws TransactionAbortedError
 */
export async function requireNotAborted(client: PoolClient): Promise<void> {
  await untilReady(client);
  // Older versions of pg lack this method: then the tag alone tells.
  const { getTransactionStatus } = client as Partial<Pick<PoolClient, 'getTransactionStatus'>>;
  if (getTransactionStatus?.call(client) === 'E') throw new TransactionAbortedError();
}

/** An error comes before the server is ready again, and a statement that nobody awaits may still be under way. */
async function untilReady(client: PoolClient): Promise<void> {
  const state = client as unknown as {
    readyForQuery?: boolean;
    connection?: EventEmitter & { stream: { destroyed: boolean } };
  };
  const { connection } = state;
  while (connection && state.readyForQuery === false && !connection.stream.destroyed) {
    await new Promise<void>((resolve) => {
      const heard = () => {
        connection.off('readyForQuery', heard).off('end', heard);
        resolve();
      };
      connection.on('readyForQuery', heard).on('end', heard);
    });
  }
}

/** What pg and TypeORM say of a COMMIT that they did not send any more. */
const NOT_SENT = /is not queryable$|^Query runner already released/;

/** The session was ended before the server read COMMIT. */
const ENDED_BEFORE = ['25P03', '25P04'];

/** Whether the connection broke so that the server may or may not have committed. */
function isInDoubt(error: unknown): boolean {
  const translated = translateError(error);
  if (!(translated instanceof DatabaseUnavailableError)) return translated instanceof OutcomeUnknownError;
  const { message, severity } = originalOf(error as Error) as Error & { severity?: string };
  if (ENDED_BEFORE.includes(translated.reason) || NOT_SENT.test(message)) return false;
  // What a server reports as an error and goes on, it has undone. 08 is said by a pooler of a server that it has lost.
  return severity !== 'ERROR' || translated.reason.startsWith('08');
}
