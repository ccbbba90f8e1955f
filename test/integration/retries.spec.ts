import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type FailureCommand } from '../../src/auth-requests/record-failure';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { EventStore, type StoredEvent } from '../../src/event-store/event-store';
import { type Lease } from '../../src/locks/processing-locks';
import { decodeOutboxMessage } from '../../src/outbox/message-codec';
import { OutboxRelay } from '../../src/outbox/outbox-relay';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { atOnce, crowdOf, overlap } from '../support/requests/races';
import { RecordingPublisher } from '../../src/testing/recording-publisher';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
beforeAll(async () => {
  dataSource = await crowdOf(4, database);
  requests = new AuthRequests(dataSource);
});
beforeEach(() => database.query('DELETE FROM outbox'));
afterAll(() => dataSource.destroy());

const AN_HOUR = 3_600_000;
const inAnHour = () => new Date(Date.now() + AN_HOUR);
const aFailure = (changes: Partial<FailureCommand> = {}): FailureCommand => ({
  ...{ errorCode: 'TIMEOUT', errorMessage: '', retryable: true, outcome: 'unknown' },
  ...changes,
});
/** A request with an attempt under way, whose first message has gone out. */
async function anAttempt() {
  const request = await aRequest(dataSource, { started: true });
  await database.query('UPDATE outbox SET processed_at = now() WHERE aggregate_id = $1', [request.authRequestId]);
  return request;
}
const aVoid = (authRequestId: string) => ({
  ...{ restaurantId: RESTAURANT, authRequestId, reason: 'guest left', idempotencyKey: uuidv4() },
});

interface Message {
  message_type: string;
  restaurant_id: string;
  payload: Buffer;
  headers: Record<string, string>;
  attempts: number;
  next_attempt_at: Date | null;
}
/** What has not gone out yet. */
const messagesOf = (authRequestId: string) =>
  database.query<Message>('SELECT * FROM outbox WHERE aggregate_id = $1 AND processed_at IS NULL ORDER BY id', [
    authRequestId,
  ]);
const failuresOf = async (authRequestId: string) =>
  (await new EventStore(dataSource).readStream({ authRequestId, restaurantId: RESTAURANT })).filter(
    (event): event is StoredEvent & { type: 'AuthAttemptFailed' } => event.type === 'AuthAttemptFailed',
  );
const toSeconds = (time: Date) => Math.floor(time.getTime() / 1_000);
const serverNow = async () => (await database.query<{ now: Date }>('SELECT clock_timestamp() AS now'))[0]!.now;

describe('a failure that is to be retried', () => {
  it('queues the next message, due at the time that it was given', async () => {
    const { lease, authRequestId } = await anAttempt();
    const nextRetryAt = inAnHour();
    const headers = { tenant: 't1' };
    const recorded = await requests.recordFailure(lease, aFailure({ nextRetryAt, headers }));
    expect(recorded).toEqual({ status: 'PROCESSING', lastEventSequence: 3, retryCount: 1, nextRetryAt });
    const messages = await messagesOf(authRequestId);
    expect(messages).toMatchObject([
      { message_type: 'auth_request_queued', restaurant_id: RESTAURANT, attempts: 0, next_attempt_at: nextRetryAt },
    ]);
    expect(messages[0]!.headers).toMatchObject(headers);
    const message = decodeOutboxMessage('auth_request_queued', messages[0]!.payload);
    expect(message.data).toMatchObject({ authRequestId, restaurantId: RESTAURANT });
    const [failure] = await failuresOf(authRequestId);
    expect(toSeconds(failure!.data.nextRetryAt!)).toBe(toSeconds(nextRetryAt));
  });

  it('is due by the clock of the database, twice as late each time up to five minutes, and less up to a half', async () => {
    const { lease, authRequestId } = await anAttempt();
    const shares: number[] = [];
    for (const [retries, seconds] of [0, 1, 2, 7, 8, 9, 60, 2_147_483_000].map((n) => [
      n,
      Math.min(2 ** (n + 1), 300),
    ])) {
      await database.query('DELETE FROM outbox');
      await database.query('UPDATE auth_request_state SET retry_count = $2 WHERE auth_request_id = $1', [
        ...[authRequestId, retries],
      ]);
      await requests.startAttempt(lease, { configVersion: 'v1' });
      const before = await serverNow();
      const { nextRetryAt } = await requests.recordFailure(lease, aFailure());
      const after = await serverNow();
      expect(await messagesOf(authRequestId)).toMatchObject([{ next_attempt_at: nextRetryAt }]);
      const failure = (await failuresOf(authRequestId)).at(-1)!;
      expect(toSeconds(failure.data.nextRetryAt!)).toBe(toSeconds(nextRetryAt!));
      const [least, most] = [nextRetryAt!.getTime() - after.getTime(), nextRetryAt!.getTime() - before.getTime()];
      expect(most).toBeGreaterThanOrEqual(seconds! * 500 - 1);
      expect(least).toBeLessThanOrEqual(seconds! * 1_000);
      shares.push(Math.round(least / seconds!));
    }
    expect(new Set(shares).size).toBeGreaterThan(1);
  });

  it('of the past is due at once', async () => {
    const { lease, authRequestId } = await anAttempt();
    await requests.recordFailure(lease, aFailure({ nextRetryAt: new Date(0) }));
    const publisher = new RecordingPublisher();
    await new OutboxRelay(dataSource, publisher).runOnce();
    expect(publisher.published).toMatchObject([{ aggregateId: authRequestId, messageType: 'auth_request_queued' }]);
  });

  it('is overtaken by a void, which goes out at once; the retry then finds nothing to do', async () => {
    const { lease, authRequestId } = await anAttempt();
    await requests.recordFailure(lease, aFailure({ nextRetryAt: inAnHour(), outcome: 'not_asked' }));
    // Somebody has started it by hand meanwhile: there is something to release.
    await requests.startAttempt(lease, { configVersion: 'v1' });
    await requests.recordAuthorized(lease, anAuthorization());
    await requests.requestVoid(aVoid(authRequestId));
    const publisher = new RecordingPublisher();
    const relay = new OutboxRelay(dataSource, publisher);
    await relay.runOnce();
    expect(publisher.published.map(({ messageType }) => messageType)).toEqual(['void_request_queued']);
    await database.query('UPDATE outbox SET next_attempt_at = now() WHERE processed_at IS NULL');
    await relay.runOnce();
    expect(publisher.published.map(({ messageType }) => messageType)).toEqual([
      'void_request_queued',
      'auth_request_queued',
    ]);
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual(
      expect.objectContaining({ outcome: 'nothing_to_do', status: 'VOIDED' }),
    );
  });

  it('made again since its answer was lost queues nothing more, also after its message has gone out', async () => {
    for (const nextRetryAt of [undefined, inAnHour(), new Date(0)]) {
      const { lease, authRequestId } = await anAttempt();
      const first = await requests.recordFailure(lease, aFailure({ nextRetryAt }));
      expect(await requests.recordFailure(lease, aFailure({ nextRetryAt }))).toEqual(first);
      expect(await messagesOf(authRequestId)).toHaveLength(1);
      await database.query('UPDATE outbox SET processed_at = now(), next_attempt_at = NULL');
      expect(await requests.recordFailure(lease, aFailure({ nextRetryAt }))).toEqual(first);
      expect(await messagesOf(authRequestId)).toEqual([]);
    }
  });

  it('is undone with the transaction of its caller, message and all', async () => {
    const { lease, authRequestId } = await anAttempt();
    const undone = dataSource.transaction(async (manager) => {
      await requests.recordFailure(lease, aFailure(), manager);
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect(await messagesOf(authRequestId)).toEqual([]);
  });
});

describe('nothing is queued', () => {
  const cases: [string, Partial<FailureCommand>, (lease: Lease) => Promise<unknown>][] = [
    ['by a failure for good', { retryable: false, nextRetryAt: inAnHour() }, () => Promise.resolve()],
    ['at a request that was voided', {}, ({ authRequestId }) => requests.requestVoid(aVoid(authRequestId))],
    [
      'at a request that has expired',
      { nextRetryAt: inAnHour() },
      (lease) => requests.expire({ restaurantId: RESTAURANT, authRequestId: lease.authRequestId, reason: 'late' }),
    ],
    [
      'at an authorized request',
      {},
      async (lease) => {
        await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
        await requests.recordAuthorized(lease, anAuthorization());
        // To find out what became of the first.
        await requests.startAttempt(lease, { configVersion: 'v1' });
      },
    ],
    ['where the queue delivers again', { retryBy: 'broker' }, () => Promise.resolve()],
  ];

  it.each(cases)('%s', async (_what, changes, prepare) => {
    const { lease, authRequestId } = await anAttempt();
    await prepare(lease);
    await database.query('DELETE FROM outbox');
    expect(await requests.recordFailure(lease, aFailure(changes))).toMatchObject({ nextRetryAt: null });
    expect(await messagesOf(authRequestId)).toEqual([]);
    const [failure] = await failuresOf(authRequestId);
    expect(failure!.data.nextRetryAt).toBeUndefined();
  });

  it('where the queue delivers again at a time, which the event keeps', async () => {
    const { lease, authRequestId } = await anAttempt();
    const failure = aFailure({ retryBy: 'broker', nextRetryAt: inAnHour() });
    const recorded = await requests.recordFailure(lease, failure);
    expect(recorded).toMatchObject({ nextRetryAt: failure.nextRetryAt });
    expect(await requests.recordFailure(lease, failure)).toEqual(recorded);
    expect(await messagesOf(authRequestId)).toEqual([]);
    const [event] = await failuresOf(authRequestId);
    expect(toSeconds(event!.data.nextRetryAt!)).toBe(toSeconds(failure.nextRetryAt!));
  });
});

describe('one retry at most waits for a request', () => {
  it('a further failure, also of another worker, names the time of the one that waits', async () => {
    const { lease, locks, authRequestId } = await anAttempt();
    const nextRetryAt = inAnHour();
    await requests.recordFailure(lease, aFailure({ nextRetryAt }));
    await locks.release(lease);
    const next = (await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 }))!;
    await requests.startAttempt(next, { configVersion: 'v1' });
    for (const [errorCode, asked] of [
      ['A', undefined],
      ['B', new Date(nextRetryAt.getTime() + 1_000)],
      ['C', new Date(nextRetryAt.getTime() - 1_000)],
    ] as const) {
      const recorded = await requests.recordFailure(next, aFailure({ errorCode, nextRetryAt: asked }));
      expect(recorded).toMatchObject({ nextRetryAt });
    }
    expect(await messagesOf(authRequestId)).toMatchObject([{ next_attempt_at: nextRetryAt }]);
    const times = (await failuresOf(authRequestId)).map(({ data }) => toSeconds(data.nextRetryAt!));
    expect(times).toEqual(Array(4).fill(toSeconds(nextRetryAt)));
  });

  it.each(['commit', 'rollback'] as const)('a failure that waits for another one, and for its %s', async (ending) => {
    const { lease, authRequestId } = await anAttempt();
    await requests.startAttempt(lease, { configVersion: 'v1' });
    const [at, later] = [inAnHour(), new Date(Date.now() + 2 * AN_HOUR)];
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) => requests.recordFailure(lease, aFailure({ attempt: 2, nextRetryAt: at }), manager),
      () => requests.recordFailure(lease, aFailure({ attempt: 3, nextRetryAt: later })),
      { ending },
    );
    const due = ending === 'commit' ? at : later;
    expect({ waited, second }).toMatchObject({ waited: true, second: { nextRetryAt: due } });
    expect(await messagesOf(authRequestId)).toMatchObject([{ next_attempt_at: due }]);
    expect(await failuresOf(authRequestId)).toHaveLength(ending === 'commit' ? 2 : 1);
  });

  it('whatever fails at once, forty times over', async () => {
    for (let round = 0; round < 40; round++) {
      const { lease, authRequestId } = await anAttempt();
      for (let more = 0; more < 2; more++) await requests.startAttempt(lease, { configVersion: 'v1' });
      const nextRetryAt = round % 2 ? inAnHour() : undefined;
      const recorded = await atOnce(3, (index) =>
        requests.recordFailure(lease, aFailure({ attempt: 2 + index, nextRetryAt })),
      );
      const messages = await messagesOf(authRequestId);
      expect(messages).toHaveLength(1);
      expect(recorded.map(({ nextRetryAt }) => nextRetryAt)).toEqual(Array(3).fill(messages[0]!.next_attempt_at));
      expect(recorded.map(({ retryCount }) => retryCount).sort()).toEqual([1, 2, 3]);
    }
  });

  it('one that is due waits no longer: it may have gone out, and the next failure neither waits for it nor counts on it', async () => {
    const { lease, authRequestId } = await anAttempt();
    await requests.recordFailure(lease, aFailure({ nextRetryAt: new Date(0) }));
    const publisher = new RecordingPublisher();
    const relay = new OutboxRelay(dataSource, publisher);
    const nextRetryAt = inAnHour();
    publisher.answer = async () => {
      await requests.startAttempt(lease, { configVersion: 'v1' });
      await requests.recordFailure(lease, aFailure({ nextRetryAt }));
      return { published: true };
    };
    await relay.runOnce();
    expect(await messagesOf(authRequestId)).toMatchObject([{ next_attempt_at: nextRetryAt }]);
  });
});
