import { type Pool, type PoolClient, type QueryConfig, type QueryResultRow } from 'pg';
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
  /** Longest wait for an answer, in milliseconds, where the network swallows it. Default 35,000; 0 for no limit. */
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
  try {
    const queryRunner = manager?.queryRunner;
    if (queryRunner) {
      const client = (await queryRunner.connect()) as PoolClient;
      return await send<Row>(client, dataSource, statement, values).catch((error: unknown) => {
        // Nothing that is sent after an unanswered statement would be answered either, the ROLLBACK included.
        if (!isServerError(error)) cut(client);
        throw error;
      });
    }
    return await runByItself<Row>(dataSource, statement, values).catch((error: unknown) => {
      if (isStalePlan(error)) return runByItself<Row>(dataSource, statement, values);
      throw error;
    });
  } catch (error) {
    throw translateError(error);
  }
}

/** Sends one statement in the transaction it was made for. */
export type Send = <Row extends QueryResultRow>(statement: Statement, values: unknown[]) => Promise<Row[]>;

/**
 * Runs `work` in one transaction on one connection of the pool and commits, or rolls back when it throws. Errors come
 * translated.
 *
 * @param settings SET LOCAL for this transaction, sent together with its BEGIN
 */
export async function transaction<T>(
  dataSource: DataSource,
  settings: Readonly<Record<string, string | number>>,
  work: (send: Send) => Promise<T>,
): Promise<T> {
  const begin = ['BEGIN', ...Object.entries(settings).map(([name, value]) => `SET LOCAL ${name} = '${value}'`)];
  const client = await connect(dataSource).catch((error: unknown) => {
    throw translateError(error);
  });
  let fit = true;
  const noted = <R>(answer: Promise<R>) =>
    answer.catch((error: unknown) => {
      fit &&= isServerError(error);
      throw error;
    });
  try {
    await noted(client.query(limited(dataSource, { text: begin.join('; ') })));
    const result = await work((statement, values) => noted(send(client, dataSource, statement, values)));
    await noted(client.query(limited(dataSource, { text: 'COMMIT' })));
    return result;
  } catch (error) {
    // A connection in doubt is closed, which rolls back as well.
    if (fit) await noted(client.query(limited(dataSource, { text: 'ROLLBACK' }))).catch(() => undefined);
    throw translateError(error);
  } finally {
    client.release(!fit);
  }
}

async function runByItself<Row extends QueryResultRow>(
  dataSource: DataSource,
  statement: Statement,
  values: unknown[],
): Promise<Row[]> {
  const client = await connect(dataSource);
  let fit = true;
  try {
    return await send<Row>(client, dataSource, statement, values);
  } catch (error) {
    // A connection on which the server itself has reported an error is fit for use; any other is not.
    fit = isServerError(error);
    throw error;
  } finally {
    client.release(!fit);
  }
}

const connect = (dataSource: DataSource) => (dataSource.driver as unknown as { master: Pool }).master.connect();

/** How often a statement had to be prepared anew, by its name. */
const generations = new Map<string, number>();

async function send<Row extends QueryResultRow>(
  client: PoolClient,
  dataSource: DataSource,
  { name, text }: Statement,
  values: unknown[],
): Promise<Row[]> {
  const generation = generations.get(name) ?? 0;
  const named = settingsOf(dataSource).preparedStatements !== 'unnamed';
  const query = limited(dataSource, { name: named ? `${name}_${generation}` : undefined, text, values });
  try {
    return (await client.query<Row>(query)).rows;
  } catch (error) {
    // Unless another caller has done so already: then the generation differs by now.
    if (isStalePlan(error) && generation === (generations.get(name) ?? 0)) generations.set(name, generation + 1);
    throw error;
  }
}

const settingsOf = (dataSource: DataSource): StatementSettings =>
  (dataSource.options as { extra?: StatementSettings }).extra ?? {};

/** `pg` knows a time-out of a single query; its types do not. */
const limited = (dataSource: DataSource, query: QueryConfig): QueryConfig =>
  Object.assign(query, { query_timeout: settingsOf(dataSource).answerTimeoutMs ?? 35_000 });

/** Ends a connection that a transaction of TypeORM's still holds, so that its ROLLBACK fails instead of waiting. */
function cut(client: PoolClient): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}
