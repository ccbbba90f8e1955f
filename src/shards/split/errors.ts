import { PaymentEventsDbError } from '../../errors';

/** A step of a split cannot be done now. What it needs first is in the message, one line each. Nothing was changed by it. */
export class SplitRefusedError extends PaymentEventsDbError {
  readonly code = 'SPLIT_REFUSED';

  constructor(
    readonly step: string,
    readonly problems: readonly string[],
  ) {
    super(`Split, ${step}: it was refused.\n${problems.map((problem) => `  ${problem}`).join('\n')}`);
  }
}
