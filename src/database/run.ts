import { type Pool, type PoolClient, type QueryResult, type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager } from 'typeorm';
import { type Statement } from './statement';
import { isServerError, isStalePlan, translateError } from './translate-error';

/**
 * What `createDataSourceOptions` leaves in the driver's options for {@link run}. A DataSource made otherwise has none of
 * it, and gets the defaults.
 */
export interface StatementSettings {
  /** `named` (default) prepares once a connection; `unnamed` every time, for poolers that cannot do otherwise. */
  preparedStatements?: 'named' | 'unnamed';
  /** Longest wait for an answer, in milliseconds, where the network swallows it. Default 35,000. */
  answerTimeoutMs?: number;
}

/**
 * Runs one statement and gives its rows: in the caller's transaction where its manager is given, else by itself on a
 * connection of the pool. Errors come translated.
 *
 * Goes past TypeORM's query runner to `pg`, which alone can prepare a statement under a name: parsing and planning a
 * statement of five parts takes longer than running it.
 *
 * After a migration has changed a table, what was prepared before fails once on each connection, before it does
 * anything. By itself the statement is then prepared under a new name and run again; in a transaction, which that
 * failure has aborted, the error is retryable.
 */
export async function run<Row extends QueryResultRow>(
  dataSource: DataSource,
  statement: Statement,
  values: unknown[],
  manager?: EntityManager,
): Promise<Row[]> {
  const prepared = prepare(statement, settingsOf(dataSource), values);
  try {
    if (manager?.queryRunner) return await runInTransaction<Row>(manager.queryRunner, prepared);
    try {
      return await runByItself<Row>(dataSource, prepared);
    } catch (error) {
      if (!isStalePlan(error)) throw error;
      forgetPlan(statement, prepared);
      return await runByItself<Row>(dataSource, prepare(statement, settingsOf(dataSource), values));
    }
  } catch (error) {
    if (isStalePlan(error)) forgetPlan(statement, prepared);
    throw translateError(error);
  }
}

async function runInTransaction<Row extends QueryResultRow>(
  queryRunner: NonNullable<EntityManager['queryRunner']>,
  prepared: PreparedQuery,
): Promise<Row[]> {
  const client = (await queryRunner.connect()) as PoolClient;
  try {
    return (await client.query<Row>(prepared)).rows;
  } catch (error) {
    // Nothing that is sent after an unanswered statement would be answered either, the ROLLBACK included.
    if (!isServerError(error))
      (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    throw error;
  }
}

async function runByItself<Row extends QueryResultRow>(
  dataSource: DataSource,
  prepared: PreparedQuery,
): Promise<Row[]> {
  const client = await (dataSource.driver as unknown as { master: Pool }).master.connect();
  let result: QueryResult<Row>;
  try {
    result = await client.query<Row>(prepared);
  } catch (error) {
    // A connection on which the server itself has reported an error is fit for use; any other is not.
    client.release(!isServerError(error));
    throw error;
  }
  client.release();
  return result.rows;
}

interface PreparedQuery {
  name: string | undefined;
  text: string;
  values: unknown[];
  query_timeout: number;
}

/** How often a statement had to be prepared anew, by its name. */
const generations = new Map<string, number>();

const nameOf = ({ name }: Statement) => `${name}_${generations.get(name) ?? 0}`;

function prepare(statement: Statement, settings: StatementSettings, values: unknown[]): PreparedQuery {
  return {
    name: settings.preparedStatements === 'unnamed' ? undefined : nameOf(statement),
    text: statement.text,
    values,
    query_timeout: settings.answerTimeoutMs ?? 35_000,
  };
}

/** Unless another caller has done so already: then the name differs by now. */
function forgetPlan(statement: Statement, { name }: PreparedQuery): void {
  if (name === nameOf(statement)) generations.set(statement.name, (generations.get(statement.name) ?? 0) + 1);
}

const settingsOf = (dataSource: DataSource): StatementSettings =>
  (dataSource.options as { extra?: StatementSettings }).extra ?? {};
