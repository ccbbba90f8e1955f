import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import {
  AUTH_REQUEST_STATUSES,
  AuthRequests,
  type AuthRequestStatus,
  ConfigurationError,
  HOLD_STATES,
  Holds,
  type HoldState,
  Outbox,
  ProcessingLocks,
  ReadModel,
} from '../../../src';
import {
  deadLetter,
  deliverDue,
  holdIn,
  RecordingPublisher,
  requestIn,
  requestToRetry,
  type TestRequest,
} from '../../../src/testing';
import { useTestDatabase } from '../../support/database/use-test-database';
import { failureOf } from '../../support/processes/within';
import { requireSound } from '../../support/requests/sound-requests';

const database = useTestDatabase();
let dataSource: DataSource;
beforeAll(async () => {
  dataSource = await database.dataSource();
});

/** Its events fold to its row, and its messages and holds are those that they call for. */
async function expectSound({ authRequestId, restaurantId }: TestRequest): Promise<void> {
  await requireSound(database, [authRequestId]);
  const differences = [];
  for await (const difference of new ReadModel(dataSource).verify({ authRequestId, restaurantId })) {
    differences.push(difference);
  }
  expect(differences).toEqual([]);
}

/** A worker may begin with it at once. */
async function expectFree(request: TestRequest): Promise<void> {
  const { authRequestId, restaurantId } = request;
  const locks = new ProcessingLocks(dataSource);
  const lease = await locks.acquire({ authRequestId, restaurantId, ttlMs: 60_000 });
  expect(lease).toMatchObject({ authRequestId });
  await locks.release(lease!);
}

const get = ({ restaurantId, authRequestId }: TestRequest) =>
  new AuthRequests(dataSource).get({ restaurantId, authRequestId });

const eventsOf = async ({ authRequestId }: TestRequest) => {
  const rows = await database.query<{ event_type: string }>(
    'SELECT event_type FROM payment_events WHERE aggregate_id = $1 ORDER BY sequence_number',
    [authRequestId],
  );
  return rows.map(({ event_type }) => event_type);
};

const messagesOf = async ({ authRequestId }: TestRequest) => {
  const rows = await database.query<{ message_type: string }>(
    'SELECT message_type FROM outbox WHERE aggregate_id = $1 ORDER BY id',
    [authRequestId],
  );
  return rows.map(({ message_type }) => message_type);
};

const EVENTS: Record<AuthRequestStatus, string[]> = {
  PENDING: [],
  PROCESSING: ['AuthAttemptStarted'],
  AUTHORIZED: ['AuthAttemptStarted', 'AuthResponseReceived'],
  DENIED: ['AuthAttemptStarted', 'AuthResponseReceived'],
  FAILED: ['AuthAttemptStarted', 'AuthAttemptFailed'],
  VOIDED: ['AuthVoidRequested'],
  EXPIRED: ['AuthRequestExpired'],
};

describe.each(AUTH_REQUEST_STATUSES)('requestIn makes a request that is %s', (status) => {
  it('by the operations that bring one there, with a sound read model and no lease on it', async () => {
    const request = await requestIn(dataSource, status);
    expect(await get(request)).toMatchObject({ status, amountCents: 1050, currency: 'USD' });
    expect(await eventsOf(request)).toEqual(['AuthRequestCreated', ...EVENTS[status]]);
    expect(await messagesOf(request)).toEqual(['auth_request_queued']);
    await expectSound(request);
    await expectFree(request);
  });

  it('as it was told to, and says of what it was made', async () => {
    const given = {
      ...{
        restaurantId: uuidv4(),
        amountCents: 2500,
        currency: 'EUR',
        paymentToken: 'pt_own',
        idempotencyKey: uuidv4(),
      },
      ...{ configVersion: 'v7', processorName: 'adyen', processorAuthId: `own_${uuidv4()}` },
    };
    const request = await requestIn(dataSource, status, given);
    expect(request).toEqual({ ...given, authRequestId: expect.any(String) as string });
    const { restaurantId, amountCents, currency } = given;
    expect(await get(request)).toMatchObject({ status, restaurantId, amountCents, currency });
    const { paymentToken, idempotencyKey } = given;
    const again = { restaurantId, amountCents, currency, paymentToken, idempotencyKey };
    expect(await new AuthRequests(dataSource).authorize(again)).toMatchObject({
      authRequestId: request.authRequestId,
      replayed: true,
    });
  });
});

const REQUEST_OF: Record<HoldState, { status: AuthRequestStatus; isNeeded: boolean; events: string[] }> = {
  held: { status: 'AUTHORIZED', isNeeded: true, events: [] },
  voiding: { status: 'VOIDED', isNeeded: false, events: ['AuthVoidRequested'] },
  void_failed: { status: 'VOIDED', isNeeded: false, events: ['AuthVoidRequested', 'AuthVoidFailed'] },
  lapsed: { status: 'AUTHORIZED', isNeeded: true, events: ['AuthHoldEnded'] },
  voided: { status: 'VOIDED', isNeeded: false, events: ['AuthVoidRequested', 'AuthVoidCompleted'] },
  captured: { status: 'AUTHORIZED', isNeeded: true, events: ['AuthHoldEnded'] },
};

it.each(HOLD_STATES)('holdIn makes a hold that is %s, by the operations that bring one there', async (state) => {
  const hold = await holdIn(dataSource, state, { amountCents: 700 });
  const { status, isNeeded, events } = REQUEST_OF[state];
  expect(await get(hold)).toMatchObject({ status });
  expect(await eventsOf(hold)).toEqual(['AuthRequestCreated', ...EVENTS.AUTHORIZED, ...events]);
  const rows = await database.query(
    `SELECT state, is_needed, processor_name, processor_auth_id, amount_cents::integer FROM auth_holds WHERE auth_request_id = $1`,
    [hold.authRequestId],
  );
  const { processorName: processor_name, processorAuthId: processor_auth_id } = hold;
  expect(rows).toEqual([{ state, is_needed: isNeeded, processor_name, processor_auth_id, amount_cents: 700 }]);
  await expectSound(hold);
  await expectFree(hold);
});

it('what holdIn makes is what the operations on holds take', async () => {
  const hold = await holdIn(dataSource, 'void_failed');
  expect(await new Holds(dataSource).requeueVoid({ ...hold, by: 'ann', reason: 'again' })).toMatchObject({
    queued: true,
  });
});

describe('requestToRetry makes a request whose attempt has failed,', () => {
  it('with a retry that is due', async () => {
    const request = await requestToRetry(dataSource);
    expect(await get(request)).toMatchObject({ status: 'PROCESSING', retryCount: 1 });
    expect(await messagesOf(request)).toEqual(['auth_request_queued', 'auth_request_queued']);
    const publisher = new RecordingPublisher();
    await deliverDue(dataSource, publisher);
    expect(publisher.bodies.filter(({ data }) => data.authRequestId === request.authRequestId)).toHaveLength(2);
    await expectSound(request);
    await expectFree(request);
  });

  it('or with one that waits', async () => {
    const request = await requestToRetry(dataSource, { retryInMs: 3_600_000 });
    const publisher = new RecordingPublisher();
    await deliverDue(dataSource, publisher);
    expect(publisher.bodies.filter(({ data }) => data.authRequestId === request.authRequestId)).toHaveLength(1);
    await expectSound(request);
  });
});

describe('deadLetter makes a request whose message is given up', () => {
  it('and leaves every other message as it is', async () => {
    const before = await requestIn(dataSource, 'PENDING');
    const { messageId, ...request } = await deadLetter(dataSource);
    const after = await requestIn(dataSource, 'PENDING');
    expect(await get(request)).toMatchObject({ status: 'PENDING' });
    const outbox = new Outbox(dataSource);
    expect((await outbox.listFailed()).map(({ id }) => id)).toEqual([messageId]);
    await expectSound(request);

    const publisher = new RecordingPublisher();
    await deliverDue(dataSource, publisher);
    const delivered = publisher.published.map(({ aggregateId, attempts }) => ({ aggregateId, attempts }));
    expect(delivered).toEqual([before, after].map(({ authRequestId: aggregateId }) => ({ aggregateId, attempts: 0 })));

    await dataSource.transaction((manager) => outbox.requeueAll(manager));
    await deliverDue(dataSource, publisher);
    expect(publisher.published.at(-1)).toMatchObject({ id: messageId, aggregateId: request.authRequestId });
  });
});

describe('what is wrong is refused before anything is written:', () => {
  const COUNT = 'SELECT count(*) FROM payment_events';
  it.each<[string, () => Promise<unknown>, string]>([
    ['a status', () => requestIn(dataSource, 'PAID' as AuthRequestStatus), 'PENDING, PROCESSING, AUTHORIZED'],
    ['an inherited name', () => requestIn(dataSource, 'toString' as AuthRequestStatus), 'PENDING, PROCESSING'],
    ['a state of a hold', () => holdIn(dataSource, 'gone' as HoldState), 'held, voiding, void_failed'],
    ['an option', () => requestIn(dataSource, 'PENDING', { amountCents: 0 }), 'amountCents must be an integer'],
    ['an option that there is not', () => requestIn(dataSource, 'PENDING', { cents: 1 } as object), 'cents'],
    ['a pause', () => requestToRetry(dataSource, { retryInMs: -1 }), 'retryInMs must be an integer'],
    ['a request for a dead letter', () => deadLetter(dataSource, { currency: 'euro' }), 'currency'],
  ])('%s', async (_what, make, problem) => {
    const before = await database.query(COUNT);
    const failure = await failureOf(make());
    expect(failure).toBeInstanceOf(ConfigurationError);
    expect((failure as Error).message).toContain(problem);
    expect(await database.query(COUNT)).toEqual(before);
  });

  it('an idempotency key that is used', async () => {
    const { restaurantId, idempotencyKey } = await requestIn(dataSource, 'PENDING');
    const failure = await failureOf(requestIn(dataSource, 'VOIDED', { restaurantId, idempotencyKey }));
    expect(failure).toMatchObject({
      code: 'CONFIGURATION',
      message: expect.stringContaining('idempotencyKey') as string,
    });
  });
});

it('a worker that is quicker is named, and no other status is handed out as the one asked for', async () => {
  // What a worker of the service under test does with a new request at once.
  await database.query(`
    CREATE FUNCTION expire_it() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE auth_request_state SET status = 'EXPIRED', completed_at = now() WHERE auth_request_id = NEW.auth_request_id;
      RETURN NULL;
    END $$;
    CREATE TRIGGER expire_it AFTER INSERT ON auth_request_state FOR EACH ROW EXECUTE FUNCTION expire_it()`);
  const failure = await failureOf(requestIn(dataSource, 'AUTHORIZED'));
  await database.query('DROP FUNCTION expire_it CASCADE');
  expect(failure).toMatchObject({
    code: 'CONFIGURATION',
    message: expect.stringMatching(/is EXPIRED and not AUTHORIZED: another process/) as string,
  });
});
