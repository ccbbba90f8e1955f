import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Module, type OnModuleInit } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type DataSource } from 'typeorm';
import { AuthRequests, BrokerUnavailableError, Outbox, OutboxRelay, Sweeper } from '../../../src';
import { ModuleRelayOptions, PaymentEventsDbModule, type PaymentEventsDbModuleOptions } from '../../../src/nest';
import { WorkerModule } from '../../fixtures/readme/worker.module';
import { NestLog } from '../../support/nest/nest-log';
import { RecordingPublisher } from '../../../src/testing/recording-publisher';
import { until } from '../../support/relay/relayed';
import { anAuthorizeCommand } from '../../support/requests/auth-requests';
import { aLostRequest, HOUR, letPass } from '../../support/sweeper/sweeping';
import { useTestDatabase } from '../../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
beforeAll(async () => {
  dataSource = await database.dataSource();
});
beforeEach(() => database.query('DELETE FROM outbox'));

const authorize = () => new AuthRequests(dataSource).authorize(anAuthorizeCommand());
const stats = () => new Outbox(dataSource).stats();

class ClosingPublisher extends RecordingPublisher {
  closed = 0;
  close() {
    this.closed++;
    return Promise.resolve();
  }
}

const start = (module: object, logger: NestLog | false = false) =>
  NestFactory.createApplicationContext(module as never, { logger, abortOnError: false });
const startWith = (options: PaymentEventsDbModuleOptions, log?: NestLog) =>
  start(PaymentEventsDbModule.forRoot({ dataSource: { url: database.url }, ...options }), log);
const relayTo = (publishers: ModuleRelayOptions['publishers'], more: object = {}): ModuleRelayOptions => ({
  ...{ publishers, pollIntervalMs: 5, maxReconnectDelayMs: 5 },
  ...more,
});

test('the worker of the how-to has a relay and a sweeper, as its ConfigService says', async () => {
  const environment = { ...process.env };
  Object.assign(process.env, { DATABASE_URL: database.url, BROKER_URL: 'amqp://127.0.0.1:1' });
  const log = new NestLog();
  await authorize();
  const app = await start(WorkerModule, log);
  process.env = environment;
  expect([app.get(OutboxRelay), app.get(Sweeper)]).toEqual([expect.any(OutboxRelay), expect.any(Sweeper)]);
  await until('it looks for its broker', () => log.of('OutboxRelay').length > 0);
  await app.close();
  expect(log.of('OutboxRelay')).toEqual([expect.stringMatching(/^warn: Waits: .*RabbitMQ/)]);
  expect((await stats()).pending).toBe(1);
});

describe('a relay', () => {
  test('delivers when the application has started, and not before', async () => {
    const publisher = new ClosingPublisher();
    let before: number | undefined;
    @Injectable()
    class Early implements OnModuleInit {
      async onModuleInit() {
        await delay(300);
        before = publisher.published.length;
      }
    }
    await authorize();
    const database_ = PaymentEventsDbModule.forRoot({ dataSource: { url: database.url }, relay: relayTo(publisher) });
    @Module({ imports: [database_], providers: [Early] })
    class AppModule {}
    const app = await start(AppModule);
    await until('it is delivered', () => publisher.published.length === 1);
    expect(before).toBe(0);
    await app.close();
  });

  test('finishes its batch before the connections are closed, and its publisher is closed after it', async () => {
    const publisher = new ClosingPublisher();
    let isAsked = false;
    let closedMeanwhile: number | undefined;
    publisher.answer = async () => {
      isAsked = true;
      await delay(300);
      closedMeanwhile = publisher.closed;
      return { published: true };
    };
    const app = await startWith({ relay: relayTo({ auth_request_queued: publisher, void_request_queued: publisher }) });
    await authorize();
    await until('it is being delivered', () => isAsked);
    await app.close();
    expect({ closedMeanwhile, closed: publisher.closed }).toEqual({ closedMeanwhile: 0, closed: 1 });
    expect(await stats()).toMatchObject({ pending: 0, processedLastMinute: 1 });
  });

  test('looks at once when it is woken by who injects it', async () => {
    const publisher = new RecordingPublisher();
    const app = await startWith({ relay: { publishers: publisher, pollIntervalMs: 3_600_000 } });
    await delay(50);
    await until('it is delivered', async () => {
      await authorize();
      app.get(OutboxRelay).wake();
      await delay(100);
      return publisher.published.length > 0;
    });
    await app.close();
  });

  test("says in Nest's log what was refused, what is a dead letter and what it waits for, and calls hooks as well", async () => {
    const log = new NestLog();
    const told: string[] = [];
    const publisher = new RecordingPublisher();
    const answers = [
      () => ({ published: false, reason: 'busy' }) as const,
      () => {
        throw new BrokerUnavailableError('The broker is away.');
      },
      () => ({ published: false, reason: 'too large', permanent: true }) as const,
    ];
    publisher.answer = () => answers.shift()!();
    const hooks = {
      refused: () => void told.push('refused'),
      failed: () => void told.push('failed'),
      unavailable: () => void told.push('unavailable'),
      recovered: () => void told.push('recovered'),
    };
    const { authRequestId } = await authorize();
    const app = await startWith({ relay: relayTo(publisher, { retryDelayMs: 1, hooks }) }, log);
    await until('it is given up', () => told.includes('failed') && told.includes('recovered'));
    await app.close();
    const message = `Message \\d+ \\(auth_request_queued\\) of request ${authRequestId}`;
    const lines = log.of('OutboxRelay');
    expect(lines).toHaveLength(4);
    for (const line of [
      `^warn: ${message} was refused and is tried again: busy$`,
      '^warn: Waits: The broker is away.$',
      '^log: Is back.$',
      `^error: ${message} is a dead letter: too large$`,
    ]) {
      expect(lines).toContainEqual(expect.stringMatching(line));
    }
    expect(told.toSorted()).toEqual(['failed', 'recovered', 'refused', 'unavailable']);
  });
});

describe('a sweeper', () => {
  test('sweeps when the application has started, tells whom it gave up, and gives its lease back', async () => {
    const authRequestId = await aLostRequest(dataSource);
    await database.query('UPDATE auth_request_state SET sweeps = 10 WHERE auth_request_id = $1', [authRequestId]);
    await letPass(database, 12 * HOUR);
    const log = new NestLog();
    const gaveUp = jest.fn();
    const app = await startWith({ sweeper: { hooks: { gaveUp } } }, log);
    await until('it gives up', () => log.of('Sweeper').length > 0 && gaveUp.mock.calls.length > 0);
    await app.close();
    expect(log.of('Sweeper')).toContain(`error: Gave up request ${authRequestId}, which is PENDING: not_taken_up`);
    expect(await database.query('SELECT FROM auth_processing_locks WHERE expires_at > now()')).toEqual([]);
  });

  test('waits while another one is at work, and says so once', async () => {
    const log = new NestLog();
    const leases = () => database.query('SELECT FROM auth_processing_locks WHERE expires_at > now()');
    const first = await startWith({ sweeper: {} });
    await until('it has the lease', async () => (await leases()).length > 0);
    const second = await startWith({ sweeper: { leaseTtlMs: 100 } }, log);
    // The log of Nest is one for the process: the first one writes into it, too.
    const waiting = () => log.of('Sweeper').filter((line) => line === 'log: Another sweeper is at work.');
    await until('it waits', () => waiting().length > 0);
    await delay(150);
    // The one that waits first, or it would take over.
    await second.close();
    await first.close();
    expect(waiting()).toHaveLength(1);
  });
});
