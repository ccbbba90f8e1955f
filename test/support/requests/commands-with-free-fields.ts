import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { Holds } from '../../../src/auth-requests/holds/holds';
import { EventStore } from '../../../src/event-store/event-store';
import { ProcessingLocks } from '../../../src/locks/processing-locks';
import { Outbox } from '../../../src/outbox/outbox';
import { anAuthorization, anAuthorizeCommand, aRequest, RESTAURANT } from './auth-requests';

/** Makes what a command works on, and gives the call, which takes any change of the command. */
type Prepare = (dataSource: DataSource) => Promise<(changes: object) => Promise<unknown>>;

const started = async (dataSource: DataSource) => (await aRequest(dataSource, { started: true })).lease;

/** A request of which nobody holds the lease. */
async function free(dataSource: DataSource, { started = false } = {}) {
  const { lease, locks } = await aRequest(dataSource, { started });
  await locks.release(lease);
  return { restaurantId: RESTAURANT, authRequestId: lease.authRequestId };
}

/** A hold that is to be voided, under a lease. */
async function voiding(dataSource: DataSource, { failed = false } = {}) {
  const requests = new AuthRequests(dataSource);
  const lease = await started(dataSource);
  await requests.expire({ ...lease, reason: 'r' });
  const hold = { processorName: 'stripe', processorAuthId: `pi_${uuidv4()}` };
  await requests.recordAuthorized(lease, anAuthorization(hold));
  const failure = { ...hold, errorCode: 'E', errorMessage: '', retryable: false };
  if (failed) await new Holds(dataSource).recordVoidFailure(lease, failure);
  return { lease, hold, ref: { restaurantId: RESTAURANT, authRequestId: lease.authRequestId } };
}

/** Commands that begin something, by their class. */
export const BEGINNINGS: Record<string, Prepare> = {
  AuthorizeCommand: (dataSource) =>
    Promise.resolve((changes) => new AuthRequests(dataSource).authorize(anAuthorizeCommand(changes))),
  EnqueueCommand: (dataSource) =>
    Promise.resolve((changes) => {
      const message = { aggregateId: uuidv4(), restaurantId: RESTAURANT, messageType: 'm', payload: Buffer.of(1) };
      return dataSource.transaction((manager) => new Outbox(dataSource).enqueue(manager, { ...message, ...changes }));
    }),
};

/** Commands that report what has happened, or take something back. */
export const REPORTS: Record<string, Prepare> = {
  AppendOptions: async (dataSource) => {
    const request = await free(dataSource);
    // Its row is not raised by what is appended, so that nothing else may be written to it.
    await new AuthRequests(dataSource).expire({ ...request, reason: 'r' });
    const data = { ...request, reason: 'r', requestedAt: new Date() };
    return (changes) =>
      new EventStore(dataSource).append(request, 2, [{ type: 'AuthVoidRequested', data } as never], changes);
  },
  AttemptCommand: async (dataSource) => {
    const command = { ...(await free(dataSource)), configVersion: 'v1', ttlMs: 60_000 };
    const failure = { errorCode: 'E', errorMessage: '', retryable: true, outcome: 'unknown' } as const;
    return (changes) =>
      new AuthRequests(dataSource).attempt({ ...command, ...changes }, () => Promise.resolve(failure));
  },
  AttemptVoidCommand: async (dataSource) => {
    const { lease, ref, hold } = await voiding(dataSource);
    await new ProcessingLocks(dataSource).release(lease);
    const failure = { outcome: 'failed', errorCode: 'E', errorMessage: '', retryable: true } as const;
    return (changes) =>
      new Holds(dataSource).attemptVoid({ ...ref, ...hold, ttlMs: 60_000, ...changes }, () => Promise.resolve(failure));
  },
  AuthorizedCommand: async (dataSource) => {
    const lease = await started(dataSource);
    // The request is settled by then, so that a message goes out.
    await new AuthRequests(dataSource).expire({ ...lease, reason: 'r' });
    return (changes) => new AuthRequests(dataSource).recordAuthorized(lease, anAuthorization(changes));
  },
  CloseUnansweredCommand: async (dataSource) => {
    const command = { ...(await free(dataSource, { started: true })), configVersion: 'v1', by: 'ada', reason: 'r' };
    return (changes) => new AuthRequests(dataSource).closeUnanswered({ ...command, ...changes });
  },
  DeniedCommand: async (dataSource) => {
    const lease = await started(dataSource);
    return (changes) => new AuthRequests(dataSource).recordDenied(lease, { processorName: 'stripe', ...changes });
  },
  DiscardCommand: async (dataSource) => {
    const { authRequestId } = await free(dataSource);
    const sql = 'SELECT id FROM outbox WHERE aggregate_id = $1';
    const [message] = await dataSource.query<{ id: string }[]>(sql, [authRequestId]);
    return (changes) => new Outbox(dataSource).discard(BigInt(message!.id), { by: 'ada', reason: 'r', ...changes });
  },
  ExpireCommand: async (dataSource) => {
    const request = await free(dataSource);
    return (changes) => new AuthRequests(dataSource).expire({ ...request, reason: 'r', ...changes });
  },
  ExpireStaleCommand: async (dataSource) => {
    await free(dataSource);
    return (changes) => new AuthRequests(dataSource).expireStale({ olderThanMs: 1, ...changes });
  },
  FailureCommand: async (dataSource) => {
    const lease = await started(dataSource);
    const failure = { errorCode: 'E', errorMessage: '', retryable: true, outcome: 'unknown' } as const;
    return (changes) => new AuthRequests(dataSource).recordFailure(lease, { ...failure, ...changes });
  },
  RecordEndCommand: async (dataSource) => {
    const { ref, hold } = await voiding(dataSource);
    const command = { ...ref, ...hold, end: 'voided', by: 'ada', reason: 'r' } as const;
    return (changes) => new Holds(dataSource).recordEnd({ ...command, ...changes });
  },
  ReportHoldCommand: async (dataSource) => {
    const { authRequestId } = await free(dataSource);
    await new AuthRequests(dataSource).expire({ restaurantId: RESTAURANT, authRequestId, reason: 'r' });
    const hold = { processorName: 'stripe', processorAuthId: `pi_${uuidv4()}` };
    const report = { authRequestId, ...hold, told: 'authorized', source: 's', sourceEventId: 'e', amountCents: 1 };
    return (changes) => new Holds(dataSource).report({ ...report, ...changes } as never);
  },
  RequeueVoidCommand: async (dataSource) => {
    const { ref, hold } = await voiding(dataSource, { failed: true });
    return (changes) => new Holds(dataSource).requeueVoid({ ...ref, ...hold, by: 'ada', reason: 'r', ...changes });
  },
  StartAttemptCommand: async (dataSource) => {
    const { lease } = await aRequest(dataSource);
    return (changes) => new AuthRequests(dataSource).startAttempt(lease, { configVersion: 'v1', ...changes });
  },
  VoidCommand: async (dataSource) => {
    const command = { ...(await free(dataSource)), reason: 'r', idempotencyKey: uuidv4() };
    return (changes) => new AuthRequests(dataSource).requestVoid({ ...command, ...changes });
  },
  VoidedCommand: async (dataSource) => {
    const { lease, hold } = await voiding(dataSource);
    return (changes) => new Holds(dataSource).recordVoided(lease, { ...hold, ...changes });
  },
  VoidFailureCommand: async (dataSource) => {
    const { lease, hold } = await voiding(dataSource);
    const failure = { ...hold, errorCode: 'E', errorMessage: '', retryable: true };
    return (changes) => new Holds(dataSource).recordVoidFailure(lease, { ...failure, ...changes });
  },
};
