import { QueryFailedError } from 'typeorm';
import { PaymentEventsDbError } from '../errors';

/** The reporting database, or the views that it reads, cannot be made as things are. Nothing was changed. */
export class ReportingRefusedError extends PaymentEventsDbError {
  readonly code = 'REPORTING_REFUSED';

  constructor(
    /** What is in the way, each with its remedy. */
    readonly reasons: readonly string[],
  ) {
    super(`Nothing was changed for reports:\n${reasons.map((reason) => `  ${reason}`).join('\n')}`);
  }
}

const REFUSALS: Readonly<Record<string, string>> = {
  '42501':
    'the user lacks a right. At the reporting database, as a superuser, once: CREATE EXTENSION postgres_fdw; GRANT USAGE ON ' +
    'FOREIGN DATA WRAPPER postgres_fdw TO that user. What is there of an earlier run must belong to the user.',
  '2BP01':
    'something of yours hangs on a view, table or server that has to be made again. Drop it, and create it again afterwards.',
};

/** What cannot be seen before it is tried: a transaction that has failed, and changed nothing. */
export function refusalOf(where: string, error: unknown): unknown {
  const code = error instanceof QueryFailedError ? (error.driverError as { code?: string }).code : undefined;
  const reason = code === undefined ? undefined : REFUSALS[code];
  return reason === undefined ? error : new ReportingRefusedError([`${where}: ${reason}`]);
}
