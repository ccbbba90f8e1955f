import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { newId } from '../database/new-id';
import { BigInteger, Instant, LARGEST_BIGINT, Text, Uuid } from '../validation/rules';
import { validateCommand } from '../validation/validate-command';

/** A worker's claim on a request. Pass it to every write of that worker; it is checked inside each. */
export class Lease {
  @Uuid()
  readonly restaurantId: string;

  @Uuid()
  readonly authRequestId: string;

  @Text(1, 255)
  readonly workerId: string;

  /**
   * Drawn at random for every acquisition. Compared for equality, never for order. JSON has no bigint: to hand a lease on as
   * JSON, make text of it, and `BigInt(text)` of that again.
   */
  @BigInteger(0n, LARGEST_BIGINT)
  readonly fencingToken: bigint;

  /** By the database's clock. */
  @Instant()
  readonly expiresAt: Date;
}

/** What tells a lease from every other one. Whether it is held, and until when, the database knows. */
export type LeaseRef = Omit<Lease, 'expiresAt'>;

/** @throws InvalidCommandError it is none, such as one that came out of JSON */
export function validLease(input: Lease): Lease {
  const lease = validateCommand({ Lease }, input);
  return Object.freeze({
    ...lease,
    restaurantId: lease.restaurantId.toLowerCase(),
    authRequestId: lease.authRequestId.toLowerCase(),
  });
}

/** A fencing token: 62 random bits. */
export const newFencingToken = (): bigint => randomBytes(8).readBigUInt64BE() >> 2n;

/** A process id alone is 1 in every container. */
const THIS_PROCESS = `${hostname().slice(0, 100)}/${process.pid}/${newId()}`;

/** What a caller has said of the lease that it asks for. */
interface Wanted {
  readonly restaurantId: string;
  readonly authRequestId: string;
  readonly workerId?: string;
  readonly fencingToken?: bigint;
}

/** The lease that is asked for: of this process, under a new token, where the caller does not say otherwise. */
export const wantedLease = ({
  restaurantId,
  authRequestId,
  workerId = THIS_PROCESS,
  fencingToken = newFencingToken(),
}: Wanted): LeaseRef => ({
  restaurantId: restaurantId.toLowerCase(),
  authRequestId: authRequestId.toLowerCase(),
  workerId,
  fencingToken,
});
