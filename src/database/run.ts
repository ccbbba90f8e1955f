import { type Pool, type PoolClient, type QueryConfig, type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager, type QueryRunner } from 'typeorm';
import { DatabaseUnavailableError, TransactionRequiredError } from '../errors';
import { cut } from './cut';
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
 * anything. From then on the statement is prepared under a new name; by itself it is run again at once, without a name,
 * since the new one may have gone stale as well. In a transaction, which that failure has aborted, the error is retryable.
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
      requireConnection(queryRunner);
      const client = (await queryRunner.connect()) as PoolClient;
      return await send<Row>(client, dataSource, statement, values).catch((error: unknown) => {
        // Nothing that is sent after an unanswered statement would be answered either, the ROLLBACK included.
        if (!isServerError(error)) cut(client);
        throw error;
      });
    }
    return await runByItself<Row>(dataSource, statement, values).catch((error: unknown) => {
      if (isStalePlan(error)) return runByItself<Row>(dataSource, { text: statement.text }, values);
      throw error;
    });
  } catch (error) {
    throw translateError(error);
  }
}

/** TypeORM leaves a query runner the connection that it has given back: by now that may carry a stranger's transaction. */
function requireConnection({ isReleased, isTransactionActive }: QueryRunner): void {
  if (!isReleased) return;
  throw isTransactionActive
    ? new DatabaseUnavailableError('connection lost')
    : new TransactionRequiredError('An operation that is given a manager');
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
    release(client, fit);
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
    release(client, fit);
  }
}

/**
 * A connection of the pool, to be given back by {@link release}. The pool listens to its idle connections only, and an
 * 'error' event that nobody listens to ends the process; what is asked of a broken connection fails by itself.
 */
async function connect(dataSource: DataSource): Promise<PoolClient> {
  const client = await (dataSource.driver as unknown as { master: Pool }).master.connect();
  return client.on('error', ignore);
}

function release(client: PoolClient, fit: boolean): void {
  client.release(!fit);
  client.off('error', ignore);
}

const ignore = () => undefined;

/** How often a statement had to be prepared anew, by its name. */
const generations = new Map<string | undefined, number>();

async function send<Row extends QueryResultRow>(
  client: PoolClient,
  dataSource: DataSource,
  { name, text }: Statement,
  values: unknown[],
): Promise<Row[]> {
  const generation = generations.get(name) ?? 0;
  const named = name !== undefined && settingsOf(dataSource).preparedStatements !== 'unnamed';
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
