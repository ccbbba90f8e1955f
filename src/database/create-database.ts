import { type Client, escapeIdentifier } from 'pg';
import { CannotCreateError } from '../errors';
import { ClosingClient } from './closing-client';
import { databaseAddress } from './database-address';
import { withDatabase } from './database-url';
import { disarm } from './disarm';
import { sql } from './sql';

const CONNECT_TIMEOUT_MS = 5_000;

const NO_SUCH_DATABASE = '3D000';
const NO_PRIVILEGE = '42501';
/** Somebody else has made it between our look and our statement: the index of names tells, or the check before it. */
const MADE_MEANWHILE = ['42P04', '42P06', '23505'];

/** The database that every server has, to make others from. */
export const MAINTENANCE_DATABASE = 'postgres';

/**
 * Makes sure that the URL's database is there. The first look is at itself, so that a user who may not enter the
 * maintenance database needs to only where there is something to make.
 *
 * Right under read committed: of two that make it, the second waits for the first at the unique index of names, and finds
 * it there.
 *
 * @returns whether it was made now
 * @throws CannotCreateError where a right or the maintenance database is missing
 */
export async function createDatabaseIfMissing(url: string, maintenance = MAINTENANCE_DATABASE): Promise<boolean> {
  try {
    await withClient(url, () => Promise.resolve());
    return false;
  } catch (error) {
    if (sqlState(error) !== NO_SUCH_DATABASE) throw error;
  }
  return await withMaintenance(url, maintenance, async (client) => {
    try {
      await create(client, url);
      return true;
    } catch (error) {
      if (MADE_MEANWHILE.includes(sqlState(error) ?? '')) return false;
      if (sqlState(error) !== NO_PRIVILEGE) throw error;
      const { database, user } = named(url);
      throw new CannotCreateError(
        `User ${user} may not create a database. As a superuser: CREATE DATABASE ${database} OWNER ${user} ` +
          `TEMPLATE template0 ENCODING 'UTF8', or ALTER ROLE ${user} CREATEDB and run this again.`,
        { cause: error },
      );
    }
  });
}

/** Deletes the URL's database with all that is in it, ends the sessions in it, and creates it again, empty. */
export async function recreateDatabase(url: string): Promise<void> {
  await withMaintenance(url, MAINTENANCE_DATABASE, async (client) => {
    await client.query(`DROP DATABASE IF EXISTS ${escapeIdentifier(databaseAddress(url).database)} WITH (FORCE)`);
    await create(client, url);
  });
}

const schemaNamed = (schema: string) => sql`SELECT FROM pg_namespace WHERE nspname = ${schema}`;

/**
 * Makes sure that a schema is there, in a database that is.
 *
 * @returns whether it was made now
 * @throws CannotCreateError where the right is missing
 */
export async function createSchemaIfMissing(url: string, schema: string): Promise<boolean> {
  return await withClient(url, async (client) => {
    // Looked for first: IF NOT EXISTS asks for the right to make it where it is there as well.
    const { rows } = await client.query(schemaNamed(schema));
    if (rows.length > 0) return false;
    try {
      await client.query(`CREATE SCHEMA ${escapeIdentifier(schema)}`);
      return true;
    } catch (error) {
      if (MADE_MEANWHILE.includes(sqlState(error) ?? '')) return false;
      if (sqlState(error) !== NO_PRIVILEGE) throw error;
      const { user } = named(url);
      throw new CannotCreateError(
        `User ${user} may not create a schema. As the owner of the database: CREATE SCHEMA ${schema} AUTHORIZATION ${user}.`,
        { cause: error },
      );
    }
  });
}

// template0, since only it may be copied in another encoding than the server's own.
async function create(client: Client, url: string): Promise<void> {
  const name = escapeIdentifier(databaseAddress(url).database);
  await client.query(`CREATE DATABASE ${name} ENCODING 'UTF8' TEMPLATE template0`);
}

async function withMaintenance<T>(url: string, name: string, work: (client: Client) => Promise<T>): Promise<T> {
  const mayNot = (error: unknown) => {
    const state = sqlState(error);
    if (state !== NO_SUCH_DATABASE && state !== NO_PRIVILEGE) return error;
    const why = state === NO_PRIVILEGE ? `user ${named(url).user} may not connect to it` : 'it does not exist';
    return new CannotCreateError(
      `A database is made from another one, ${disarm(name)}, and ${why} (${state}). Name one with --maintenance-db.`,
      { cause: error },
    );
  };
  return await withClient(withDatabase(url, name), work, mayNot);
}

/** As SQL has them: advice is there to be copied. */
function named(url: string): { database: string; user: string } {
  const { database, user } = databaseAddress(url);
  return { database: disarm(escapeIdentifier(database)), user: disarm(escapeIdentifier(user)) };
}

async function withClient<T>(
  url: string,
  work: (client: Client) => Promise<T>,
  ofConnecting = (error: unknown) => error,
): Promise<T> {
  const client = new ClosingClient({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // A connection lost between two queries shows in the next one; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect().catch((error: unknown) => {
      throw ofConnecting(error);
    });
    return await work(client);
  } finally {
    await client.end();
  }
}

function sqlState(error: unknown): string | undefined {
  return error instanceof Error ? (error as { code?: string }).code : undefined;
}
