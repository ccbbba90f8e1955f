import { PaymentEventsDbError } from '../errors';

/** The privileges of the roles cannot be set by this user, or on these roles. Nothing was changed. */
export class GrantsRefusedError extends PaymentEventsDbError {
  readonly code = 'GRANTS_REFUSED';

  constructor(
    /** What is in the way, each with its remedy. */
    readonly reasons: readonly string[],
  ) {
    super(`Nothing was granted:\n${reasons.map((reason) => `  ${reason}`).join('\n')}`);
  }
}
