import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createTemplateDatabase,
  databaseUrl,
  dropTestDatabases,
  listTestDatabases,
  startTestServer,
  type TestServer,
} from '../../../src/testing';
import { dropDatabase } from '../../../src/testing/test-database';
import { publishTestRun, type TestRun } from './test-run';

/** Where the global teardown, another module of the same process, finds how to end the run. */
export const ending = globalThis as { endPaymentEventsTestRun?: () => Promise<void> };

const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** One server and one migrated template for the whole run. */
export default async function globalSetup(): Promise<void> {
  const server = await startTestServer();
  console.error(`Tests use ${server.description}.`);
  const prefix = `payment_events_test_${randomBytes(4).toString('hex')}`;
  const folder = await mkdtemp(join(tmpdir(), 'payment events test run '));
  const run: TestRun = { serverUrl: server.url, prefix, template: `${prefix}_template`, folder };
  const interrupted = (signal: keyof typeof EXIT_CODES) => {
    delete ending.endPaymentEventsTestRun;
    void discard(server, run).finally(() => process.exit(EXIT_CODES[signal]));
  };
  // Jest runs no teardown when it is interrupted.
  process.once('SIGINT', interrupted).once('SIGTERM', interrupted);
  ending.endPaymentEventsTestRun = () => {
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
    return finish(server, run);
  };
  try {
    await createTemplateDatabase(server.url, run.template);
  } catch (error) {
    // Tests of the migrations themselves start from an empty database and can still run.
    run.templateError = error instanceof Error ? (error.stack ?? error.message) : String(error);
  }
  publishTestRun(run);
}

async function finish(server: TestServer, run: TestRun): Promise<void> {
  await rm(run.folder, { recursive: true, force: true });
  const kept = (await listTestDatabases(server.url, run.prefix)).filter((name) => name !== run.template);
  if (kept.length === 0 || process.env.CI) return discard(server, run);
  const addresses = kept.map((name) => `  ${databaseUrl(server.url, name)}`);
  console.error(['Kept the databases of failed test files:', ...addresses, server.keep()].join('\n'));
  await dropDatabase(server.url, run.template);
}

async function discard(server: TestServer, run: TestRun): Promise<void> {
  await rm(run.folder, { recursive: true, force: true });
  if (server.kind === 'given') await dropTestDatabases(server.url, run.prefix);
  await server.stop();
}
