/** What the processes of one test run know of it: handed from the global set-up to the spec files as a variable. */
export interface TestRun {
  serverUrl: string;
  /** What the names of this run's databases start with, so that runs may share a server. */
  prefix: string;
  template: string;
  /** For what its files share: a folder that is there as long as the run. */
  folder: string;
  /** Why the migrated template could not be made: only the files that need it fail. */
  templateError?: string;
}

const VARIABLE = 'PAYMENT_EVENTS_DB_TEST_RUN';

export function publishTestRun(run: TestRun): void {
  process.env[VARIABLE] = JSON.stringify(run);
}

export function currentTestRun(): TestRun {
  const value = process.env[VARIABLE];
  if (!value) throw new Error('No test server: run this through Jest with its global set-up.');
  return JSON.parse(value) as TestRun;
}
