import { type PoolClient } from 'pg';
import { type DataSource, type QueryRunner } from 'typeorm';
import { DatabaseUnavailableError, OutcomeUnknownError, PaymentEventsDbError } from '../errors';
import { commit, requireNotAborted } from './commit';
import { listen, poolOf, retire } from './connections';
import { cut, expectAnswer } from './expect-answer';
import { isAtWork } from './is-at-work';
import { isFitAfter, isReadOnly, translateError } from './translate-error';
import { withoutValues } from './without-values';

/** What TypeORM has thrown for connections, so that an error of a caller's own is never taken for one of these. */
const ofConnections = new WeakSet<object>();

/** Whether an error comes from the connection of a {@link guardQueryRunner guarded} query runner. */
export const isOfConnection = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && ofConnections.has(error);

/**
 * Makes a query runner of TypeORM as careful as the operations are:
 *
 * - A statement whose answer the network swallows fails after `limitMs` and at most five seconds, in which the server is
 *   asked whether it is still at work: as long as it is, no statement is cut short, however long it takes.
 * - COMMIT says how the transaction ended: see {@link commit}. A rollback never hides why it was to be done.
 * - No connection in doubt, or to a server that takes no writes, goes back to the pool.
 * - An error has no value of a row or a parameter: see {@link withoutValues}.
 *
 * @param limitMs 0 for no limit
 */
export function guardQueryRunner(dataSource: DataSource, queryRunner: QueryRunner, limitMs: number): QueryRunner {
  const connect = queryRunner.connect.bind(queryRunner) as () => Promise<PoolClient>;
  const query = queryRunner.query.bind(queryRunner) as (...args: unknown[]) => Promise<unknown>;
  const commitTransaction = queryRunner.commitTransaction.bind(queryRunner);
  const rollbackTransaction = queryRunner.rollbackTransaction.bind(queryRunner);

  queryRunner.connect = async (): Promise<PoolClient> => {
    if (connected) return connected;
    const pool = poolOf(dataSource);
    try {
      connected = await connect();
    } catch (error) {
      ofConnections.add(error as object);
      throw error;
    }
    listen(connected, pool);
    return connected;
  };
  let connected: PoolClient | undefined;

  const guarded = async (...args: unknown[]): Promise<unknown> => {
    const client = queryRunner.isReleased ? undefined : ((await queryRunner.connect()) as PoolClient);
    const answered = client && expectAnswer(client, limitMs, isAtWork);
    try {
      if (client && args[0] === 'COMMIT') return await commit(client, () => query(...args));
      return await query(...args);
    } catch (error) {
      // A released query runner in a transaction has lost its connection; any other was released by its user.
      if ('driverError' in (error as object) || (!client && queryRunner.isTransactionActive)) {
        ofConnections.add(error as object);
      }
      if (client) discardUnfit(client, error);
      throw withoutValues(error);
    } finally {
      answered?.();
    }
  };
  queryRunner.query = guarded as typeof queryRunner.query;

  const discardUnfit = (client: PoolClient, error: unknown): void => {
    if (isReadOnly(error)) retire(client);
    else if (error instanceof OutcomeUnknownError) cut(client);
    else if (isOfConnection(error) && translateError(error) instanceof PaymentEventsDbError && !isFitAfter(error)) {
      cut(client);
    }
  };

  queryRunner.commitTransaction = async () => {
    if (!queryRunner.isReleased) await requireNotAborted((await queryRunner.connect()) as PoolClient);
    await commitTransaction();
  };

  queryRunner.rollbackTransaction = async () => {
    try {
      await rollbackTransaction();
    } catch (error) {
      // The server rolls back what has lost its connection.
      if (!(translateError(error) instanceof DatabaseUnavailableError)) throw error;
    }
  };
  return queryRunner;
}
