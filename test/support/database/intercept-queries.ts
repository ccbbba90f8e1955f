import { type QueryRunner } from 'typeorm';

/** Calls `around` in place of every statement that a session runs meanwhile; what it does not `send` is not run. */
export async function interceptQueries<T>(
  session: QueryRunner,
  around: (sql: string, send: () => Promise<unknown>) => Promise<unknown>,
  meanwhile: () => Promise<T>,
): Promise<T> {
  const query = session.query.bind(session);
  session.query = ((sql: string) => around(sql, () => query(sql))) as typeof session.query;
  try {
    return await meanwhile();
  } finally {
    session.query = query;
  }
}
