import { ending } from './global-setup';

/** Drops what the run made, but for the databases of failed files: see {@link globalSetup}. */
export default async function globalTeardown(): Promise<void> {
  await ending.endPaymentEventsTestRun?.();
}
