import { type PoolClient } from 'pg';
import { type QueryRunner } from 'typeorm';
import { expectAnswer } from './expect-answer';

/**
 * Limits how long a query runner waits for the answer to START TRANSACTION, COMMIT and ROLLBACK, in milliseconds: where
 * the network swallows it, TypeORM alone would wait for ever. The connection is then broken off, which ends the
 * transaction at the server. None of the three takes long, so that no work is cut short by it.
 */
export function boundTransactions(queryRunner: QueryRunner, limitMs: number): QueryRunner {
  const bound =
    <Args extends unknown[]>(control: (...args: Args) => Promise<void>) =>
    async (...args: Args): Promise<void> => {
      const client = (await queryRunner.connect()) as PoolClient;
      const answered = expectAnswer(client, limitMs);
      try {
        await control(...args);
      } finally {
        answered();
      }
    };
  queryRunner.startTransaction = bound(queryRunner.startTransaction.bind(queryRunner));
  queryRunner.commitTransaction = bound(queryRunner.commitTransaction.bind(queryRunner));
  queryRunner.rollbackTransaction = bound(queryRunner.rollbackTransaction.bind(queryRunner));
  return queryRunner;
}
