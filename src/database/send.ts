import { type PoolClient, type QueryResult } from 'pg';
import { type DataSource } from 'typeorm';
import { expectAnswer } from './expect-answer';
import { valueTypes } from './parsers';
import { settingsOf } from './settings';
import { type Statement } from './statement';
import { isForgottenPlan, isStalePlan } from './translate-error';

/** How often a statement had to be prepared again, by its name. */
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

/** Sends a statement on a connection, prepared under its name, and gives the result or what the driver says. */
export function send(
  client: PoolClient,
  dataSource: DataSource,
  { name, text, answerWithinMs = Infinity }: Statement,
  values?: unknown[],
): Promise<QueryResult> {
  const { Query } = client.constructor as unknown as { Query: QueryClass };
  const { preparedStatements, answerTimeoutMs = 35_000, types } = settingsOf(dataSource);
  const generation = name === undefined ? undefined : generations.get(name);
  const preparedAs = preparedStatements === 'unnamed' ? undefined : generation ? `${name}_${generation}` : name;
  return new Promise((resolve, reject) => {
    const answered = expectAnswer(client, Math.min(answerTimeoutMs, answerWithinMs));
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
