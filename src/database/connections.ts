import { type Pool, type PoolClient } from 'pg';
import { type DataSource, type EntityManager, type QueryRunner } from 'typeorm';
import { DatabaseUnavailableError, DataSourceNotOpenError, TransactionRequiredError } from '../errors';
import { expectAnswer } from './expect-answer';

/** The pool of a DataSource that has one, also one that is ending. */
export const masterOf = (dataSource: DataSource): Pool | undefined =>
  ((dataSource?.driver ?? {}) as { master?: Pool }).master;

/**
 * The pool of a DataSource, whose new connections are listened to from now on: see {@link listen}.
 *
 * @throws DataSourceNotOpenError
 */
export function poolOf(dataSource: DataSource): Pool {
  const master = masterOf(dataSource);
  if (!master || master.ending) throw new DataSourceNotOpenError();
  if (!heard.has(master)) heard.add(master.on('connect', (client) => listen(client, master)));
  return master;
}
const heard = new WeakSet<Pool>();

/** Longest wait for a server to close a connection that pg has ended, in milliseconds. */
const CLOSING_MS = 2_000;

/**
 * Ends a pool by `end`, and cuts off what does not close then: where the network loses pg's last message it would keep the
 * process alive for as long as the kernel tries.
 */
export async function endPool(pool: Pool | undefined, end: () => Promise<void>): Promise<void> {
  const { _clients: clients = [] } = (pool ?? {}) as { _clients?: readonly PoolClient[] };
  await end();
  for (const client of clients) client.once('end', expectAnswer(client, CLOSING_MS));
}

/** Of which pool a connection is, and which of all connections it was. */
const origins = new WeakMap<PoolClient, { readonly pool: Pool; readonly born: number }>();
let lastBorn = 0;

/** The pool that has made a connection, where somebody {@link listen listens} to it. */
export const homeOf = (client: PoolClient): Pool | undefined => origins.get(client)?.pool;

/**
 * An 'error' event that nobody listens to ends the process, and the pool listens to idle connections only. What is asked
 * of a broken connection fails by itself. A new connection is listened to before it is handed out: the same packet may
 * say that it is ready and that the server ends it.
 */
export function listen(client: PoolClient, pool: Pool): void {
  if (origins.has(client)) return;
  origins.set(client, { pool, born: ++lastBorn });
  client.on('error', () => undefined);
}

/** Up to which of its connections a pool is to forget them. */
const forgotten = new WeakMap<Pool, number>();

/**
 * Has its pool forget a connection whose server takes no writes: after a failover it stays as healthy as it is useless,
 * and so do the other connections to it. Idle ones are closed now, since a new one costs less than a call that fails; those in use when
 * they are given back, where they are older, since younger ones may lead to the new primary.
 */
export function retire(client: PoolClient): void {
  const { pool, born = 0 } = origins.get(client) ?? {};
  if (!pool) return;
  if (!forgotten.has(pool)) {
    // The pool removes what has been ended when it is given back.
    pool.on('release', (_error, released) => {
      if ((origins.get(released)?.born ?? 0) <= forgotten.get(pool)!) void released.end();
    });
  }
  forgotten.set(pool, Math.max(born, forgotten.get(pool) ?? 0));
  // The pool listens to idle connections, and removes at once what has an error.
  const { _idle: idle = [] } = pool as unknown as { _idle?: readonly { client: PoolClient }[] };
  for (const { client: other } of [...idle]) other.emit('error', new Error('It led to a server that takes no writes.'));
}

/**
 * The query runner of the manager that a method was given: nothing is ever written beside the transaction that its caller
 * meant.
 *
 * @throws TransactionRequiredError; DatabaseUnavailableError the transaction has lost its connection
 */
export function queryRunnerOf(
  dataSource: DataSource,
  manager: EntityManager,
  method = 'An operation that is given a manager',
): QueryRunner {
  const { queryRunner, dataSource: its } = (manager ?? {}) as Partial<EntityManager>;
  if (!queryRunner) throw new TransactionRequiredError(method, whatIs(manager));
  if (its !== dataSource && placeOf(its) !== placeOf(dataSource)) {
    throw new TransactionRequiredError(method, 'the manager of another database');
  }
  if (!queryRunner.isTransactionActive) throw new TransactionRequiredError(method, 'one without a transaction');
  // TypeORM leaves a query runner the connection that it has given back: by now that may carry a stranger's transaction.
  if (queryRunner.isReleased) throw new DatabaseUnavailableError('connection lost');
  return queryRunner;
}

/** Two DataSources of one process may well be of one database, such as a second pool. */
function placeOf(dataSource: DataSource | undefined): string {
  const { url, host, port, database } = (dataSource?.options ?? {}) as Partial<Record<string, unknown>>;
  if (typeof url !== 'string') return `${String(host)}:${String(port)}/${String(database)}`;
  // Without user, password and parameters.
  return url.replace(/^[^:]+:\/\/(.*@)?/, '').replace(/\?.*/, '');
}

function whatIs(given: unknown): string {
  if (given === null || typeof given !== 'object') return given === null ? 'null' : typeof given;
  if ('startTransaction' in given) return 'a QueryRunner';
  return 'dataSource' in given ? 'dataSource.manager' : 'something else';
}
