import { type DataSource } from 'typeorm';
import { type valueTypes } from './parsers';

/**
 * What `createDataSourceOptions` leaves in the driver's options for this package. A DataSource made otherwise has none of
 * it, and gets the defaults.
 */
export interface DriverSettings {
  /** The schema that holds the tables. */
  readonly schema?: string;
  /** `named` (default) prepares once a connection; `unnamed` every time, for poolers that cannot do otherwise. */
  readonly preparedStatements?: 'named' | 'unnamed';
  /** Longest wait for an answer, in milliseconds, where the network swallows it. Default 35,000; 0 for no limit. */
  readonly answerTimeoutMs?: number;
  /** How the connections read values, for all of their statements. */
  readonly types?: typeof valueTypes;
  /** How many statements of calls that travel together may be in flight. Default 4; 0: each call goes by itself. */
  readonly coalescedStatements?: number;
  /** What to do about what looks like a card number in a command that begins something. Default `report`. */
  readonly cardNumbers?: 'report' | 'mask' | 'refuse';
  /** How long to wait for another process that migrates, in milliseconds. */
  readonly migrationWaitMs?: number;
  /** How long a migration tries for a lock that traffic holds, in milliseconds. */
  readonly migrationLockBudgetMs?: number;
  /** How long a hold of an earlier authorization counts as young, in days. */
  readonly migrationHoldLifeDays?: number;
}

export const settingsOf = ({ options }: Pick<DataSource, 'options'>): DriverSettings =>
  (options as { extra?: DriverSettings }).extra ?? {};
