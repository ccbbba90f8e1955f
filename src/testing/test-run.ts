import { randomBytes } from 'node:crypto';
import { ConfigurationError } from '../errors';
import { validateSettings } from '../validation/validate-options';
import { DatabaseJanitor } from './database-janitor';
import { createTemplateDatabase } from './test-database';
import { TemplateOptions } from './test-database-options';
import { startTestServer, type TestServer } from './test-server';

/** What the processes of a test run know of it: handed from the global set-up to the test files as a variable. */
export interface TestRun {
  readonly serverUrl: string;
  /** What the names of this run's databases start with, so that runs may share a server. */
  readonly prefix: string;
  /** The migrated database that each test file gets a copy of. */
  readonly template: string;
  /** Why the template could not be made: only the files that need it fail. */
  readonly templateError?: string;
}

/** A test run as the process knows it that has started it. */
export interface StartedTestRun extends TestRun {
  readonly server: TestServer;
  /** Drops its databases and stops the server. Where it is not called, that happens when the process has ended. */
  end(): Promise<void>;
  /** Ends it, but leaves databases and server for someone to look at, and says how they go. */
  keep(): Promise<string>;
}

const VARIABLE = 'PAYMENT_EVENTS_DB_TEST_RUN';

/**
 * Starts a server for a test run, as {@link startTestServer} finds one, and makes a migrated template, of which each test file
 * gets a copy: see {@link useTestDatabase}. `payment-events-db/testing/global-setup` does no more than that.
 *
 * It ends with the process, by whatever death. Processes that are started afterwards know of it by a variable of their
 * environment.
 *
 * ```ts
 * export default async () => {
 *   const run = await startTestRun({ prepare: (url) => migrateMyTables(url) });
 *   return () => run.end();
 * };
 * ```
 *
 * @throws what {@link startTestServer} throws
 * @throws ConfigurationError naming each option that is wrong
 */
export async function startTestRun(options?: TemplateOptions): Promise<StartedTestRun> {
  const given = validateSettings({ TemplateOptions }, options);
  const server = await startTestServer();
  const prefix = `payment_events_test_${randomBytes(4).toString('hex')}`;
  const template = `${prefix}_template`;
  const janitor = server.kind === 'given' ? new DatabaseJanitor(server.url, prefix) : undefined;
  const templateError = await createTemplateDatabase(server.url, template, given).then(
    () => undefined,
    // Tests that need no migrated database can still run.
    (error: unknown) => (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  const run = { serverUrl: server.url, prefix, template, ...(templateError !== undefined && { templateError }) };
  publishTestRun(run);
  let ended: Promise<void> | undefined;
  const end = () => (ended ??= Promise.resolve(janitor?.end()).then(() => server.stop()));
  const keep = async () => {
    await janitor?.keep();
    return server.keep();
  };
  return { ...run, server, end, keep };
}

/** Tells the processes that are started from now on. */
export function publishTestRun(run: TestRun): void {
  process.env[VARIABLE] = JSON.stringify(run);
}

/**
 * The test run that this process belongs to.
 *
 * @throws ConfigurationError there is none
 */
export function currentTestRun(): TestRun {
  const value = process.env[VARIABLE];
  if (value) return JSON.parse(value) as TestRun;
  throw new ConfigurationError(
    "No test run was started. In the configuration of Jest or Vitest, say globalSetup: 'payment-events-db/testing/global-setup'.",
  );
}
