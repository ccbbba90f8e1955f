import { setTimeout as delay } from 'node:timers/promises';
import { DatabaseUnavailableError } from '../../src/errors';
import { CrashingServer } from '../support/database/crashing-server';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { within } from '../support/processes/within';
import { Load } from '../support/requests/load';

const LIMIT_MS = 20_000;

let server: CrashingServer;
beforeAll(async () => {
  server = await CrashingServer.start({ poolSize: 8 });
});
afterAll(() => server?.remove());

it('a server that is killed under load, again and again, keeps what it has confirmed and does nothing by halves', async () => {
  const { dataSource, query, kill: killServer, killSession } = server;
  const load = new Load(dataSource, 12);
  for (const kill of [killServer, killSession, killServer, killServer, killSession, killServer, killServer]) {
    await within(LIMIT_MS, 'the load', load.progress(60));
    await delay(Math.random() * 50);
    const failures = load.failures.length;
    await kill();
    await within(LIMIT_MS, 'noticing', load.failing(failures));
    // Through the pool that it began with.
    await within(LIMIT_MS, 'the load', load.progress(60));
  }
  await load.stop();

  expect(load.failures.filter((failure) => !(failure instanceof DatabaseUnavailableError))).toEqual([]);
  await load.expectKept(query);
  await expectNothingHalfDone(query, dataSource);
});
