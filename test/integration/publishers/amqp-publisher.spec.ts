import { v4 as uuidv4 } from 'uuid';
import { AuthRequests, decodeOutboxMessage, Outbox, OutboxRelay, type RelayOptions } from '../../../src';
import { BrokerUnavailableError } from '../../../src/outbox/delivery';
import { AmqpPublisher, type AmqpPublisherOptions } from '../../../src/publishers/amqp/amqp-publisher';
import { RelayProcess } from '../../fixtures/relay/relay-process';
import { anAuthorizeCommand, RESTAURANT } from '../../support/requests/auth-requests';
import { codeBlocks, DocProject, promisedOutput } from '../../support/docs/doc-code';
import { Proxy } from '../../support/database/proxy';
import {
  MAX_MESSAGE_BYTES,
  PASSWORD,
  type RabbitMq,
  describeRabbitMq,
  startRabbitMq,
} from '../../support/relay/rabbitmq';
import {
  aRelayMessage,
  EVERY_BYTE,
  outboxRows,
  PENDING,
  recordOutages,
  SENT,
  shownOf,
  until,
} from '../../support/relay/relayed';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf, within } from '../../support/processes/within';

const database = useTestDatabase();
const EXCHANGE = 'payments';
const TYPE = 'auth_request_queued';
const publishers: AmqpPublisher[] = [];
let relay: OutboxRelay | undefined;
let broker: RabbitMq;
let outbox: Outbox;

describeRabbitMq('AmqpPublisher', () => {
  beforeAll(async () => {
    broker = await startRabbitMq();
    outbox = new Outbox(await database.dataSource());
  });
  afterAll(() => broker.remove());
  beforeEach(async () => {
    await database.query('DELETE FROM outbox');
    await broker.session(async (channel) => {
      await channel.assertExchange(EXCHANGE, 'direct', { durable: true });
      await channel.assertQueue(TYPE, { durable: true });
      await channel.bindQueue(TYPE, EXCHANGE, TYPE);
      await channel.purgeQueue(TYPE);
    });
  });
  afterEach(async () => {
    await RelayProcess.killAll();
    await relay?.stop();
    for (const publisher of publishers.splice(0)) await publisher.close();
  });

  const publisherFor = (url: AmqpPublisherOptions['url'], options: Partial<AmqpPublisherOptions> = {}) => {
    const publisher = new AmqpPublisher({ url, exchange: EXCHANGE, ...options });
    publishers.push(publisher);
    return publisher;
  };
  const publish = (messages: ReturnType<typeof aRelayMessage>[], publisher: AmqpPublisher) =>
    publisher.publish(messages, AbortSignal.timeout(10_000));
  const relayWith = async (publisher: AmqpPublisher, options: RelayOptions = {}) => {
    relay = new OutboxRelay(await database.dataSource(), publisher, { retryDelayMs: 1, ...options });
    return relay;
  };
  const enqueue = async (messageType = TYPE) =>
    (await database.dataSource()).transaction((manager) =>
      outbox.enqueue(manager, {
        aggregateId: uuidv4(),
        restaurantId: RESTAURANT,
        messageType,
        payload: Buffer.from('p'),
      }),
    );
  /** The outbox ids of what has arrived. */
  const arrivedAt = async (queue = TYPE) =>
    (await broker.drain(queue)).map(({ properties }) => (properties.messageId as string).split(':')[1]!);

  describe('what arrives', () => {
    it('is what was enqueued, and a consumer can decode it', async () => {
      const requests = new AuthRequests(await database.dataSource());
      const { authRequestId } = await requests.authorize(anAuthorizeCommand());
      await (await relayWith(publisherFor(broker.url))).runOnce();
      const [arrived] = await broker.drain(TYPE);
      expect(await database.query('SELECT payload FROM outbox')).toEqual([{ payload: arrived!.content }]);
      expect(decodeOutboxMessage(arrived!.properties.type as string, arrived!.content)).toMatchObject({
        type: TYPE,
        data: { authRequestId },
      });
    });

    it('is the same bytes, persistent, with outbox id, type, time and headers', async () => {
      const message = aRelayMessage({ payload: EVERY_BYTE, headers: { traceparent: '00-1-2-01' } });
      expect(await publish([message], publisherFor(broker.url))).toEqual([{ published: true }]);
      const [arrived] = await broker.drain(TYPE);
      expect(arrived!.content).toEqual(EVERY_BYTE);
      expect(arrived!.properties).toMatchObject({
        messageId: `${message.aggregateId}:${message.id}`,
        type: TYPE,
        contentType: 'application/x-protobuf',
        deliveryMode: 2,
        timestamp: Math.floor(message.createdAt.getTime() / 1_000),
        headers: { traceparent: '00-1-2-01' },
      });
    });

    it('comes in the order of the outbox', async () => {
      const messages = Array.from({ length: 200 }, () => aRelayMessage());
      await publish(messages, publisherFor(broker.url));
      expect(await arrivedAt()).toEqual(messages.map(({ id }) => `${id}`));
    });
  });

  describe('a refused message', () => {
    it('without a queue says what is missing, and goes out by itself once that is there', async () => {
      const messageType = `refund_${uuidv4()}`;
      const [unroutable, other] = [await enqueue(messageType), await enqueue()];
      const relay = await relayWith(publisherFor(broker.url));
      await relay.runOnce();
      const reason = `Exchange "payments" has no queue for routing key "${messageType}": bind one, or correct the publisher's routing key.`;
      expect(await outboxRows(database)).toEqual([{ ...PENDING, attempts: 1, last_error: reason }, SENT]);
      expect(await arrivedAt()).toEqual([`${other}`]);
      await broker.session(async (channel) => {
        await channel.assertQueue(messageType);
        await channel.bindQueue(messageType, EXCHANGE, messageType);
      });
      await until('it goes out', async () => (await relay.runOnce()).length > 0);
      expect(await arrivedAt(messageType)).toEqual([`${unroutable}`]);
    });

    it('without an exchange says so, and goes out by itself once that is there', async () => {
      const exchange = uuidv4();
      const id = await enqueue();
      const relay = await relayWith(publisherFor(broker.url, { exchange }));
      await relay.runOnce();
      expect(await outboxRows(database)).toEqual([
        {
          ...PENDING,
          attempts: 1,
          last_error: expect.stringMatching(/^Exchange ".*" is not there: declare it.* 404/) as string,
        },
      ]);
      await broker.session(async (channel) => {
        await channel.assertExchange(exchange, 'fanout');
        await channel.bindQueue(TYPE, exchange, '');
      });
      await until('it goes out', async () => (await relay.runOnce()).length > 0);
      expect(await arrivedAt()).toEqual([`${id}`]);
    });

    it('of a full queue is tried again', async () => {
      const queue = uuidv4();
      const full = { 'x-max-length': 0, 'x-overflow': 'reject-publish' };
      await broker.session((channel) => channel.assertQueue(queue, { arguments: full }));
      const publisher = publisherFor(broker.url, { exchange: '', routingKey: () => queue });
      expect(await publish([aRelayMessage()], publisher)).toEqual([
        { published: false, reason: expect.stringContaining('look whether its queue is full') as string },
      ]);
    });

    it('that is too large fails at once, and the others of its turn arrive', async () => {
      const [before, after] = [aRelayMessage(), aRelayMessage()];
      const tooLarge = aRelayMessage({ payload: Buffer.alloc(MAX_MESSAGE_BYTES + 1) });
      expect(await publish([before, tooLarge, after], publisherFor(broker.url))).toEqual([
        { published: true },
        {
          published: false,
          permanent: true,
          reason: expect.stringContaining(`larger than configured max size ${MAX_MESSAGE_BYTES}`) as string,
        },
        { published: true },
      ]);
      expect(new Set(await arrivedAt())).toEqual(new Set([`${before.id}`, `${after.id}`]));
    });
  });

  describe('headers', () => {
    for (const [what, headers] of [
      ['a name of 300 characters', { ['n'.repeat(300)]: '1' }],
      ['200,000 characters', { note: 'x'.repeat(200_000) }],
      ['a CC that is no list', { CC: 'elsewhere' }],
    ] as const) {
      it(`with ${what} fail their own message alone`, async () => {
        const [bad, good] = [aRelayMessage({ headers }), aRelayMessage()];
        const [first, second] = await publish([bad, good], publisherFor(broker.url));
        expect(first).toMatchObject({ published: false, permanent: true });
        expect(second).toEqual({ published: true });
        expect(new Set(await arrivedAt())).toEqual(new Set([`${good.id}`]));
      });
    }
  });

  describe('a message that comes back', () => {
    it('is not taken for one of another database that has the same id', async () => {
      const id = 4711n;
      const publisher = publisherFor(broker.url, { routingKey: ({ messageType }) => messageType });
      const nobody = `nobody_${uuidv4()}`;
      for (let round = 0; round < 50; round++) {
        const [lost, taken] = [aRelayMessage({ id, messageType: nobody }), aRelayMessage({ id })];
        // As two relays do, of which each has a database of its own.
        const [[first], [second]] = await Promise.all([publish([lost], publisher), publish([taken], publisher)]);
        expect(first).toMatchObject({ published: false, reason: expect.stringContaining(nobody) as string });
        expect(second).toEqual({ published: true });
      }
      expect(await arrivedAt()).toHaveLength(50);
    });

    it('is not taken for itself, sent again', async () => {
      let key = `nobody_${uuidv4()}`;
      const publisher = publisherFor(broker.url, { routingKey: () => key });
      const message = aRelayMessage();
      for (let round = 0; round < 20; round++) {
        key = `nobody_${uuidv4()}`;
        const lost = publish([message], publisher);
        key = TYPE;
        const [[first], [second]] = await Promise.all([lost, publish([message], publisher)]);
        expect([first!.published, second!.published]).toEqual([false, true]);
      }
    });

    it('has a messageId of its own in each database', async () => {
      const messages = [aRelayMessage({ id: 1n }), aRelayMessage({ id: 1n })];
      await publish(messages, publisherFor(broker.url));
      const ids = (await broker.drain(TYPE)).map(({ properties }) => properties.messageId as string);
      expect(ids).toEqual(messages.map(({ aggregateId }) => `${aggregateId}:1`));
    });
  });

  describe('a message over which the broker ends the channel', () => {
    const tooLarge = () => aRelayMessage({ payload: Buffer.alloc(MAX_MESSAGE_BYTES + 1) });

    it('harms none that another relay is sending over the same connection', async () => {
      const publisher = publisherFor(broker.url);
      for (let round = 0; round < 10; round++) {
        const [[first], [second]] = await Promise.all([
          publish([tooLarge()], publisher),
          publish([aRelayMessage()], publisher),
        ]);
        expect(first).toMatchObject({ published: false, permanent: true });
        expect(second).toEqual({ published: true });
      }
    });

    it('for its routing key alone is tried again, and the others of its turn arrive', async () => {
      const topic = `topic_${uuidv4()}`;
      await broker.session(async (channel) => {
        await channel.assertExchange(topic, 'topic');
        await channel.bindQueue(TYPE, topic, '#');
      });
      await broker.control('add_user', 'picky', 'secret').catch(() => undefined);
      await broker.control('set_permissions', 'picky', '^$', '.*', '^$');
      await broker.control('set_topic_permissions', 'picky', topic, '^auth_.*', '.*');
      const publisher = publisherFor(broker.url.replace(/\/\/.*@/, '//picky:secret@'), { exchange: topic });
      const [before, refused, after] = [
        aRelayMessage(),
        aRelayMessage({ messageType: 'void_request_queued' }),
        aRelayMessage(),
      ];
      expect(await publish([before, refused, after], publisher)).toEqual([
        { published: true },
        {
          published: false,
          reason: expect.stringMatching(
            /^RabbitMQ refuses routing key "void_request_queued" to this user: permit/,
          ) as string,
        },
        { published: true },
      ]);
      expect(await publish([refused], publisher)).toMatchObject([{ published: false }]);
      expect(new Set(await arrivedAt())).toEqual(new Set([`${before.id}`, `${after.id}`]));
    });
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('hunter2');
      },
    ],
    ['gives no text', () => undefined as unknown as string],
  ])('refuses a message for which routingKey %s, and takes the others', async (_what, spoilt) => {
    const [bad, good] = [aRelayMessage(), aRelayMessage()];
    const routingKey = ({ id }: { id: bigint }) => (id === bad.id ? spoilt() : TYPE);
    expect(await publish([bad, good], publisherFor(broker.url, { routingKey }))).toEqual([
      { published: false, reason: expect.stringContaining('routingKey gives no text') as string },
      { published: true },
    ]);
  });

  describe('headers larger than a frame', () => {
    it('go without the trace context where that makes them fit, else fail their own message alone', async () => {
      const trace = { traceparent: '00-1-2-01', baggage: 'x'.repeat(8_000) };
      const [fits, large, good] = [
        aRelayMessage({ headers: { ...trace, note: 'n'.repeat(58_000) } }),
        aRelayMessage({ headers: { ...trace, note: 'n'.repeat(66_000) } }),
        aRelayMessage(),
      ];
      expect(await publish([fits, large, good], publisherFor(broker.url))).toEqual([
        { published: true },
        { published: false, permanent: true, reason: expect.stringContaining('cannot carry its headers') as string },
        { published: true },
      ]);
      const [first] = await broker.drain(TYPE);
      expect(Object.keys(first!.properties.headers!).sort()).toEqual(['note', 'x-publish-token']);
    });

    it('are known before the broker ends the connection over them, whatever frames it takes', async () => {
      const publisher = publisherFor(`${broker.url}?frameMax=8192`);
      const [large, good] = [aRelayMessage({ headers: { note: 'n'.repeat(8_192) } }), aRelayMessage()];
      expect(await publish([large, good], publisher)).toMatchObject([
        { published: false, permanent: true },
        { published: true },
      ]);
    });
  });

  describe('a broker that is not there', () => {
    it('loses nothing: the relay says so once, and goes on when it is back', async () => {
      const outages = recordOutages();
      const hooks = outages;
      const relay = await relayWith(publisherFor(broker.url), { hooks, maxReconnectDelayMs: 50, pollIntervalMs: 10 });
      relay.start();
      const ids = [await enqueue()];
      await until('the first goes out', async () => (await outboxRows(database))[0]!.sent);
      await broker.kill();
      ids.push(await enqueue(), await enqueue());
      await until('the relay notices', () => outages.said.length > 0);
      expect((await outboxRows(database)).slice(1)).toEqual([PENDING, PENDING]);
      await broker.start();
      await until('they go out', async () => (await outboxRows(database)).every(({ sent }) => sent));
      await relay.stop();
      // The first was confirmed, so it is on disk and has outlived the crash.
      expect(await arrivedAt()).toEqual(ids.map(String));
      expect(outages.said).toEqual([BrokerUnavailableError.name, 'back']);
    });

    it('is said without the password', async () => {
      const publisher = publisherFor(`amqp://relay:${PASSWORD}@127.0.0.1:1`);
      const failure = await failureOf(publish([aRelayMessage()], publisher));
      expect(failure).toBeInstanceOf(BrokerUnavailableError);
      expect((failure as Error).message).toBe('RabbitMQ cannot be reached: connect ECONNREFUSED 127.0.0.1:1.');
      expect(shownOf(failure)).not.toContain(PASSWORD);
    });

    it('whose address cannot be had is said so, without a word of what keeps it', async () => {
      const publisher = publisherFor(() => Promise.reject(new RangeError('the vault said: hunter2')));
      const failure = await failureOf(publish([aRelayMessage()], publisher));
      expect(failure).toBeInstanceOf(BrokerUnavailableError);
      expect((failure as Error).message).toContain('its address is not known (RangeError)');
      expect(shownOf(failure)).not.toContain('hunter2');
    });

    it('for those credentials is said so, and new ones are asked for at each connection', async () => {
      const wrong = broker.url.replace(PASSWORD, 'wrong-hunter2');
      const urls = [wrong, broker.url];
      const publisher = publisherFor(() => urls.shift()!);
      const failure = await failureOf(publish([aRelayMessage()], publisher));
      expect((failure as Error).message).toMatch(/cannot be reached: .*ACCESS_REFUSED/);
      expect(shownOf(failure)).not.toContain('hunter2');
      expect(await publish([aRelayMessage()], publisher)).toEqual([{ published: true }]);
    });
  });

  describe('a network', () => {
    let proxy: Proxy;
    let publisher: AmqpPublisher;
    beforeEach(async () => {
      proxy = await Proxy.start(broker.url);
      publisher = publisherFor(proxy.url);
    });
    afterEach(() => proxy.close());

    it('that breaks is replaced by the next turn or the one after', async () => {
      await publish([aRelayMessage()], publisher);
      proxy.cut();
      await until('the publisher has seen it', () =>
        publish([aRelayMessage()], publisher).then(
          () => true,
          () => false,
        ),
      );
      expect((await arrivedAt()).length).toBeGreaterThanOrEqual(2);
    });

    for (const swallow of ['requests', 'answers'] as const) {
      it(`that swallows ${swallow} holds the relay until its time-out; then the message is sent again`, async () => {
        await publish([aRelayMessage()], publisher);
        await broker.drain(TYPE);
        const id = await enqueue();
        const relay = await relayWith(publisher, { publishTimeoutMs: 300 });
        proxy.swallow = swallow;
        await expect(relay.runOnce()).rejects.toThrow('The publisher did not answer within 300 ms.');
        expect(await outboxRows(database)).toEqual([PENDING]);
        proxy.swallow = 'nothing';
        await relay.runOnce();
        expect(await outboxRows(database)).toEqual([SENT]);
        const delivered = swallow === 'requests' ? [`${id}`] : [`${id}`, `${id}`];
        expect(await arrivedAt()).toEqual(delivered);
      });
    }

    it('that swallows the first word of the broker is given up when the signal says so', async () => {
      proxy.swallow = 'answers';
      const publishing = publisher.publish([aRelayMessage()], AbortSignal.timeout(100));
      expect(await within(2_000, 'publish', failureOf(publishing))).toBeInstanceOf(BrokerUnavailableError);
    });

    it('does not hold up close()', async () => {
      await publish([aRelayMessage()], publisher);
      proxy.swallow = 'answers';
      await within(5_000, 'close', publisher.close());
    });
  });

  it('waits, and sends nothing more, while the broker has an alarm', async () => {
    const publisher = publisherFor(broker.url);
    await publish([aRelayMessage()], publisher);
    await broker.drain(TYPE);
    await broker.control('set_vm_memory_high_watermark', '0');
    try {
      const id = await enqueue();
      const relay = await relayWith(publisher);
      for (let turn = 0; turn < 3; turn++) {
        // Long before the time-out of ten seconds, since the broker says so itself.
        await expect(within(5_000, 'the turn', relay.runOnce())).rejects.toThrow(
          'takes no messages at the moment: low on memory',
        );
      }
      expect(await outboxRows(database)).toEqual([PENDING]);
      await broker.control('set_vm_memory_high_watermark', '0.4');
      await until('it goes out', () =>
        relay.runOnce().then(
          (results) => results.length > 0,
          () => false,
        ),
      );
      // What was sent before the broker spoke, and once more after.
      expect(await arrivedAt()).toEqual([`${id}`, `${id}`]);
    } finally {
      await broker.control('set_vm_memory_high_watermark', '0.4');
    }
  });

  it('needs no permission but to write to its exchange, and without that waits', async () => {
    const publisher = publisherFor(broker.url.replace(/\/\/.*@/, '//writer:secret@'));
    await broker.control('add_user', 'writer', 'secret');
    await broker.control('set_permissions', 'writer', '^$', `^${EXCHANGE}$`, '^$');
    expect(await publish([aRelayMessage()], publisher)).toEqual([{ published: true }]);
    await publisher.close();
    await broker.control('set_permissions', 'writer', '^$', '^$', '^$');
    const failure = await failureOf(publish([aRelayMessage()], publisher));
    expect(failure).toBeInstanceOf(BrokerUnavailableError);
    expect((failure as Error).message).toMatch(/ACCESS_REFUSED.*access to exchange 'payments'/);
    expect(await arrivedAt()).toHaveLength(1);
  });

  it('serves a relay process, and lets it end', async () => {
    const id = await enqueue();
    const relay = new RelayProcess('amqp-publisher', { databaseUrl: database.url, brokerUrl: broker.url });
    await until('it goes out', async () => (await outboxRows(database))[0]!.sent);
    expect(await relay.end('SIGTERM')).toEqual({ exitCode: 0, signal: null });
    expect(await arrivedAt()).toEqual([`${id}`]);
  });

  it('closes its connection, and connects when it is used again', async () => {
    const publisher = publisherFor(broker.url);
    await publisher.close();
    for (let round = 0; round < 2; round++) {
      expect(await publish([aRelayMessage()], publisher)).toEqual([{ published: true }]);
      await publisher.close();
    }
    expect(await arrivedAt()).toHaveLength(2);
  });

  it('serves several relays at once over one connection', async () => {
    const publisher = publisherFor(broker.url);
    const messages = Array.from({ length: 40 }, () => aRelayMessage());
    const outcomes = await Promise.all(messages.map((message) => publish([message], publisher)));
    expect(outcomes.flat()).toEqual(messages.map(() => ({ published: true })));
    expect(await arrivedAt()).toHaveLength(40);
  });

  it('prints what the how-to says', async () => {
    const code = codeBlocks('docs/how-to/publish-to-amqp.md', 'ts');
    const project = new DocProject({ amqp: code });
    const restaurantId = '00000000-0000-0000-0000-000000000001';
    await new AuthRequests(await database.dataSource()).authorize(anAuthorizeCommand({ restaurantId }));
    // The page declares queues of its own, of another kind.
    const withoutQueue = () => broker.session((channel) => channel.deleteQueue(TYPE));
    await withoutQueue();
    const printed = await project.run('amqp', { DATABASE_URL: database.url, AMQP_URL: broker.url });
    await withoutQueue();
    project.remove();
    expect(printed).toEqual(promisedOutput(code));
  });
});
