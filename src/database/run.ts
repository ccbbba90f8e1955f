import { type PoolClient, type QueryResult, type QueryResultRow } from 'pg';
import { type DataSource, type EntityManager } from 'typeorm';
import { commit } from './commit';
import { listen, poolOf, queryRunnerOf, retire } from './connections';
import { cut, expectAnswer } from './expect-answer';
import { valueTypes } from './parsers';
import { type Statement } from './statement';
import { isFitAfter, isForgottenPlan, isReadOnly, isStalePlan, translateError } from './translate-error';

/**
 * What `createDataSourceOptions` leaves in the driver's options for {@link execute}. A DataSource made otherwise has none of
 * it, and gets the defaults.
 */
export interface StatementSettings {
  /** `named` (default) prepares once a connection; `unnamed` every time, for poolers that cannot do otherwise. */
  preparedStatements?: 'named' | 'unnamed';
  /** Longest wait for an answer, in milliseconds, where the network swallows it. Default 35,000; 0 for no limit. */
  answerTimeoutMs?: number;
  /** How the connections read values, for all of their statements. */
  types?: typeof valueTypes;
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
async function execute(
  dataSource: DataSource,
  statement: Statement,
  values: unknown[],
  manager?: EntityManager,
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

async function connect(dataSource: DataSource): Promise<PoolClient> {
  const pool = poolOf(dataSource);
  const client = await pool.connect();
  listen(client, pool);
  return client;
}

/** Sends one statement in the transaction it was made for. */
export type Send = <Row extends QueryResultRow>(statement: Statement, values: unknown[]) => Promise<Row[]>;

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
  work: (send: Send) => Promise<T>,
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
  const askTranslated: Send = async <Row extends QueryResultRow>(statement: Statement, values: unknown[]) => {
    try {
      return (await ask(statement, values)).rows as Row[];
    } catch (error) {
      throw translateError(error);
    }
  };
  try {
    await askTranslated({ text: begin.join('; ') }, []);
    const result = await work(askTranslated);
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

const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';

/** How often a statement had to be prepared anew, by its name. */
const generations = new Map<string, number>();

type Callback = (error: Error | null, result: QueryResult) => void;

/** What `pg` makes of whatever it is asked. Made of texts it need not copy what describes it. */
interface QueryClass {
  new (text: string, values: unknown[] | undefined, callback: Callback): { name?: string; submit(): void };
  new (config: { text: string; values: unknown[] | undefined; types: typeof valueTypes; callback: Callback }): {
    name?: string;
    submit(): void;
  };
}

function send(
  client: PoolClient,
  dataSource: DataSource,
  { name, text }: Statement,
  values?: unknown[],
): Promise<QueryResult> {
  const { Query } = client.constructor as unknown as { Query: QueryClass };
  const {
    preparedStatements,
    answerTimeoutMs = 35_000,
    types,
  } = (dataSource.options as { extra?: StatementSettings }).extra ?? {};
  const generation = name === undefined ? undefined : generations.get(name);
  const preparedAs = preparedStatements === 'unnamed' ? undefined : generation ? `${name}_${generation}` : name;
  return new Promise((resolve, reject) => {
    const answered = expectAnswer(client, answerTimeoutMs);
    const callback: Callback = (error, result) => {
      answered();
      if (!error) return resolve(result);
      if (name && isStalePlan(error)) forgetPlan(client, error, name, generation, preparedAs);
      reject(error);
    };
    // Where the whole connection reads values so, the statement need not say it.
    const query =
      types === valueTypes
        ? new Query(text, values, callback)
        : new Query({ text, values, types: valueTypes, callback });
    if (preparedAs !== undefined) query.name = preparedAs;
    try {
      client.query(query);
    } catch (error) {
      // The native client converts values at once.
      answered();
      throw error;
    }
  });
}

/**
 * What has become stale on one connection has done so on all: it is prepared under a new name everywhere, unless another
 * caller has seen to that already. What one session alone has lost is prepared on it again.
 */
function forgetPlan(
  client: PoolClient,
  error: Error,
  name: string,
  generation: number | undefined,
  preparedAs: string | undefined,
): void {
  if (!isForgottenPlan(error)) {
    if (generation === generations.get(name)) generations.set(name, (generation ?? 0) + 1);
    return;
  }
  const { connection } = client as unknown as { connection?: { parsedStatements: Record<string, string> } };
  if (connection && preparedAs !== undefined) delete connection.parsedStatements[preparedAs];
}
