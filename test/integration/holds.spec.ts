import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { Holds } from '../../src/auth-requests/holds/holds';
import { type ReportHoldCommand } from '../../src/auth-requests/holds/report-hold';
import { type HoldState } from '../../src/auth-requests/holds/states';
import { type PaymentEventsDataSource } from '../../src/data-source';
import {
  AmbiguousHoldError,
  AuthorizationConflictError,
  AuthorizationMismatchError,
  AuthRequestNotFoundError,
  HoldNotFoundError,
  HoldStateError,
  InvalidCommandError,
  LockLostError,
  NotVoidableError,
} from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { ReadModel } from '../../src/read-model/read-model';
import { decodeOutboxMessage } from '../../src/outbox/message-codec';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, aRequest, RESTAURANT } from '../support/requests/auth-requests';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
let holds: Holds;
let locks: ProcessingLocks;
beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
  holds = new Holds(dataSource);
  locks = new ProcessingLocks(dataSource);
});

/** A request that is AUTHORIZED by a hold. */
async function authorized() {
  const { authRequestId, lease } = await aRequest(dataSource, { started: true });
  const authorization = anAuthorization();
  await requests.recordAuthorized(lease, authorization);
  return { authRequestId, lease, id: authorization.processorAuthId };
}

/** A request that was taken back, with a hold that is to be voided. */
async function voiding() {
  const request = await authorized();
  await takeBack(request.authRequestId);
  return request;
}

const takeBack = (authRequestId: string, idempotencyKey = uuidv4()) =>
  requests.requestVoid({ restaurantId: RESTAURANT, authRequestId, reason: 'cancelled', idempotencyKey });

const rowsOf = (authRequestId: string) =>
  database.query<{ processor_auth_id: string; state: HoldState; is_needed: boolean } & Record<string, unknown>>(
    'SELECT * FROM auth_holds WHERE auth_request_id = $1 ORDER BY first_event_sequence',
    [authRequestId],
  );

const statesOf = async (authRequestId: string) => (await rowsOf(authRequestId)).map(({ state }) => state);

async function eventsOf(authRequestId: string): Promise<string[]> {
  const rows = await database.query<{ event_type: string }>(
    'SELECT event_type FROM payment_events WHERE aggregate_id = $1 ORDER BY sequence_number',
    [authRequestId],
  );
  return rows.map(({ event_type }) => event_type);
}

/** The voids that were queued. */
async function voidsOf(authRequestId: string) {
  const rows = await database.query<{ message_type: string; payload: Buffer; next_attempt_at: Date | null }>(
    `SELECT message_type, payload, next_attempt_at FROM outbox
     WHERE aggregate_id = $1 AND message_type = 'void_request_queued' ORDER BY id`,
    [authRequestId],
  );
  return rows.map(({ message_type, payload, next_attempt_at }) => ({
    ...(decodeOutboxMessage(message_type, payload).data as { processorAuthId: string; reason: string }),
    dueAt: next_attempt_at,
  }));
}

const aReport = (changes: Partial<ReportHoldCommand>): ReportHoldCommand => ({
  processorName: 'stripe',
  processorAuthId: 'pi_unknown',
  told: 'captured',
  source: 'stripe',
  sourceEventId: uuidv4(),
  ...changes,
});

const errorOf = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

/** What the rows say is what the events say. */
async function expectSound(authRequestId: string) {
  for await (const difference of new ReadModel(dataSource).verify({ authRequestId }))
    expect(difference).toBeUndefined();
}

const ofHold = (id: string) => ({ processorName: 'stripe', processorAuthId: id });

async function takeOver(authRequestId: string): Promise<Lease> {
  await database.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId]);
  return (await locks.acquire({ restaurantId: RESTAURANT, authRequestId, ttlMs: 60_000 }))!;
}

describe('a hold is a row', () => {
  it('of the answer that authorizes a request, with amount, currency, version, times and the event that made it', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const authorizedAt = new Date('2026-03-01T10:00:00.700Z');
    const holdExpiresAt = new Date('2026-03-08T10:00:00Z');
    await requests.recordAuthorized(lease, anAuthorization({ processorAuthId: 'pi_row', authorizedAt, holdExpiresAt }));
    expect(await rowsOf(authRequestId)).toMatchObject([
      {
        ...{ processor_name: 'stripe', processor_auth_id: 'pi_row', amount_cents: '1050', currency: 'USD' },
        ...{ config_version: 'v1', authorized_at: new Date('2026-03-01T10:00:00Z'), hold_expires_at: holdExpiresAt },
        ...{ state: 'held', is_needed: true, is_answered: true, first_event_sequence: 3, last_event_sequence: 3 },
      },
    ]);
  });

  it('also of a second one of a request, which is voided at once, by name', async () => {
    const { authRequestId, lease, id } = await authorized();
    const second = anAuthorization({ authorizedAmountCents: 900 });
    expect(await requests.recordAuthorized(lease, second)).toMatchObject({ status: 'AUTHORIZED', voidQueued: true });
    expect(await rowsOf(authRequestId)).toMatchObject([
      { processor_auth_id: id, state: 'held', is_needed: true },
      { processor_auth_id: second.processorAuthId, state: 'voiding', is_needed: false },
    ]);
    expect(await voidsOf(authRequestId)).toMatchObject([
      { ...ofHold(second.processorAuthId), amountCents: 900, currency: 'USD', reason: 'not_needed' },
    ]);
  });

  it.each([
    ['a void', (authRequestId: string) => takeBack(authRequestId), 'voided_during_authorization'],
    [
      'an expiry',
      (authRequestId: string) => requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: '' }),
      'voided_during_authorization',
    ],
    [
      'a denial',
      (_: string, lease: Lease) => requests.recordDenied(lease, { processorName: 'stripe', denialCode: '05' }),
      'not_needed',
    ],
    [
      'a failure for good',
      (_: string, lease: Lease) =>
        requests.recordFailure(lease, {
          ...{ errorCode: 'X', errorMessage: '', retryable: false, outcome: 'unknown' },
        }),
      'voided_during_authorization',
    ],
  ])('of one that comes after %s, and is voided', async (_, close, reason) => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    await close(authRequestId, lease);
    const late = anAuthorization();
    expect(await requests.recordAuthorized(lease, late)).toMatchObject({ voidQueued: true });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'voiding', is_needed: false }]);
    expect(await voidsOf(authRequestId)).toMatchObject([{ ...ofHold(late.processorAuthId), reason }]);
  });

  it('of one that was reported for two requests, at each', async () => {
    const authorization = anAuthorization();
    for (let n = 0; n < 2; n++) {
      const { authRequestId, lease } = await aRequest(dataSource, { started: true });
      await requests.recordAuthorized(lease, authorization);
      expect(await statesOf(authRequestId)).toEqual(['held']);
    }
  });

  it('once, however often the answer is recorded', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const authorization = anAuthorization();
    for (let n = 0; n < 3; n++) await requests.recordAuthorized(lease, authorization);
    expect(await rowsOf(authRequestId)).toHaveLength(1);
  });
});

describe('a void', () => {
  it('makes the hold voiding, queues its void by name, and says queued', async () => {
    const { authRequestId, id } = await authorized();
    expect(await takeBack(authRequestId)).toMatchObject({ status: 'VOIDED', outcome: 'queued' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'voiding', is_needed: false, last_event_sequence: 4 }]);
    expect(await voidsOf(authRequestId)).toMatchObject([
      { ...ofHold(id), amountCents: 1050, currency: 'USD', reason: 'cancelled', restaurantId: RESTAURANT },
    ]);
  });

  it('of a request whose hold was captured is refused, saying so, and uses up no key', async () => {
    const { authRequestId, id } = await authorized();
    await holds.report(aReport({ processorAuthId: id, told: 'captured', amountCents: 1050 }));
    const idempotencyKey = uuidv4();
    const error = await errorOf(takeBack(authRequestId, idempotencyKey));
    expect(error).toBeInstanceOf(NotVoidableError);
    expect(error).toMatchObject({ because: 'captured', status: 'AUTHORIZED' });
    expect(
      await database.query('SELECT FROM auth_idempotency_keys WHERE idempotency_key = $1', [idempotencyKey]),
    ).toEqual([]);
    expect(await statesOf(authRequestId)).toEqual(['captured']);
  });

  it.each(['voided', 'lapsed'] as const)(
    'of a hold that the processor has %s already is not required',
    async (told) => {
      const { authRequestId, id } = await authorized();
      await holds.report(aReport({ processorAuthId: id, told }));
      expect(await takeBack(authRequestId)).toMatchObject({ status: 'VOIDED', outcome: 'not_required' });
      expect(await voidsOf(authRequestId)).toEqual([]);
      expect(await rowsOf(authRequestId)).toMatchObject([{ state: told, is_needed: false }]);
    },
  );

  it('voids a hold that a client of an earlier version has not written', async () => {
    const { authRequestId, id } = await authorized();
    await database.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [authRequestId]);
    expect(await takeBack(authRequestId)).toMatchObject({ outcome: 'queued' });
    expect(await rowsOf(authRequestId)).toMatchObject([
      { processor_auth_id: id, state: 'voiding', amount_cents: '1050' },
    ]);
    expect(await voidsOf(authRequestId)).toMatchObject([ofHold(id)]);
  });
});

describe('an authorization of another amount or currency than was asked for', () => {
  it('is kept by a report, and voided once its request has failed', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const larger = anAuthorization({ authorizedAmountCents: 9_999 });
    expect(await errorOf(requests.recordAuthorized(lease, larger))).toBeInstanceOf(AuthorizationMismatchError);
    const { processorAuthId } = larger;
    await holds.report(
      aReport({
        authRequestId,
        processorAuthId,
        told: 'authorized',
        amountCents: 9_999,
        currency: 'USD',
        source: 'w1',
      }),
    );
    await requests.recordFailure(lease, {
      ...{ errorCode: 'MISMATCH', errorMessage: '', retryable: false, outcome: 'unknown' },
    });
    expect(await voidsOf(authRequestId)).toMatchObject([{ ...ofHold(processorAuthId), amountCents: 9_999 }]);
  });
});

describe('a row of a legacy service that is AUTHORIZED and names no authorization', () => {
  it('can be voided, and its void is listed', async () => {
    const { authRequestId } = await authorized();
    await database.query('DELETE FROM auth_holds WHERE auth_request_id = $1', [authRequestId]);
    await database.query(`
      ALTER TABLE auth_request_state DROP CONSTRAINT auth_request_state_authorized_complete;
      UPDATE auth_request_state SET processor_auth_id = NULL, processor_name = NULL WHERE auth_request_id = '${authRequestId}';
      ALTER TABLE auth_request_state ADD CONSTRAINT auth_request_state_authorized_complete
        CHECK (status <> 'AUTHORIZED' OR (processor_auth_id IS NOT NULL AND authorized_amount_cents IS NOT NULL)) NOT VALID`);
    expect(await takeBack(authRequestId)).toMatchObject({ status: 'VOIDED', outcome: 'queued' });
    expect(await rowsOf(authRequestId)).toMatchObject([
      { processor_name: '', processor_auth_id: '', state: 'voiding' },
    ]);
    const lease = await takeOver(authRequestId);
    const voiding = await holds.toVoid(lease, {});
    expect(voiding).toMatchObject({ outcome: 'void', processorAuthId: '', amountCents: 1050 });
    const failure = { processorName: '', processorAuthId: '', errorCode: 'NO_ID', errorMessage: '', retryable: false };
    expect(await holds.recordVoidFailure(lease, failure)).toMatchObject({ state: 'void_failed' });
  });
});

describe('a worker that consumes void_request_queued', () => {
  it('is told what to void, and under which configuration version', async () => {
    const { lease, id } = await voiding();
    expect(await holds.toVoid(lease, ofHold(id))).toEqual({
      ...{ outcome: 'void', ...ofHold(id), amountCents: 1050, currency: 'USD', configVersion: 'v1', failures: 0 },
    });
  });

  it('is told the hold that the request names, where a message of an earlier version names none', async () => {
    const { lease, id } = await voiding();
    expect(await holds.toVoid(lease, {})).toMatchObject({ outcome: 'void', processorAuthId: id });
    expect(await holds.toVoid(lease, { processorName: '', processorAuthId: '' })).toMatchObject({
      processorAuthId: id,
    });
  });

  it.each(['captured', 'voided', 'lapsed'] as const)('has nothing to do where it was %s', async (told) => {
    const { lease, id } = await voiding();
    await holds.report(aReport({ processorAuthId: id, told }));
    expect(await holds.toVoid(lease, ofHold(id))).toEqual({ outcome: 'nothing_to_do', state: told });
  });

  it('voids what a client of an earlier version, which knows no holds, has closed the request of', async () => {
    for (const outcome of ['voided', 'failed', 'failed for good'] as const) {
      const { authRequestId, lease, id } = await authorized();
      const event = [uuidv4(), authRequestId, RESTAURANT];
      await database.query(
        `INSERT INTO payment_events (event_id, aggregate_id, restaurant_id, aggregate_type, event_type, event_data, sequence_number)
         VALUES ($1, $2, $3, 'auth_request', 'AuthVoidRequested', '', 4)`,
        event,
      );
      await database.query(
        `UPDATE auth_request_state SET status = 'VOIDED', last_event_sequence = 4, last_event_id = $1
         WHERE auth_request_id = $2 AND restaurant_id = $3`,
        event,
      );
      // Until then `verify` says that the row does not know it.
      for await (const { kind } of new ReadModel(dataSource).verify({ authRequestId }))
        expect(kind).toBe('holds_differ');
      expect(await holds.toVoid(lease, ofHold(id))).toMatchObject({ outcome: 'void' });
      const failure = { ...ofHold(id), errorCode: 'E', errorMessage: '' };
      if (outcome === 'voided') await holds.recordVoided(lease, ofHold(id));
      else await holds.recordVoidFailure(lease, { ...failure, retryable: outcome === 'failed' });
      const state = outcome === 'voided' ? 'voided' : 'voiding';
      expect(await rowsOf(authRequestId)).toMatchObject([{ state, is_needed: false }]);
      expect(await voidsOf(authRequestId)).toHaveLength(outcome === 'failed' ? 1 : 0);
      await expectSound(authRequestId);
    }
  });

  it('has nothing to do where the request may use the hold', async () => {
    const { lease, id } = await authorized();
    expect(await holds.toVoid(lease, ofHold(id))).toEqual({ outcome: 'nothing_to_do', state: 'held' });
  });

  it('records that it was voided: once, whoever repeats it', async () => {
    const { authRequestId, lease, id } = await voiding();
    expect(await holds.recordVoided(lease, ofHold(id))).toEqual({ state: 'voided', replayed: false });
    expect(await holds.recordVoided(lease, ofHold(id))).toEqual({ state: 'voided', replayed: true });
    const next = await takeOver(authRequestId);
    expect(await holds.recordVoided(next, ofHold(id))).toEqual({ state: 'voided', replayed: true });
    // The first answer was lost, and the lease by now as well.
    expect(await holds.recordVoided(lease, ofHold(id))).toEqual({ state: 'voided', replayed: true });
    expect(await rowsOf(authRequestId)).toMatchObject([
      { state: 'voided', ended_by: 'w1', ended_amount_cents: '1050' },
    ]);
    expect((await eventsOf(authRequestId)).filter((type) => type === 'AuthVoidCompleted')).toHaveLength(1);
  });

  it('records a failure to be tried again: the next message is due at the time that was given', async () => {
    const { authRequestId, lease, id } = await voiding();
    const nextRetryAt = new Date(Date.now() + 60_000);
    const failure = { ...ofHold(id), errorCode: 'TIMEOUT', errorMessage: 'none', retryable: true, nextRetryAt };
    expect(await holds.recordVoidFailure(lease, failure)).toEqual({ state: 'voiding', failures: 1, nextRetryAt });
    expect(await holds.recordVoidFailure(lease, failure)).toEqual({ state: 'voiding', failures: 1, nextRetryAt });
    expect(await voidsOf(authRequestId)).toMatchObject([{ dueAt: null }, { ...ofHold(id), dueAt: nextRetryAt }]);
    expect(await rowsOf(authRequestId)).toMatchObject([
      { state: 'voiding', void_failures: 1, last_void_error: 'TIMEOUT', next_void_at: nextRetryAt },
    ]);
  });

  it('has at most one void of a hold waiting, and backs off where no time is given', async () => {
    const { authRequestId, lease, id } = await voiding();
    const failure = { ...ofHold(id), errorMessage: '', retryable: true };
    const first = await holds.recordVoidFailure(lease, { ...failure, errorCode: 'A' });
    expect(first.nextRetryAt!.getTime()).toBeGreaterThan(Date.now() - 60_000);
    // Both at one time, which the test does not reach.
    await database.query(`UPDATE auth_holds SET next_void_at = '2100-01-01' WHERE auth_request_id = $1`, [
      authRequestId,
    ]);
    await database.query(
      `UPDATE outbox SET next_attempt_at = '2100-01-01' WHERE aggregate_id = $1 AND next_attempt_at IS NOT NULL`,
      [authRequestId],
    );
    expect(await holds.recordVoidFailure(lease, { ...failure, errorCode: 'B' })).toMatchObject({ failures: 2 });
    expect(await voidsOf(authRequestId)).toHaveLength(2);
  });

  it('writes no message where its queue delivers again', async () => {
    const { authRequestId, lease, id } = await voiding();
    const failure = {
      ...ofHold(id),
      errorCode: 'TIMEOUT',
      errorMessage: '',
      retryable: true,
      retryBy: 'broker' as const,
    };
    expect(await holds.recordVoidFailure(lease, failure)).toEqual({ state: 'voiding', failures: 1, nextRetryAt: null });
    expect(await voidsOf(authRequestId)).toHaveLength(1);
  });

  it('has a void waiting after a failure that the queue was to deliver again at a time, and the next one that it was not', async () => {
    const { authRequestId, lease, id } = await voiding();
    const nextRetryAt = new Date(Date.now() + 60_000);
    const failure = { ...ofHold(id), errorMessage: '', retryable: true, nextRetryAt };
    await holds.recordVoidFailure(lease, { ...failure, errorCode: 'A', retryBy: 'broker' });
    expect(await holds.recordVoidFailure(lease, { ...failure, errorCode: 'B' })).toMatchObject({ nextRetryAt });
    expect(await voidsOf(authRequestId)).toMatchObject([{ dueAt: null }, { dueAt: nextRetryAt }]);
  });

  it('records a failure for good: the hold waits for a person', async () => {
    const { authRequestId, lease, id } = await voiding();
    const failure = { ...ofHold(id), errorCode: 'NO_SUCH_ACCOUNT', errorMessage: '', retryable: false };
    expect(await holds.recordVoidFailure(lease, failure)).toEqual({
      state: 'void_failed',
      failures: 1,
      nextRetryAt: null,
    });
    expect(await voidsOf(authRequestId)).toHaveLength(1);
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'void_failed', last_void_error: 'NO_SUCH_ACCOUNT' }]);
  });

  it('writes nothing without its lease', async () => {
    const { authRequestId, lease, id } = await voiding();
    await takeOver(authRequestId);
    const failure = { ...ofHold(id), errorCode: 'X', errorMessage: '', retryable: false };
    for (const write of [
      () => holds.toVoid(lease, ofHold(id)),
      () => holds.recordVoided(lease, ofHold(id)),
      () => holds.recordVoidFailure(lease, failure),
    ]) {
      expect(await errorOf(write())).toBeInstanceOf(LockLostError);
    }
    expect(await statesOf(authRequestId)).toEqual(['voiding']);
  });

  it('is told of a hold that is not there', async () => {
    const { lease } = await voiding();
    for (const write of [
      () => holds.toVoid(lease, ofHold('pi_other')),
      () => holds.recordVoided(lease, ofHold('pi_other')),
    ]) {
      const error = await errorOf(write());
      expect(error).toBeInstanceOf(HoldNotFoundError);
      expect(error).toMatchObject({ retryable: true });
    }
  });
});

describe('what a processor tells by itself', () => {
  it('has one effect for each of its messages', async () => {
    const { authRequestId, id } = await authorized();
    const report = aReport({ processorAuthId: id, told: 'captured', amountCents: 400, at: new Date('2026-03-02') });
    expect(await holds.report(report)).toEqual({
      ...{ authRequestId, restaurantId: RESTAURANT, state: 'captured', replayed: false, voidQueued: false },
    });
    expect(await holds.report(report)).toMatchObject({ state: 'captured', replayed: true });
    expect(await eventsOf(authRequestId)).toHaveLength(4);
    expect(await rowsOf(authRequestId)).toMatchObject([
      { state: 'captured', ended_amount_cents: '400', ended_by: 'stripe', is_needed: true },
    ]);
  });

  it('counts for more or less: captured, voided, lapsed, whatever came first; each message is kept as an event', async () => {
    const orders = [
      ['lapsed', 'voided', 'captured'],
      ['captured', 'voided', 'lapsed'],
      ['voided', 'captured', 'lapsed'],
    ] as const;
    for (const order of orders) {
      const { authRequestId, id } = await authorized();
      for (const told of order) await holds.report(aReport({ processorAuthId: id, told }));
      expect(await statesOf(authRequestId)).toEqual(['captured']);
      expect((await eventsOf(authRequestId)).filter((type) => type === 'AuthHoldEnded')).toHaveLength(3);
    }
  });

  it('of several captures the largest amount stays, as processors report the sum', async () => {
    const { authRequestId, id } = await authorized();
    for (const amountCents of [300, 700, 500]) await holds.report(aReport({ processorAuthId: id, amountCents }));
    expect(await rowsOf(authRequestId)).toMatchObject([{ ended_amount_cents: '700' }]);
  });

  it('keeps a captured hold of a closed request for a person to see to', async () => {
    const { authRequestId, id } = await voiding();
    await holds.report(aReport({ processorAuthId: id, told: 'captured' }));
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'captured', is_needed: false, closed_by: null }]);
  });

  it('comes before the answer where it names the request: the answer reopens nothing', async () => {
    for (const told of ['authorized', 'captured', 'voided', 'lapsed'] as const) {
      const { authRequestId, lease } = await aRequest(dataSource, { started: true });
      const authorization = anAuthorization();
      const processorAuthId = authorization.processorAuthId;
      const report = aReport({ authRequestId, processorAuthId, told, amountCents: 1000, currency: 'USD' });
      const state = told === 'authorized' ? 'held' : told;
      expect(await holds.report(report)).toMatchObject({ state, voidQueued: false });
      expect((await requests.get({ restaurantId: RESTAURANT, authRequestId }))!.status).toBe('PROCESSING');
      expect(await requests.recordAuthorized(lease, authorization)).toMatchObject({
        status: 'AUTHORIZED',
        voidQueued: false,
      });
      expect(await rowsOf(authRequestId)).toMatchObject([
        { state, is_needed: true, is_answered: true, amount_cents: '1050', config_version: 'v1' },
      ]);
    }
  });

  it.each([
    ['a void', (authRequestId: string) => takeBack(authRequestId)],
    ['an expiry', (authRequestId: string) => requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: '' })],
    ['a sweep of stale ones', () => requests.expireStale({ olderThanMs: 1 })],
    [
      'a denial',
      (_: string, lease: Lease) => requests.recordDenied(lease, { processorName: 'stripe', denialCode: '05' }),
    ],
    [
      'a failure for good',
      (_: string, lease: Lease) =>
        requests.recordFailure(lease, {
          ...{ errorCode: 'X', errorMessage: '', retryable: false, outcome: 'unknown' },
        }),
    ],
    ['another authorization', (_: string, lease: Lease) => requests.recordAuthorized(lease, anAuthorization())],
  ])('is voided by %s, where nobody has recorded it by then', async (_, decide) => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const report = aReport({ authRequestId, processorAuthId: `pi_${uuidv4()}`, told: 'authorized', amountCents: 1050 });
    await holds.report(report);
    await decide(authRequestId, lease);
    const [first] = await rowsOf(authRequestId);
    expect(first).toMatchObject({ state: 'voiding', is_needed: false });
    expect(await voidsOf(authRequestId)).toMatchObject([ofHold(report.processorAuthId)]);
  });

  it('of a closed request is voided at once', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    await takeBack(authRequestId);
    const report = aReport({ authRequestId, processorAuthId: `pi_${uuidv4()}`, told: 'authorized', amountCents: 1050 });
    expect(await holds.report(report)).toMatchObject({ state: 'voiding', voidQueued: true });
    expect(await holds.report(report)).toMatchObject({ state: 'voiding', replayed: true, voidQueued: false });
    expect(await voidsOf(authRequestId)).toMatchObject([
      { ...ofHold(report.processorAuthId), reason: 'reported_too_late' },
    ]);
  });

  it('is to be delivered again where it names an id that nobody knows', async () => {
    const error = await errorOf(holds.report(aReport({ processorAuthId: 'pi_nowhere' })));
    expect(error).toBeInstanceOf(HoldNotFoundError);
    expect(error).toMatchObject({ retryable: true });
  });

  it('names a request that is not there', async () => {
    const report = aReport({ authRequestId: uuidv4() });
    expect(await errorOf(holds.report(report))).toBeInstanceOf(AuthRequestNotFoundError);
    const { authRequestId } = await aRequest(dataSource);
    expect(await errorOf(holds.report({ ...report, authRequestId, restaurantId: uuidv4() }))).toBeInstanceOf(
      AuthRequestNotFoundError,
    );
  });

  it('needs the request or the restaurant where several requests have the id', async () => {
    const authorization = anAuthorization();
    const ids: string[] = [];
    for (let n = 0; n < 2; n++) {
      const { authRequestId, lease } = await aRequest(dataSource, { started: true });
      await requests.recordAuthorized(lease, authorization);
      ids.push(authRequestId);
    }
    const report = aReport({ processorAuthId: authorization.processorAuthId });
    expect(await errorOf(holds.report(report))).toBeInstanceOf(AmbiguousHoldError);
    expect(await holds.report({ ...report, authRequestId: ids[1]! })).toMatchObject({ authRequestId: ids[1] });
    expect(await statesOf(ids[0]!)).toEqual(['held']);
  });

  it('must say the amount of what is held', async () => {
    const { authRequestId } = await aRequest(dataSource);
    const error = await errorOf(holds.report(aReport({ authRequestId, told: 'authorized' })));
    expect(error).toBeInstanceOf(InvalidCommandError);
  });

  it('has not said another amount than the worker for good: that of the worker counts, and stays', async () => {
    const { lease, id } = await authorized();
    await holds.report(aReport({ processorAuthId: id, told: 'authorized', amountCents: 5 }));
    const error = await errorOf(
      requests.recordAuthorized(lease, anAuthorization({ processorAuthId: id, authorizedAmountCents: 5 })),
    );
    expect(error).toBeInstanceOf(AuthorizationConflictError);
  });
});

describe('a processor whose name is spelled in several ways', () => {
  it('has no needed hold voided by a report: in the request that it names the id alone tells', async () => {
    const { authRequestId, id } = await authorized();
    const report = aReport({
      authRequestId,
      processorName: 'Stripe',
      processorAuthId: id,
      told: 'authorized',
      amountCents: 1050,
    });
    expect(await holds.report(report)).toMatchObject({ state: 'held', voidQueued: false });
    await holds.report({ ...report, told: 'captured', sourceEventId: 'evt_c' });
    expect(await rowsOf(authRequestId)).toMatchObject([
      { processor_name: 'stripe', state: 'captured', is_needed: true },
    ]);
    expect(await voidsOf(authRequestId)).toEqual([]);
    await expectSound(authRequestId);
  });

  it('nor by the answer, where the report came first', async () => {
    const { authRequestId, lease } = await aRequest(dataSource, { started: true });
    const { processorAuthId } = anAuthorization();
    await holds.report(
      aReport({ authRequestId, processorName: 'Stripe', processorAuthId, told: 'authorized', amountCents: 1050 }),
    );
    await requests.recordAuthorized(lease, anAuthorization({ processorAuthId }));
    expect(await voidsOf(authRequestId)).toEqual([]);
    expect((await rowsOf(authRequestId)).filter((row) => !row.is_needed)).toEqual([]);
    await expectSound(authRequestId);
  });
});

describe('what a person has said of a hold', () => {
  it('does not hide it while its request needs it: captured, and then closed, it is listed', async () => {
    const { authRequestId } = await aRequest(dataSource, { started: true });
    const { processorName, processorAuthId } = anAuthorization();
    await holds.report(aReport({ authRequestId, processorAuthId, told: 'authorized', amountCents: 1050 }));
    const command = { restaurantId: RESTAURANT, authRequestId, processorName, processorAuthId };
    await holds.recordEnd({ ...command, end: 'captured', by: 'ana', reason: 'in the dashboard' });
    await requests.expire({ restaurantId: RESTAURANT, authRequestId, reason: '' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'captured', is_needed: false, closed_by: null }]);
    await expectSound(authRequestId);
  });

  it('covers no larger capture that is told later, and is kept again where it is said in other words', async () => {
    const { authRequestId, id } = await voiding();
    await holds.report(aReport({ processorAuthId: id, told: 'captured', amountCents: 100 }));
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), end: 'captured' as const, by: 'ana' };
    await holds.recordEnd({ ...command, reason: 'refunded 1.00' });
    await holds.report(aReport({ processorAuthId: id, told: 'captured', amountCents: 1050 }));
    expect(await rowsOf(authRequestId)).toMatchObject([{ ended_amount_cents: '1050', closed_by: null }]);
    await holds.recordEnd({ ...command, reason: 'refunded the rest' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ closed_by: 'ana' }]);
    await expectSound(authRequestId);
  });
});

describe('a person', () => {
  it('sends a void that has failed on its way again, by name and reason', async () => {
    const { authRequestId, lease, id } = await voiding();
    await holds.recordVoidFailure(lease, { ...ofHold(id), errorCode: 'X', errorMessage: '', retryable: false });
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), by: 'ana', reason: 'account is open' };
    expect(await holds.requeueVoid(command)).toEqual({ queued: true });
    expect(await holds.requeueVoid(command)).toEqual({ queued: false });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'voiding', void_failures: 0, last_void_error: null }]);
    expect(await voidsOf(authRequestId)).toMatchObject([{}, { ...ofHold(id), reason: 'account is open' }]);
  });

  it('does not void by that what a request may use, or what has ended', async () => {
    const { authRequestId, id } = await authorized();
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), by: 'ana', reason: 'x' };
    expect(await errorOf(holds.requeueVoid(command))).toBeInstanceOf(HoldStateError);
    await holds.report(aReport({ processorAuthId: id, told: 'voided' }));
    expect(await errorOf(holds.requeueVoid(command))).toBeInstanceOf(HoldStateError);
    expect(await voidsOf(authRequestId)).toEqual([]);
  });

  it('records how a hold ended, which takes it off the list', async () => {
    const { authRequestId, lease, id } = await voiding();
    await holds.recordVoidFailure(lease, { ...ofHold(id), errorCode: 'X', errorMessage: '', retryable: false });
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), end: 'voided' as const };
    const said = { by: 'ana', reason: 'voided in the dashboard' };
    expect(await holds.recordEnd({ ...command, ...said })).toEqual({ state: 'voided' });
    expect(await holds.recordEnd({ ...command, ...said })).toEqual({ state: 'voided' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'voided', ended_by: 'ana', closed_by: 'ana' }]);
    expect((await eventsOf(authRequestId)).filter((type) => type === 'AuthHoldEnded')).toHaveLength(1);
  });

  it('closes a capture of a closed request, which stays captured', async () => {
    const { authRequestId, id } = await voiding();
    await holds.report(aReport({ processorAuthId: id, told: 'captured' }));
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), end: 'voided' as const };
    expect(await holds.recordEnd({ ...command, by: 'ana', reason: 'refunded' })).toEqual({ state: 'captured' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'captured', closed_by: 'ana' }]);
  });

  it('has not seen to what the processor tells later: a capture after that is listed again', async () => {
    const { authRequestId, id } = await voiding();
    const command = { restaurantId: RESTAURANT, authRequestId, ...ofHold(id), end: 'voided' as const };
    await holds.recordEnd({ ...command, by: 'ana', reason: 'voided in the dashboard' });
    expect(await holds.list({ forAPerson: true, limit: 10_000 })).not.toContainEqual(
      expect.objectContaining({ authRequestId }),
    );
    await holds.report(aReport({ processorAuthId: id, told: 'captured' }));
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'captured', closed_by: null }]);
    expect(await holds.list({ forAPerson: true, limit: 10_000 })).toContainEqual(
      expect.objectContaining({ authRequestId }),
    );
    await holds.recordEnd({ ...command, end: 'captured', by: 'ana', reason: 'refunded' });
    expect(await rowsOf(authRequestId)).toMatchObject([{ state: 'captured', closed_by: 'ana' }]);
  });
});
