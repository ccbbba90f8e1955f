import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { DatabaseUnavailableError } from '../../src/errors';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { quietDataSource } from '../support/database/quiet-data-source';
import { expectNothingHalfDone } from '../support/migrations/half-done';
import { within } from '../support/processes/within';
import { Callers } from '../support/requests/callers';

const LIMIT_MS = 60_000;
const CALLERS = 120;

let folder: TemporaryDirectory;
let server: EmbeddedServer;
let dataSource: PaymentEventsDataSource;
let pool: Pool;
let callers: Callers | undefined;
const query = async <Row>(sql: string, params?: unknown[]) => (await pool.query(sql, params)).rows as Row[];

beforeAll(async () => {
  folder = new TemporaryDirectory();
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
  const { url } = await createTestDatabase(server.url);
  dataSource = await quietDataSource({ url, poolSize: 6, coalescedStatements: 3 });
  await dataSource.runMigrations();
  pool = new Pool({ connectionString: url }).on('error', () => undefined);
});

afterAll(async () => {
  void callers?.stop().catch(() => undefined);
  await dataSource?.destroy();
  await pool?.end();
  await folder.remove();
});

/** As the kernel does when memory runs out: nothing more gets written by any of its processes. */
async function killServer(): Promise<void> {
  await server.kill();
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port: server.port });
}

/** To one session: the server then ends all others and recovers by itself. */
async function killSession(): Promise<void> {
  const [session] = await query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE application_name = 'payment-events-db' ORDER BY random() LIMIT 1`,
  );
  process.kill(session!.pid, 'SIGKILL');
}

const terminate = () =>
  query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'payment-events-db'`);

it('a server that is killed while calls travel together keeps all that was confirmed, and they go on by themselves', async () => {
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
