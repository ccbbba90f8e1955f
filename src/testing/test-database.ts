import { randomBytes } from 'node:crypto';
import { type Client } from 'pg';
import { AbstractLogger } from 'typeorm';
import { createDataSourceOptions, PaymentEventsDataSource } from '../data-source';
import { sql } from '../database/sql';
import { validateSettings } from '../validation/validate-options';
import { CreateTestDatabaseOptions, DatabaseRef, PrefixRef, ServerRef, TemplateOptions } from './test-database-options';
import { withClient } from './with-client';

export { type CreateTestDatabaseOptions, type TemplateOptions } from './test-database-options';

/** A database for one test file. */
export interface TestDatabase {
  name: string;
  url: string;
  /** Ends what sessions there are and drops it. */
  drop(): Promise<void>;
}

/** PostgreSQL's own, without anything that an administrator may have added to template1. */
const EMPTY = 'template0';

/**
 * The address of another database of the same server.
 *
 * @throws ConfigurationError
 */
export function databaseUrl(serverUrl: string, name: string): string {
  validateSettings({ DatabaseRef }, { serverUrl, name });
  const url = new URL(serverUrl);
  url.pathname = `/${encodeURIComponent(name)}`;
  return url.href;
}

/**
 * Makes a database with all migrations run, to be copied by {@link createTestDatabase}: that takes a fraction of the
 * time that migrating takes. Nobody can connect to it afterwards, since PostgreSQL copies only a database without sessions.
 *
 * @throws ConfigurationError
 */
export async function createTemplateDatabase(
  serverUrl: string,
  name: string,
  options?: TemplateOptions,
): Promise<void> {
  validateSettings({ DatabaseRef }, { serverUrl, name });
  const { prepare } = validateSettings({ TemplateOptions }, options);
  await withClient(serverUrl, (client) => copyDatabase(client, EMPTY, name));
  try {
    const url = databaseUrl(serverUrl, name);
    const dataSource = new PaymentEventsDataSource(createDataSourceOptions({ url, logger: new Silence() }));
    try {
      await dataSource.initialize();
      await dataSource.runMigrations();
    } finally {
      if (dataSource.isInitialized) await dataSource.destroy();
    }
    await prepare?.(url);
    await withClient(serverUrl, (client) =>
      client.query(`ALTER DATABASE ${client.escapeIdentifier(name)} ALLOW_CONNECTIONS false`),
    );
  } catch (error) {
    await dropDatabase(serverUrl, name);
    throw error;
  }
}

/**
 * Makes a database with a name of its own, empty or a copy of a template. Any number of processes may do so at once.
 *
 * ```ts
 * const server = await startTestServer();
 * await createTemplateDatabase(server.url, 'orders_template');
 * const database = await createTestDatabase(server.url, { template: 'orders_template' });
 * const dataSource = await new PaymentEventsDataSource(createDataSourceOptions({ url: database.url })).initialize();
 * ```
 *
 * @throws ConfigurationError naming each option that is wrong
 */
export async function createTestDatabase(
  serverUrl: string,
  options?: CreateTestDatabaseOptions,
): Promise<TestDatabase> {
  validateSettings({ ServerRef }, { serverUrl });
  const { template = EMPTY, prefix = 'payment_events_test' } = validateSettings({ CreateTestDatabaseOptions }, options);
  const name = `${prefix}_${randomBytes(4).toString('hex')}`;
  await withClient(serverUrl, (client) => copyDatabase(client, template, name));
  return { name, url: databaseUrl(serverUrl, name), drop: () => dropDatabase(serverUrl, name) };
}

/**
 * Drops every database whose name starts with the prefix and an underscore, and returns their names.
 *
 * @throws ConfigurationError
 */
export async function dropTestDatabases(serverUrl: string, prefix: string): Promise<string[]> {
  const names = await listTestDatabases(serverUrl, prefix);
  for (const name of names) await dropDatabase(serverUrl, name);
  return names;
}

const databasesOf = (prefix: string) => sql`
  SELECT datname FROM pg_database WHERE starts_with(datname, ${prefix}) ORDER BY datname`;

/**
 * The databases whose names start with the prefix and an underscore.
 *
 * @throws ConfigurationError
 */
export async function listTestDatabases(serverUrl: string, prefix: string): Promise<string[]> {
  validateSettings({ PrefixRef }, { serverUrl, prefix });
  const { rows } = await withClient(serverUrl, (client) =>
    client.query<{ datname: string }>(databasesOf(`${prefix}_`)),
  );
  return rows.map((row) => row.datname);
}

/** A migration that fails is an error; that one ran is no news to a test run. */
class Silence extends AbstractLogger {
  protected writeLog(): void {}
}

async function copyDatabase(client: Client, template: string, name: string): Promise<void> {
  const copy = `CREATE DATABASE ${client.escapeIdentifier(name)} TEMPLATE ${client.escapeIdentifier(template)}`;
  // The same order of texts on every server; a copy takes it from its template.
  const statement = template === EMPTY ? `${copy} ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'` : copy;
  // A session in the template that is just closing does no harm: PostgreSQL waits five seconds for it.
  await client.query(statement);
}

/** Ends the sessions of a database and drops it. */
export async function dropDatabase(serverUrl: string, name: string): Promise<void> {
  await withClient(serverUrl, (client) =>
    client.query(`DROP DATABASE IF EXISTS ${client.escapeIdentifier(name)} WITH (FORCE)`),
  );
}
