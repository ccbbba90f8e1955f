import { IsOptional } from 'class-validator';
import { type DataSource } from 'typeorm';
import { poolOf } from '../database/connections';
import { Signal } from '../validation/option-rules';
import { WholeNumber } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';
import { validateOptions } from '../validation/validate-options';
import { type AuthRequest, toAuthRequest } from './auth-request';
import { RequestRef } from './queries';
import { watchOf } from './result-watch';
import { isSettled } from './statuses';

/** For how long to wait for a result. */
export class WaitOptions {
  /** At most so long, in milliseconds: 0, which only looks, to a day. Default 5,000. */
  @IsOptional()
  @WholeNumber(0, 86_400_000)
  timeoutMs?: number;

  /** Ends the wait when it aborts, such as when the client has gone. */
  @IsOptional()
  @Signal()
  signal?: AbortSignal;
}

/** A request when the wait for its result has ended. */
export interface AwaitedRequest extends AuthRequest {
  /** There is a result. If not, the time was up: it is PENDING or PROCESSING still. */
  readonly settled: boolean;
}

export async function waitForResult(
  dataSource: DataSource,
  ref: RequestRef,
  options: WaitOptions | undefined,
): Promise<AwaitedRequest> {
  const { authRequestId, restaurantId } = validateCommand({ RequestRef }, ref);
  const { timeoutMs = 5_000, signal } = validateOptions({ WaitOptions }, options);
  signal?.throwIfAborted();
  poolOf(dataSource);
  const row = await watchOf(dataSource).wait(
    { authRequestId: authRequestId.toLowerCase(), restaurantId: restaurantId.toLowerCase() },
    { timeoutMs, signal },
  );
  return { ...toAuthRequest(row), settled: isSettled(row.status) };
}
