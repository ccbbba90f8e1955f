import { float8 } from '../database/columns';
import { operation, rowsOf } from '../database/operation';
import { type Session } from '../database/session';

const COUNT_TO = 10_000;

const countOf = (table: string, condition: string) =>
  operation({
    name: `count_purgeable_${table}`,
    input: { older_than_ms: float8 },
    output: rowsOf<{ count: number }>(),
    sql: `
    SELECT count(*)::integer AS count
    FROM (SELECT FROM ${table} CROSS JOIN input WHERE ${condition} LIMIT ${COUNT_TO}) AS purgeable`,
  });

const COUNT = {
  keys: countOf('auth_idempotency_keys', 'expires_at <= statement_timestamp()'),
  leases: countOf('auth_processing_locks', 'expires_at <= statement_timestamp()'),
  messages: countOf('outbox', `processed_at < statement_timestamp() - older_than_ms * interval '1 millisecond'`),
};

/** How many rows a purge would find, counted to 10,000: for a dry run. */
export async function countPurgeable(session: Session, what: keyof typeof COUNT, olderThanMs: number): Promise<number> {
  return (await session.row(COUNT[what], { older_than_ms: olderThanMs }))!.count;
}
