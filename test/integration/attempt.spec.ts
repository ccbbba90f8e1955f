import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import { type AskProcessor, type AttemptCommand, type ProcessorAnswer } from '../../src/auth-requests/attempt';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import { recordAuthorized } from '../../src/auth-requests/record-authorized';
import { recordDenied } from '../../src/auth-requests/record-denied';
import { recordFailure } from '../../src/auth-requests/record-failure';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import {
  AuthorizationConflictError,
  AuthorizationMismatchError,
  AuthRequestNotFoundError,
  AuthRequestStatusError,
  InvalidCommandError,
  LockHeldError,
  LockLostError,
  LockTimeoutError,
} from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from '../support/requests/auth-requests';
import { eventually, overlap } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';

const database = useTestDatabase();
let dataSource: PaymentEventsDataSource;
let requests: AuthRequests;
let locks: ProcessingLocks;
beforeAll(async () => {
  dataSource = await database.dataSource();
  requests = new AuthRequests(dataSource);
  locks = new ProcessingLocks(dataSource);
});

const aCommand = async (changes: Partial<AttemptCommand> = {}): Promise<AttemptCommand> => ({
  restaurantId: RESTAURANT,
  authRequestId: (await requests.authorize(anAuthorizeCommand())).authRequestId,
  ...{ configVersion: 'v1', workerId: 'w1', ttlMs: 60_000 },
  ...changes,
});

const authorized = (changes: object = {}): ProcessorAnswer => ({
  outcome: 'authorized',
  ...anAuthorization(),
  ...changes,
});
const denied: ProcessorAnswer = { outcome: 'denied', processorName: 'stripe', denialCode: '05' };
const failed = (outcome: 'not_asked' | 'unknown' | 'nothing_held', retryable = true): ProcessorAnswer => ({
  ...{ outcome, errorCode: 'E', errorMessage: '', retryable },
});
const answering = (answer: ProcessorAnswer) =>
  jest.fn<Promise<ProcessorAnswer>, Parameters<AskProcessor>>(() => Promise.resolve(answer));

const recordOf = async ({ authRequestId }: { authRequestId: string }) =>
  (await requireSound(database, [authRequestId]))[0]!;
const leasesOf = ({ authRequestId }: { authRequestId: string }) =>
  database.query<{ worker_id: string }>('SELECT worker_id FROM auth_processing_locks WHERE auth_request_id = $1', [
    authRequestId,
  ]);
const retriesOf = ({ authRequestId }: { authRequestId: string }) =>
  database.query<{ next_attempt_at: Date }>(
    `SELECT next_attempt_at FROM outbox
     WHERE aggregate_id = $1 AND message_type = 'auth_request_queued' AND next_attempt_at IS NOT NULL`,
    [authRequestId],
  );

describe('an attempt', () => {
  it('asks under a lease, with what the processor needs, records the answer and gives the lease back', async () => {
    const command = await aCommand();
    const ask = jest.fn<Promise<ProcessorAnswer>, Parameters<AskProcessor>>(async (attempt, signal) => {
      expect(attempt).toEqual({
        ...{ outcome: 'proceed', status: 'PROCESSING', configVersion: 'v1', attempt: 2, paymentToken: 'pt_test' },
        ...{ amountCents: 1050, currency: 'USD', metadata: {}, retryCount: 0, unansweredVersions: [] },
        ...{ restaurantId: RESTAURANT, authRequestId: command.authRequestId },
      });
      expect(signal.aborted).toBe(false);
      expect(await leasesOf(command)).toEqual([{ worker_id: 'w1' }]);
      expect(await recordOf(command)).toMatchObject({ status: 'PROCESSING', attemptOpen: true });
      return authorized({ processorAuthId: 'pi_1' });
    });
    const result = await requests.attempt(command, ask);
    expect(result).toEqual({
      ...{ outcome: 'authorized', status: 'AUTHORIZED', lastEventSequence: 3, replayed: false, voidQueued: false },
    });
    expect(ask).toHaveBeenCalledTimes(1);
    expect(await leasesOf(command)).toEqual([]);
    expect(await recordOf(command)).toMatchObject({
      ...{ status: 'AUTHORIZED', attemptOpen: false, holds: [{ state: 'held' }] },
      events: [{ type: 'AuthRequestCreated' }, { type: 'AuthAttemptStarted' }, { type: 'AuthResponseReceived' }],
    });
  });

  const ANSWERS: [name: string, answer: ProcessorAnswer, result: object, record: object][] = [
    ['yes', authorized(), { outcome: 'authorized' }, { status: 'AUTHORIZED', attemptOpen: false }],
    ['no', denied, { outcome: 'denied' }, { status: 'DENIED', attemptOpen: false }],
    [
      'not asked',
      failed('not_asked'),
      { outcome: 'not_asked', retryCount: 1 },
      { status: 'PROCESSING', attemptOpen: false },
    ],
    ['unknown', failed('unknown'), { outcome: 'unknown', retryCount: 1 }, { status: 'PROCESSING', attemptOpen: true }],
    ['nothing held', failed('nothing_held'), { outcome: 'nothing_held' }, { status: 'PROCESSING', attemptOpen: false }],
    ['unknown, for good', failed('unknown', false), { nextRetryAt: null }, { status: 'FAILED', attemptOpen: true }],
    ['nothing held, for good', failed('nothing_held', false), {}, { status: 'FAILED', attemptOpen: false }],
  ];
  it.each(ANSWERS)('that is answered with "%s" says so, and keeps no lease', async (_name, answer, result, record) => {
    const command = await aCommand();
    const told = await requests.attempt(command, answering(answer));
    expect(told).toMatchObject({ outcome: answer.outcome, ...result });
    const { status } = await recordOf(command);
    expect(told).toMatchObject({ status });
    expect(await recordOf(command)).toMatchObject(record);
    expect(await leasesOf(command)).toEqual([]);
  });

  it('settles what an earlier one has left open, under its version', async () => {
    const command = await aCommand();
    await requests.attempt(command, answering(failed('unknown')));
    const ask = answering(authorized());
    await requests.attempt({ ...command, configVersion: 'v2' }, ask);
    expect(ask.mock.calls[0]![0]).toMatchObject({ outcome: 'settle', configVersion: 'v1', retryCount: 1 });
    expect(await recordOf(command)).toMatchObject({ status: 'AUTHORIZED', openVersions: [] });
  });

  it('that meets a void has the money released, and is told', async () => {
    const command = await aCommand();
    const { restaurantId, authRequestId } = command;
    const result = await requests.attempt(command, async () => {
      await requests.requestVoid({ restaurantId, authRequestId, reason: 'left', idempotencyKey: uuidv4() });
      return authorized();
    });
    expect(result).toEqual({
      ...{ outcome: 'authorized', status: 'VOIDED', lastEventSequence: 4, replayed: false, voidQueued: true },
    });
    expect(await leasesOf(command)).toEqual([]);
  });

  it('passes on to its answer what the command says of where it comes from, unless that says it itself', async () => {
    const command = await aCommand({ correlationId: 'c', causationId: 'm', headers: { tenant: 't' } });
    await requests.attempt(command, answering({ ...failed('unknown'), causationId: 'own' }));
    const { events } = await recordOf(command);
    expect(events[1]).toMatchObject({ metadata: { correlationId: 'c', causationId: 'm' } });
    expect(events[2]).toMatchObject({ metadata: { correlationId: 'c', causationId: 'own' } });
    const [message] = await database.query(
      'SELECT headers FROM outbox WHERE aggregate_id = $1 AND next_attempt_at IS NOT NULL',
      [command.authRequestId],
    );
    expect(message).toMatchObject({ headers: { tenant: 't' } });
  });

  it('keeps its lease for longer than the time to live', async () => {
    const command = await aCommand({ ttlMs: 600 });
    const result = await requests.attempt(command, async (_attempt, signal) => {
      await delay(1_500);
      expect(signal.aborted).toBe(false);
      return authorized();
    });
    expect(result).toMatchObject({ status: 'AUTHORIZED' });
  });
});

describe('where there is nothing to do, nobody is asked and no lease is kept:', () => {
  const SETTLED: Record<string, (command: AttemptCommand) => Promise<unknown>> = {
    authorized: (command) => requests.attempt(command, answering(authorized())),
    denied: (command) => requests.attempt(command, answering(denied)),
    failed: (command) => requests.attempt(command, answering(failed('nothing_held', false))),
    voided: (command) => requests.requestVoid({ ...command, reason: '', idempotencyKey: uuidv4() }),
    expired: (command) => requests.expire({ ...command, reason: '' }),
  };

  it.each(Object.keys(SETTLED))('at a request that is %s, also while another worker has a lease on it', async (how) => {
    const command = await aCommand();
    await SETTLED[how]!(command);
    const ask = answering(authorized());
    const nothing = { outcome: 'nothing_to_do', status: how.toUpperCase() };
    expect(await requests.attempt(command, ask)).toEqual(nothing);
    expect(await leasesOf(command)).toEqual([]);
    await locks.acquire({ ...command, workerId: 'voider' });
    expect(await requests.attempt(command, ask)).toEqual(nothing);
    expect(await leasesOf(command)).toEqual([{ worker_id: 'voider' }]);
    expect(ask).not.toHaveBeenCalled();
  });

  it('at a request that is settled, without a wait for a worker that writes under its lease', async () => {
    const command = await aCommand();
    await requests.attempt(command, answering(denied));
    await locks.acquire({ ...command, workerId: 'voider' });
    const ask = answering(authorized());
    const { second, waited } = await overlap(
      { database, dataSource },
      (manager) =>
        manager.query('SELECT FROM auth_processing_locks WHERE auth_request_id = $1 FOR UPDATE', [
          command.authRequestId,
        ]),
      () => requests.attempt(command, ask),
    );
    expect({ second, waited }).toEqual({ second: { outcome: 'nothing_to_do', status: 'DENIED' }, waited: false });
  });

  it('where the processor has forgotten the key of what is open', async () => {
    const command = await aCommand();
    await requests.attempt(command, answering(failed('unknown')));
    const ask = answering(authorized());
    expect(await requests.attempt({ ...command, settleWithinMs: 0 }, ask)).toEqual({
      ...{ outcome: 'nothing_to_do', status: 'PROCESSING', attemptOpen: true },
    });
    expect(ask).not.toHaveBeenCalled();
    expect(await leasesOf(command)).toEqual([]);
  });

  it('where there is no such request of that restaurant', async () => {
    const command = await aCommand();
    const ask = answering(authorized());
    for (const wrong of [{ restaurantId: uuidv4() }, { authRequestId: uuidv4() }]) {
      await expect(requests.attempt({ ...command, ...wrong }, ask)).rejects.toThrow(AuthRequestNotFoundError);
      expect(await leasesOf({ ...command, ...wrong })).toEqual([]);
    }
    expect(ask).not.toHaveBeenCalled();
    expect(await recordOf(command)).toMatchObject({ status: 'PENDING' });
  });
});

describe('the lease', () => {
  it('of another worker is left alone, and nothing is begun', async () => {
    const command = await aCommand();
    const other = await locks.acquire({ ...command, workerId: 'w2' });
    const ask = answering(authorized());
    await expect(requests.attempt(command, ask)).rejects.toThrow(LockHeldError);
    expect(ask).not.toHaveBeenCalled();
    expect(await recordOf(command)).toMatchObject({ status: 'PENDING' });
    expect(await locks.release(other!)).toBe(true);
  });

  it('of the same worker is as another one', async () => {
    const command = await aCommand();
    await requests.attempt(command, async () => {
      await expect(requests.attempt(command, answering(denied))).rejects.toThrow(LockHeldError);
      return authorized();
    });
    expect(await recordOf(command)).toMatchObject({ status: 'AUTHORIZED' });
  });

  it('that has expired is taken over', async () => {
    const command = await aCommand();
    await locks.acquire({ ...command, workerId: 'w2', ttlMs: 100 });
    await delay(150);
    expect(await requests.attempt(command, answering(authorized()))).toMatchObject({ status: 'AUTHORIZED' });
  });

  it('that was lost is told, an answer under it is refused, and the next worker is left alone', async () => {
    const command = await aCommand({ ttlMs: 900 });
    let reason: unknown;
    const refused = requests.attempt(command, async (_attempt, signal) => {
      await database.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [command.authRequestId]);
      await locks.acquire({ ...command, workerId: 'w2', ttlMs: 60_000 });
      expect(await eventually(() => signal.aborted)).toBe(true);
      reason = signal.reason;
      return authorized();
    });
    await expect(refused).rejects.toThrow(LockLostError);
    expect(reason).toBeInstanceOf(LockLostError);
    expect(await recordOf(command)).toMatchObject({ status: 'PROCESSING', attemptOpen: true, holds: [] });
    expect(await leasesOf(command)).toEqual([{ worker_id: 'w2' }]);
  });

  it('that takes too long has rejected: what is thrown after that is not recorded, and no retry waits', async () => {
    const command = await aCommand({ longestMs: 50 });
    let thrown = false;
    const late = requests.attempt(command, async (_attempt, signal) => {
      expect(await eventually(() => signal.aborted)).toBe(true);
      thrown = true;
      signal.throwIfAborted();
      return authorized();
    });
    await expect(late).rejects.toThrow(LockTimeoutError);
    expect(await eventually(() => thrown)).toBe(true);
    await delay(200);
    expect((await recordOf(command)).events).toHaveLength(2);
    expect(await retriesOf(command)).toEqual([]);
  });

  it('is left to expire where it takes too long; what is answered meanwhile is recorded all the same', async () => {
    const command = await aCommand({ longestMs: 50 });
    const late = requests.attempt(command, async (_attempt, signal) => {
      expect(await eventually(() => signal.aborted)).toBe(true);
      await delay(50);
      return authorized();
    });
    await expect(late).rejects.toThrow(LockTimeoutError);
    expect(await eventually(async () => (await leasesOf(command)).length === 0)).toBe(true);
    expect(await recordOf(command)).toMatchObject({ status: 'AUTHORIZED' });
  });

  type Release = (lease: Lease) => Promise<unknown>;
  const session = () => sessionOf(dataSource);
  const REFUSED: [name: string, started: boolean, write: Release, error: new (...args: never[]) => Error][] = [
    [
      'yes',
      false,
      (lease) => recordAuthorized(session(), lease, anAuthorization(), 'released'),
      AuthRequestStatusError,
    ],
    [
      'no',
      false,
      (lease) => recordDenied(session(), lease, { processorName: 'stripe' }, 'released'),
      AuthRequestStatusError,
    ],
    [
      'a failure to be retried',
      false,
      (lease) =>
        recordFailure(
          session(),
          lease,
          { outcome: 'unknown', errorCode: 'E', errorMessage: '', retryable: true },
          'released',
        ),
      AuthRequestStatusError,
    ],
    [
      'more than was asked for',
      true,
      (lease) => recordAuthorized(session(), lease, anAuthorization({ authorizedAmountCents: 9_999 }), 'released'),
      AuthorizationMismatchError,
    ],
  ];
  it.each(REFUSED)('is not given back where the database refuses "%s"', async (_name, started, write, error) => {
    const { lease } = await aRequest(dataSource, { started });
    const { events } = await recordOf(lease);
    await expect(write(lease)).rejects.toThrow(error);
    expect(await leasesOf(lease)).toHaveLength(1);
    expect((await recordOf(lease)).events).toHaveLength(events.length);
  });

  it('is given back where the same was recorded before, by whatever statement', async () => {
    const { lease } = await aRequest(dataSource, { started: true });
    const answer = anAuthorization();
    await requests.recordAuthorized(lease, answer);
    expect(await recordAuthorized(session(), lease, answer, 'released')).toMatchObject({ replayed: true });
    expect(await leasesOf(lease)).toEqual([]);
    expect((await recordOf(lease)).events).toHaveLength(3);
  });
});

describe('no answer can be forgotten:', () => {
  class SecretError extends Error {
    override readonly name = 'SecretError';
  }
  const unreadable = () =>
    Object.defineProperty(new Error(), 'name', {
      get() {
        throw new Error('pt_test');
      },
    });
  const THROWN: [name: string, error: unknown, failure: object][] = [
    ['an error', new SecretError('token pt_test of Jo'), { errorCode: 'WORKER_ERROR', errorMessage: 'SecretError' }],
    [
      'an error of Node',
      new TypeError('x is not a function'),
      { errorCode: 'WORKER_ERROR', errorMessage: 'TypeError' },
    ],
    ['an error of a strange name', Object.assign(new Error(), { name: 'pt_test of\0Jo' }), { errorMessage: 'Error' }],
    ['an error without a name', Object.assign(new Error(), { name: undefined }), { errorMessage: 'Error' }],
    ['an error that cannot be read', unreadable(), { errorCode: 'WORKER_ERROR', errorMessage: 'Error' }],
    ['no error at all', 'pt_test', { errorCode: 'WORKER_ERROR', errorMessage: 'string' }],
    ['nothing', undefined, { errorCode: 'WORKER_ERROR', errorMessage: 'undefined' }],
    ['an error of this package', new LockHeldError(RESTAURANT), { errorCode: 'LOCK_HELD' }],
  ];
  it.each(THROWN)(
    '%s that is thrown is a failure of unknown outcome, retried, and told',
    async (_name, error, failure) => {
      const command = await aCommand();
      const told = await requests.attempt(command, () => {
        throw error;
      });
      expect(told).toMatchObject({ outcome: 'unknown', status: 'PROCESSING', retryCount: 1 });
      expect((told as { error?: unknown }).error === error).toBe(true);
      const { status, attemptOpen, events } = await recordOf(command);
      expect({ status, attemptOpen }).toEqual({ status: 'PROCESSING', attemptOpen: true });
      expect(events[2]).toMatchObject({
        ...{ type: 'AuthAttemptFailed', data: { isRetryable: true, ...failure }, metadata: { outcome: 'unknown' } },
      });
      expect(
        JSON.stringify(events[2], (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value)),
      ).not.toContain('pt_test');
      expect(await leasesOf(command)).toEqual([]);
      expect(await retriesOf(command)).toHaveLength(1);
    },
  );

  it('what is thrown is for the broker to retry, and answers that do not say, where the command says so', async () => {
    for (const ask of [() => Promise.reject(new Error()), answering(failed('unknown'))]) {
      const command = await aCommand({ retryBy: 'broker' });
      expect(await requests.attempt(command, ask)).toMatchObject({ outcome: 'unknown', nextRetryAt: null });
      expect(await retriesOf(command)).toEqual([]);
    }
    const command = await aCommand({ retryBy: 'broker' });
    await requests.attempt(command, answering({ ...failed('unknown'), retryBy: 'outbox' } as ProcessorAnswer));
    expect(await retriesOf(command)).toHaveLength(1);
  });

  it('an answer may be an instance of a class, with getters', async () => {
    class Answer {
      readonly outcome = 'authorized';
      readonly currency = 'USD';
      get processorName() {
        return 'stripe';
      }
      get processorAuthId() {
        return 'pi_getter';
      }
      get authorizedAmountCents() {
        return 1050;
      }
      get attempt() {
        return 77;
      }
    }
    const told = await requests.attempt(await aCommand(), () => Promise.resolve(new Answer()));
    expect(told).toMatchObject({ outcome: 'authorized', status: 'AUTHORIZED' });
  });

  const INVALID: [name: string, answer: unknown, problem: RegExp][] = [
    ['none', undefined, /AnswerToAttempt: it must be an object/],
    ['null', null, /AnswerToAttempt: it must be an object/],
    ['text', 'authorized', /AnswerToAttempt: it must be an object/],
    ['of no outcome', { processorName: 'stripe' }, /outcome must be one of/],
    ['of an outcome that there is not', { ...authorized(), outcome: 'yes' }, /outcome must be one of/],
    ['without the id', authorized({ processorAuthId: undefined }), /AuthorizedCommand: processorAuthId must be text/],
    ['of half a cent', authorized({ authorizedAmountCents: 0.5 }), /authorizedAmountCents must be an integer/],
    ['a denial by nobody', { outcome: 'denied' }, /DeniedCommand: processorName must be/],
    ['a failure without a code', { outcome: 'unknown', errorMessage: '', retryable: true }, /errorCode must be/],
    [
      'a failure that does not say whether to retry',
      { outcome: 'unknown', errorCode: 'E', errorMessage: '' },
      /retryable/,
    ],
  ];
  it.each(INVALID)(
    'an answer that is no answer (%s) is one of unknown outcome, and is told',
    async (_name, answer, problem) => {
      const command = await aCommand();
      const told = await requests.attempt(command, () => Promise.resolve(answer as ProcessorAnswer));
      expect(told).toMatchObject({ outcome: 'unknown', error: expect.any(InvalidCommandError) as Error });
      expect((told as { error: Error }).error.message).toMatch(problem);
      const { status, attemptOpen, events } = await recordOf(command);
      expect({ status, attemptOpen }).toEqual({ status: 'PROCESSING', attemptOpen: true });
      expect(events[2]).toMatchObject({
        type: 'AuthAttemptFailed',
        data: { errorCode: 'INVALID_COMMAND', isRetryable: true },
      });
      expect(await leasesOf(command)).toEqual([]);
      expect(await retriesOf(command)).toHaveLength(1);
    },
  );

  it.each([
    ['more than was asked for', { authorizedAmountCents: 1_051 }],
    ['another currency', { currency: 'EUR' }],
  ])('an authorization of %s is kept as a hold, and voided, since the request fails', async (_what, change) => {
    const command = await aCommand();
    const told = await requests.attempt(command, answering(authorized({ processorAuthId: 'pi_more', ...change })));
    expect(told).toMatchObject({ outcome: 'unknown', error: expect.any(AuthorizationMismatchError) as Error });
    const { status, attemptOpen, holds, voidIds, events } = await recordOf(command);
    expect({ status, attemptOpen, voidIds }).toEqual({ status: 'FAILED', attemptOpen: true, voidIds: ['pi_more'] });
    expect(holds).toMatchObject([{ state: 'voiding', isNeeded: false }]);
    expect(events.at(-1)).toMatchObject({ type: 'AuthAttemptFailed', data: { errorCode: 'AUTHORIZATION_MISMATCH' } });
    expect(await leasesOf(command)).toEqual([]);
  });

  it('an authorization that is recorded with another amount is told, and the attempt stays open', async () => {
    const command = await aCommand();
    const { restaurantId, authRequestId } = command;
    const answer = { processorAuthId: 'pi_1', authorizedAmountCents: 1_000 };
    await requests.attempt(command, answering(failed('unknown')));
    await requests.attempt({ ...command, configVersion: 'v2', besideUnanswered: true }, answering(authorized(answer)));
    const told = await requests.attempt(command, answering(authorized({ ...answer, authorizedAmountCents: 900 })));
    expect(told).toMatchObject({ outcome: 'unknown', error: expect.any(AuthorizationConflictError) as Error });
    expect(await recordOf(command)).toMatchObject({
      status: 'AUTHORIZED',
      attemptOpen: true,
      holds: [{ state: 'held' }],
    });
    expect(await leasesOf({ authRequestId })).toEqual([]);
    expect(await requests.get({ restaurantId, authRequestId })).toMatchObject({ authorizedAmountCents: 1_000 });
  });
});

it('what is wrong is told before anything is sent', async () => {
  const command = await aCommand();
  const ask = answering(authorized());
  for (const wrong of [
    { ttlMs: 99 },
    { longestMs: 0 },
    { configVersion: '' },
    { workerId: '' },
    { authRequestId: 'x' },
  ]) {
    await expect(requests.attempt({ ...command, ...wrong }, ask)).rejects.toThrow(InvalidCommandError);
  }
  await expect(requests.attempt(command, undefined as unknown as AskProcessor)).rejects.toThrow(
    /work must be a function/,
  );
  expect(await recordOf(command)).toMatchObject({ status: 'PENDING' });
  expect(await leasesOf(command)).toEqual([]);
});
