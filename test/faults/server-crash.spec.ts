import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError } from '../../src/errors';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { Load } from '../support/requests/load';
import { quietDataSource } from '../support/database/quiet-data-source';
import { within } from '../support/processes/within';

const LIMIT_MS = 20_000;

let folder: TemporaryDirectory;
let server: EmbeddedServer;
let dataSource: PaymentEventsDataSource;
let pool: Pool;
const query = async <Row>(sql: string, params?: unknown[]) => (await pool.query(sql, params)).rows as Row[];

beforeAll(async () => {
  folder = new TemporaryDirectory();
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
  const { url } = await createTestDatabase(server.url);
  dataSource = await quietDataSource({ url, poolSize: 8 });
  await dataSource.runMigrations();
  pool = new Pool({ connectionString: url }).on('error', () => undefined);
});

afterAll(async () => {
  await dataSource?.destroy();
  await pool?.end();
  await folder.remove();
});

/** As the kernel does when memory runs out, to the server's main process: nothing more gets written by any of them. */
async function killServer(): Promise<void> {
  await server.kill();
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port: server.port });
}

/** To one session: the server then ends all others, throws its memory away and recovers by itself. */
async function killSession(): Promise<void> {
  const [session] = await query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE application_name = 'payment-events-db' ORDER BY random() LIMIT 1`,
  );
  process.kill(session!.pid, 'SIGKILL');
}

it('a server that is killed under load, again and again, keeps what it has confirmed and does nothing by halves', async () => {
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
