import { escapeLiteral } from 'pg';
import { type QueryRunner } from 'typeorm';
import { query, raw, sql } from '../database/sql';
import { type ResidueClass } from '../fence/residue';
import { roleCreation } from '../grants/grants-sql';
import { whileLocked } from '../migrations/helpers/locking';
import { isOurSchema, reportingRole, schemaOfClass } from './names';
import { queryOf, REPORTING_VIEWS } from './views';

/** Names in quotes where they need them. */
interface Place {
  readonly database: string;
  readonly schema: string;
  /** Of the tables. The views become its own, also where a superuser makes them: they read as their owner. */
  readonly owner: string;
}

const READ_PLACE = sql`
  SELECT quote_ident(current_database()) AS database, quote_ident(current_schema()) AS schema,
    quote_ident(pg_get_userbyid(relowner)) AS owner
  FROM pg_class WHERE oid = 'payment_events'::regclass`;

/**
 * Makes the views of a class in the schema of that class, and lets the role read them. In one transaction that changes
 * none of our tables and waits for nobody but DDL; views of other classes stay. Harmless again.
 */
export async function makeViews(queryRunner: QueryRunner, shard: ResidueClass, rolePrefix?: string): Promise<void> {
  const [place] = await query<Place>(queryRunner, READ_PLACE);
  const before = await dropping(queryRunner, [schemaOfClass(shard)]);
  await whileLocked(queryRunner, ...before, ...viewsSql(place!, shard, rolePrefix));
}

/**
 * The same as SQL. Each name is with its schema, and pg_catalog comes first: nobody's object can take the place of another.
 */
function viewsSql({ database, schema, owner }: Place, shard: ResidueClass, rolePrefix?: string): string[] {
  const [role, ours] = [reportingRole(rolePrefix), schemaOfClass(shard)];
  return [
    'SET LOCAL search_path = pg_catalog, pg_temp',
    roleCreation(role),
    `CREATE SCHEMA ${ours}`,
    `REVOKE ALL ON SCHEMA ${ours} FROM PUBLIC`,
    `GRANT CONNECT ON DATABASE ${database} TO ${role}`,
    `GRANT USAGE ON SCHEMA ${ours} TO ${role}`,
    ...REPORTING_VIEWS.flatMap((view) => [
      `CREATE VIEW ${ours}.${view.name} AS\n${queryOf(view, shard, schema)}`,
      `COMMENT ON VIEW ${ours}.${view.name} IS ${escapeLiteral(view.comment)}`,
      `ALTER VIEW ${ours}.${view.name} OWNER TO ${owner}`,
      // Default privileges of the owner's may have granted something.
      `REVOKE ALL ON ${ours}.${view.name} FROM PUBLIC, ${role}`,
      `GRANT SELECT ON ${ours}.${view.name} TO ${role}`,
    ]),
    `ALTER SCHEMA ${ours} OWNER TO ${owner}`,
  ];
}

/** Drops the views of all classes but one; of all where none is given. */
export async function dropViews(queryRunner: QueryRunner, keep?: ResidueClass): Promise<boolean> {
  const all = await query<{ schema: string }>(
    queryRunner,
    sql`SELECT nspname AS schema FROM pg_namespace WHERE ${raw(isOurSchema('nspname'))} ORDER BY schema`,
  );
  const old = all.map(({ schema }) => schema).filter((schema) => !keep || schema !== schemaOfClass(keep));
  if (old.length > 0) await whileLocked(queryRunner, ...(await dropping(queryRunner, old)));
  return old.length > 0;
}

/** Without CASCADE: what somebody else has built upon the views is named, and stays. */
async function dropping(queryRunner: QueryRunner, schemas: readonly string[]): Promise<string[]> {
  const views = await query<{ name: string }>(
    queryRunner,
    sql`
    SELECT format('%I.%I', nspname, relname) AS name
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'v' AND nspname = ANY (${schemas})
    ORDER BY name`,
  );
  return [
    ...(views.length > 0 ? [`DROP VIEW ${views.map(({ name }) => name).join(', ')}`] : []),
    ...schemas.map((schema) => `DROP SCHEMA IF EXISTS ${schema}`),
  ];
}
