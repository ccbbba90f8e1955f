import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { type ProcessorAnswer } from '../auth-requests/attempt';
import { AuthRequests } from '../auth-requests/auth-requests';
import { type RequestRef } from '../auth-requests/queries';
import { AUTH_REQUEST_STATUSES, type AuthRequestStatus } from '../auth-requests/statuses';
import { newId } from '../database/new-id';
import { ConfigurationError } from '../errors';
import { ProcessingLocks } from '../locks/processing-locks';
import { Currency, Text, Uuid, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';

/** What a request for a test is like. */
export class RequestOptions {
  /** Default: a new one. */
  @IsOptional()
  @Uuid()
  restaurantId?: string;

  /** In the currency's minor unit, 1 to 2^53 − 1. What is authorized is the same. Default 1050. */
  @IsOptional()
  @WholeNumber(1, Number.MAX_SAFE_INTEGER)
  amountCents?: number;

  /** Default `USD`. */
  @IsOptional()
  @Currency()
  currency?: string;

  /** Default `pt_test`. */
  @IsOptional()
  @Text(1, 64)
  paymentToken?: string;

  /** Default: a new one. */
  @IsOptional()
  @Text(1, 255)
  idempotencyKey?: string;

  /** The version of the configuration that an attempt goes by. Default `v1`. */
  @IsOptional()
  @Text(1, 50)
  configVersion?: string;

  /** Default `stripe`. */
  @IsOptional()
  @Text(1, 50)
  processorName?: string;

  /** The processor's id of the authorization, where there is one. Default: a new one. */
  @IsOptional()
  @Text(1, 255)
  processorAuthId?: string;
}

/** A request that was made for a test: its ids, and what it was made of. */
export interface TestRequest extends RequestRef, Required<RequestOptions> {}

/**
 * Makes a request that has a status, by the operations that bring one there, with the events and messages that they write.
 * Nobody has a lease on it.
 *
 * - `PENDING`: accepted, its `auth_request_queued` in the outbox.
 * - `PROCESSING`: an attempt is open, and its worker is gone.
 * - `AUTHORIZED`, `DENIED`, `FAILED`: by one attempt. Failed for good, without having reached the processor.
 * - `VOIDED`, `EXPIRED`: before any attempt. Voided after an authorization: see {@link holdIn}.
 *
 * ```ts
 * const { restaurantId, authRequestId } = await requestIn(dataSource, 'AUTHORIZED', { amountCents: 2500 });
 * ```
 *
 * @throws ConfigurationError naming each option that is wrong
 */
export async function requestIn(
  dataSource: DataSource,
  status: AuthRequestStatus,
  options?: RequestOptions,
): Promise<TestRequest> {
  if (!Object.hasOwn(WAYS, status)) {
    throw new ConfigurationError(`requestIn: the status must be one of ${AUTH_REQUEST_STATUSES.join(', ')}.`);
  }
  const request = await accepted(dataSource, options);
  await WAYS[status](dataSource, request);
  return await requireStatus(dataSource, request, status);
}

/** When a retry is due. */
export class RetryOptions extends RequestOptions {
  /** How long until the retry is due, in milliseconds: 0 to a day. Default 0. */
  @IsOptional()
  @WholeNumber(0, 86_400_000)
  retryInMs?: number;
}

/**
 * Makes a request whose first attempt has failed and is to be tried again: it is PROCESSING, with a second
 * `auth_request_queued` in the outbox. The processor may have authorized, as after a time-out.
 *
 * @throws ConfigurationError naming each option that is wrong
 */
export async function requestToRetry(dataSource: DataSource, options?: RetryOptions): Promise<TestRequest> {
  const { retryInMs = 0, ...given } = validateSettings({ RetryOptions }, options);
  const request = await accepted(dataSource, given);
  const [{ now }] = await dataSource.query<[{ now: Date }]>('SELECT clock_timestamp() AS now');
  const nextRetryAt = new Date(now.getTime() + retryInMs);
  const failure = { errorCode: 'PROCESSOR_TIMEOUT', errorMessage: '', retryable: true, nextRetryAt } as const;
  await answered(dataSource, request, { outcome: 'unknown', ...failure });
  return await requireStatus(dataSource, request, 'PROCESSING');
}

/** What records an answer, records a failure where that cannot be; and a worker that runs may have been quicker. */
async function requireStatus(dataSource: DataSource, request: TestRequest, status: AuthRequestStatus) {
  const found = await new AuthRequests(dataSource).get(refOf(request));
  if (found?.status === status) return request;
  throw new ConfigurationError(
    `The request is ${found?.status ?? 'gone'} and not ${status}: another process works on this database. Stop it, or give each test file a database of its own.`,
  );
}

async function accepted(dataSource: DataSource, options: RequestOptions | undefined): Promise<TestRequest> {
  const given = validateSettings({ RequestOptions }, options);
  const made = {
    ...{ restaurantId: newId(), amountCents: 1050, currency: 'USD', paymentToken: 'pt_test', idempotencyKey: newId() },
    ...{ configVersion: 'v1', processorName: 'stripe', processorAuthId: `pi_${newId()}`, ...given },
  };
  const { restaurantId, amountCents, currency, paymentToken, idempotencyKey } = made;
  const command = { restaurantId, amountCents, currency, paymentToken, idempotencyKey };
  const { authRequestId, replayed } = await new AuthRequests(dataSource).authorize(command);
  if (replayed) throw new ConfigurationError('RequestOptions: idempotencyKey has a request already. Leave it out.');
  return { ...made, authRequestId };
}

const answered = (dataSource: DataSource, request: TestRequest, answer: ProcessorAnswer) =>
  new AuthRequests(dataSource).attempt({ ...refOf(request), configVersion: request.configVersion, ttlMs: 60_000 }, () =>
    Promise.resolve(answer),
  );

export const refOf = ({ restaurantId, authRequestId }: RequestRef): RequestRef => ({ restaurantId, authRequestId });

const WAYS: {
  readonly [Status in AuthRequestStatus]: (dataSource: DataSource, request: TestRequest) => Promise<unknown>;
} = {
  PENDING: () => Promise.resolve(),
  PROCESSING: async (dataSource, request) => {
    const locks = new ProcessingLocks(dataSource);
    await locks.withLock({ ...refOf(request), ttlMs: 60_000 }, (lease) =>
      new AuthRequests(dataSource).startAttempt(lease, { configVersion: request.configVersion }),
    );
  },
  AUTHORIZED: (dataSource, request) => {
    const { processorName, processorAuthId, amountCents: authorizedAmountCents, currency } = request;
    const authorized = { processorName, processorAuthId, authorizedAmountCents, currency, authorizationCode: 'A1' };
    return answered(dataSource, request, { outcome: 'authorized', ...authorized });
  },
  DENIED: (dataSource, request) => {
    const denial = { processorName: request.processorName, denialCode: 'card_declined' };
    return answered(dataSource, request, { outcome: 'denied', ...denial });
  },
  FAILED: (dataSource, request) => {
    const failure = { errorCode: 'NO_CONFIGURATION', errorMessage: '', retryable: false };
    return answered(dataSource, request, { outcome: 'not_asked', ...failure });
  },
  VOIDED: (dataSource, request) =>
    new AuthRequests(dataSource).requestVoid({ ...refOf(request), reason: 'test', idempotencyKey: newId() }),
  EXPIRED: (dataSource, request) => new AuthRequests(dataSource).expire({ ...refOf(request), reason: 'test' }),
};
