import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { parse } from 'yaml';
import { relayCommand } from '../../src/cli/commands/relay';
import { readConfig } from '../../src/config';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Outbox } from '../../src/outbox/outbox';
import { Broker } from '../fixtures/relay/broker';
import { RelayProcess } from '../fixtures/relay/relay-process';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { cliHere, cliProcess } from '../support/processes/cli';
import { codeBlocks } from '../support/docs/doc-code';
import { HttpAnswers } from '../support/processes/http-answers';
import { quietDataSource } from '../support/database/quiet-data-source';
import { commandsIn } from '../support/docs/doc-page';
import { until } from '../support/relay/relayed';
import { useTestDatabase } from '../support/database/use-test-database';
import { compiled } from '../support/jest/compiled';

const HTTP_PUBLISHER = ['--publisher', compiled('test/fixtures/relay/http-publisher.ts')];

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;
let broker: Broker;

beforeAll(async () => {
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
  broker = await Broker.start();
});
afterAll(() => broker.close());
beforeEach(() => database.query('DELETE FROM outbox'));
afterEach(() => RelayProcess.killAll());

const enqueue = (messageType = 'auth_request_queued') =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, {
      ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT },
      ...{ messageType, payload: Buffer.from('p') },
    }),
  );
const logged = (relay: RelayProcess, event: string) => relay.log.filter((line) => line.event === event);

test('delivers by publishers of each type that a function makes, and logs what it gives up', async () => {
  const id = await enqueue();
  const unknown = await enqueue('refund_queued');
  const relay = new RelayProcess('by-type', { databaseUrl: database.url, brokerUrl: broker.url });
  await until('the relay gives it up', () => relay.has('failed'));
  await until('the other arrives', () => broker.arrivals.length === 1);
  expect(broker.arrivals).toEqual([expect.objectContaining({ id: String(id), messageType: 'auth_request_queued' })]);
  expect(logged(relay, 'failed')).toEqual([
    {
      ...{ time: expect.any(String) as string, event: 'failed' },
      ...{ id: String(unknown), messageType: 'refund_queued', attempts: 0 },
      reason: expect.stringContaining('No publisher is configured for messages of type refund_queued') as string,
    },
  ]);
  expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
  expect(relay.stderr).toBe('');
});

test('says why it waits for its broker, without what the publisher said', async () => {
  await enqueue();
  const brokerUrl = broker.url.replace('http://', 'http://user:secret@');
  const relay = new RelayProcess('http-publisher', { databaseUrl: database.url, brokerUrl });
  await until('the relay waits', () => relay.has('unavailable'));
  expect(logged(relay, 'unavailable')).toEqual([
    expect.objectContaining({ error: 'The publisher cannot reach its broker.', cause: 'TypeError' }),
  ]);
  expect(JSON.stringify(relay.log)).not.toContain('secret');
});

describe('before the migrations have run', () => {
  const empty = useTestDatabase({ empty: true });

  test('says what to do, waits, and goes on by itself', async () => {
    const options = ['--max-reconnect-delay-ms', '10'];
    const relay = new RelayProcess('http-publisher', { databaseUrl: empty.url, brokerUrl: broker.url }, options);
    await until('the relay waits', () => relay.has('unavailable'));
    expect(logged(relay, 'unavailable')[0]!.error).toMatch(/\nRun it first: npx payment-events-db migrate$/);
    const migrating = await quietDataSource({ url: empty.url });
    await migrating.runMigrations();
    const { authRequestId } = await new AuthRequests(migrating).authorize(anAuthorizeCommand());
    await until('the relay delivers', () => broker.arrivals.some(({ aggregateId }) => aggregateId === authRequestId));
    await migrating.destroy();
    expect(relay.has('recovered')).toBe(true);
  });
});

test('ends with 64 on a wrong option or publisher, and with 3 where no database is, before anything is delivered', async () => {
  const nowhere = Object.assign(new URL(database.url), { port: '1' }).href;
  const none = await cliHere(nowhere, relayCommand(), []);
  const zero = await cliHere(nowhere, relayCommand(), [...HTTP_PUBLISHER, '--batch-size', '0']);
  const [missing, empty, unreachable] = await Promise.all([
    cliProcess(nowhere, ['relay', '--publisher', './missing.js']),
    cliProcess(nowhere, ['relay', '--publisher', compiled('test/fixtures/relay/no-publisher.ts')]),
    cliProcess(nowhere, ['relay', ...HTTP_PUBLISHER]),
  ]);
  expect(none).toMatchObject({ exitCode: 64, stderr: expect.stringContaining('--publisher <module>') as string });
  expect(zero).toMatchObject({ exitCode: 64, stderr: expect.stringContaining('a whole number above zero') as string });
  expect(missing.stderr).toMatch(/^--publisher: \.\/missing\.js cannot be loaded: Cannot find module/);
  expect(missing.exitCode).toBe(64);
  expect(empty.stderr).toMatch(/no-publisher\.js must have a default export/);
  expect(empty.exitCode).toBe(64);
  expect(unreachable.stderr).toMatch(/^No PostgreSQL server answers/);
  expect(unreachable.exitCode).toBe(3);
});

describe('the page "Run a relay"', () => {
  const PAGE = 'docs/how-to/run-a-relay.md';

  test('has a relay that runs as it stands there', async () => {
    expect(commandsIn(codeBlocks(PAGE, 'bash'))).toEqual(['npx payment-events-db relay --publisher ./publisher.mjs']);
    const folder = mkdtempSync(join(tmpdir(), 'docs-relay-'));
    const publisher = join(folder, 'publisher.mjs');
    writeFileSync(publisher, codeBlocks(PAGE, 'js'));
    const queue = await HttpAnswers.start();
    const statuses = [503, 200];
    queue.answer = () => ({ status: statuses.shift()!, body: {} });
    const id = await enqueue();
    const options = ['--retry-delay-ms', '1'];
    const relay = new RelayProcess(publisher, { databaseUrl: database.url, brokerUrl: queue.endpoint }, options);
    await until('the message goes out', async () => (await outbox.stats()).processedLastMinute === 1);
    expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(relay.log.map(({ event, reason }) => [event, reason])).toEqual([
      ['started', undefined],
      ['refused', 'HTTP 503'],
      ['stopping', undefined],
      ['stopped', undefined],
    ]);
    expect(queue.requests).toEqual(['p', 'p']);
    expect(await database.query('SELECT id FROM outbox WHERE processed_at IS NOT NULL')).toEqual([{ id: String(id) }]);
    await queue.close();
    rmSync(folder, { recursive: true });
  });

  test('has a publisher that is stopped by no message that HTTP cannot carry, and sends no other twice', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'docs-relay-'));
    const publisher = join(folder, 'publisher.mjs');
    writeFileSync(publisher, codeBlocks(PAGE, 'js'));
    const queue = await HttpAnswers.start();
    queue.answer = () => ({ status: 200, body: {} });
    for (let count = 0; count < 3; count++) await enqueue();
    const bad = await enqueue();
    await database.query(`UPDATE outbox SET headers = '{"note": "\u263a"}' WHERE id = $1`, [bad]);
    for (let count = 0; count < 3; count++) await enqueue();
    const relay = new RelayProcess(publisher, { databaseUrl: database.url, brokerUrl: queue.endpoint });
    await until('all is settled', async () => (await outbox.stats()).pending === 0);
    expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(logged(relay, 'unavailable')).toEqual([]);
    expect(await outbox.listFailed()).toEqual([
      expect.objectContaining({ id: bad, attempts: 1, lastError: 'HTTP cannot carry its headers: only Latin-1.' }),
    ]);
    expect(queue.requests).toHaveLength(6);
    await queue.close();
    rmSync(folder, { recursive: true });
  });

  test('has a deployment with options that a relay knows, and the time that it may take to stop', () => {
    const yaml = codeBlocks(PAGE, 'yaml').split(/^(?=groups:)/m)[0]!;
    interface Deployment {
      spec: {
        template: {
          spec: {
            terminationGracePeriodSeconds: number;
            containers: { args: string[]; env: { name: string; value?: string }[] }[];
          };
        };
      };
    }
    const { terminationGracePeriodSeconds, containers } = (parse(yaml) as Deployment).spec.template.spec;
    const { args, env } = containers[0]!;
    expect(args.slice(0, 3)).toEqual(['npx', 'payment-events-db', 'relay']);
    const relay = relayCommand().exitOverride();
    expect(relay.parseOptions(args.slice(3))).toEqual({ operands: [], unknown: [] });
    expect(relay.opts()).toMatchObject({ publisher: './publisher.mjs', batchSize: 100 });
    const { publishTimeoutMs } = relay.opts<{ publishTimeoutMs: number }>();
    expect(terminationGracePeriodSeconds * 1_000).toBeGreaterThan(publishTimeoutMs);
    const { dataSource } = readConfig(Object.fromEntries(env.map(({ name, value = database.url }) => [name, value])));
    expect(dataSource).toMatchObject({ poolSize: 2, url: database.url });
  });
});
