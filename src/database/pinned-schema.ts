import { type PoolClient } from 'pg';
import { type DataSource } from 'typeorm';
import { ConfigurationError, WrongSchemaError } from '../errors';
import { settingsOf } from './settings';

/** Where the tables are when nobody says otherwise. */
export const DEFAULT_SCHEMA = 'public';

/** A name that needs no quotes anywhere, and that PostgreSQL does not keep for itself. */
export const SCHEMA_NAMES = /^(?!pg_)[a-z_][a-z0-9_]{0,62}$/;

/** What a name must be, for the message that refuses it. */
export const SCHEMA_NAME =
  'must be a name of 1 to 63 of a-z, 0-9 and _, which does not begin with a digit and not with pg_';

/**
 * The schema that a DataSource is for.
 *
 * @throws ConfigurationError where TypeORM was given another one, and would keep a history of its own there
 */
export function schemaOf(dataSource: DataSource): string {
  const { schema } = dataSource.options as { schema?: string };
  const given = settingsOf(dataSource).schema;
  if (given !== undefined && schema !== given) {
    throw new ConfigurationError('The schema is to be given to createDataSourceOptions, and nowhere else.');
  }
  return schema ?? DEFAULT_SCHEMA;
}

/** Temporary tables come last: none of somebody's can take the place of ours. */
export const searchPath = (schema: string): string => `"${schema}", pg_temp`;

interface Place {
  schema: string | null;
  path: string;
  user: string;
  database: string;
}

const LOOK = `
  SELECT current_schema() AS schema, current_setting('search_path') AS path, quote_ident(session_user) AS user,
    quote_ident(current_database()) AS database`;

/**
 * Makes sure that whatever this session names without a schema is in that one, and stays so: also when a schema named
 * like the user appears.
 *
 * @throws WrongSchemaError
 */
export async function assertPinned(session: { query(sql: string): Promise<unknown> }, schema: string): Promise<void> {
  const [place] = (await session.query(LOOK)) as [Place];
  assertPlace(place, schema);
}

function assertPlace({ schema: found, path, user, database }: Place, schema: string): void {
  const [first] = path.split(',');
  if (first?.trim().replace(/^"(.*)"$/, '$1') !== schema) {
    throw new WrongSchemaError(
      `The search_path of connections of user ${user} is ${path}: it must begin with ${schema}. Behind a pooler that does ` +
        `not pass options on, set it for the role: ALTER ROLE ${user} IN DATABASE ${database} SET search_path = ` +
        `${searchPath(schema)}. Only connections that are opened afterwards have it.`,
    );
  }
  if (found !== schema) {
    throw new WrongSchemaError(
      `There is no schema ${schema} in database ${database}, or user ${user} may not use it. As its owner: CREATE SCHEMA ` +
        `${schema}, or GRANT USAGE ON SCHEMA ${schema} TO ${user}. To use another schema: PAYMENT_EVENTS_DB_SCHEMA.`,
    );
  }
}

/** For `pg-pool`: looks at each new connection once, before it is handed out. */
export const verifying =
  (schema: string, timeoutMs: number) =>
  (client: PoolClient, done: (error?: Error) => void): void => {
    const look = { text: LOOK, query_timeout: timeoutMs };
    client.query<Place>(look).then(
      ({ rows }) => {
        try {
          assertPlace(rows[0]!, schema);
          done();
        } catch (error) {
          done(error as Error);
        }
      },
      (error: Error) => done(error),
    );
  };
