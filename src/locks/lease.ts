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

/** @throws InvalidCommandError it is none, such as one that came out of JSON */
export function validLease(input: Lease): Lease {
  const lease = validateCommand(Lease, input);
  return Object.freeze({
    ...lease,
    restaurantId: lease.restaurantId.toLowerCase(),
    authRequestId: lease.authRequestId.toLowerCase(),
  });
}
