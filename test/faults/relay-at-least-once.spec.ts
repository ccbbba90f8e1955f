import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'pg';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { PaymentEventsDbError } from '../../src/errors';
import { Outbox } from '../../src/outbox/outbox';
import { createTestDatabase, EmbeddedServer, TemporaryDirectory } from '../../src/testing';
import { Broker } from '../fixtures/relay/broker';
import { RelayProcess } from '../fixtures/relay/relay-process';
import { RESTAURANT } from '../support/auth-requests';
import { Load } from '../support/load';
import { quietDataSource } from '../support/quiet-data-source';
import { eventually } from '../support/races';

jest.setTimeout(240_000);

const RELAYS = 4;
const CLIENTS = 10;
const ENQUEUERS = 10;
const ROUNDS = 8;
/** Rounds in which the database server is killed as well. */
const CRASHES = [2, 5];

const folder = new TemporaryDirectory();
let server: EmbeddedServer;
let databaseUrl: string;
let pool: Pool;
let dataSource: DataSource;
let broker: Broker;
const relays: RelayProcess[] = [];

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
  await RelayProcess.killAll();
  await broker.close();
  await pool.end();
  await dataSource.destroy();
  await folder.remove();
});

function startRelay(index: number): void {
  const pace = ['--retry-delay-ms', '20', '--max-retry-delay-ms', '200', '--max-reconnect-delay-ms', '300'];
  const bounds = ['--batch-size', '25', '--publish-timeout-ms', '1000', '--max-attempts', '10000'];
  relays[index] = new RelayProcess('http-publisher', { databaseUrl, brokerUrl: broker.url }, [...pace, ...bounds]);
}

/** Several transactions at once write for the same few aggregates, and hold no row of them. */
class Enqueuers {
  readonly confirmed: string[] = [];
  readonly #aggregates = Array.from({ length: 4 }, () => uuidv4());
  readonly #all: Promise<void>[];
  #stopping = false;

  constructor(count: number) {
    const outbox = new Outbox(dataSource);
    this.#all = Array.from({ length: count }, async (_, index) => {
      while (!this.#stopping) {
        await this.#enqueue(outbox, this.#aggregates[index % this.#aggregates.length]!);
        await delay(Math.random() * 150);
      }
    });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#all);
  }

  async #enqueue(outbox: Outbox, aggregateId: string): Promise<void> {
    const message = { aggregateId, restaurantId: RESTAURANT, messageType: 'refund_queued', payload: Buffer.from('refund') };
    try {
      const id = await dataSource.transaction(async (manager) => {
        const drawn = await outbox.enqueue(manager, { ...message, lockAggregate: true });
        if (Math.random() < 0.3) await delay(Math.random() * 10);
        return drawn;
      });
      this.confirmed.push(id.toString());
    } catch (error) {
      if (!(error instanceof PaymentEventsDbError && error.retryable)) throw error;
      await delay(50);
    }
  }
}

const enqueuePoison = (aggregateId: string) =>
  dataSource.transaction((manager) =>
    new Outbox(dataSource).enqueue(manager, {
      aggregateId,
      restaurantId: RESTAURANT,
      messageType: 'poison',
      payload: Buffer.from('poison'),
    }),
  );

test('whatever dies meanwhile, each committed message arrives, those of one aggregate in order', async () => {
  broker.trouble = 0.5;
  for (let index = 0; index < RELAYS; index++) startRelay(index);
  const load = new Load(dataSource, CLIENTS);
  const enqueuers = new Enqueuers(ENQUEUERS);

  for (let round = 0; round < ROUNDS; round++) {
    await load.progress(80);
    if (CRASHES.includes(round)) {
      await server.kill();
      await delay(Math.random() * 300);
      server = await EmbeddedServer.start({ dataDirectory: folder.dataDirectory, port: server.port });
    }
    const relay = relays[round % RELAYS]!;
    expect(await eventually(() => relay.has('started'), 60_000)).toBe(true);
    await delay(Math.random() * 300);
    expect(await relay.end('SIGKILL')).toEqual({ exitCode: null, signal: 'SIGKILL' });
    startRelay(round % RELAYS);
  }
  await Promise.all([load.stop(), enqueuers.stop()]);
  const poison = await Promise.all([enqueuePoison(uuidv4()), enqueuePoison(uuidv4())]);
  const isPoison = (id: string) => poison.includes(BigInt(id));

  const outbox = new Outbox(dataSource);
  expect(await eventually(async () => (await outbox.stats()).pending === 0, 90_000)).toBe(true);

  const rows = await query<{ id: string; aggregate_id: string; message_type: string; payload: Buffer; failed: boolean }>(
    `SELECT id, aggregate_id, message_type, payload, failed_at IS NOT NULL AS failed FROM outbox ORDER BY id`,
  );
  const sound = rows.filter(({ id }) => !isPoison(id));
  const arrivals = broker.firstArrivals();

  // Nothing is lost, nothing made up, nothing changed on its way.
  const byId = (a: { id: string }, b: { id: string }) => Number(BigInt(a.id) - BigInt(b.id));
  expect(arrivals.toSorted(byId)).toEqual(
    sound.map(({ id, aggregate_id: aggregateId, message_type: messageType, payload }) => ({
      ...{ id, aggregateId, messageType },
      payload: payload.toString(),
    })),
  );
  expect(enqueuers.confirmed.filter((id) => !sound.some((row) => row.id === id))).toEqual([]);
  await load.expectKept(query);

  const byAggregate = new Map<string, string[]>();
  for (const { aggregateId, id } of arrivals) byAggregate.set(aggregateId, [...(byAggregate.get(aggregateId) ?? []), id]);
  const inOrder = (ids: string[]) => ids.every((id, index) => index === 0 || BigInt(ids[index - 1]!) < BigInt(id));
  expect([...byAggregate.values()].filter((ids) => !inOrder(ids))).toEqual([]);
  expect(rows.filter(({ failed }) => failed).map(({ id }) => BigInt(id))).toEqual(poison.toSorted((a, b) => Number(a - b)));

  // It was as rough as it was meant to be.
  expect(load.failures.length).toBeGreaterThan(0);
  expect(broker.broken).toBeGreaterThan(5);
  expect(broker.arrivals.length).toBeGreaterThan(arrivals.length);
  expect(Math.max(...[...byAggregate.values()].map((ids) => ids.length))).toBeGreaterThan(10);

  for (const relay of relays) {
    expect(await eventually(() => relay.has('started'), 60_000)).toBe(true);
    expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(relay.stderr.split('\n').filter((line) => line.includes('Error'))).toEqual([]);
  }
});
