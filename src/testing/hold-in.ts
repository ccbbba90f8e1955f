import { type DataSource } from 'typeorm';
import { AuthRequests } from '../auth-requests/auth-requests';
import { type VoidAnswer } from '../auth-requests/holds/attempt-void';
import { Holds } from '../auth-requests/holds/holds';
import { HOLD_STATES, type HoldEndState, type HoldState } from '../auth-requests/holds/states';
import { newId } from '../database/new-id';
import { ConfigurationError } from '../errors';
import { refOf, requestIn, type RequestOptions, type TestRequest } from './request-in';

/**
 * Makes a request with a hold in a state, by the operations that bring one there. Nobody has a lease on it.
 *
 * - `held`: the request is AUTHORIZED by it.
 * - `voiding`: it was voided since, and `void_request_queued` is in the outbox.
 * - `void_failed`, `voided`: a worker has had the processor void it, which refused or did so.
 * - `captured`, `lapsed`: the request is AUTHORIZED, and the processor has told how the hold ended.
 *
 * ```ts
 * const hold = await holdIn(dataSource, 'void_failed');
 * await new Holds(dataSource).requeueVoid({ ...hold, by: 'ann', reason: 'tried again' });
 * ```
 *
 * @throws ConfigurationError naming each option that is wrong
 */
export async function holdIn(dataSource: DataSource, state: HoldState, options?: RequestOptions): Promise<TestRequest> {
  if (!Object.hasOwn(WAYS, state)) {
    throw new ConfigurationError(`holdIn: the state must be one of ${HOLD_STATES.join(', ')}.`);
  }
  const request = await requestIn(dataSource, 'AUTHORIZED', options);
  await WAYS[state](dataSource, request);
  return request;
}

const WAYS: {
  readonly [State in HoldState]: (dataSource: DataSource, request: TestRequest) => Promise<unknown>;
} = {
  held: () => Promise.resolve(),
  voiding: (dataSource, request) =>
    new AuthRequests(dataSource).requestVoid({ ...refOf(request), reason: 'test', idempotencyKey: newId() }),
  void_failed: async (dataSource, request) => {
    const failure = { errorCode: 'no_such_charge', errorMessage: '', retryable: false };
    await voidIt(dataSource, request, { outcome: 'failed', ...failure });
  },
  voided: (dataSource, request) => voidIt(dataSource, request, { outcome: 'voided' }),
  captured: (dataSource, request) => tell(dataSource, request, 'captured'),
  lapsed: (dataSource, request) => tell(dataSource, request, 'lapsed'),
};

async function voidIt(dataSource: DataSource, request: TestRequest, answer: VoidAnswer): Promise<void> {
  await WAYS.voiding(dataSource, request);
  const { processorName, processorAuthId } = request;
  const command = { ...refOf(request), processorName, processorAuthId, ttlMs: 60_000 };
  await new Holds(dataSource).attemptVoid(command, () => Promise.resolve(answer));
}

function tell(dataSource: DataSource, request: TestRequest, told: HoldEndState): Promise<unknown> {
  const { processorName, processorAuthId } = request;
  const source = { source: processorName, sourceEventId: `evt_${newId()}` };
  return new Holds(dataSource).report({ ...refOf(request), processorName, processorAuthId, told, ...source });
}
