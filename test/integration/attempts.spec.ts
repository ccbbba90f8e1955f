import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { type PaymentEventsDataSource } from '../../src/data-source';
import {
  AuthorizationConflictError,
  AuthRequestNotFoundError,
  AuthRequestStatusError,
  LockHeldError,
  LockLostError,
} from '../../src/errors';
import { decodeOutboxMessage } from '../../src/outbox/message-codec';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { ReadModel } from '../../src/read-model/read-model';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { refusal } from '../support/database/refusal';
import { useTestDatabase } from '../support/database/use-test-database';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;
beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
  locks = new ProcessingLocks(dataSource);
});

const get = (authRequestId: string) => requests.get({ restaurantId: RESTAURANT, authRequestId });
const failure = { errorCode: 'TIMEOUT', errorMessage: '', retryable: true };

/** The worker that held it has died; another one comes. */
async function takeOver(authRequestId: string): Promise<Lease> {
  await database.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId]);
  return (await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 }))!;
}

/** Of each message that has a processor release an authorization. */
async function releases(authRequestId: string): Promise<unknown[]> {
  const rows = await database.query<{ message_type: string; payload: Buffer }>(
    `SELECT message_type, payload FROM outbox WHERE aggregate_id = $1 AND message_type = 'void_request_queued' ORDER BY id`,
    [authRequestId],
  );
  return rows.map(({ message_type, payload }) => decodeOutboxMessage(message_type, payload).data);
}

describe('a failure closes no attempt but its own', () => {
  const cases: [string, (request: Awaited<ReturnType<typeof aRequest>>) => Promise<unknown>][] = [
    [
      'of the next attempt, which could not ask',
      async ({ lease }) => {
        await requests.recordFailure(lease, { ...failure, outcome: 'unknown' });
        await requests.startAttempt(lease, { configVersion: 'v1' });
        await requests.recordFailure(lease, { ...failure, errorCode: 'NO_TOKEN', outcome: 'not_asked' });
      },
    ],
    [
      'of a worker that gives up before it begins an attempt, the last one having died',
      async ({ authRequestId }) => {
        const lease = await takeOver(authRequestId);
        await requests.recordFailure(lease, { ...failure, retryable: false, outcome: 'not_asked' });
      },
    ],
    [
      'of a worker that settles a voided request and could not ask',
      async ({ authRequestId }) => {
        await requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: '', idempotencyKey: uuidv4() });
        const lease = await takeOver(authRequestId);
        expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toMatchObject({ outcome: 'settle' });
        await requests.recordFailure(lease, { ...failure, outcome: 'not_asked' });
      },
    ],
    [
      'that gives up in the end, after one of unknown outcome',
      async ({ lease }) => {
        await requests.recordFailure(lease, { ...failure, outcome: 'unknown' });
        await requests.recordFailure(lease, { ...failure, retryable: false, outcome: 'not_asked' });
      },
    ],
    [
      'under the next configuration version, which holds nothing',
      async ({ authRequestId }) => {
        const lease = await takeOver(authRequestId);
        await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
        await requests.recordFailure(lease, { ...failure, retryable: false, outcome: 'nothing_held' });
      },
    ],
  ];
  it.each(cases)('one %s', async (_what, happen) => {
    const request = await aRequest(dataSource, { started: true });
    const { authRequestId } = request;
    await happen(request);
    expect(await get(authRequestId)).toMatchObject({ attemptOpen: true, unansweredVersions: ['v1'] });
    expect(await requests.listUnsettled({ olderThanMs: 0, limit: 10_000 })).toContainEqual(
      expect.objectContaining({ authRequestId, canBeAsked: true }),
    );

    const lease = await takeOver(authRequestId);
    expect(await requests.startAttempt(lease, { configVersion: 'v3' })).toMatchObject({
      outcome: 'settle',
      configVersion: 'v1',
    });
    await requests.recordFailure(lease, { ...failure, outcome: 'nothing_held' });
    expect(await get(authRequestId)).toMatchObject({ attemptOpen: false, unansweredSince: null });
    const verification = new ReadModel(dataSource).verify({ authRequestId });
    for await (const difference of verification) expect(difference).toBeUndefined();
  });
});

describe('startAttempt', () => {
  it('goes by the version of an open attempt, unless it is told to ask another account beside it', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    expect(await requests.startAttempt(lease, { configVersion: 'v2' })).toMatchObject({
      ...{ outcome: 'settle', status: 'PROCESSING', configVersion: 'v1', attempt: 3, unansweredVersions: ['v1'] },
    });
    expect(await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true })).toMatchObject({
      ...{ outcome: 'proceed', configVersion: 'v2', attempt: 4, unansweredVersions: ['v1'] },
    });
    await requests.recordAuthorized(lease, anAuthorization());
    expect(await get(authRequestId)).toMatchObject({ status: 'AUTHORIZED', unansweredVersions: ['v1'] });
  });

  it('asks nobody who may have forgotten the key: that is listed, for a person', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await database.query(
      `UPDATE auth_request_state SET unanswered_since = now() - interval '25 hours' WHERE auth_request_id = $1`,
      [authRequestId],
    );
    const told = { outcome: 'nothing_to_do', status: 'PROCESSING', attemptOpen: true };
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual(told);
    const listed = await requests.listUnsettled({ olderThanMs: 0, limit: 10_000 });
    expect(listed).toContainEqual(expect.objectContaining({ authRequestId, canBeAsked: false }));
    expect(await requests.startAttempt(lease, { configVersion: 'v1', settleWithinMs: 26 * 3_600_000 })).toMatchObject({
      outcome: 'proceed',
      attempt: 3,
    });
  });

  it('asks nobody who may have forgotten the key, though told to go by that version beside another', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await database.query(
      `UPDATE auth_request_state SET unanswered_since = now() - interval '25 hours' WHERE auth_request_id = $1`,
      [authRequestId],
    );
    const told = { outcome: 'nothing_to_do', attemptOpen: true };
    const command = { configVersion: 'v1', besideUnanswered: true };
    expect(await requests.startAttempt(lease, command)).toMatchObject(told);
  });

  it('asks each account in turn, so that one that is down keeps nobody from the others', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    const asked = [];
    for (let times = 0; times < 4; times++) {
      asked.push(await requests.startAttempt(lease, { configVersion: 'v3' }));
    }
    expect(asked.map((attempt) => 'configVersion' in attempt && attempt.configVersion)).toEqual([
      'v1',
      'v2',
      'v1',
      'v2',
    ]);
  });

  it('tells what is to be done though an event of the request cannot be read', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await requests.recordDenied(lease, { processorName: 'stripe' });
    await database.query(
      `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
       VALUES ($1, 'auth_request', 'AuthResponseReceived', '\\x1063', 4, $2)`,
      [authRequestId, RESTAURANT],
    );
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual({
      ...{ outcome: 'nothing_to_do', status: 'DENIED' },
    });
  });

  it('asks nobody about the attempts of legacy services, which had no key to ask again under', async () => {
    const { authRequestId, lease } = await aRequest(dataSource);
    await database.query(
      `UPDATE auth_request_state SET status = 'PROCESSING', attempt_open = true, unanswered_versions = '{""}',
         unanswered_since = now(), last_event_sequence = 2 WHERE auth_request_id = $1`,
      [authRequestId],
    );
    await database.query(
      `INSERT INTO payment_events (aggregate_id, aggregate_type, event_type, event_data, sequence_number, restaurant_id)
       VALUES ($1, 'auth_request', 'AuthAttemptStarted', '', 2, $2)`,
      [authRequestId, RESTAURANT],
    );
    expect(await requests.startAttempt(lease, { configVersion: 'v1' })).toEqual({
      ...{ outcome: 'nothing_to_do', status: 'PROCESSING', attemptOpen: true },
    });
    expect(await requests.listUnsettled({ olderThanMs: 0, limit: 10_000 })).toContainEqual(
      expect.objectContaining({ authRequestId, canBeAsked: false, unansweredVersions: [''] }),
    );
    await requests.startAttempt(lease, { configVersion: 'v1', besideUnanswered: true });
    await requests.recordAuthorized(lease, anAuthorization());
    expect(await get(authRequestId)).toMatchObject({ status: 'AUTHORIZED', unansweredVersions: [''] });
  });
});

describe('money that crosses', () => {
  it('a second authorization leaves the request with the first, and is released by its own name', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    const first = anAuthorization();
    const second = anAuthorization({ processorName: 'chase', authorizedAmountCents: 1000 });
    expect(await requests.recordAuthorized(lease, first)).toMatchObject({ status: 'AUTHORIZED', voidQueued: false });
    expect(await requests.startAttempt(lease, { configVersion: 'v2' })).toMatchObject({
      ...{ outcome: 'settle', status: 'AUTHORIZED', configVersion: 'v1' },
    });
    expect(await requests.recordAuthorized(lease, second)).toEqual({
      ...{ status: 'AUTHORIZED', lastEventSequence: 6, replayed: false, voidQueued: true },
    });
    expect(await get(authRequestId)).toMatchObject({
      ...{ status: 'AUTHORIZED', attemptOpen: false, processorAuthId: first.processorAuthId },
    });
    expect(await releases(authRequestId)).toMatchObject([
      { processorName: 'chase', processorAuthId: second.processorAuthId, amountCents: 1000, currency: 'USD' },
    ]);
  });

  it.each(['DENIED', 'FAILED', 'VOIDED', 'EXPIRED'])(
    'an authorization of a request that is %s is released',
    async (to) => {
      const { authRequestId } = await aRequest(dataSource, { started: true });
      const lease = await takeOver(authRequestId);
      await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
      const ref = { restaurantId: RESTAURANT, authRequestId, reason: '' };
      if (to === 'DENIED') await requests.recordDenied(lease, { processorName: 'chase', denialCode: '05' });
      if (to === 'FAILED')
        await requests.recordFailure(lease, { ...failure, retryable: false, outcome: 'nothing_held' });
      if (to === 'VOIDED') await requests.requestVoid({ ...ref, idempotencyKey: uuidv4() });
      if (to === 'EXPIRED') await requests.expire(ref);
      await requests.startAttempt(lease, { configVersion: 'v1' });
      const authorization = anAuthorization();
      expect(await requests.recordAuthorized(lease, authorization)).toMatchObject({ status: to, voidQueued: true });
      const { processorAuthId } = authorization;
      expect(await releases(authRequestId)).toMatchObject([{ processorAuthId, amountCents: 1050 }]);
    },
  );

  it('a void names the authorization that the request has', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const { processorAuthId } = anAuthorization();
    await requests.recordAuthorized(lease, anAuthorization({ processorAuthId, processorName: 'wörldpay' }));
    await requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: 'r', idempotencyKey: uuidv4() });
    expect(await releases(authRequestId)).toMatchObject([
      { reason: 'r', processorName: 'wörldpay', processorAuthId, amountCents: 1050, currency: 'USD' },
    ]);
  });

  it('the same authorization under another version is no second one', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    const authorization = anAuthorization();
    await requests.recordAuthorized(lease, authorization);
    await requests.startAttempt(lease, { configVersion: 'v1' });
    expect(await requests.recordAuthorized(lease, authorization)).toMatchObject({ voidQueued: false });
    expect(await get(authRequestId)).toMatchObject({ status: 'AUTHORIZED', attemptOpen: false });
    expect(await releases(authRequestId)).toEqual([]);
  });

  it('the same authorization with another amount is a conflict, not a repeat', async () => {
    const { lease, authRequestId } = await aRequest(dataSource, { started: true });
    const authorization = anAuthorization();
    await requests.recordAuthorized(lease, authorization);
    const other = requests.recordAuthorized(lease, { ...authorization, authorizedAmountCents: 900 });
    await expect(other).rejects.toThrow(AuthorizationConflictError);
    const later = requests.recordAuthorized(await takeOver(authRequestId), {
      ...authorization,
      authorizedAmountCents: 1,
    });
    await expect(later).rejects.toThrow(AuthorizationConflictError);
    expect(await releases(authRequestId)).toEqual([]);
  });

  it('the authorization that the request names is never released, however another client spelt its processor', async () => {
    for (const name of [null, '', 'Stripe']) {
      const { lease, authRequestId } = await aRequest(dataSource, { started: true });
      const authorization = anAuthorization();
      await requests.recordAuthorized(lease, authorization);
      await database.query('UPDATE auth_request_state SET processor_name = $2 WHERE auth_request_id = $1', [
        authRequestId,
        name,
      ]);
      const again = requests.recordAuthorized(await takeOver(authRequestId), authorization);
      if (name) await expect(again).rejects.toThrow(AuthorizationConflictError);
      else
        expect(await again).toEqual({ status: 'AUTHORIZED', lastEventSequence: 3, replayed: true, voidQueued: false });
      expect(await releases(authRequestId)).toEqual([]);
    }
  });

  it('an answer to an attempt that is named closes no other: not when it is repeated, nor when it is late', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    const second = await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    const answer = { ...anAuthorization(), attempt: 'attempt' in second ? second.attempt : 0 };
    await requests.recordAuthorized(lease, answer);
    await requests.startAttempt(lease, { configVersion: 'v2' });
    expect(await requests.recordAuthorized(lease, answer)).toMatchObject({ replayed: true, voidQueued: false });
    const late = { processorName: 'stripe', denialCode: '05', attempt: answer.attempt };
    await requests.recordDenied(lease, late);
    await requests.recordFailure(lease, { ...failure, outcome: 'not_asked', attempt: 2 }).catch(() => undefined);
    expect(await get(authRequestId)).toMatchObject({ status: 'AUTHORIZED', unansweredVersions: ['v1'] });
    for await (const difference of new ReadModel(dataSource).verify({ authRequestId })) expect(difference).toBeNull();
  });

  it('a result without any attempt is refused, and one of a worker that began none is recorded', async () => {
    const pending = await aRequest(dataSource);
    await expect(requests.recordAuthorized(pending.lease, anAuthorization())).rejects.toThrow(AuthRequestStatusError);
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    expect(await requests.recordAuthorized(lease, anAuthorization())).toMatchObject({ status: 'AUTHORIZED' });
    expect(await get(authRequestId)).toMatchObject({ attemptOpen: true });
  });
});

describe('closeUnanswered', () => {
  const found = { restaurantId: RESTAURANT, configVersion: 'v1', by: 'ada', reason: 'nothing there' };

  it('lists first what can still be asked', async () => {
    await database.query(
      `UPDATE auth_request_state SET unanswered_since = now() - interval '2 days' WHERE attempt_open`,
    );
    const { authRequestId } = await aRequest(dataSource, { started: true });
    expect(await requests.listUnsettled({ olderThanMs: 0, limit: 1 })).toMatchObject([
      { authRequestId, canBeAsked: true },
    ]);
  });

  it('closes the attempts of a version by name and reason, once, and nothing else', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    await expect(requests.closeUnanswered({ ...found, authRequestId })).rejects.toThrow(LockHeldError);
    await locks.release(lease);
    const { lastEventSequence: before } = (await get(authRequestId))!;
    const after = { attemptOpen: true, lastEventSequence: before + 1 };
    expect(await requests.closeUnanswered({ ...found, authRequestId })).toEqual({ closed: true, ...after });
    expect(await requests.closeUnanswered({ ...found, authRequestId })).toEqual({ closed: false, ...after });
    expect(await get(authRequestId)).toMatchObject({ status: 'PROCESSING', unansweredVersions: ['v2'], retryCount: 0 });
    const rows = await database.query(
      'SELECT metadata FROM payment_events WHERE aggregate_id = $1 AND sequence_number = 4',
      [authRequestId],
    );
    expect(rows).toMatchObject([{ metadata: { closed_version: 'v1', closed_by: 'ada' } }]);
    await expect(requests.closeUnanswered({ ...found, authRequestId: uuidv4() })).rejects.toThrow(
      AuthRequestNotFoundError,
    );
    for await (const difference of new ReadModel(dataSource).verify({ authRequestId })) expect(difference).toBeNull();
  });
});

describe('the guard of the read model', () => {
  const change = (authRequestId: string, set: string) =>
    refusal(database.query(`UPDATE auth_request_state SET ${set} WHERE auth_request_id = $1`, [authRequestId]));

  it('lets no client forget an attempt', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const lease = await takeOver(authRequestId);
    await requests.startAttempt(lease, { configVersion: 'v2', besideUnanswered: true });
    const forgotten = `attempt_open = false, attempt_unanswered = false, unanswered_versions = '{}', unanswered_since = NULL`;
    expect(await change(authRequestId, forgotten)).toMatchObject({
      ...{ code: '23514', constraint: 'auth_request_state_attempts_need_event' },
    });
    expect(await change(authRequestId, `${forgotten}, last_event_sequence = 4`)).toMatchObject({
      ...{ code: '23514', constraint: 'auth_request_state_attempts_not_forgotten' },
    });
    expect(await change(authRequestId, 'attempt = 4, attempt_version = NULL, last_event_sequence = 4')).toMatchObject({
      ...{ code: '23514', constraint: 'auth_request_state_attempts_not_forgotten' },
    });
    const rewritten = `attempt_version = 'v9', last_event_sequence = 4`;
    expect(await change(authRequestId, rewritten)).toMatchObject({
      constraint: 'auth_request_state_attempts_not_forgotten',
    });
    for (const nothing of ['attempt_version = NULL, attempt = 4', `unanswered_versions = '{v1,NULL}'`]) {
      const refused = await change(authRequestId, `${nothing}, last_event_sequence = 4`);
      expect(refused).toMatchObject({ code: '23514' });
    }
    expect(await change(authRequestId, 'attempt_open = false')).toMatchObject({
      ...{ code: '23514', constraint: 'auth_request_state_attempts_consistent' },
    });
  });

  it('and no worker write under a lease that it has lost', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await takeOver(authRequestId);
    await expect(requests.recordFailure(lease, { ...failure, outcome: 'unknown' })).rejects.toThrow(LockLostError);
  });
});
