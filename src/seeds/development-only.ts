import { type DatabaseAddress } from '../database/database-address';
import { PaymentEventsDbError } from '../errors';

/** What was asked for belongs on a developer's own database, and this one may not be one. Nothing was changed. */
export class DevelopmentOnlyError extends PaymentEventsDbError {
  readonly code = 'DEVELOPMENT_ONLY';
}

/**
 * Lets development data and deletions pass only where nobody else's data is.
 *
 * @throws DevelopmentOnlyError where `nodeEnv` is `production` or the server is not on this machine.
 */
export function assertDevelopmentDatabase(address: DatabaseAddress, nodeEnv: string | undefined): void {
  if (nodeEnv === 'production') {
    throw new DevelopmentOnlyError('Refused, since NODE_ENV is production: this is for local development only.');
  }
  if (!address.isLocal) {
    throw new DevelopmentOnlyError(
      `Refused, since ${address.host} is not this machine: this is for local development only.`,
    );
  }
}
