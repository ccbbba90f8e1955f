import { query, sql } from './sql';

/** Anything that runs a statement and gives its rows: a DataSource, a query runner, an entity manager. */
export interface Queryable {
  /** Runs one statement. */
  query(sql: string, parameters?: unknown[]): Promise<unknown>;
}

/** Whether there is a table of that name where the session looks for tables. */
export async function hasTable(session: Queryable, name: string): Promise<boolean> {
  const [found] = await query<{ exists: boolean }>(session, sql`SELECT to_regclass(${name}) IS NOT NULL AS exists`);
  return found!.exists;
}
