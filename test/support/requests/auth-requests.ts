import { type DataSource } from 'typeorm';
import { v4 as uuidv4 } from 'uuid';
import { AuthRequests } from '../../../src/auth-requests/auth-requests';
import { type AuthorizeCommand } from '../../../src/auth-requests/authorize';
import { type AuthorizedCommand } from '../../../src/auth-requests/record-authorized';
import { type Lease, ProcessingLocks } from '../../../src/locks/processing-locks';

export const RESTAURANT = '7d1f7f4e-52a5-4a5c-9d0d-5b1f0f5f9a11';

export const anAuthorizeCommand = (changes: Partial<AuthorizeCommand> = {}): AuthorizeCommand => ({
  restaurantId: RESTAURANT,
  paymentToken: 'pt_test',
  amountCents: 1050,
  currency: 'USD',
  idempotencyKey: uuidv4(),
  ...changes,
});

export const anAuthorization = (changes: Partial<AuthorizedCommand> = {}): AuthorizedCommand => ({
  processorName: 'stripe',
  processorAuthId: `pi_${uuidv4()}`,
  authorizedAmountCents: 1050,
  currency: 'USD',
  authorizationCode: 'A1',
  ...changes,
});

/** A request of its own, with a worker's lease on it, brought as far as asked. */
export async function aRequest(
  dataSource: DataSource,
  { started = false }: { started?: boolean } = {},
): Promise<{ requests: AuthRequests; locks: ProcessingLocks; authRequestId: string; lease: Lease }> {
  const requests = new AuthRequests(dataSource);
  const locks = new ProcessingLocks(dataSource);
  const { authRequestId } = await requests.authorize(anAuthorizeCommand());
  const lease = await locks.acquire({ restaurantId: RESTAURANT, authRequestId, workerId: 'w1', ttlMs: 60_000 });
  if (!lease) throw new Error('the lease of a new request is free');
  if (started) await requests.startAttempt(lease, { configVersion: 'v1' });
  return { requests, locks, authRequestId, lease };
}
