import 'reflect-metadata';
import { startTestRun } from './test-run';

let started: ReturnType<typeof startTestRun> | undefined;

/**
 * For `globalSetup` of Jest and of Vitest: one server and one migrated template for the whole run, once a process, however often
 * it runs the tests in watch mode. See {@link startTestRun}.
 *
 * @returns what ends the run, for Vitest. Jest does not call it: there it ends with the process
 */
async function globalSetup(): Promise<() => Promise<void>> {
  started ??= startTestRun().then((run) => {
    process.once('beforeExit', () => void run.end());
    return run;
  });
  const run = await started;
  return () => run.end();
}

// One form for `require` and `import`: what an ES module imports as the default is the function itself.
export = globalSetup;
