import 'reflect-metadata';
import { mkdir, rm } from 'node:fs/promises';
import { startTestRun } from '../../../src/testing';
import { databaseUrl, dropDatabase, listTestDatabases } from '../../../src/testing/test-database';
import { compile } from './compiled';
import { folderOf } from './once-a-run';

/** Where the global teardown, another module of the same process, finds how to end the run. */
export const ending = globalThis as { endPaymentEventsTestRun?: () => Promise<void> };

/** One server and one migrated template for the whole run. */
export default async function globalSetup(): Promise<void> {
  const run = await startTestRun();
  const { server, serverUrl, prefix, template } = run;
  console.error(`Tests use ${server.description}.`);
  await mkdir(folderOf(run));
  compile(run);
  ending.endPaymentEventsTestRun = async () => {
    await rm(folderOf(run), { recursive: true, force: true });
    const kept = (await listTestDatabases(serverUrl, prefix)).filter((name) => name !== template);
    if (kept.length === 0 || process.env.CI) return run.end();
    const addresses = kept.map((name) => `  ${databaseUrl(serverUrl, name)}`);
    console.error(['Kept the databases of failed test files:', ...addresses, await run.keep()].join('\n'));
    await dropDatabase(serverUrl, template);
  };
}
