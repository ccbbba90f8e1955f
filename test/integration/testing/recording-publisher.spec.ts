import { type DataSource } from 'typeorm';
import { BrokerUnavailableError, ConfigurationError, Outbox, OutboxRelay } from '../../../src';
import { deliverDue, MessageNotPublishedError, RecordingPublisher, requestIn } from '../../../src/testing';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf } from '../../support/processes/within';
import { outboxRows, PENDING, SENT } from '../../support/relay/relayed';
import { RESTAURANT } from '../../support/requests/auth-requests';

const database = useTestDatabase();
let dataSource: DataSource;
let publisher: RecordingPublisher;
beforeAll(async () => {
  dataSource = await database.dataSource();
});
beforeEach(async () => {
  publisher = new RecordingPublisher();
  await database.query('DELETE FROM outbox');
});

const ownMessage = (aggregateId: string) => {
  const message = { aggregateId, restaurantId: RESTAURANT, messageType: 'refund_queued', payload: Buffer.from('p') };
  return dataSource.transaction((manager) => new Outbox(dataSource).enqueue(manager, message));
};

describe('a recording publisher', () => {
  it('keeps every message, and decodes those of the package', async () => {
    const { authRequestId, restaurantId } = await requestIn(dataSource, 'VOIDED');
    await ownMessage(authRequestId);
    await deliverDue(dataSource, publisher);
    expect(publisher.published.map(({ messageType }) => messageType)).toEqual(['auth_request_queued', 'refund_queued']);
    expect(publisher.bodies).toMatchObject([{ type: 'auth_request_queued', data: { authRequestId, restaurantId } }]);
  });

  it('is away for as many calls as it was told: nothing is counted against the messages', async () => {
    await requestIn(dataSource, 'PENDING');
    publisher.throwNext(2);
    for (let call = 0; call < 2; call++) {
      expect(await failureOf(deliverDue(dataSource, publisher))).toBeInstanceOf(BrokerUnavailableError);
    }
    expect(await outboxRows(database)).toEqual([PENDING]);
    expect(await deliverDue(dataSource, publisher)).toMatchObject([{ outcome: { published: true } }]);
    expect(await outboxRows(database)).toEqual([SENT]);
  });

  it('throws what it was given', async () => {
    await requestIn(dataSource, 'PENDING');
    publisher.throwNext(1, new RangeError('of mine'));
    const failure = await failureOf(new OutboxRelay(dataSource, publisher).runOnce());
    expect(failure).toMatchObject({ cause: { name: 'RangeError' } });
  });

  it('refuses as many messages as it was told, each as it was told', async () => {
    for (let made = 0; made < 4; made++) await requestIn(dataSource, 'PENDING');
    publisher.refuseNext(2, { reason: 'too long', permanent: true });
    publisher.refuseNext(1);
    const results = await new OutboxRelay(dataSource, publisher).runOnce();
    expect(results.map(({ outcome, failed }) => [outcome.published || outcome.reason, failed])).toEqual([
      ['too long', true],
      ['too long', true],
      ['The test refuses it.', false],
      [true, false],
    ]);
    expect(publisher.published).toHaveLength(1);
  });

  it('answers as it was told where nothing else was said', async () => {
    const [kept, refused] = [await requestIn(dataSource, 'PENDING'), await requestIn(dataSource, 'PENDING')];
    publisher.answer = ({ aggregateId }) =>
      aggregateId === kept.authRequestId ? { published: true } : { published: false, reason: 'no' };
    await new OutboxRelay(dataSource, publisher).runOnce();
    expect(publisher.published.map(({ aggregateId }) => aggregateId)).toEqual([kept.authRequestId]);
    expect(await new Outbox(dataSource).stats()).toMatchObject({ pending: 1 });
    expect(refused.authRequestId).not.toBe(kept.authRequestId);
  });

  it.each([0, -1, 1.5, NaN, 'one'])('takes no %s for a count', (count) => {
    expect(() => publisher.refuseNext(count as number)).toThrow(ConfigurationError);
    expect(() => publisher.throwNext(count as number)).toThrow(ConfigurationError);
  });
});

describe('waitFor', () => {
  it('gives a message that is there, decoded', async () => {
    const { authRequestId } = await requestIn(dataSource, 'PENDING');
    await deliverDue(dataSource, publisher);
    const { type, data } = await publisher.waitFor('auth_request_queued');
    expect([type, data.authRequestId]).toEqual(['auth_request_queued', authRequestId]);
  });

  it('waits for one that a relay in the background delivers, also of a type of one’s own', async () => {
    const relay = new OutboxRelay(dataSource, publisher);
    relay.start();
    try {
      const other = await requestIn(dataSource, 'PENDING');
      const { authRequestId } = await requestIn(dataSource, 'AUTHORIZED');
      const waited = publisher.waitFor('auth_request_queued', { authRequestId: authRequestId.toUpperCase() });
      expect((await waited).data.authRequestId).toBe(authRequestId);
      const own = publisher.waitFor('refund_queued', { timeoutMs: 60_000 });
      const id = await ownMessage(other.authRequestId);
      expect(await own).toMatchObject({ id, aggregateId: other.authRequestId });
    } finally {
      await relay.stop();
    }
  });

  it('says what was published instead, when the time is up', async () => {
    expect(await failureOf(publisher.waitFor('void_request_queued', { timeoutMs: 0 }))).toMatchObject({
      message: expect.stringContaining('nor anything else') as string,
    });
    await requestIn(dataSource, 'PENDING');
    await deliverDue(dataSource, publisher);
    const failure = await failureOf(publisher.waitFor('void_request_queued', { timeoutMs: 10 }));
    expect(failure).toBeInstanceOf(MessageNotPublishedError);
    expect(failure).toMatchObject({
      code: 'MESSAGE_NOT_PUBLISHED',
      messageType: 'void_request_queued',
      published: ['auth_request_queued'],
      message: expect.stringContaining('only auth_request_queued') as string,
    });
  });
});

describe('deliverDue', () => {
  it('delivers all that is due, turn after turn, and says what became of each', async () => {
    const requests = [];
    for (let made = 0; made < 5; made++) requests.push(await requestIn(dataSource, 'PENDING'));
    // Behind another of its aggregate: of a turn of its own.
    await ownMessage(requests[0]!.authRequestId);
    publisher.refuseNext(1, { reason: 'no', permanent: true });
    const results = await deliverDue(dataSource, publisher, { batchSize: 2 });
    expect(results.map(({ outcome }) => outcome.published)).toEqual([false, true, true, true, true]);
    expect(results[0]!.message.aggregateId).toBe(requests[0]!.authRequestId);
    expect(await new Outbox(dataSource).stats()).toMatchObject({ failed: 1, pending: 1 });
  });

  it('says nothing where nothing is due', async () => {
    expect(await deliverDue(dataSource, publisher)).toEqual([]);
  });

  it('comes to an end where all is refused again and again', async () => {
    await requestIn(dataSource, 'PENDING');
    publisher.answer = () => ({ published: false, reason: 'no' });
    await deliverDue(dataSource, publisher, { retryDelayMs: 1, maxAttempts: 3 });
    for (let turns = 0; turns < 20 && (await new Outbox(dataSource).stats()).failed === 0; turns++) {
      await deliverDue(dataSource, publisher, { retryDelayMs: 1, maxAttempts: 3 });
    }
    expect(await outboxRows(database)).toMatchObject([{ attempts: 3, failed: true }]);
  });

  it('throws where the broker is away, and what was delivered before stays so', async () => {
    for (let made = 0; made < 3; made++) await requestIn(dataSource, 'PENDING');
    let calls = 0;
    publisher.answer = () => {
      if (++calls === 2) throw new BrokerUnavailableError('away');
      return { published: true };
    };
    expect(await failureOf(deliverDue(dataSource, publisher, { batchSize: 1 }))).toBeInstanceOf(BrokerUnavailableError);
    expect(await outboxRows(database)).toEqual([SENT, PENDING, PENDING]);
  });
});
