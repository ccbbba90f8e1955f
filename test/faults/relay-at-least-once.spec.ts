import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { Outbox } from '../../src/outbox/outbox';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { Broker } from '../fixtures/relay/broker';
import { RelayProcess } from '../fixtures/relay/relay-process';
import { SupervisedRelay } from '../fixtures/relay/supervised-relay';
import { RESTAURANT } from '../support/requests/auth-requests';
import { Enqueuers } from '../support/relay/enqueuers';
import { Load } from '../support/requests/load';
import { quietDataSource } from '../support/database/quiet-data-source';
import { atOnce, eventually } from '../support/requests/races';

jest.setTimeout(240_000);

const RELAYS = 4;
/** Producers: half take requests through their lives, half write messages of their own. */
const CLIENTS = 10;
const ENQUEUERS = 10;
/** In each a relay is killed. */
const ROUNDS = 8;
/** Rounds in which the database server is killed too. */
const CRASHES = [2, 5];
const UNREACHABLE = 3;

const folder = new TemporaryDirectory();
let server: EmbeddedServer;
let databaseUrl: string;
let pool: Pool;
let dataSource: DataSource;
let broker: Broker;
let load: Load;
let enqueuers: Enqueuers;
let relays: SupervisedRelay[] = [];

const query = async <Row>(sql: string, params?: unknown[]) => (await pool.query(sql, params)).rows as Row[];

beforeAll(async () => {
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory });
  databaseUrl = (await createTestDatabase(server.url)).url;
  dataSource = await quietDataSource({ url: databaseUrl, poolSize: CLIENTS + ENQUEUERS });
  await dataSource.runMigrations();
  pool = new Pool({ connectionString: databaseUrl, max: 2 }).on('error', () => undefined);
  broker = await Broker.start();
});

afterAll(async () => {
  // Where the test failed, they run on.
  await Promise.allSettled([load?.stop(), enqueuers?.stop(), ...relays.map((relay) => relay.stop('SIGKILL'))]);
  await broker?.close();
  await pool?.end();
  await dataSource?.destroy();
  await folder.remove();
});

function startRelay(): RelayProcess {
  const pace = ['--retry-delay-ms', '20', '--max-retry-delay-ms', '200', '--max-reconnect-delay-ms', '100'];
  const bounds = ['--batch-size', '25', '--publish-timeout-ms', '500', '--max-attempts', '10000'];
  return new RelayProcess('http-publisher', { databaseUrl, brokerUrl: broker.url }, [...pace, ...bounds]);
}

/** A relay that delivers is killed, and with it the server, where a crash of that is to be done. */
async function kill(relay: SupervisedRelay, { withServer }: { withServer: boolean }): Promise<void> {
  expect(await eventually(() => relay.process.has('started'), 60_000)).toBe(true);
  await delay(Math.random() * 300);
  if (withServer) await server.kill();
  expect(await relay.process.end('SIGKILL')).toEqual({ exitCode: null, signal: 'SIGKILL' });
  if (!withServer) return;
  // Its successor finds no database, and ends over it.
  expect(await eventually(() => relay.endings.at(-1)?.exitCode === UNREACHABLE, 60_000)).toBe(true);
  server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port: server.port });
}

const enqueuePoison = () =>
  dataSource.transaction((manager) =>
    new Outbox(dataSource).enqueue(manager, {
      aggregateId: uuidv4(),
      restaurantId: RESTAURANT,
      messageType: 'poison',
      payload: Buffer.from('poison'),
    }),
  );

interface Row {
  id: string;
  aggregate_id: string;
  message_type: string;
  payload: Buffer;
  failed: boolean;
}

const ROWS = `SELECT id, aggregate_id, message_type, payload, failed_at IS NOT NULL AS failed FROM outbox ORDER BY id`;

const isAscending = (ids: bigint[]) => ids.every((id, index) => index === 0 || ids[index - 1]! < id);

test('whatever dies meanwhile, each committed message arrives, those of one aggregate in order', async () => {
  broker.trouble = 0.5;
  relays = Array.from({ length: RELAYS }, () => new SupervisedRelay(startRelay));
  load = new Load(dataSource, CLIENTS);
  enqueuers = new Enqueuers(dataSource, ENQUEUERS);

  for (let round = 0; round < ROUNDS; round++) {
    await load.progress(80);
    await kill(relays[round % RELAYS]!, { withServer: CRASHES.includes(round) });
  }
  await Promise.all([load.stop(), enqueuers.stop()]);
  const poison = await atOnce(2, enqueuePoison);
  const outbox = new Outbox(dataSource);
  expect(await eventually(async () => (await outbox.stats()).pending === 0, 90_000)).toBe(true);

  // The outbox holds dead letters, and they are those that no broker would take.
  const rows = await query<Row>(ROWS);
  const failed = rows.filter((row) => row.failed).map(({ id }) => BigInt(id));
  expect(failed).toEqual(poison.toSorted((a, b) => Number(a - b)));

  // Nothing is lost, nothing made up, nothing changed on its way.
  const sound = rows.filter((row) => !row.failed);
  const arrivals = broker.firstArrivals();
  const asArrival = ({ id, aggregate_id: aggregateId, message_type: messageType, payload }: Row) => ({
    ...{ id, aggregateId, messageType },
    payload: payload.toString(),
  });
  expect(arrivals.toSorted((a, b) => Number(BigInt(a.id) - BigInt(b.id)))).toEqual(sound.map(asArrival));
  const ids = new Set(sound.map(({ id }) => id));
  expect(enqueuers.confirmed.filter((id) => !ids.has(id))).toEqual([]);
  await load.expectKept(query);

  const byAggregate = new Map<string, bigint[]>();
  for (const { aggregateId, id } of arrivals) {
    byAggregate.set(aggregateId, [...(byAggregate.get(aggregateId) ?? []), BigInt(id)]);
  }
  expect([...byAggregate.values()].filter((first) => !isAscending(first))).toEqual([]);

  // It was as rough as it was meant to be.
  expect(load.failures.length).toBeGreaterThan(0);
  expect(broker.broken).toBeGreaterThan(5);
  expect(broker.arrivals.length).toBeGreaterThan(arrivals.length);
  expect(Math.max(...[...byAggregate.values()].map((first) => first.length))).toBeGreaterThan(10);

  for (const relay of relays) {
    expect(await eventually(() => relay.process.has('started'), 60_000)).toBe(true);
    await relay.stop();
  }
  const endings = relays.flatMap((relay) => relay.endings);
  expect(endings.filter(({ signal }) => signal === 'SIGKILL')).toHaveLength(ROUNDS);
  expect(endings.filter(({ exitCode, stderr }) => exitCode === 0 && stderr === '')).toHaveLength(RELAYS);
  const rest = endings.filter(({ signal, exitCode }) => signal !== 'SIGKILL' && exitCode !== 0);
  for (const { exitCode, stderr } of rest) {
    expect(exitCode).toBe(UNREACHABLE);
    expect(stderr).toMatch(/^(No PostgreSQL server answers|The server at .* (is starting up|cannot do it now))/);
  }
});
