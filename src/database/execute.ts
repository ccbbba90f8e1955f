import { type PoolClient, type QueryResult } from 'pg';
import { type DataSource, type EntityManager } from 'typeorm';
import { listen, poolOf, queryRunnerOf, retire } from './connections';
import { cut } from './expect-answer';
import { send } from './send';
import { type Statement } from './statement';
import { isFitAfter, isReadOnly, isStalePlan, translateError } from './translate-error';

/**
 * Runs one statement: in the caller's transaction where its manager is given, else by itself on a connection of the
 * pool. Errors come translated.
 *
 * By itself it runs under READ COMMITTED where {@link pinSession} says so; a connection without that pin has it from its
 * role, since only a round trip more could ask for it.
 *
 * Goes past TypeORM's query runner to `pg`, which alone can prepare a statement under a name: parsing and planning a
 * statement of several parts takes about as long as running it.
 *
 * After a migration has changed a table, what was prepared before fails once on each connection, before it does
 * anything. From then on the statement is prepared under a new name; by itself it is run again at once, without a name,
 * since the new one may have gone stale as well. In a transaction, which that failure has aborted, the error is retryable.
 */
export async function execute(
  dataSource: DataSource,
  statement: Statement,
  values: unknown[],
  manager: EntityManager | undefined,
): Promise<QueryResult> {
  const queryRunner = manager === undefined ? undefined : queryRunnerOf(dataSource, manager);
  let client: PoolClient | undefined;
  let fit = true;
  try {
    client = await (queryRunner ? (queryRunner.connect() as Promise<PoolClient>) : connect(dataSource));
    try {
      return await send(client, dataSource, statement, values);
    } catch (error) {
      if (queryRunner || statement.name === undefined || !isStalePlan(error)) throw error;
      return await send(client, dataSource, { text: statement.text }, values);
    }
  } catch (error) {
    // A connection on which the server itself has reported an error is fit for use; any other is not: what is sent after
    // an unanswered statement would not be answered either, the ROLLBACK of the caller's transaction included.
    fit = isFitAfter(error);
    if (client && isReadOnly(error)) retire(client);
    else if (queryRunner && client && !fit) cut(client);
    throw translateError(error);
  } finally {
    if (!queryRunner) client?.release(!fit);
  }
}

/** A connection of the pool. */
export async function connect(dataSource: DataSource): Promise<PoolClient> {
  const pool = poolOf(dataSource);
  const client = await pool.connect();
  listen(client, pool);
  return client;
}
