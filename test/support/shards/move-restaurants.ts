import { addFence, dropFence, FENCED_TABLES, inClass } from '../../../src/fence/fence-sql';
import { type ResidueClass } from '../../../src/fence/residue';
import { type DatabaseOfFile } from '../database/use-test-database';

const TABLES = [
  ...['auth_request_state', 'auth_holds', 'payment_events', 'auth_idempotency_keys', 'auth_processing_locks', 'outbox'],
  ...['data_keys', 'restaurant_payment_configs'],
];

/**
 * Gives the restaurants of a class from one database to another, as a split ends: the source takes them no more, the target
 * has all their rows. Those at the source stay, but for the messages.
 */
export async function moveRestaurants({
  from,
  keeps,
  to,
  moves,
}: {
  from: DatabaseOfFile;
  keeps: ResidueClass;
  to: DatabaseOfFile;
  moves: ResidueClass;
}): Promise<void> {
  const refence = (shard: ResidueClass) =>
    FENCED_TABLES.flatMap((table) => [dropFence(table), addFence(table, shard)]).join('; ');
  // In one transaction: what writes meanwhile has ended when it commits.
  await from.query(refence(keeps));
  await moveRows({ from, to, moves });
  // The range of number 1: else the target would give out ids that the rows have.
  await to.query(
    `SELECT setval(format('%I', sequencename)::regclass, 1099511627776) FROM pg_sequences
     WHERE schemaname = current_schema() AND data_type = 'bigint'::regtype`,
  );
  await to.query(refence(moves));
}

/** What {@link moveRestaurants} does between the fences. */
export async function moveRows({
  from,
  to,
  moves,
}: {
  from: DatabaseOfFile;
  to: DatabaseOfFile;
  moves: ResidueClass;
}): Promise<void> {
  for (const table of TABLES) {
    // As text: a number of JavaScript has not every digit of a fencing token.
    const [found] = await from.query<{ rows: string }>(
      `SELECT coalesce(json_agg(to_json(t)), '[]')::text AS rows FROM ${table} AS t WHERE ${table === 'data_keys' ? 'true' : inClass(moves)}`,
    );
    const columns = await to.query<{ name: string }>(
      `SELECT quote_ident(attname) AS name FROM pg_attribute
       WHERE attrelid = '${table}'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''`,
    );
    const names = columns.map(({ name }) => name).join(', ');
    // As logical replication writes: triggers do not run.
    const client = await to.connect();
    await client.query('SET session_replication_role = replica');
    await client.query(
      `INSERT INTO ${table} (${names}) OVERRIDING SYSTEM VALUE
       SELECT ${names} FROM json_populate_recordset(NULL::${table}, $1)`,
      [found!.rows],
    );
    await client.end();
  }
  await from.query(`DELETE FROM outbox WHERE ${inClass(moves)}`);
}
