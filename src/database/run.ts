import { type Pool, type PoolClient, type QueryResult, type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager, type QueryRunner } from 'typeorm';
import { DatabaseUnavailableError, TransactionRequiredError } from '../errors';
import { cut, expectAnswer } from './expect-answer';
import { type Statement } from './statement';
import { isServerError, isStalePlan, translateError } from './translate-error';

/**
 * What `createDataSourceOptions` leaves in the driver's options for {@link execute}. A DataSource made otherwise has none of
 * it, and gets the defaults.
 */
export interface StatementSettings {
  /** `named` (default) prepares once a connection; `unnamed` every time, for poolers that cannot do otherwise. */
  preparedStatements?: 'named' | 'unnamed';
  /** Longest wait for an answer, in milliseconds, where the network swallows it. Default 35,000; 0 for no limit. */
  answerTimeoutMs?: number;
}

/** Runs one statement, as {@link execute} says, and gives its rows. */
export async function run<Row extends QueryResultRow>(...args: Parameters<typeof execute>): Promise<Row[]> {
  return (await execute(...args)).rows as Row[];
}

/** Runs one statement, as {@link execute} says, and gives the number of rows it wrote: rows cost both sides more. */
export async function write(...args: Parameters<typeof execute>): Promise<number> {
  return (await execute(...args)).rowCount ?? 0;
}

/** Runs a statement that writes at most `$1` rows, each time by itself, until it finds fewer. Gives their number. */
export async function writeInBatches(dataSource: DataSource, statement: Statement, batchSize: number): Promise<number> {
  let written = 0;
  for (;;) {
    const batch = await write(dataSource, statement, [batchSize]);
    written += batch;
    if (batch < batchSize) return written;
  }
}

/**
 * Runs one statement: in the caller's transaction where its manager is given, else by itself on a connection of the
 * pool. Errors come translated.
 *
 * Goes past TypeORM's query runner to `pg`, which alone can prepare a statement under a name: parsing and planning a
 * statement of several parts takes about as long as running it.
 *
 * After a migration has changed a table, what was prepared before fails once on each connection, before it does
 * anything. From then on the statement is prepared under a new name; by itself it is run again at once, without a name,
 * since the new one may have gone stale as well. In a transaction, which that failure has aborted, the error is retryable.
 */
async function execute(
  dataSource: DataSource,
  statement: Statement,
  values: unknown[],
  manager?: EntityManager,
): Promise<QueryResult> {
  const queryRunner = manager?.queryRunner;
  let client: PoolClient | undefined;
  let fit = true;
  try {
    client = await (queryRunner ? connectionOf(queryRunner) : poolOf(dataSource).connect());
    listen(client);
    try {
      return await send(client, dataSource, statement, values);
    } catch (error) {
      if (queryRunner || statement.name === undefined || !isStalePlan(error)) throw error;
      return await send(client, dataSource, { text: statement.text }, values);
    }
  } catch (error) {
    // A connection on which the server itself has reported an error is fit for use; any other is not: what is sent after
    // an unanswered statement would not be answered either, the ROLLBACK of the caller's transaction included.
    fit = isServerError(error);
    if (queryRunner && client && !fit) cut(client);
    throw translateError(error);
  } finally {
    if (!queryRunner) client?.release(!fit);
  }
}

/** TypeORM leaves a query runner the connection that it has given back: by now that may carry a stranger's transaction. */
function connectionOf(queryRunner: QueryRunner): Promise<PoolClient> {
  if (!queryRunner.isReleased) return queryRunner.connect() as Promise<PoolClient>;
  throw queryRunner.isTransactionActive
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
  const client = await poolOf(dataSource)
    .connect()
    .catch((error: unknown) => {
      throw translateError(error);
    });
  listen(client);
  let fit = true;
  const ask = (statement: Statement, values?: unknown[]) =>
    send(client, dataSource, statement, values).catch((error: unknown) => {
      fit &&= isServerError(error);
      throw error;
    });
  try {
    await ask({ text: begin.join('; ') });
    const result = await work(
      async <Row extends QueryResultRow>(statement: Statement, values: unknown[]) =>
        (await ask(statement, values)).rows as Row[],
    );
    await ask({ text: 'COMMIT' });
    return result;
  } catch (error) {
    // A connection in doubt is closed, which rolls back as well.
    if (fit) await ask({ text: 'ROLLBACK' }).catch(() => undefined);
    throw translateError(error);
  } finally {
    client.release(!fit);
  }
}

/** The pool of a DataSource, whose new connections are listened to from now on: see {@link listen}. */
export function poolOf(dataSource: DataSource): Pool {
  const { master } = dataSource.driver as unknown as { master: Pool };
  if (!heard.has(master)) heard.add(master.on('connect', listen));
  return master;
}

/**
 * An 'error' event that nobody listens to ends the process, and the pool listens to idle connections only. What is asked
 * of a broken connection fails by itself. A new connection is listened to before it is handed out: the same packet may
 * say that it is ready and that the server ends it.
 */
function listen(client: PoolClient): void {
  if (!heard.has(client)) heard.add(client.on('error', () => undefined));
}
const heard = new WeakSet<Pool | PoolClient>();

/** How often a statement had to be prepared anew, by its name. */
const generations = new Map<string, number>();

/** What `pg` makes of whatever it is asked. Handed a finished one it need not copy what describes it. */
interface QueryClass {
  new (
    text: string,
    values: unknown[] | undefined,
    answered: (error: Error | null, result: QueryResult) => void,
  ): { name?: string; submit(): void };
}

function send(
  client: PoolClient,
  dataSource: DataSource,
  { name, text }: Statement,
  values?: unknown[],
): Promise<QueryResult> {
  const { Query } = client.constructor as unknown as { Query: QueryClass };
  const { preparedStatements, answerTimeoutMs = 35_000 } =
    (dataSource.options as { extra?: StatementSettings }).extra ?? {};
  const generation = name === undefined ? undefined : generations.get(name);
  return new Promise((resolve, reject) => {
    const answered = expectAnswer(client, answerTimeoutMs);
    const query = new Query(text, values, (error, result) => {
      answered();
      if (!error) return resolve(result);
      // Unless another caller has done so already: then the generation differs by now.
      if (name && isStalePlan(error) && generation === generations.get(name)) {
        generations.set(name, (generation ?? 0) + 1);
      }
      reject(error);
    });
    if (preparedStatements !== 'unnamed') query.name = generation ? `${name}_${generation}` : name;
    try {
      client.query(query);
    } catch (error) {
      // The native client converts values at once.
      answered();
      throw error;
    }
  });
}
