import { type DataSource } from 'typeorm';
import { type MigrationRecord, readHistory } from '../../src/migrator/history';

/** Tables are counted row by row up to here; beyond, the planner's statistics must do. */
const COUNT_AT_MOST = 100_000;

export interface TableSize {
  readonly name: string;
  readonly rows: number;
  /** Whether `rows` comes from statistics, or, where there are none, is only what was counted up to. */
  readonly estimated: boolean;
}

/** What is in a database right now. */
export interface DatabaseDescription {
  readonly serverVersion: string;
  readonly migrations: readonly MigrationRecord[];
  readonly tables: TableSize[];
}

const READABLE_TABLES = `
  SELECT relname AS name, quote_ident(relname) AS identifier, reltuples::bigint::text AS estimate
  FROM pg_class
  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
    AND has_table_privilege(oid, 'SELECT')
  ORDER BY relname
`;

/** Looks at the migrations and the tables of the current schema. Reads only; quick on large tables too. */
export async function describeDatabase(dataSource: DataSource): Promise<DatabaseDescription> {
  const [server] = await dataSource.query<{ server_version: string }[]>('SHOW server_version');
  const tables = await dataSource.query<{ name: string; identifier: string; estimate: string }[]>(READABLE_TABLES);
  const sizes: TableSize[] = [];
  for (const { name, identifier, estimate } of tables) {
    const [counted] = await dataSource.query<{ rows: number }[]>(
      `SELECT count(*)::int AS rows FROM (SELECT FROM ${identifier} LIMIT ${COUNT_AT_MOST + 1}) AS counted`,
    );
    const rows = counted?.rows ?? 0;
    const estimated = rows > COUNT_AT_MOST;
    sizes.push({ name, rows: estimated ? Math.max(Number(estimate), COUNT_AT_MOST) : rows, estimated });
  }
  return { serverVersion: server?.server_version ?? '', migrations: await readHistory(dataSource), tables: sizes };
}
