import { type Client, type DatabaseError, escapeIdentifier } from 'pg';
import { ClosingClient } from '../../src/database/closing-client';
import { databaseAddress } from '../../src/database/database-address';
import { withDatabase } from '../../src/database/database-url';

const CONNECT_TIMEOUT_MS = 5_000;

const INVALID_CATALOG_NAME = '3D000';
/** Somebody else has created it between our look and our CREATE. */
const CREATED_MEANWHILE = ['42P04', '23505'];

/**
 * Makes sure that the URL's database exists, by way of the database `postgres` of the same server.
 *
 * @returns whether it was created now
 */
export async function createDatabaseIfMissing(url: string): Promise<boolean> {
  try {
    await withClient(url, () => Promise.resolve());
    return false;
  } catch (error) {
    if (sqlState(error) !== INVALID_CATALOG_NAME) throw error;
  }
  try {
    await withClient(maintenanceUrl(url), (client) => create(client, url));
    return true;
  } catch (error) {
    if (CREATED_MEANWHILE.includes(sqlState(error) ?? '')) return false;
    throw error;
  }
}

/** Deletes the URL's database with all that is in it, ends the sessions in it, and creates it again, empty. */
export async function recreateDatabase(url: string): Promise<void> {
  await withClient(maintenanceUrl(url), async (client) => {
    await client.query(`DROP DATABASE IF EXISTS ${escapeIdentifier(databaseAddress(url).database)} WITH (FORCE)`);
    await create(client, url);
  });
}

// template0, since only it may be copied in another encoding than the server's own.
async function create(client: Client, url: string): Promise<void> {
  await client.query(
    `CREATE DATABASE ${escapeIdentifier(databaseAddress(url).database)} ENCODING 'UTF8' TEMPLATE template0`,
  );
}

const maintenanceUrl = (url: string) => withDatabase(url, 'postgres');

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new ClosingClient({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  // A connection lost between two queries shows in the next one; without a listener it would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
  }
}

function sqlState(error: unknown): string | undefined {
  return error instanceof Error ? (error as DatabaseError).code : undefined;
}
