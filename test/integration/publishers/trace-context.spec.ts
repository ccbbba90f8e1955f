import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { BasicTracerProvider } from '@opentelemetry/sdk-trace-base';
import fc from 'fast-check';
import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests, Outbox, OutboxRelay, ProcessingLocks } from '../../../src';
import { withTraceContext } from '../../../src/outbox/trace-context';
import { SqsPublisher } from '../../../src/publishers/sqs/sqs-publisher';
import { toSqsMessage, whyImpossible } from '../../../src/publishers/sqs/sqs-message';
import { anAuthorizeCommand, RESTAURANT } from '../../support/requests/auth-requests';
import { aRelayMessage, outboxRows, SENT } from '../../support/relay/relayed';
import { RecordingPublisher } from '../../../src/testing/recording-publisher';
import { clientOf, SqsServer } from '../../support/relay/sqs-server';
import { useTestDatabase } from '../../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
let outbox: Outbox;

beforeAll(async () => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(new BasicTracerProvider());
  dataSource = await database.dataSource();
  outbox = new Outbox(dataSource);
});
beforeEach(() => database.query('DELETE FROM outbox'));
afterEach(() => {
  propagation.disable();
  jest.restoreAllMocks();
});

/** A propagator that injects this. */
function inject(carrier: Record<string, unknown>, fields: string[] = []): void {
  propagation.disable();
  propagation.setGlobalPropagator({
    inject: (_context, into) => void Object.assign(into as object, carrier),
    extract: (active) => active,
    fields: () => fields,
  });
}

const enqueue = (headers?: Record<string, string>) =>
  dataSource.transaction((manager) =>
    outbox.enqueue(manager, {
      ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: 'auth_request_queued' },
      payload: Buffer.from('p'),
      headers,
    }),
  );
const storedHeaders = async () =>
  (await database.query<{ headers: Record<string, string> }>('SELECT headers FROM outbox ORDER BY id')).map(
    ({ headers }) => headers,
  );

/** What several propagators at once inject, with a tracestate that could not be parsed. */
const EVERYTHING = {
  traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
  tracestate: '',
  baggage: 'user=1',
  'X-B3-TraceId': '0af7651916cd43dd8448eb211c80319c',
  'X-B3-SpanId': 'b7ad6b7169203331',
  'X-B3-Sampled': '1',
  'uber-trace-id': '1:2:0:1',
  'X-Amzn-Trace-Id': 'Root=1-2-3',
  'x:y': 'odd',
};

describe('whatever a propagator injects', () => {
  const names = fc.oneof(
    fc.constantFrom(
      ...Object.keys(EVERYTHING),
      'Content-Type',
      'content-length',
      'CC',
      'aws.id',
      'a..b',
      '',
      '__proto__',
    ),
    fc.string({ maxLength: 300 }),
    fc.stringMatching(/^[a-zA-Z0-9_.-]{1,40}$/),
  );
  const values = fc.oneof(
    fc.constantFrom('', ' ', 'ä', '☺', 'a\nb', 'a\0b', '\ud800', undefined, null, 1, {}, ['a']),
    fc.string({ maxLength: 9_000 }),
    fc.stringMatching(/^[a-z0-9=,-]{1,60}$/),
  );
  const carriers = fc.array(fc.tuple(names, values), { maxLength: 15 });
  const own = fc.dictionary(fc.stringMatching(/^[a-z]{1,12}$/), fc.stringMatching(/^[a-z]{1,30}$/), { maxKeys: 7 });

  it('the message fits SQS, HTTP and the database, and has all that the caller gave', () => {
    fc.assert(
      fc.property(carriers, own, (carrier, given) => {
        inject(Object.fromEntries(carrier));
        const headers = withTraceContext(given);
        expect(headers).toMatchObject(given);
        expect(whyImpossible(toSqsMessage(aRelayMessage({ headers })), 262_144)).toBeUndefined();
        expect([...new Headers(headers).keys()]).toHaveLength(Object.keys(headers).length);
        expect(Object.values(headers).every((value) => typeof value === 'string')).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('traceparent is first to get a place, then tracestate, then the others in the order of the propagators', () => {
    const many = Object.fromEntries([...'abcdefgh'].map((name) => [`x-${name}`, '1']));
    inject({ ...many, tracestate: 'a=b', traceparent: 'tp' });
    expect(Object.keys(withTraceContext())).toEqual(['traceparent', 'tracestate', 'x-a', 'x-b', 'x-c', 'x-d', 'x-e']);
    const given = { one: '1', two: '2', three: '3', four: '4', 'content-type': 'text/plain' };
    expect(Object.keys(withTraceContext(given))).toEqual([
      ...['traceparent', 'tracestate', 'x-a', 'one', 'two', 'three', 'four', 'content-type'],
    ]);
    inject({ huge: 'x'.repeat(8_192), small: '1' });
    expect(withTraceContext()).toEqual({ small: '1' });
  });

  it('what the caller gave is not mixed with it, in whatever case it is written', () => {
    inject({ traceparent: 'theirs', tracestate: 'theirs=1', baggage: 'theirs=1', 'x-request': 'theirs' });
    expect(withTraceContext({ Traceparent: 'ours', 'X-Request': '1' })).toEqual({
      ...{ Traceparent: 'ours', 'X-Request': '1' },
      baggage: 'theirs=1',
    });
  });

  it('every operation that writes a message stores no more than that', async () => {
    inject(EVERYTHING);
    const [requests, locks] = [new AuthRequests(dataSource), new ProcessingLocks(dataSource)];
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    await enqueue();
    const lease = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w', ttlMs: 60_000 });
    expect(lease).not.toBeNull();
    await requests.startAttempt(lease!, { configVersion: 'v1' });
    await requests.recordAuthorized(lease!, {
      ...{ processorAuthId: 'ch_1', processorName: 'mock', authorizedAmountCents: 1050, currency: 'USD' },
    });
    await requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: 'r', idempotencyKey: uuidv4() });
    const stored = await storedHeaders();
    expect(stored).toHaveLength(3);
    for (const headers of stored) {
      expect(Object.keys(headers).sort()).toEqual(
        Object.keys(EVERYTHING)
          .filter((name) => !['tracestate', 'x:y'].includes(name))
          .sort(),
      );
    }
  });
});

describe('through SQS', () => {
  let server: SqsServer;
  beforeAll(async () => (server = await SqsServer.start()));
  afterAll(() => server.remove());

  const relayed = async () => {
    const queue = await server.createQueue(`${uuidv4()}.fifo`);
    const client = clientOf(server.endpoint);
    const publisher = new SqsPublisher({ client, queues: { auth_request_queued: queue } });
    await new OutboxRelay(dataSource, publisher).runOnce();
    client.destroy();
    return await server.drain(queue);
  };

  it('a message arrives although an incoming request had a tracestate that cannot be parsed', async () => {
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    const incoming = { traceparent: EVERYTHING.traceparent, tracestate: 'not parsable,,=' };
    await context.with(propagation.extract(context.active(), incoming), () => enqueue());
    const [message] = await relayed();
    expect(message!.MessageAttributes!.traceparent!.StringValue).toBe(incoming.traceparent);
    expect(await outboxRows(database)).toEqual([SENT]);
  });

  it('a message with as many headers of its own as there may be arrives with them, and with none of telemetry', async () => {
    inject(EVERYTHING);
    const own = Object.fromEntries([...'abcdefg'].map((name) => [name, '1']));
    await enqueue(own);
    await enqueue({ a: '1' });
    const [full, roomy] = await relayed();
    expect(Object.keys(full!.MessageAttributes!)).toEqual(expect.not.arrayContaining(['traceparent']));
    expect(Object.keys(full!.MessageAttributes!)).toHaveLength(10);
    expect(Object.keys(roomy!.MessageAttributes!)).toEqual(expect.arrayContaining(['traceparent', 'baggage', 'a']));
  });

  it.each([
    ['an empty value', { note: '' }],
    ['an empty tracestate', { tracestate: '' }],
    ['an odd name', { 'x:y': '1' }],
    ['too many', Object.fromEntries([...'abcdefgh'].map((name) => [name, '1']))],
  ])('what the caller gave still fails by name: %s', async (_what, headers) => {
    inject(EVERYTHING);
    await enqueue(headers);
    expect(await relayed()).toEqual([]);
    const [failed] = await outbox.listFailed();
    expect(failed!.lastError).toMatch(/header "(note|tracestate|x:y)"|8 headers/);
  });
});

describe('telemetry that throws', () => {
  const thrower = () => {
    throw new Error('telemetry');
  };

  it('while a message is written is not heard of, and what was injected before stays', async () => {
    propagation.disable();
    propagation.setGlobalPropagator({
      inject: (_context, carrier) => {
        (carrier as Record<string, string>).traceparent = 'tp';
        thrower();
      },
      extract: (active) => active,
      fields: thrower,
    });
    await enqueue({ a: '1' });
    expect(await storedHeaders()).toEqual([{ traceparent: 'tp', a: '1' }]);
  });

  it.each<[string, () => void]>([
    ['reading a trace context', () => inject({})],
    ['finding a tracer', () => jest.spyOn(trace, 'getTracer').mockImplementation(thrower)],
    [
      'starting a span',
      () => jest.spyOn(trace, 'getTracer').mockReturnValue({ startSpan: thrower, startActiveSpan: thrower }),
    ],
    ['making a span active', () => jest.spyOn(context, 'with').mockImplementation(thrower)],
    ['finding a meter', () => jest.spyOn(metrics, 'getMeter').mockImplementation(thrower)],
  ])('at %s neither stops a delivery nor has it done twice', async (what, spoil) => {
    const id = await enqueue();
    spoil();
    if (what === 'reading a trace context') jest.spyOn(propagation, 'extract').mockImplementation(thrower);
    const publisher = new RecordingPublisher();
    const relay = new OutboxRelay(dataSource, publisher);
    expect(await relay.runOnce()).toHaveLength(1);
    expect(await relay.runOnce()).toEqual([]);
    expect(publisher.published.map((message) => message.id)).toEqual([id]);
  });

  it.each(['end', 'setStatus', 'setAttribute'] as const)(
    'at a span’s %s changes nothing of the outcome',
    async (method) => {
      await enqueue();
      const span = trace.getTracer('test').startSpan('publish outbox');
      jest.spyOn(span, method).mockImplementation(thrower);
      jest.spyOn(trace, 'getTracer').mockReturnValue({ startSpan: () => span, startActiveSpan: thrower });
      const publisher = new RecordingPublisher();
      publisher.answer = () => Promise.reject(new Error('down'));
      const relay = new OutboxRelay(dataSource, publisher);
      await expect(relay.runOnce()).rejects.toThrow('The publisher cannot reach its broker.');
      publisher.answer = () => ({ published: true });
      expect(await relay.runOnce()).toHaveLength(1);
    },
  );
});
