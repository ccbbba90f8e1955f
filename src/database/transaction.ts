import { type DataSource } from 'typeorm';
import { commit } from './commit';
import { retire } from './connections';
import { connect } from './execute';
import { send } from './send';
import { Session } from './session';
import { type Statement } from './statement';
import { isFitAfter, isReadOnly, translateError } from './translate-error';

/** Sends each statement without waiting for the answer to the one before. Older versions of `pg`, and its native client, cannot. */
interface Pipelining {
  pipeline?: boolean;
}

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/**
 * Runs `work` in one transaction on one connection of the pool, under READ COMMITTED, and commits, or rolls back when it
 * throws. What the database throws comes translated, what else the work throws as it is.
 *
 * What the work writes last ({@link Session.writeLast}) is sent together with COMMIT; and with BEGIN what the work asks first,
 * where that only reads: `readsFirst`. No answer counts before BEGIN has been answered.
 *
 * @param settings SET LOCAL for this transaction, sent together with its BEGIN
 * @throws OutcomeUnknownError the answer to COMMIT was lost; TransactionAbortedError the work has caught an error
 */
export async function transaction<T>(
  dataSource: DataSource,
  settings: Readonly<Record<string, string | number>>,
  work: (session: Session) => Promise<T>,
  { readsFirst = false }: { readonly readsFirst?: boolean } = {},
): Promise<T> {
  const begin = [BEGIN, ...Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = '${value}'`)];
  const client = await connect(dataSource).catch((error: unknown) => {
    throw translateError(error);
  });
  const { pipeline } = client as Pipelining;
  const pipelines = pipeline !== undefined;
  if (pipelines) (client as Pipelining).pipeline = true;
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
  const sendAll = async (statements: readonly (readonly [Statement, unknown[]?])[]) => {
    const answers: Promise<unknown>[] = [];
    for (const [statement, values] of statements) {
      answers.push(ask(statement, values));
      if (!pipelines) await answers.at(-1);
    }
    // COMMIT is answered also where what came before it has failed, and then has undone it.
    for (const answer of await Promise.allSettled(answers)) if (answer.status === 'rejected') throw answer.reason;
  };
  try {
    const begun = execute({ text: begin.join('; ') }, []);
    // Until something waits for it.
    begun.catch(() => undefined);
    if (!(readsFirst && pipelines)) await begun;
    const session = new Session(
      async (...asked) => (await Promise.all([begun, execute(...asked)]))[1],
      dataSource,
      'package',
    );
    const result = await work(session);
    await begun;
    await commit(client, () => sendAll([...session.last, [{ text: 'COMMIT' }]])).catch((error: unknown) => {
      throw translateError(error);
    });
    return result;
  } catch (error) {
    // A connection in doubt is closed, which rolls back as well.
    if (fit) await ask({ text: 'ROLLBACK' }).catch(() => undefined);
    throw error;
  } finally {
    if (pipelines) (client as Pipelining).pipeline = pipeline;
    client.release(!fit);
  }
}
