import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import {
  AuthorizationMismatchError,
  AuthRequestNotFoundError,
  AuthRequestStatusError,
  IdempotencyKeyReuseError,
  InvalidCommandError,
  LockLostError,
  NotVoidableError,
} from '../../src/errors';
import { EventStore } from '../../src/event-store/event-store';
import { ProcessingLocks } from '../../src/locks/processing-locks';
import { decodeOutboxMessage } from '../../src/outbox/message-codec';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: DataSource;
let requests: AuthRequests;

beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
});

const eventTypes = async (authRequestId: string) =>
  (await new EventStore(dataSource).readStream({ authRequestId, restaurantId: RESTAURANT })).map(({ type }) => type);
const messages = async (authRequestId: string) =>
  (
    await database.query<{ message_type: string; payload: Buffer }>(
      'SELECT message_type, payload FROM outbox WHERE aggregate_id = $1 ORDER BY id',
      [authRequestId],
    )
  ).map(({ message_type, payload }) => decodeOutboxMessage(message_type, payload));
const get = (authRequestId: string) => requests.get({ restaurantId: RESTAURANT, authRequestId });
const aVoid = (authRequestId: string, idempotencyKey: string = uuidv4()) => ({
  restaurantId: RESTAURANT,
  authRequestId,
  idempotencyKey,
  reason: 'customer left',
});

describe('authorize', () => {
  it('writes event, row, message and key, and answers PENDING', async () => {
    const command = anAuthorizeCommand({ metadata: { order: 'o1', cart: { items: [1, 2] } }, correlationId: 'c1' });
    const receipt = await requests.authorize(command);
    const { authRequestId } = receipt;
    expect(receipt).toEqual({ authRequestId, status: 'PENDING', lastEventSequence: 1, replayed: false });
    expect(await get(receipt.authRequestId)).toMatchObject({
      status: 'PENDING',
      amountCents: 1050,
      currency: 'USD',
      metadata: { order: 'o1', cart: { items: [1, 2] } },
      lastEventSequence: 1,
    });
    const [event] = await new EventStore(dataSource).readStream({ ...receipt, restaurantId: RESTAURANT });
    expect(event).toMatchObject({
      type: 'AuthRequestCreated',
      sequenceNumber: 1,
      metadata: { correlationId: 'c1', idempotency_key: command.idempotencyKey },
      data: { amountCents: 1050, metadata: { order: 'o1', cart: '{"items":[1,2]}' } },
    });
    expect(await messages(receipt.authRequestId)).toMatchObject([
      { type: 'auth_request_queued', data: { authRequestId: receipt.authRequestId, restaurantId: RESTAURANT } },
    ]);
  });

  it('answers the same key and request with the first id and the current status, whatever the order of metadata', async () => {
    const command = anAuthorizeCommand({ metadata: { a: 1, b: 2 } });
    const { authRequestId } = await requests.authorize(command);
    await requests.requestVoid(aVoid(authRequestId));
    expect(await requests.authorize({ ...command, metadata: { b: 2, a: 1 } })).toEqual({
      authRequestId,
      status: 'VOIDED',
      lastEventSequence: 2,
      replayed: true,
    });
  });

  it('refuses the same key for another amount, token, currency, metadata or operation', async () => {
    const command = anAuthorizeCommand();
    const { authRequestId } = await requests.authorize(command);
    for (const change of [{ amountCents: 1 }, { paymentToken: 'x' }, { currency: 'EUR' }, { metadata: { a: 1 } }]) {
      await expect(requests.authorize({ ...command, ...change })).rejects.toThrow(IdempotencyKeyReuseError);
    }
    await expect(requests.requestVoid(aVoid(authRequestId, command.idempotencyKey))).rejects.toThrow(
      IdempotencyKeyReuseError,
    );
    expect(await eventTypes(authRequestId)).toEqual(['AuthRequestCreated']);
  });

  it.each([
    ['an amount of zero', { amountCents: 0 }],
    ['a fraction', { amountCents: 10.5 }],
    ['an amount beyond 2^53', { amountCents: 2 ** 53 }],
    ['a lower-case currency', { currency: 'usd' }],
    ['a restaurant that is no UUID', { restaurantId: 'x' }],
    ['an empty key', { idempotencyKey: '' }],
    ['a key of 256 characters', { idempotencyKey: 'k'.repeat(256) }],
    ['a token with NUL', { paymentToken: 'secret\0token' }],
    ['metadata that is not JSON', { metadata: { big: 1n } }],
  ])('refuses %s before anything is sent, without quoting it', async (_what, change) => {
    const error: unknown = await requests.authorize(anAuthorizeCommand(change)).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(InvalidCommandError);
    expect((error as InvalidCommandError).problems).toEqual([expect.stringContaining(Object.keys(change)[0]!)]);
    expect(JSON.stringify(error) + String(error)).not.toMatch(/secret|kkkk/);
  });

  it('joins the transaction of the caller', async () => {
    const command = anAuthorizeCommand();
    const undone = dataSource.transaction(async (manager) => {
      await requests.authorize(command, manager);
      throw new Error('undo');
    });
    await expect(undone).rejects.toThrow('undo');
    expect(await requests.authorize(command)).toMatchObject({ replayed: false });
  });
});

describe('an attempt', () => {
  it('goes from PENDING over PROCESSING to AUTHORIZED', async () => {
    const { authRequestId, lease } = await aRequest(dataSource);
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual({
      outcome: 'proceed',
      status: 'PROCESSING',
      configVersion: 'v1',
      attempt: 2,
      unansweredVersions: [],
      paymentToken: 'pt_test',
      amountCents: 1050,
      currency: 'USD',
      metadata: {},
      retryCount: 0,
    });
    expect(await get(authRequestId)).toMatchObject({ status: 'PROCESSING', attemptOpen: true });
    const authorization = anAuthorization({ authorizedAmountCents: 1000 });
    expect(await requests.recordAuthorized(lease, authorization)).toEqual({
      status: 'AUTHORIZED',
      lastEventSequence: 3,
      replayed: false,
      voidQueued: false,
    });
    expect(await get(authRequestId)).toMatchObject({
      status: 'AUTHORIZED',
      attemptOpen: false,
      processorAuthId: authorization.processorAuthId,
      authorizedAmountCents: 1000,
      lastEventSequence: 3,
      completedAt: expect.any(Date) as Date,
    });
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual({
      outcome: 'nothing_to_do',
      status: 'AUTHORIZED',
    });
    expect(await requests.recordAuthorized(lease, authorization)).toMatchObject({ replayed: true });
    expect(await eventTypes(authRequestId)).toEqual([
      'AuthRequestCreated',
      'AuthAttemptStarted',
      'AuthResponseReceived',
    ]);
  });

  it('ends DENIED, once', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const denial = { processorName: 'stripe', denialCode: '05', denialReason: 'do not honour' };
    expect(await requests.recordDenied(lease, denial)).toEqual({
      status: 'DENIED',
      lastEventSequence: 3,
      replayed: false,
      voidQueued: false,
    });
    expect(await requests.recordDenied(lease, denial)).toMatchObject({ replayed: true });
    expect(await get(authRequestId)).toMatchObject({ status: 'DENIED', denialCode: '05', attemptOpen: false });
    await expect(requests.requestVoid(aVoid(authRequestId))).rejects.toThrow(NotVoidableError);
  });

  it('counts retries in row and event, beyond one byte of a varint', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const failure = { errorCode: 'TIMEOUT', errorMessage: 'none', retryable: true, outcome: 'not_asked' as const };
    await database.query('UPDATE auth_request_state SET retry_count = 126 WHERE auth_request_id = $1', [authRequestId]);
    for (const retryCount of [127, 128, 129]) {
      await requests.startAttempt(lease, { configVersion: 'v1' });
      expect(await requests.recordFailure(lease, failure)).toMatchObject({ status: 'PROCESSING', retryCount });
    }
    const events = await new EventStore(dataSource).readStream(
      { authRequestId, restaurantId: RESTAURANT },
      { from: 3 },
    );
    const failures = events.filter(({ type }) => type === 'AuthAttemptFailed');
    expect(failures.map(({ data }) => (data as { retryCount: number }).retryCount)).toEqual([127, 128, 129]);
    expect(await requests.recordFailure(lease, { ...failure, retryable: false })).toEqual({
      status: 'FAILED',
      lastEventSequence: 9,
      retryCount: 129,
      nextRetryAt: null,
    });
    expect(await get(authRequestId)).toMatchObject({ completedAt: expect.any(Date) as Date });
  });

  it('fails before it has begun', async () => {
    const { authRequestId, lease } = await aRequest(dataSource);
    const failure = { errorCode: 'NO_CONFIG', errorMessage: 'inactive', outcome: 'not_asked' as const };
    await expect(requests.recordFailure(lease, { ...failure, retryable: true })).rejects.toThrow(
      AuthRequestStatusError,
    );
    expect(await requests.recordFailure(lease, { ...failure, retryable: false })).toMatchObject({ status: 'FAILED' });
    expect(await eventTypes(authRequestId)).toEqual(['AuthRequestCreated', 'AuthAttemptFailed']);
  });

  it('refuses another currency or more than was asked for, and records nothing', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    for (const change of [{ currency: 'EUR' }, { authorizedAmountCents: 1051 }]) {
      await expect(requests.recordAuthorized(lease, anAuthorization(change))).rejects.toThrow(
        AuthorizationMismatchError,
      );
    }
    expect(await get(authRequestId)).toMatchObject({ status: 'PROCESSING', lastEventSequence: 2 });
  });

  it('is written under the lease only', async () => {
    const { lease, locks } = await aRequest(dataSource, { started: true });
    await expect(requests.recordAuthorized({ ...lease, workerId: 'w2' }, anAuthorization())).rejects.toThrow(
      LockLostError,
    );
    await expect(
      requests.recordAuthorized({ ...lease, fencingToken: lease.fencingToken + 1n }, anAuthorization()),
    ).rejects.toThrow(LockLostError);
    await locks.release(lease);
    await expect(requests.recordAuthorized(lease, anAuthorization())).rejects.toThrow(LockLostError);
    await expect(requests.startAttempt(lease, { configVersion: 'v1' })).rejects.toThrow(LockLostError);
  });
});

describe('requestVoid', () => {
  it('says not_required for PENDING, pending for PROCESSING and queued for AUTHORIZED', async () => {
    const pending = await aRequest(dataSource);
    expect(await requests.requestVoid(aVoid(pending.authRequestId))).toMatchObject({ outcome: 'not_required' });
    const processing = await aRequest(dataSource, { started: true });
    expect(await requests.requestVoid(aVoid(processing.authRequestId))).toMatchObject({ outcome: 'pending' });
    const authorized = await aRequest(dataSource, { started: true });
    await requests.recordAuthorized(authorized.lease, anAuthorization());
    const command = aVoid(authorized.authRequestId);
    expect(await requests.requestVoid(command)).toEqual({
      authRequestId: authorized.authRequestId,
      status: 'VOIDED',
      lastEventSequence: 4,
      outcome: 'queued',
      replayed: false,
    });
    expect(await requests.requestVoid(command)).toMatchObject({ outcome: 'queued', replayed: true });
    expect((await messages(authorized.authRequestId)).map(({ type }) => type)).toEqual([
      'auth_request_queued',
      'void_request_queued',
    ]);
    expect(await messages(pending.authRequestId)).toHaveLength(1);
  });

  it('refuses a request that is VOIDED by another key, unknown, or of another restaurant, and burns no key', async () => {
    const { authRequestId } = await aRequest(dataSource);
    await requests.requestVoid(aVoid(authRequestId));
    const key = uuidv4();
    await expect(requests.requestVoid(aVoid(authRequestId, key))).rejects.toThrow(NotVoidableError);
    await expect(requests.requestVoid(aVoid(uuidv4(), key))).rejects.toThrow(AuthRequestNotFoundError);
    await expect(requests.requestVoid({ ...aVoid(authRequestId, key), restaurantId: uuidv4() })).rejects.toThrow(
      AuthRequestNotFoundError,
    );
    const other = await aRequest(dataSource);
    expect(await requests.requestVoid(aVoid(other.authRequestId, key))).toMatchObject({ replayed: false });
  });
});

test('each receipt tells the number of the last event, as the row has it, and a replay the number that fits its status', async () => {
  const command = anAuthorizeCommand();
  const number = async (receipt: Promise<{ lastEventSequence: number }>) => (await receipt).lastEventSequence;
  const { authRequestId } = await requests.authorize(command);
  const inRow = async () => (await get(authRequestId))!.lastEventSequence;
  const lease = (await new ProcessingLocks(dataSource).acquire({
    ...{ restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 60_000 },
  }))!;
  await requests.startAttempt(lease, { configVersion: 'v1' });
  const failure = { errorCode: 'T', errorMessage: '', retryable: true, outcome: 'not_asked' } as const;
  const failed = await number(requests.recordFailure(lease, failure));
  expect([failed, await inRow(), await number(requests.authorize(command))]).toEqual([3, 3, 3]);
  expect(await number(requests.recordFailure(lease, failure))).toBe(3);
  await requests.startAttempt(lease, { configVersion: 'v1' });
  const authorization = anAuthorization();
  expect([await number(requests.recordAuthorized(lease, authorization)), await inRow()]).toEqual([5, 5]);
  const voiding = aVoid(authRequestId);
  expect([await number(requests.requestVoid(voiding)), await inRow()]).toEqual([6, 6]);
  expect(await number(requests.recordAuthorized(lease, authorization))).toBe(5);
  await requests.startAttempt(lease, { configVersion: 'v1' });
  expect([await number(requests.requestVoid(voiding)), await number(requests.authorize(command))]).toEqual([6, 6]);
});

describe('money that crosses', () => {
  it.each(['void', 'expiry', 'terminal failure of unknown outcome'])(
    'an authorization that a %s overtook is stored and released, once, and the request stays closed',
    async (closing) => {
      const { authRequestId, lease } = await aRequest(dataSource, { started: true });
      if (closing === 'void') await requests.requestVoid(aVoid(authRequestId));
      else if (closing === 'expiry') await requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: 'late' });
      else
        await requests.recordFailure(lease, { errorCode: 'T', errorMessage: '', retryable: false, outcome: 'unknown' });
      const closed = (await get(authRequestId))?.status;
      expect(await requests.listUnsettled({ olderThanMs: 0 })).toContainEqual(
        expect.objectContaining({ authRequestId }),
      );

      expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toMatchObject({
        outcome: 'settle',
        status: closed,
      });
      const authorization = anAuthorization();
      expect(await requests.recordAuthorized(lease, authorization)).toEqual({
        status: closed,
        lastEventSequence: 5,
        replayed: false,
        voidQueued: true,
      });
      expect(await requests.recordAuthorized(lease, authorization)).toEqual({
        status: closed,
        lastEventSequence: 5,
        replayed: true,
        voidQueued: true,
      });
      expect(await get(authRequestId)).toMatchObject({
        status: closed,
        attemptOpen: false,
        ...pickResult(authorization),
      });
      expect((await messages(authRequestId)).at(-1)).toMatchObject({
        type: 'void_request_queued',
        data: { reason: 'voided_during_authorization' },
      });
      expect(await messages(authRequestId)).toHaveLength(2);
      expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual({
        outcome: 'nothing_to_do',
        status: closed,
      });
      expect(await requests.listUnsettled({ olderThanMs: 0 })).not.toContainEqual(
        expect.objectContaining({ authRequestId }),
      );
    },
  );

  it('a denial, or the word that nothing is held, settles a closed request without a message', async () => {
    for (const settle of [
      ({ lease }: Awaited<ReturnType<typeof aRequest>>) => requests.recordDenied(lease, { processorName: 'stripe' }),
      ({ lease }: Awaited<ReturnType<typeof aRequest>>) =>
        requests.recordFailure(lease, { errorCode: 'T', errorMessage: '', retryable: true, outcome: 'nothing_held' }),
    ]) {
      const request = await aRequest(dataSource, { started: true });
      await requests.requestVoid(aVoid(request.authRequestId));
      expect(await settle(request)).toMatchObject({ status: 'VOIDED' });
      expect(await get(request.authRequestId)).toMatchObject({
        status: 'VOIDED',
        attemptOpen: false,
        denialCode: null,
      });
      expect(await messages(request.authRequestId)).toHaveLength(1);
    }
  });
});

const pickResult = ({ processorAuthId, authorizedAmountCents }: ReturnType<typeof anAuthorization>) => ({
  processorAuthId,
  authorizedAmountCents,
});
