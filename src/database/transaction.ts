import { type DataSource } from 'typeorm';
import { commit } from './commit';
import { retire } from './connections';
import { connect } from './execute';
import { send } from './send';
import { Session } from './session';
import { type Statement } from './statement';
import { isFitAfter, isReadOnly, translateError } from './translate-error';

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/**
 * Runs `work` in one transaction on one connection of the pool, under READ COMMITTED, and commits, or rolls back when it
 * throws. What the database throws comes translated, what else the work throws as it is.
 *
 * @param settings SET LOCAL for this transaction, sent together with its BEGIN
 * @throws OutcomeUnknownError the answer to COMMIT was lost; TransactionAbortedError the work has caught an error
 */
export async function transaction<T>(
  dataSource: DataSource,
  settings: Readonly<Record<string, string | number>>,
  work: (session: Session) => Promise<T>,
): Promise<T> {
  const begin = [BEGIN, ...Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = '${value}'`)];
  const client = await connect(dataSource).catch((error: unknown) => {
    throw translateError(error);
  });
  let fit = true;
  const ask = (statement: Statement, values?: unknown[]) =>
    send(client, dataSource, statement, values).catch((error: unknown) => {
      fit &&= isFitAfter(error);
      if (isReadOnly(error)) retire(client);
      throw error;
    });
  const execute = (statement: Statement, values: unknown[]) =>
    ask(statement, values).catch((error: unknown) => {
      throw translateError(error);
    });
  try {
    await execute({ text: begin.join('; ') }, []);
    const result = await work(new Session(execute, false));
    await commit(client, () => ask({ text: 'COMMIT' })).catch((error: unknown) => {
      throw translateError(error);
    });
    return result;
  } catch (error) {
    // A connection in doubt is closed, which rolls back as well.
    if (fit) await ask({ text: 'ROLLBACK' }).catch(() => undefined);
    throw error;
  } finally {
    client.release(!fit);
  }
}
