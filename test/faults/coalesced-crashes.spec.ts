import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseUnavailableError } from '../../src/errors';
import { CrashingServer } from '../support/database/crashing-server';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { within } from '../support/processes/within';
import { Callers } from '../support/requests/callers';

const LIMIT_MS = 60_000;
const CALLERS = 120;

let server: CrashingServer;
let callers: Callers | undefined;

beforeAll(async () => {
  server = await CrashingServer.start({ poolSize: 6, coalescedStatements: 3 });
});

afterAll(async () => {
  void callers?.stop().catch(() => undefined);
  await server?.remove();
});

const terminate = () =>
  server.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'payment-events-db'`);

it('a server that is killed while calls travel together keeps all that was confirmed, and they go on by themselves', async () => {
  const { dataSource, query, kill: killServer, killSession } = server;
  callers = new Callers(dataSource, CALLERS);
  for (const kill of [killServer, terminate, killSession, killServer, terminate, killServer]) {
    await within(LIMIT_MS, 'the callers', callers.progress(4 * CALLERS));
    await delay(Math.random() * 50);
    await kill();
    // Through the DataSource that they began with.
    await within(LIMIT_MS, 'the callers', callers.progress(4 * CALLERS));
  }
  await callers.stop();

  expect(callers.failures.length).toBeGreaterThan(0);
  expect(callers.failures.filter((failure) => !(failure instanceof DatabaseUnavailableError))).toEqual([]);
  await callers.expectKept(query);
  await expectNothingHalfDone(query, dataSource);
});
