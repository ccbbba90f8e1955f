import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type MessageProperties } from 'amqplib';
import { v4 as uuidv4 } from 'uuid';
import { Outbox, OutboxRelay } from '../../../src';
import type * as Amqp from '../../../src/publishers/amqp/amqp-publisher';
import { useTestDatabase } from '../../support/database/use-test-database';
import { RESTAURANT } from '../../support/requests/auth-requests';
import { describeRabbitMq, type RabbitMq, startRabbitMq } from '../../support/relay/rabbitmq';
import { aRelayMessage, outboxRows, PENDING, SENT } from '../../support/relay/relayed';

const TYPE = 'auth_request_queued';
const EXCHANGE = 'payments';
/** `é` has two bytes: a name of 128 of them is one byte too long. */
const LONG = 'é'.repeat(128);
const FRAME_MAX = 8_192;

const database = useTestDatabase();
let broker: RabbitMq;

/** The oldest of each that the package may be installed with, and the newest: the modules themselves. */
const VERSIONS = [
  ['0.10.9', 'amqplib-0.10'],
  ['1.0.3', 'amqplib-1'],
  ['2', 'amqplib'],
] as const;

describeRabbitMq('AmqpPublisher', () => {
  beforeAll(async () => {
    broker = await startRabbitMq();
    await broker.session(async (channel) => {
      await channel.assertExchange(EXCHANGE, 'direct', { durable: true });
      await channel.assertQueue(TYPE, { durable: true });
      await channel.bindQueue(TYPE, EXCHANGE, TYPE);
    });
  });
  afterAll(() => broker.remove());
  beforeEach(() => database.query('DELETE FROM outbox'));

  describe.each(VERSIONS)('with amqplib %s', (version, name) => {
    let AmqpPublisher: typeof Amqp.AmqpPublisher;
    let publisher: Amqp.AmqpPublisher;

    beforeAll(() => {
      const manifest = readFileSync(join(process.cwd(), 'node_modules', name, 'package.json'), 'utf8');
      expect((JSON.parse(manifest) as { version: string }).version.startsWith(version)).toBe(true);
      jest.isolateModules(() => {
        jest.doMock('amqplib', () => jest.requireActual<object>(name));
        ({ AmqpPublisher } = jest.requireActual<typeof Amqp>('../../../src/publishers/amqp/amqp-publisher'));
        jest.dontMock('amqplib');
      });
    });
    /** How often the publisher has connected: for each it asks where to. */
    let connections: number;
    beforeEach(async () => {
      connections = 0;
      const url = () => `${broker.url}?frameMax=${FRAME_MAX}&connection=${++connections}`;
      publisher = new AmqpPublisher({ url, exchange: EXCHANGE });
      await broker.drain(TYPE);
    });
    afterEach(() => publisher.close());

    const publish = (messages: ReturnType<typeof aRelayMessage>[], by = publisher) =>
      by.publish(messages, AbortSignal.timeout(10_000));
    const arrived = async () =>
      (await broker.drain(TYPE)).map(({ properties }) => (properties.messageId as string).split(':')[1]!);

    it.each([
      ['a header name of 256 bytes', { headers: { [LONG]: '1' } }, 'the name of one of its headers has'],
      ['a header larger than a frame', { headers: { note: 'n'.repeat(FRAME_MAX) } }, 'cannot carry its headers'],
      ['headers larger than 64 KiB', { headers: { note: 'n'.repeat(65_536) } }, 'cannot carry its headers'],
      ['a type of 256 bytes', { messageType: LONG }, 'its type has'],
      ['a content type of 256 bytes', { headers: { 'content-type': LONG } }, 'its header content-type has'],
    ])('a message with %s fails for good, its neighbours arrive, the connection stays', async (_what, bad, reason) => {
      const [before, after] = [aRelayMessage(), aRelayMessage()];
      expect(await publish([before])).toEqual([{ published: true }]);
      expect(await publish([aRelayMessage(bad), after])).toEqual([
        { published: false, permanent: true, reason: expect.stringContaining(reason) as string },
        { published: true },
      ]);
      expect(await publish([aRelayMessage(bad)])).toMatchObject([{ published: false, permanent: true }]);
      expect(connections).toBe(1);
      expect(await arrived()).toEqual([`${before.id}`, `${after.id}`]);
    });

    it('a routing key that is too long is tried again, as the publisher can be corrected', async () => {
      const [bad, good] = [aRelayMessage(), aRelayMessage()];
      const routingKey = ({ id }: { id: bigint }) => (id === bad.id ? LONG : TYPE);
      const keyed = new AmqpPublisher({ url: broker.url, exchange: EXCHANGE, routingKey });
      try {
        expect(await publish([bad, good], keyed)).toEqual([
          { published: false, reason: expect.stringContaining('routingKey gives more than 255 bytes') as string },
          { published: true },
        ]);
      } finally {
        await keyed.close();
      }
      expect(await arrived()).toEqual([`${good.id}`]);
    });

    it('headers up to the last byte of a frame arrive, and one byte more is refused before it is sent', async () => {
      const sized = (bytes: number) => aRelayMessage({ id: 1n, headers: { note: 'n'.repeat(bytes) } });
      // Halves the sizes between one that is taken and one that is not, until they are neighbours.
      let [taken, refused] = [0, FRAME_MAX];
      while (refused - taken > 1) {
        const middle = (taken + refused) >> 1;
        const [outcome] = await publish([sized(middle)]);
        if (outcome!.published) taken = middle;
        else refused = middle;
      }
      expect(connections).toBe(1);
      const all = await broker.drain(TYPE);
      const largest = all.reduce((most, { properties }) => Math.max(most, frameBytes(properties)), 0);
      // The publisher's own token may be a digit shorter than it was in the one that was refused.
      expect(largest).toBeGreaterThanOrEqual(FRAME_MAX - 1);
      expect(largest).toBeLessThanOrEqual(FRAME_MAX);
    });

    it('one poison message does not stop the relay', async () => {
      const dataSource = await database.dataSource();
      const outbox = new Outbox(dataSource);
      const enqueue = (headers: Record<string, string>) =>
        dataSource.transaction((manager) =>
          outbox.enqueue(manager, {
            ...{ aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: TYPE, payload: Buffer.from('p') },
            headers,
          }),
        );
      await enqueue({ [LONG]: '1' });
      await enqueue({ note: 'n'.repeat(200_000) });
      const good = await enqueue({});
      const relay = new OutboxRelay(dataSource, publisher);
      await relay.runOnce();
      const failed = { ...PENDING, attempts: 1, failed: true, last_error: expect.stringMatching(/^AMQP /) as string };
      expect(await outboxRows(database)).toEqual([failed, failed, SENT]);
      expect(await arrived()).toEqual([`${good}`]);
      await relay.stop();
    });
  });
});

/** How large the frame with the properties was, by the specification of AMQP 0-9-1 (4.2.6, 4.2.5.5). */
function frameBytes({ headers, messageId, type, contentType }: MessageProperties): number {
  const texts = [messageId, type, contentType].map((text) => 1 + Buffer.byteLength(text as string));
  const fields = Object.entries(headers as object).map(
    ([name, value]) => 1 + Buffer.byteLength(name) + 1 + 4 + Buffer.byteLength(value as string),
  );
  const [frame, header, flags, table, deliveryMode, timestamp] = [8, 12, 2, 4, 1, 8];
  const fixed = frame + header + flags + table + deliveryMode + timestamp;
  return [...texts, ...fields].reduce((sum, bytes) => sum + bytes, fixed);
}
