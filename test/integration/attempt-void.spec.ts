import { setTimeout as delay } from 'node:timers/promises';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../src/auth-requests/auth-requests';
import {
  type AttemptVoidCommand,
  type VoidAnswer,
  type VoidAtProcessor,
} from '../../src/auth-requests/holds/attempt-void';
import { Holds } from '../../src/auth-requests/holds/holds';
import { recordVoided } from '../../src/auth-requests/holds/record-voided';
import { recordVoidFailure } from '../../src/auth-requests/holds/record-void-failure';
import { type PaymentEventsDataSource } from '../../src/data-source';
import { sessionOf } from '../../src/database/session';
import { HoldNotFoundError, InvalidCommandError, LockHeldError, LockLostError } from '../../src/errors';
import { type Lease, ProcessingLocks } from '../../src/locks/processing-locks';
import { useTestDatabase } from '../support/database/use-test-database';
import { anAuthorization, anAuthorizeCommand, RESTAURANT } from '../support/requests/auth-requests';
import { eventually } from '../support/requests/races';
import { requireSound } from '../support/requests/sound-requests';

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

const hold = { processorName: 'stripe', processorAuthId: 'pi_1' };

/** What a worker calls with the message about a hold that is to be voided. */
async function aCommand(changes: Partial<AttemptVoidCommand> = {}): Promise<AttemptVoidCommand> {
  const { authRequestId } = await requests.authorize(anAuthorizeCommand());
  const ref = { restaurantId: RESTAURANT, authRequestId };
  await requests.attempt({ ...ref, configVersion: 'v1', ttlMs: 60_000 }, () =>
    Promise.resolve({ outcome: 'authorized', ...anAuthorization(hold) }),
  );
  await requests.requestVoid({ ...ref, reason: 'left', idempotencyKey: uuidv4() });
  return { ...ref, ...hold, workerId: 'w1', ttlMs: 60_000, ...changes };
}

const failed = (retryable: boolean): VoidAnswer => ({ outcome: 'failed', errorCode: 'E', errorMessage: '', retryable });
const answering = (answer: VoidAnswer) =>
  jest.fn<Promise<VoidAnswer>, Parameters<VoidAtProcessor>>(() => Promise.resolve(answer));

const recordOf = async ({ authRequestId }: { authRequestId: string }) =>
  (await requireSound(database, [authRequestId]))[0]!;
const leasesOf = ({ authRequestId }: { authRequestId: string }) =>
  database.query('SELECT worker_id FROM auth_processing_locks WHERE auth_request_id = $1', [authRequestId]);

it('a void asks under a lease, with what the processor needs, records the answer and gives the lease back', async () => {
  const command = await aCommand();
  const { restaurantId, authRequestId } = command;
  const result = await holds.attemptVoid(command, async (task, signal) => {
    expect(task).toEqual({
      ...{ outcome: 'void', ...hold, amountCents: 1050, currency: 'USD', configVersion: 'v1', failures: 0 },
      ...{ restaurantId, authRequestId },
    });
    expect(signal.aborted).toBe(false);
    expect(await leasesOf(command)).toEqual([{ worker_id: 'w1' }]);
    return { outcome: 'voided' };
  });
  expect(result).toEqual({ outcome: 'voided', state: 'voided', replayed: false });
  expect(await recordOf(command)).toMatchObject({ holds: [{ state: 'voided', endedBy: 'w1' }] });
  expect(await leasesOf(command)).toEqual([]);
});

const ANSWERS: [name: string, answer: VoidAnswer, result: object, state: string, type: string][] = [
  ['try again', failed(true), { failures: 1, nextRetryAt: expect.any(Date) as Date }, 'voiding', 'AuthVoidFailed'],
  ['no', failed(false), { failures: 1, nextRetryAt: null }, 'void_failed', 'AuthVoidFailed'],
  ['captured', { outcome: 'captured', amountCents: 1_000 }, { replayed: false }, 'captured', 'AuthHoldEnded'],
  ['lapsed', { outcome: 'lapsed' }, { replayed: false }, 'lapsed', 'AuthHoldEnded'],
];
it.each(ANSWERS)(
  'a void that is answered with "%s" says so, and keeps no lease',
  async (_, answer, result, state, type) => {
    const command = await aCommand({ correlationId: 'c' });
    expect(await holds.attemptVoid(command, answering(answer))).toMatchObject({
      ...{ outcome: answer.outcome, state, ...result },
    });
    const { holds: kept, events } = await recordOf(command);
    expect(kept).toMatchObject([{ state }]);
    expect(events.at(-1)).toMatchObject({ type, metadata: { correlationId: 'c' } });
    expect(await leasesOf(command)).toEqual([]);
  },
);

describe('where there is nothing to void, nobody is asked and no lease is taken:', () => {
  it.each(['voided', 'captured', 'lapsed'] as const)('the hold is %s', async (state) => {
    const command = await aCommand();
    await holds.report({ ...command, ...hold, told: state, source: 'stripe', sourceEventId: 'e' });
    await locks.acquire({ ...command, workerId: 'w2' });
    const ask = answering({ outcome: 'voided' });
    expect(await holds.attemptVoid(command, ask)).toEqual({ outcome: 'nothing_to_do', state });
    expect(ask).not.toHaveBeenCalled();
    expect(await leasesOf(command)).toEqual([{ worker_id: 'w2' }]);
  });

  it('nobody knows the hold, or it is of another restaurant', async () => {
    const command = await aCommand();
    const ask = answering({ outcome: 'voided' });
    for (const wrong of [{ processorAuthId: 'pi_2' }, { restaurantId: uuidv4() }, { authRequestId: uuidv4() }]) {
      await expect(holds.attemptVoid({ ...command, ...wrong }, ask)).rejects.toThrow(HoldNotFoundError);
    }
    expect(ask).not.toHaveBeenCalled();
    expect(await leasesOf(command)).toEqual([]);
  });
});

it('a message of an earlier version is about the hold that the request names', async () => {
  const command = await aCommand({ processorName: '', processorAuthId: '' });
  expect(await holds.attemptVoid(command, answering({ outcome: 'voided' }))).toMatchObject({ state: 'voided' });
});

describe('the lease', () => {
  it('of another worker is left alone', async () => {
    const command = await aCommand();
    await locks.acquire({ ...command, workerId: 'w2' });
    const ask = answering({ outcome: 'voided' });
    await expect(holds.attemptVoid(command, ask)).rejects.toThrow(LockHeldError);
    expect(ask).not.toHaveBeenCalled();
    expect(await leasesOf(command)).toEqual([{ worker_id: 'w2' }]);
  });

  it('that was lost is told, and an answer under it is refused', async () => {
    const command = await aCommand({ ttlMs: 900 });
    const refused = holds.attemptVoid(command, async (_, signal) => {
      await database.query('DELETE FROM auth_processing_locks WHERE auth_request_id = $1', [command.authRequestId]);
      await locks.acquire({ ...command, workerId: 'w2', ttlMs: 60_000 });
      expect(await eventually(() => signal.aborted)).toBe(true);
      return { outcome: 'voided' };
    });
    await expect(refused).rejects.toThrow(LockLostError);
    expect(await recordOf(command)).toMatchObject({ holds: [{ state: 'voiding' }] });
    expect(await leasesOf(command)).toEqual([{ worker_id: 'w2' }]);
  });

  it('is kept for longer than its time to live', async () => {
    const command = await aCommand({ ttlMs: 600 });
    const result = holds.attemptVoid(command, async () => {
      await delay(1_500);
      return { outcome: 'voided' };
    });
    expect(await result).toMatchObject({ state: 'voided' });
  });

  const failure = { ...hold, errorCode: 'E', errorMessage: '', retryable: true };
  const WRITES: [name: string, write: (lease: Lease, of: typeof hold) => Promise<unknown>][] = [
    ['a void', (lease, of) => recordVoided(sessionOf(dataSource), lease, of, 'released')],
    ['a failure', (lease, of) => recordVoidFailure(sessionOf(dataSource), lease, { ...failure, ...of }, 'released')],
  ];
  it.each(WRITES)('is not given back where %s is refused, and is where it stands already', async (_, write) => {
    const lease = (await locks.acquire(await aCommand()))!;
    await expect(write(lease, { ...hold, processorAuthId: 'pi_2' })).rejects.toThrow(HoldNotFoundError);
    expect(await leasesOf(lease)).toHaveLength(1);
    await holds.recordVoidFailure(lease, failure);
    await holds.recordVoided(lease, hold);
    const { events } = await recordOf(lease);
    await write(lease, hold);
    expect(await leasesOf(lease)).toEqual([]);
    expect((await recordOf(lease)).events).toHaveLength(events.length);
  });
});

describe('no answer can be forgotten:', () => {
  it('what is thrown is a failure that is tried again, and is told', async () => {
    const command = await aCommand();
    const error = new Error('pi_1 of Jo');
    const told = await holds.attemptVoid(command, () => Promise.reject(error));
    expect(told).toMatchObject({ outcome: 'failed', state: 'voiding' });
    expect((told as { error?: unknown }).error).toBe(error);
    const { holds: kept, events } = await recordOf(command);
    expect(kept).toMatchObject([{ state: 'voiding', failures: 1 }]);
    expect(events.at(-1)).toMatchObject({
      ...{ type: 'AuthVoidFailed', data: { errorCode: 'WORKER_ERROR', errorMessage: 'Error', isRetryable: true } },
    });
    expect(await leasesOf(command)).toEqual([]);
  });

  const INVALID: [name: string, answer: unknown, problem: RegExp][] = [
    ['none', undefined, /AnswerToVoid: it must be an object/],
    ['of an outcome that there is not', { outcome: 'refunded' }, /outcome must be one of/],
    ['a failure without a code', { outcome: 'failed', errorMessage: '', retryable: true }, /errorCode must be/],
    ['half a cent', { outcome: 'captured', amountCents: 0.5 }, /amountCents must be/],
  ];
  it.each(INVALID)('an answer that is no answer (%s) is a failure that is tried again', async (_, answer, problem) => {
    const command = await aCommand();
    const told = await holds.attemptVoid(command, () => Promise.resolve(answer as VoidAnswer));
    expect(told).toMatchObject({ outcome: 'failed', error: expect.any(InvalidCommandError) as Error });
    expect((told as { error: Error }).error.message).toMatch(problem);
    expect(await recordOf(command)).toMatchObject({ holds: [{ state: 'voiding', failures: 1 }] });
    expect(await leasesOf(command)).toEqual([]);
  });
});

it('what is wrong is told before anything is sent', async () => {
  const command = await aCommand();
  const ask = answering({ outcome: 'voided' });
  for (const wrong of [{ ttlMs: 99 }, { longestMs: 0 }, { workerId: '' }, { authRequestId: 'x' }]) {
    await expect(holds.attemptVoid({ ...command, ...wrong }, ask)).rejects.toThrow(InvalidCommandError);
  }
  const none = undefined as unknown as VoidAtProcessor;
  await expect(holds.attemptVoid(command, none)).rejects.toThrow(/work must be a function/);
  expect(await leasesOf(command)).toEqual([]);
});
