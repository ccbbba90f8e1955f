import { escapeLiteral } from 'pg';
import { type QueryRunner } from 'typeorm';
import { query, raw, sql } from '../database/sql';
import { resetUnlogged, setUnlogged, UNLOGGED_AS_FAR_AS_ALLOWED } from '../database/unlogged-setting';
import { roleCreation } from '../grants/grants-sql';
import { whileLocked } from '../migrations/helpers/locking';
import { REPORTING_SCHEMA } from '../schema/objects';
import { type ShardMap } from '../shards/shard-map';
import { partitionOf, reportingRole, schemaOfClass, SERVER_PREFIX, serverOf, VERSION_OF_MAP } from './names';
import { serverOptions } from './server-options';
import { collationOf, REPORTING_VIEWS, type ReportingView } from './views';

/** Where the password is while the mappings are made, so that no statement and no log of statements quotes it. */
const PASSWORD_SETTING = 'payment_events_db.reader_password';

/** What the reporting database has of ours. Names are quoted where they need it. */
interface Found {
  readonly database: string;
  readonly version: number;
  readonly servers: readonly string[];
  readonly partitions: readonly string[];
  /** Each table's columns, as {@link columnsOf} writes them. */
  readonly tables: Readonly<Record<string, string>>;
}

/** As SQL, of a row of `pg_class`: what {@link columnsOf} is to be. */
export const COLUMNS_OF_RELATION = `(
  SELECT string_agg(concat(attname, ' ', format_type(atttypid, atttypmod), ' COLLATE ' || quote_ident(collname)), ', '
    ORDER BY attnum)
  FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
  WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped)`;

/** The columns of a table of the reporting database, as SQL: `name type, name type COLLATE "C"`. */
export const columnsOf = ({ columns }: ReportingView): string =>
  columns.map((column) => `${column.name} ${column.type}${collationOf(column)}`).join(', ');

const FIND = sql`
  SELECT quote_ident(current_database()) AS database, current_setting('server_version_num')::integer AS version,
    ARRAY(SELECT quote_ident(srvname) FROM pg_foreign_server WHERE starts_with(srvname, ${SERVER_PREFIX}) ORDER BY 1) AS servers,
    ARRAY(SELECT quote_ident(relname) FROM pg_class
      WHERE relnamespace = to_regnamespace(${REPORTING_SCHEMA}) AND relkind = 'f' ORDER BY 1) AS partitions,
    coalesce((SELECT jsonb_object_agg(relname, ${raw(COLUMNS_OF_RELATION)})
      FROM pg_class WHERE relnamespace = to_regnamespace(${REPORTING_SCHEMA}) AND relkind = 'p'), '{}') AS tables`;

/** As whom the foreign servers are read. */
export interface Reader {
  readonly user: string;
  readonly password: string;
}

/**
 * Makes the servers, and the tables over all of them, in one transaction: a report sees those of before or these. It
 * waits until no report is running, for a while and again and again. Tables stay where their columns do, with what others
 * have built upon them; their parts are made again.
 */
export async function makeForeignTables(
  queryRunner: QueryRunner,
  map: ShardMap,
  reader: Reader,
  rolePrefix?: string,
): Promise<void> {
  const [found] = await query<Found>(queryRunner, FIND);
  await setUnlogged(queryRunner, PASSWORD_SETTING, reader.password);
  try {
    await whileLocked(queryRunner, ...foreignSql(found!, map, reader, rolePrefix));
  } finally {
    await resetUnlogged(queryRunner, PASSWORD_SETTING);
  }
}

function foreignSql(found: Found, { version, shards }: ShardMap, reader: Reader, rolePrefix?: string): string[] {
  const role = reportingRole(rolePrefix);
  const of = (view: ReportingView) => `${REPORTING_SCHEMA}.${view.name}`;
  const current = REPORTING_VIEWS.filter((view) => found.tables[view.name] === columnsOf(view)).map(({ name }) => name);
  const outdated = Object.keys(found.tables).filter((name) => !current.includes(name));
  return [
    'SET LOCAL search_path = pg_catalog, pg_temp',
    'CREATE EXTENSION IF NOT EXISTS postgres_fdw WITH SCHEMA public',
    roleCreation(role),
    `CREATE SCHEMA IF NOT EXISTS ${REPORTING_SCHEMA}`,
    `COMMENT ON SCHEMA ${REPORTING_SCHEMA} IS '${VERSION_OF_MAP}${version}'`,
    `REVOKE ALL ON SCHEMA ${REPORTING_SCHEMA} FROM PUBLIC, ${role}`,
    `GRANT USAGE ON SCHEMA ${REPORTING_SCHEMA} TO ${role}`,
    `GRANT CONNECT ON DATABASE ${found.database} TO ${role}`,
    ...locking(Object.keys(found.tables)),
    ...dropping({ ...found, tables: outdated }),
    ...REPORTING_VIEWS.filter(({ name }) => !current.includes(name)).flatMap((view) => [
      `CREATE TABLE ${of(view)} (${columnsOf(view)}) PARTITION BY HASH (restaurant_id)`,
      `COMMENT ON TABLE ${of(view)} IS ${escapeLiteral(view.comment)}`,
    ]),
    ...REPORTING_VIEWS.flatMap((view) => [
      `REVOKE ALL ON ${of(view)} FROM PUBLIC, ${role}`,
      `GRANT SELECT ON ${of(view)} TO ${role}`,
    ]),
    ...shards.flatMap((shard) => [
      `CREATE SERVER ${serverOf(shard.name)} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (${serverOptions(shard.url, found.version)})`,
      userMapping(serverOf(shard.name), reader),
      ...REPORTING_VIEWS.flatMap((view) => [
        `CREATE FOREIGN TABLE ${REPORTING_SCHEMA}.${partitionOf(view.name, shard.name)} PARTITION OF ${of(view)} ` +
          `FOR VALUES WITH (MODULUS ${shard.modulus}, REMAINDER ${shard.remainder}) SERVER ${serverOf(shard.name)} ` +
          `OPTIONS (schema_name '${schemaOfClass(shard)}', table_name '${view.name}')`,
        `REVOKE ALL ON ${REPORTING_SCHEMA}.${partitionOf(view.name, shard.name)} FROM PUBLIC`,
      ]),
    ]),
    ...Object.entries(PLANNER).map(([name, value]) => `ALTER DATABASE ${found.database} SET ${name} = ${value}`),
  ];
}

/**
 * GROUP BY restaurant_id, and joins by it, are then work of the databases that have the restaurants. A plan for any
 * parameter would ask all of them where it aggregates, so one is made for each.
 */
const PLANNER = {
  enable_partitionwise_aggregate: 'on',
  enable_partitionwise_join: 'on',
  plan_cache_mode: 'force_custom_plan',
};

/**
 * For PUBLIC, since a mapping is not inherited by the members of a group: who may read is decided by the grants on the
 * tables. Of a mapping for PUBLIC the owner of the server alone can see the password. The error of a statement quotes it,
 * so it is raised again, without where it came from.
 */
const userMapping = (server: string, { user }: Reader) => `DO $$
BEGIN
  ${UNLOGGED_AS_FAR_AS_ALLOWED}
  EXECUTE format('CREATE USER MAPPING FOR PUBLIC SERVER ${server.replaceAll("'", "''")} OPTIONS (user %L, password %L)',
    convert_from('\\x${Buffer.from(user).toString('hex')}', 'UTF8'), current_setting('${PASSWORD_SETTING}'));
EXCEPTION WHEN OTHERS THEN
  RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = 'The user mapping of a foreign server cannot be made.';
END $$`;

/**
 * Waits for reports at one table alone: a session that waited at a second one, and held the first, would deadlock with a
 * report that reads them the other way round. Where another is in use it is all tried again, as after any lock time-out.
 * Without the parts, which nobody reads but through the tables.
 */
const locking = ([first, ...others]: readonly string[]) => [
  ...(first === undefined ? [] : [`LOCK TABLE ONLY ${REPORTING_SCHEMA}.${first} IN ACCESS EXCLUSIVE MODE`]),
  ...others.map((name) => `LOCK TABLE ONLY ${REPORTING_SCHEMA}.${name} IN ACCESS EXCLUSIVE MODE NOWAIT`),
];

interface ToDrop {
  readonly servers: readonly string[];
  readonly partitions: readonly string[];
  readonly tables: readonly string[];
}

/** Without CASCADE: what somebody has built upon a table that goes stops it. */
const dropping = ({ servers, partitions, tables }: ToDrop) => [
  ...partitions.map((name) => `DROP FOREIGN TABLE ${REPORTING_SCHEMA}.${name}`),
  ...tables.map((name) => `DROP TABLE ${REPORTING_SCHEMA}.${name}`),
  ...servers.flatMap((server) => [`DROP USER MAPPING IF EXISTS FOR PUBLIC SERVER ${server}`, `DROP SERVER ${server}`]),
];

/** Takes all of it out of the reporting database but the extension and the role. */
export async function dropForeignTables(queryRunner: QueryRunner): Promise<boolean> {
  const [found] = await query<Found>(queryRunner, FIND);
  const { database, tables, ...rest } = found!;
  const isThere = Object.keys(tables).length + rest.servers.length + rest.partitions.length > 0;
  await whileLocked(
    queryRunner,
    ...locking(Object.keys(tables)),
    ...dropping({ ...rest, tables: Object.keys(tables) }),
    `DROP SCHEMA IF EXISTS ${REPORTING_SCHEMA}`,
    ...Object.keys(PLANNER).map((name) => `ALTER DATABASE ${database} RESET ${name}`),
  );
  return isThere;
}
