import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { parse } from 'yaml';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { observeHolds } from '../../src/auth-requests/holds/observe-holds';
import { tellMasked } from '../../src/card-numbers/screen';
import { Outbox } from '../../src/outbox/outbox';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { observeOutbox } from '../../src/outbox/telemetry';
import { SweeperReporter } from '../../src/sweeper/sweeper-reporter';
import { ReplicaReads } from '../../src/replica-reads/replica-reads';
import { anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { aHold } from '../support/requests/holds';
import { codeBlocks } from '../support/docs/doc-code';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { closedDataSource } from '../support/database/quiet-data-source';
import { useTestDatabase } from '../support/database/use-test-database';
import { failureOf } from '../support/processes/within';

const database = useTestDatabase();
const spans = new InMemorySpanExporter();
const exporter = new PrometheusExporter({ preventServerStart: true });
let dataSource: DataSource;
let outbox: Outbox;
let publisher: RecordingPublisher;
let relay: OutboxRelay;

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }));
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
afterAll(() => exporter.shutdown());
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  spans.reset();
  publisher = new RecordingPublisher();
  relay = new OutboxRelay(dataSource, publisher, { retryDelayMs: 1 });
});

const enqueue = (headers?: Record<string, string>, messageType = 'refund_queued') =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, {
      ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType, payload: Buffer.from('p') },
      headers,
    }),
  );

/** Does something as a part of a request that is traced. */
const inSpan = <T>(work: () => Promise<T>): Promise<{ traceId: string; spanId: string; result: T }> =>
  trace.getTracer('test').startActiveSpan('request', async (span) => {
    const result = await work();
    span.end();
    return { ...span.spanContext(), result };
  });

const publishSpans = (): ReadableSpan[] => spans.getFinishedSpans().filter(({ name }) => name === 'publish outbox');

/** What Prometheus would read: one line a sample. */
async function scrape(): Promise<string[]> {
  const { resourceMetrics, errors } = await exporter.collect();
  expect(errors).toEqual([]);
  return new PrometheusSerializer().serialize(resourceMetrics).split('\n');
}

/** A sample without the labels that every metric has. */
const samplesOf = (lines: string[], name: string) =>
  lines
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .map((line) => line.replace(/otel_scope_\w+="[^"]*",?/g, '').replace(/,?\}/, '}'));

describe('traces', () => {
  it.each([
    ['enqueue', () => enqueue()],
    ['an operation', () => new AuthRequests(dataSource).authorize(anAuthorizeCommand())],
  ])('lead from %s through the message to its delivery', async (_what, write) => {
    const { traceId, spanId } = await inSpan<unknown>(write);
    await relay.runOnce();
    expect(publisher.published[0]!.headers).toMatchObject({ traceparent: `00-${traceId}-${spanId}-01` });
    const [span] = publishSpans();
    expect(span!.links.map(({ context: linked }) => linked)).toEqual([expect.objectContaining({ traceId, spanId })]);
    expect(span!.kind).toBe(SpanKind.PRODUCER);
    expect(span!.attributes).toEqual({
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.batch.message_count': 1,
    });
  });

  it('leave alone what a caller put into the headers', async () => {
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    await inSpan(() => enqueue({ traceparent, 'x-source': 'refunds' }));
    await relay.runOnce();
    expect(publisher.published[0]!.headers).toEqual({ traceparent, 'x-source': 'refunds' });
  });

  it('have nothing to say outside of one', async () => {
    await enqueue();
    await relay.runOnce();
    expect(publisher.published[0]!.headers).toEqual({});
    expect(publishSpans()[0]!.links).toEqual([]);
  });

  it('show a broker that cannot be reached as an error, and nothing of what it said', async () => {
    await enqueue();
    publisher.answer = () => Promise.reject(new Error('amqp://user:secret@broker'));
    await failureOf(relay.runOnce());
    const [span] = publishSpans();
    expect(span!.status).toEqual({ code: SpanStatusCode.ERROR });
    expect(span!.attributes['error.type']).toBe('BrokerUnavailableError');
    expect(JSON.stringify([span!.attributes, span!.events])).not.toContain('secret');
  });

  it('carry on inside of the publisher', async () => {
    await enqueue();
    let active: string | undefined;
    publisher.answer = () => {
      active = trace.getActiveSpan()?.spanContext().spanId;
      return { published: true };
    };
    await relay.runOnce();
    expect(active).toBe(publishSpans()[0]!.spanContext().spanId);
  });
});

/** Holds that wait for a person, and one that lapses soon. */
beforeAll(async () => {
  await aHold(dataSource, 'void_failed', { amountCents: 500, set: `state_since = now() - interval '2 hours'` });
  await aHold(dataSource, 'captured_unneeded', { currency: 'EUR' });
  await aHold(dataSource, 'needed', { set: `hold_expires_at = now() + interval '1 hour'` });
});

/** As a sweeper does when it has done something of each. */
function countSwept(): void {
  const ref = { authRequestId: uuidv4(), restaurantId: RESTAURANT };
  const request = { ...ref, status: 'PENDING', sweeps: 10, reason: 'not_taken_up' } as const;
  const given = { ...ref, processorName: 'stripe', processorAuthId: 'pi', reason: 'NOT_VOIDED_IN_TIME' } as const;
  new SweeperReporter({}).turn({
    ...{ outcome: 'swept', dryRun: false, outboxAgeMs: null, keys: 3, leases: 0 },
    stuck: { sent: [{ ...ref, sweeps: 1 }], heldBack: null },
    voiding: { sent: [], heldBack: null, givenUp: [given] },
    listing: { requests: [request], lapsing: [] },
  });
}

/** Everything that the docs name, with something to show. */
async function scrapeOfEverything(): Promise<string[]> {
  const ids = { good: await enqueue(), busy: await enqueue(), bad: await enqueue({}, 'void_request_queued') };
  await database.query(`UPDATE outbox SET created_at = now() - interval '90 seconds' WHERE id = $1`, [ids.busy]);
  publisher.answer = ({ id }) =>
    id === ids.good ? { published: true } : { published: false, reason: 'no', permanent: id === ids.bad };
  await relay.runOnce();
  const unobserve = [observeOutbox(outbox), observeHolds(new Holds(dataSource))];
  countSwept();
  const log = jest.spyOn(dataSource.logger, 'log').mockImplementation();
  tellMasked(dataSource, 'recordDenied', ['denialReason']);
  log.mockRestore();
  const reads = new ReplicaReads(dataSource, closedDataSource({ url: database.url }));
  await reads.get({ restaurantId: uuidv4(), authRequestId: uuidv4() });
  await reads.destroy();
  const lines = await scrape();
  unobserve.forEach((takeOff) => takeOff());
  return lines;
}

describe('metrics', () => {
  it('count what was sent, by type and by outcome, and tell how the outbox is', async () => {
    const lines = await scrapeOfEverything();
    const counted = samplesOf(lines, 'messaging_client_sent_messages_total');
    const publish = 'messaging_operation_name="publish",messaging_message_type=';
    expect(counted).toContainEqual(expect.stringContaining(`{${publish}"refund_queued"}`));
    expect(counted).toContain(`messaging_client_sent_messages_total{${publish}"refund_queued",error_type="refused"} 1`);
    expect(counted).toContain(
      `messaging_client_sent_messages_total{${publish}"void_request_queued",error_type="failed"} 1`,
    );
    expect(samplesOf(lines, 'payment_events_db_outbox_pending')).toEqual(['payment_events_db_outbox_pending{} 1']);
    expect(samplesOf(lines, 'payment_events_db_outbox_failed')).toEqual(['payment_events_db_outbox_failed{} 1']);
    const [age] = samplesOf(lines, 'payment_events_db_outbox_oldest_pending_age');
    expect(Number(age!.split(' ')[1])).toBeGreaterThanOrEqual(90);
    expect(Number(age!.split(' ')[1])).toBeLessThan(3_600);
  });

  it('tell the holds that may still stand, what should be gone, who waits for a person and what lapses soon', async () => {
    const lines = await scrapeOfEverything();
    const of = (state: string, reason: string, currency: string) =>
      `{payment_events_db_hold_state="${state}",payment_events_db_hold_reason="${reason}",payment_events_db_hold_currency="${currency}"}`;
    const holds = 'payment_events_db_holds';
    expect(samplesOf(lines, `${holds}_count`).toSorted()).toEqual(
      [
        `${holds}_count${of('captured', 'captured_unneeded', 'EUR')} 1`,
        `${holds}_count${of('held', 'needed', 'USD')} 1`,
        `${holds}_count${of('void_failed', 'void_failed', 'USD')} 1`,
      ].toSorted(),
    );
    expect(samplesOf(lines, `${holds}_amount`)).toContain(
      `${holds}_amount${of('void_failed', 'void_failed', 'USD')} 500`,
    );
    const [age] = samplesOf(lines, `${holds}_oldest_open_age`);
    expect(Number(age!.split(' ')[1])).toBeGreaterThanOrEqual(7_200);
    expect(Number(age!.split(' ')[1])).toBeLessThan(14_400);
    expect(samplesOf(lines, `${holds}_waiting_for_person`)).toEqual(
      Object.entries({ void_failed: 1, captured_unneeded: 1, never_voided: 0 }).map(
        ([reason, count]) => `${holds}_waiting_for_person{payment_events_db_hold_reason="${reason}"} ${count}`,
      ),
    );
    expect(samplesOf(lines, `${holds}_lapsing`)).toEqual([`${holds}_lapsing{} 1`]);
  });

  it('of holds cost nothing any more when they are taken off', async () => {
    const holds = new Holds(dataSource);
    const stats = jest.spyOn(holds, 'stats');
    const unobserve = observeHolds(holds);
    await scrape();
    unobserve();
    await scrape();
    expect(stats).toHaveBeenCalledTimes(1);
    expect(() => observeHolds({} as Holds)).toThrow('Holds');
  });

  it('cost nothing any more when they are taken off', async () => {
    const stats = jest.spyOn(outbox, 'stats');
    const unobserve = observeOutbox(outbox);
    await scrape();
    expect(stats).toHaveBeenCalledTimes(1);
    unobserve();
    await scrape();
    expect(stats).toHaveBeenCalledTimes(1);
  });
});

test('a sweeper counts what it sends, ends and gives up, by kind and reason', async () => {
  const before = await scrape();
  countSwept();
  const lines = await scrape();
  for (const sample of [
    'payment_events_db_sweeper_sent_total{kind="stuck"}',
    'payment_events_db_sweeper_ended_total{kind="keys"}',
    'payment_events_db_sweeper_given_up_total{kind="void",reason="NOT_VOIDED_IN_TIME"}',
    'payment_events_db_sweeper_given_up_total{kind="request",reason="not_taken_up"}',
  ]) {
    const [name] = sample.split('{');
    const valueIn = (all: string[]) =>
      Number(
        samplesOf(all, name!)
          .find((line) => line.startsWith(`${sample} `))
          ?.split(' ')[1] ?? 0,
      );
    expect([sample, valueIn(lines) - valueIn(before)]).toEqual([sample, sample.includes('ended') ? 3 : 1]);
  }
  expect(samplesOf(lines, 'payment_events_db_sweeper_sent_total')).toHaveLength(1);
});

describe('the docs', () => {
  /** Of metrics and of their labels. */
  const namesIn = (text: string) => [...new Set(text.match(/\b(payment_events_db|messaging|error)_\w+/g))];

  test.each([
    ['docs/how-to/run-a-relay.md', /^Outbox\w+$/],
    ['docs/how-to/look-after-holds.md', /^Hold\w+$/],
  ])('%s alerts on metrics and labels that exist', async (page, name) => {
    const exported = namesIn((await scrapeOfEverything()).filter((line) => !line.startsWith('#')).join('\n'));
    const yaml = codeBlocks(page, 'yaml')
      .split(/^(?=groups:)/m)
      .at(-1)!;
    const { groups } = parse(yaml) as { groups: { rules: Record<string, unknown>[] }[] };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(3);
    for (const rule of rules) {
      expect(rule).toEqual({
        alert: expect.stringMatching(name) as string,
        expr: expect.any(String) as string,
        for: expect.stringMatching(/^\d+m$/) as string,
        labels: { severity: expect.stringMatching(/^(page|ticket)$/) as string },
        annotations: { summary: expect.any(String) as string, runbook: expect.any(String) as string },
      });
      expect(namesIn(rule.expr as string)).not.toEqual([]);
      expect(namesIn(rule.expr as string).filter((name) => !exported.includes(name))).toEqual([]);
      const { runbook } = rule.annotations as { runbook: string };
      expect(readFileSync(join(__dirname, '../..', runbook), 'utf8')).toMatch(/^# /);
    }
  });

  test('list every metric there is, and no other', async () => {
    const page = readFileSync(join(__dirname, '../../docs/reference/metrics.md'), 'utf8');
    const listed = [...page.matchAll(/^\| `([\w.]+)` \|/gm)].map(([, name]) => name!);
    await scrapeOfEverything();
    const { resourceMetrics } = await exporter.collect();
    const recorded = resourceMetrics.scopeMetrics.flatMap((scope) =>
      scope.metrics.map(({ descriptor }) => descriptor.name),
    );
    expect(listed.toSorted()).toEqual(recorded.toSorted());
  });
});
