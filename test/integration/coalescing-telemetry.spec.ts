import { context, metrics, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import { MeterProvider } from '@opentelemetry/sdk-metrics';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorizeCommand } from '../support/requests/auth-requests';
import { atOnce } from '../support/requests/races';

const database = useTestDatabase();
const spans = new InMemorySpanExporter();
const exporter = new PrometheusExporter({ preventServerStart: true });
let requests: AuthRequests;

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] }));
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [exporter] }));
  requests = new AuthRequests(await database.dataSource());
});
afterAll(() => exporter.shutdown());

/** 20 calls at once, each in a trace of its own: the first four go alone, 16 together. */
const callers = () =>
  atOnce(20, () =>
    trace.getTracer('test').startActiveSpan('request', async (span) => {
      const { authRequestId } = await requests.authorize(anAuthorizeCommand());
      const after = trace.getActiveSpan();
      span.end();
      return { ...span.spanContext(), authRequestId, isStillActive: after === span };
    }),
  );

test('calls that travel together are a span that is linked to the trace of each, and in none of them', async () => {
  const calls = await callers();
  const together = spans.getFinishedSpans().filter(({ name }) => name === 'authorize together');
  expect(together).toHaveLength(1);
  const [span] = together;
  expect(span).toMatchObject({
    kind: SpanKind.CLIENT,
    parentSpanContext: undefined,
    status: { code: SpanStatusCode.UNSET },
    attributes: { 'db.system.name': 'postgresql', 'db.operation.batch.size': 16 },
  });
  expect(span!.links.map((link) => link.context.traceId).toSorted()).toEqual(
    calls
      .slice(4)
      .map(({ traceId }) => traceId)
      .toSorted(),
  );
});

test('each message goes on in the trace of its own caller, who finds it active afterwards', async () => {
  const calls = await callers();
  const rows = await database.query<{ aggregate_id: string; traceparent: string }>(
    `SELECT aggregate_id, headers ->> 'traceparent' AS traceparent FROM outbox WHERE aggregate_id = ANY ($1)`,
    [calls.map(({ authRequestId }) => authRequestId)],
  );
  const traceOf = new Map(rows.map((row) => [row.aggregate_id, row.traceparent.split('-')[1]]));
  for (const { authRequestId, traceId, isStillActive } of calls) {
    expect({ traceId: traceOf.get(authRequestId), isStillActive }).toEqual({ traceId, isStillActive: true });
  }
});

test('how many a statement carries and how long they wait is measured', async () => {
  await callers();
  const { resourceMetrics, errors } = await exporter.collect();
  expect(errors).toEqual([]);
  const all = resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics);
  const pointOf = (name: string) => all.find(({ descriptor }) => descriptor.name === name)?.dataPoints[0];
  // Three times four alone and 16 together.
  expect(pointOf('payment_events_db.coalescer.batch_size')).toMatchObject({
    attributes: { 'payment_events_db.operation': 'authorize' },
    value: { count: 15, sum: 60, max: 16 },
  });
  expect(pointOf('payment_events_db.coalescer.wait')).toMatchObject({ value: { count: 15 } });
});

test('telemetry that throws changes nothing', async () => {
  const broken = () => {
    throw new Error('telemetry is broken');
  };
  const restored = [
    jest.spyOn(metrics, 'getMeter').mockImplementation(broken),
    jest.spyOn(trace, 'getTracer').mockImplementation(broken),
  ];
  const receipts = await atOnce(20, () => requests.authorize(anAuthorizeCommand()));
  expect(receipts).toEqual(Array(20).fill(expect.objectContaining({ replayed: false })));
  for (const spy of restored) spy.mockRestore();
});
