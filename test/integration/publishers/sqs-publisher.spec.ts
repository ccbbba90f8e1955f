import { SendMessageCommand, type SQSClient } from '@aws-sdk/client-sqs';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests, decodeOutboxMessage, Outbox, OutboxRelay, type PublishOutcome } from '../../../src';
import { BrokerUnavailableError } from '../../../src/outbox/delivery';
import { SqsPublisher, type SqsPublisherOptions } from '../../../src/publishers/sqs/sqs-publisher';
import { RelayProcess } from '../../fixtures/relay/relay-process';
import { anAuthorizeCommand, RESTAURANT } from '../../support/requests/auth-requests';
import { codeBlocks, DocProject, promisedOutput } from '../../support/docs/doc-code';
import { Proxy } from '../../support/database/proxy';
import {
  aRelayMessage,
  EVERY_BYTE,
  outboxRows,
  PENDING,
  recordOutages,
  SENT,
  until,
} from '../../support/relay/relayed';
import { clientOf, SqsServer } from '../../support/relay/sqs-server';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf, within } from '../../support/processes/within';

const database = useTestDatabase();
const TAKEN: PublishOutcome = { published: true };
let server: SqsServer;
let client: SQSClient;
let outbox: Outbox;
let fifo: string;
let standard: string;
let queueCount = 0;
let relay: OutboxRelay | undefined;

beforeAll(async () => {
  server = await SqsServer.start();
  client = clientOf(server.endpoint);
  outbox = new Outbox(await database.dataSource());
});
afterAll(async () => {
  client.destroy();
  await server.remove();
});
afterEach(() => relay?.stop());
afterEach(() => RelayProcess.killAll());
beforeEach(async () => {
  await database.query('DELETE FROM outbox');
  fifo = await server.createQueue(`requests-${++queueCount}.fifo`);
  standard = await server.createQueue(`voids-${queueCount}`);
});

const publisherWith = (options: Partial<SqsPublisherOptions> = {}) =>
  new SqsPublisher({ client, queues: { auth_request_queued: fifo, void_request_queued: standard }, ...options });
const publish = (messages: ReturnType<typeof aRelayMessage>[], options?: Partial<SqsPublisherOptions>) =>
  publisherWith(options).publish(messages, AbortSignal.timeout(10_000));
const relayWith = async (options: Partial<SqsPublisherOptions> = {}, relayOptions = {}) => {
  relay = new OutboxRelay(await database.dataSource(), publisherWith(options), { retryDelayMs: 1, ...relayOptions });
  return relay;
};
const enqueue = async (changes: { aggregateId?: string; messageType?: string; payload?: Buffer } = {}) =>
  (await database.dataSource()).transaction((manager) =>
    outbox.enqueue(manager, {
      aggregateId: uuidv4(),
      restaurantId: RESTAURANT,
      messageType: 'auth_request_queued',
      payload: Buffer.from('p'),
      ...changes,
    }),
  );
const arrivedAt = async (url: string) =>
  (await server.drain(url)).map(({ MessageAttributes }) => MessageAttributes?.['outbox-id']?.StringValue);

describe('what arrives', () => {
  it('is what was enqueued, and a consumer can decode it', async () => {
    const requests = new AuthRequests(await database.dataSource());
    const { authRequestId } = await requests.authorize(anAuthorizeCommand());
    await (await relayWith()).runOnce();
    const [message] = await server.drain(fifo);
    const body = Buffer.from(message!.Body!, 'base64');
    expect(await database.query('SELECT payload FROM outbox')).toEqual([{ payload: body }]);
    const type = message!.MessageAttributes!['message-type']!.StringValue!;
    expect(decodeOutboxMessage(type, body)).toMatchObject({
      type: 'auth_request_queued',
      data: { authRequestId, restaurantId: RESTAURANT },
    });
  });

  it('is the same bytes, with headers and type as attributes and the restaurant as group', async () => {
    const message = aRelayMessage({ payload: EVERY_BYTE, headers: { traceparent: '00-1-2-01' } });
    expect(await publish([message])).toEqual([TAKEN]);
    const [arrived] = await server.drain(fifo);
    expect(Buffer.from(arrived!.Body!, 'base64')).toEqual(EVERY_BYTE);
    expect(arrived!.MessageAttributes).toMatchObject({
      traceparent: { StringValue: '00-1-2-01' },
      'message-type': { StringValue: 'auth_request_queued' },
      'outbox-id': { StringValue: `${message.id}` },
      'content-type': { StringValue: 'application/x-protobuf' },
    });
    expect(arrived!.Attributes).toMatchObject({ MessageGroupId: RESTAURANT });
  });

  it('goes to the queue of its type; voids to a standard one', async () => {
    const [request, cancelled] = [await enqueue(), await enqueue({ messageType: 'void_request_queued' })];
    await (await relayWith()).runOnce();
    expect(await arrivedAt(fifo)).toEqual([`${request}`]);
    expect(await arrivedAt(standard)).toEqual([`${cancelled}`]);
  });

  it('comes in the order of the outbox for each restaurant, over several batches', async () => {
    const messages = Array.from({ length: 35 }, (_, index) =>
      aRelayMessage({ restaurantId: index % 2 ? RESTAURANT : '7d1f7f4e-52a5-4a5c-9d0d-5b1f0f5f9a22' }),
    );
    await publish(messages);
    const arrived = await server.drain(fifo);
    for (const group of [0, 1]) {
      const sent = messages.filter((_, index) => index % 2 === group);
      const ids = arrived
        .filter(({ Attributes }) => Attributes?.MessageGroupId === sent[0]!.restaurantId)
        .map(({ MessageAttributes }) => MessageAttributes!['outbox-id']!.StringValue);
      expect(ids).toEqual(sent.map(({ id }) => `${id}`));
    }
  });
});

describe('a FIFO queue', () => {
  it('swallows a row that is delivered again, but not a second message of the same request', async () => {
    const aggregateId = uuidv4();
    const first = await enqueue({ aggregateId });
    const relay = await relayWith();
    await relay.runOnce();
    await database.query('UPDATE outbox SET processed_at = NULL');
    await relay.runOnce();
    const second = await enqueue({ aggregateId });
    await relay.runOnce();
    expect(await outboxRows(database)).toEqual([SENT, SENT]);
    expect(await arrivedAt(fifo)).toEqual([`${first}`, `${second}`]);
  });

  it('swallows what a legacy relay has delivered too, when told its deduplication id', async () => {
    const aggregateId = uuidv4();
    const legacy = { MessageBody: 'legacy', MessageGroupId: RESTAURANT, MessageDeduplicationId: aggregateId };
    await client.send(new SendMessageCommand({ QueueUrl: fifo, ...legacy }));
    await enqueue({ aggregateId });
    await (await relayWith({ deduplicationId: (message) => message.aggregateId })).runOnce();
    expect(await outboxRows(database)).toEqual([SENT]);
    expect(await server.drain(fifo)).toEqual([expect.objectContaining({ Body: 'legacy' })]);
  });

  it('does not swallow a second message of the same request even then', async () => {
    const aggregateId = uuidv4();
    const ids = [await enqueue({ aggregateId }), await enqueue({ aggregateId }), await enqueue({ aggregateId })];
    const other = await enqueue();
    const relay = await relayWith({ deduplicationId: (message) => message.aggregateId });
    while ((await relay.runOnce()).length > 0);
    // What was delivered twice arrives once all the same.
    await database.query('UPDATE outbox SET processed_at = NULL');
    while ((await relay.runOnce()).length > 0);
    expect(new Set(await arrivedAt(fifo))).toEqual(new Set([...ids, other].map(String)));
    expect(await arrivedAt(fifo)).toEqual([]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('hunter2');
      },
    ],
    ['gives no text', () => undefined as unknown as string],
  ])('refuses a message for which deduplicationId %s, and takes the others', async (_what, spoilt) => {
    const [bad, good] = [aRelayMessage(), aRelayMessage()];
    const deduplicationId = ({ id }: { id: bigint }) => (id === bad.id ? spoilt() : `${id}`);
    expect(await publish([bad, good], { deduplicationId })).toEqual([
      { published: false, reason: expect.stringContaining('deduplicationId gives no text') as string },
      TAKEN,
    ]);
  });
});

describe('the trace context of a message', () => {
  const trace = { traceparent: '00-1-2-01', tracestate: 'a=b', baggage: 'x'.repeat(300), 'X-B3-TraceId': '1' };

  it('is left out where the message is too large with it, not where it fits', async () => {
    const [small, large] = [aRelayMessage({ headers: trace }), aRelayMessage({ headers: { ...trace, note: 'n' } })];
    Object.assign(large, { payload: Buffer.alloc(700, 1) });
    expect(await publish([small, large], { maxBytes: 1_200 })).toEqual([TAKEN, TAKEN]);
    const [first, second] = await server.drain(fifo);
    expect(Object.keys(first!.MessageAttributes!)).toEqual(expect.arrayContaining(Object.keys(trace)));
    expect(Object.keys(second!.MessageAttributes!).sort()).toEqual([
      'content-type',
      'message-type',
      'note',
      'outbox-id',
    ]);
  });

  it('is left out where there are too many headers with it, and not counted against the others', async () => {
    const own = Object.fromEntries([...'abcdefg'].map((name) => [name, '1']));
    const [fits, tooMany] = [
      aRelayMessage({ headers: { ...own, ...trace } }),
      aRelayMessage({ headers: { ...own, h: '1', ...trace } }),
    ];
    expect(await publish([fits, tooMany])).toEqual([
      TAKEN,
      { published: false, permanent: true, reason: expect.stringContaining('8 headers') as string },
    ]);
  });
});

describe('batches', () => {
  it('hold ten messages and the allowed bytes at most', async () => {
    const sizes: number[] = [];
    const counting = clientOf(server.endpoint);
    counting.middlewareStack.add(
      (next) => async (args) => {
        sizes.push((args.input as { Entries: unknown[] }).Entries.length);
        return await next(args);
      },
      { step: 'initialize' },
    );
    const small = Array.from({ length: 23 }, () => aRelayMessage({ messageType: 'void_request_queued' }));
    const large = Array.from({ length: 5 }, () => aRelayMessage({ payload: Buffer.alloc(90_000, 1) }));
    const outcomes = await publish([...small, ...large], { client: counting });
    counting.destroy();
    expect(outcomes).toEqual([...small, ...large].map(() => TAKEN));
    expect(sizes.sort((a, b) => b - a)).toEqual([10, 10, 3, 2, 2, 1]);
    expect(await server.drain(standard)).toHaveLength(23);
    expect(await server.drain(fifo)).toHaveLength(5);
  });

  it.each([
    ['is too large', { payload: Buffer.alloc(196_609) }, /262\d{3} bytes .* 262144 are allowed: raise maxBytes/],
    ['is empty', { payload: Buffer.alloc(0) }, /payload is empty.*discard/],
    [
      'has too many headers',
      { headers: Object.fromEntries([...'abcdefgh'].map((name) => [name, '1'])) },
      /8 headers.*takes 7/,
    ],
    ['has a header of another form', { headers: { 'x:y': '1' } }, /header "x:y"/],
    ['has a header without a value', { headers: { tracestate: '' } }, /header "tracestate"/],
    ['has a header with control characters', { headers: { note: 'a\u0001b' } }, /header "note"/],
    [
      'is of a type without a queue',
      { messageType: 'refund_queued' },
      /no queue for messages of type refund_queued: add one/,
    ],
  ])('leave out a message that %s, with a reason a person can act on', async (_what, changes, reason) => {
    const [before, bad, after] = [aRelayMessage(), aRelayMessage(changes), aRelayMessage()];
    expect(await publish([before, bad, after])).toEqual([
      TAKEN,
      { published: false, permanent: true, reason: expect.stringMatching(reason) as string },
      TAKEN,
    ]);
    expect(await arrivedAt(fifo)).toEqual([`${before.id}`, `${after.id}`]);
  });

  it('deliver the others where SQS refuses one', async () => {
    const narrow = await server.createQueue(`narrow-${queueCount}`, { MaximumMessageSize: '2000' });
    const payload = Buffer.alloc(3_000);
    const [before, tooLarge, after] = [await enqueue(), await enqueue({ payload }), await enqueue()];
    await (await relayWith({ queues: { auth_request_queued: narrow } })).runOnce();
    expect((await arrivedAt(narrow)).sort()).toEqual([`${before}`, `${after}`].sort());
    expect(await outbox.listFailed()).toEqual([
      expect.objectContaining({
        id: tooLarge,
        attempts: 1,
        lastError: expect.stringContaining('2000 bytes') as string,
      }),
    ]);
  });
});

it('tries the messages of an unknown queue again and names it, while other queues go on', async () => {
  const missing = standard.replace('voids', 'later');
  const [waiting, other] = [await enqueue(), await enqueue({ messageType: 'void_request_queued' })];
  const relay = await relayWith({ queues: { auth_request_queued: missing, void_request_queued: standard } });
  await relay.runOnce();
  expect(await outboxRows(database)).toEqual([
    {
      ...PENDING,
      attempts: 1,
      last_error: `The queue ${missing} does not exist: create it, or correct the publisher's queues.`,
    },
    SENT,
  ]);
  await server.createQueue(`later-${queueCount}`);
  await until('the message goes out', async () => (await relay.runOnce()).length === 1);
  expect(await arrivedAt(missing)).toEqual([`${waiting}`]);
  expect(await arrivedAt(standard)).toEqual([`${other}`]);
});

it('loses nothing while the server is down, says so once, and goes on when it is back', async () => {
  const outages = recordOutages();
  const relay = await relayWith({}, { hooks: outages, maxReconnectDelayMs: 50, pollIntervalMs: 10 });
  relay.start();
  const before = await enqueue();
  await until('the first goes out', async () => (await outboxRows(database))[0]!.sent);
  expect(await arrivedAt(fifo)).toEqual([`${before}`]);
  await server.kill();
  const during = [await enqueue(), await enqueue()];
  await until('the relay notices', () => outages.said.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect((await outboxRows(database)).slice(1)).toEqual([PENDING, PENDING]);
  await server.start();
  const url = await server.createQueue(fifo.split('/').at(-1)!);
  await until('they go out', async () => (await outboxRows(database)).every(({ sent }) => sent));
  await relay.stop();
  expect(await arrivedAt(url)).toEqual(during.map(String));
  // Between the server's start and its queue there is an unknown queue, which is an answer.
  expect(outages.said).toEqual([BrokerUnavailableError.name, 'back']);
});

it('serves a relay process, and lets it end', async () => {
  const id = await enqueue();
  const relay = new RelayProcess('sqs-publisher', { databaseUrl: database.url, brokerUrl: fifo });
  await until('it goes out', async () => (await outboxRows(database))[0]!.sent);
  expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
  expect(await arrivedAt(fifo)).toEqual([`${id}`]);
});

describe('a server that never answers', () => {
  let proxy: Proxy;
  let through: SQSClient;
  beforeEach(async () => {
    proxy = await Proxy.start(server.endpoint);
    through = clientOf(proxy.url);
  });
  afterEach(async () => {
    through.destroy();
    await proxy.close();
  });

  it('holds the relay until its time-out; then the message is sent again and arrives once', async () => {
    const id = await enqueue();
    const relay = await relayWith({ client: through }, { publishTimeoutMs: 300 });
    proxy.swallow = 'answers';
    await expect(relay.runOnce()).rejects.toThrow('The publisher did not answer within 300 ms.');
    expect(await outboxRows(database)).toEqual([PENDING]);
    proxy.swallow = 'nothing';
    await relay.runOnce();
    expect(await outboxRows(database)).toEqual([SENT]);
    expect(await arrivedAt(fifo)).toEqual([`${id}`]);
  });

  it('is given up when the signal says so', async () => {
    proxy.swallow = 'requests';
    const publishing = publisherWith({ client: through }).publish([aRelayMessage()], AbortSignal.timeout(100));
    expect(await within(2_000, 'publish', failureOf(publishing))).toBeInstanceOf(BrokerUnavailableError);
  });
});

describe('the how-to', () => {
  const code = codeBlocks('docs/how-to/publish-to-sqs.md', 'ts');
  // The queues of the SQS server have a host name that does not resolve, so the client is told where it is.
  const located = code.replace('new SQSClient({})', 'new SQSClient({ endpoint: process.env.SQS_ENDPOINT! })');
  const project = new DocProject({ sqs: located });
  afterAll(() => project.remove());

  it('prints what it says', async () => {
    await new AuthRequests(await database.dataSource()).authorize(anAuthorizeCommand({ restaurantId: NO_RESTAURANT }));
    const env = {
      ...{ DATABASE_URL: database.url, SQS_ENDPOINT: server.endpoint, AWS_REGION: 'eu-west-1' },
      ...{ AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE', AWS_SECRET_ACCESS_KEY: 'secret' },
      ...{ AUTH_REQUESTS_QUEUE_URL: fifo, VOID_REQUESTS_QUEUE_URL: standard },
    };
    expect(await project.run('sqs', env)).toEqual(promisedOutput(code));
  }, 120_000);
});

const NO_RESTAURANT = '00000000-0000-0000-0000-000000000001';
