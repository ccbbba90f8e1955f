import { IsOptional } from 'class-validator';
import { StartAttemptCommand } from '../auth-requests/start-attempt';
import { ConfigurationError } from '../errors';
import { type ResidueClass } from '../fence/residue';
import { HooksNamed, Signal } from '../validation/option-rules';
import { Flag, LONGEST_AGE_MS, LONGEST_TIMER_MS, WholeNumber } from '../validation/rules';
import { validateSettings } from '../validation/validate-options';
import { type SweeperHooks } from './sweeper-reporter';

/** How a {@link Sweeper} works. Every time is in milliseconds; ages are by the database's clock. */
export class SweeperOptions {
  /** Pause between two looks for voids that nobody has carried out; 0: never. Default 60,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  voidingIntervalMs?: number;

  /** Pause between two looks for stuck requests; 0: never. Default 60,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  stuckIntervalMs?: number;

  /** Pause between two looks for unsettled requests that can be asked about; 0: never. Default 60,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  unsettledIntervalMs?: number;

  /** Pause between two lists of what needs a person: requests given up, holds about to lapse; 0: never. Default 300,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  listingIntervalMs?: number;

  /** Pause between two expiries of stale requests; 0: never. Default 300,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  expiryIntervalMs?: number;

  /** Pause between two purges of expired idempotency keys; 0: never. Default 3,600,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  keysIntervalMs?: number;

  /** Pause between two purges of expired leases; 0: never. Default 3,600,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  leasesIntervalMs?: number;

  /** Pause between two purges of delivered messages; 0: never. Default 3,600,000. */
  @IsOptional()
  @WholeNumber(0, LONGEST_TIMER_MS)
  messagesIntervalMs?: number;

  /**
   * A void is sent again when it has been on its way for so long, then after twice, four times … as long, from the last time
   * on: 1 to a hundred years. Longer than a worker takes. Default 600,000.
   */
  @IsOptional()
  @WholeNumber(1, LONGEST_AGE_MS)
  voidingAfterMs?: number;

  /** The same for a stuck request, from its last change on. Less than `withinMs`. Default 600,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_AGE_MS)
  stuckAfterMs?: number;

  /** The same for an unsettled request. Less than `withinMs`. Default 600,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_AGE_MS)
  unsettledAfterMs?: number;

  /** The longest of these pauses: 1 to 2^31 − 1, about 25 days. Default 21,600,000 (6 hours). */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  maxDelayMs?: number;

  /** Messages of one request or hold until it is given up: 1 to 1,000. Default 10, which takes about 35 hours. */
  @IsOptional()
  @WholeNumber(1, 1_000)
  maxSweeps?: number;

  /** Messages that one look sends at most, and entries of a list: 1 to 10,000. Default 100. */
  @IsOptional()
  @WholeNumber(1, 10_000)
  batchSize?: number;

  /** Messages a minute at most, of all kinds together, counted by this object: 1 to 1,000,000. Default 600. */
  @IsOptional()
  @WholeNumber(1, 1_000_000)
  perMinute?: number;

  /**
   * Nothing is sent while the oldest message that could go out has waited longer than this: the relay is behind, and the
   * messages are there already. 1 to a hundred years. Default 60,000.
   */
  @IsOptional()
  @WholeNumber(1, LONGEST_AGE_MS)
  outboxLateMs?: number;

  /** Requests made longer ago than this are left to people: 2 to a hundred years. Default 172,800,000 (48 hours). */
  @IsOptional()
  @WholeNumber(2, LONGEST_AGE_MS)
  withinMs?: number;

  /** As for `startAttempt`: what has been unanswered for longer cannot be asked. 0 to a hundred years. Default 86,400,000 (24 hours). */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  settleWithinMs?: number;

  /** Holds that lapse so soon are listed: 0 to a hundred years. Default 86,400,000 (24 hours). */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  lapsingWithinMs?: number;

  /** Open requests so old expire: 1 to a hundred years. Less than `withinMs`. Default 86,400,000 (24 hours). */
  @IsOptional()
  @WholeNumber(1, LONGEST_AGE_MS)
  expireAfterMs?: number;

  /** Messages that were delivered or discarded so long ago are purged: 0 to a hundred years. Default 604,800,000 (7 days). */
  @IsOptional()
  @WholeNumber(0, LONGEST_AGE_MS)
  purgeMessagesAfterMs?: number;

  /** How soon another sweeper takes over from one that has died: 100 to 24 hours. Default 30,000. */
  @IsOptional()
  @WholeNumber(100, 86_400_000)
  leaseTtlMs?: number;

  /** Longest pause while the database cannot be reached. At least 1. Default 30,000. */
  @IsOptional()
  @WholeNumber(1, LONGEST_TIMER_MS)
  maxReconnectDelayMs?: number;

  /** Logging and metrics of your own. */
  @IsOptional()
  @HooksNamed('swept', 'gaveUp', 'waiting', 'unavailable', 'recovered')
  hooks?: SweeperHooks;

  /** Stops the sweeper when it aborts, as `stop()` does. */
  @IsOptional()
  @Signal()
  signal?: AbortSignal;
}

/** What one turn is told. */
export class SweepOptions {
  /** Looks for the same and writes nothing. Default false. */
  @IsOptional()
  @Flag()
  dryRun?: boolean;
}

const HOUR_MS = 3_600_000;

/** What is not said. */
export const DEFAULTS = {
  voidingIntervalMs: 60_000,
  stuckIntervalMs: 60_000,
  unsettledIntervalMs: 60_000,
  listingIntervalMs: 300_000,
  expiryIntervalMs: 300_000,
  keysIntervalMs: HOUR_MS,
  leasesIntervalMs: HOUR_MS,
  messagesIntervalMs: HOUR_MS,
  voidingAfterMs: 600_000,
  stuckAfterMs: 600_000,
  unsettledAfterMs: 600_000,
  maxDelayMs: 6 * HOUR_MS,
  maxSweeps: 10,
  batchSize: 100,
  perMinute: 600,
  outboxLateMs: 60_000,
  withinMs: 48 * HOUR_MS,
  settleWithinMs: StartAttemptCommand.DEFAULT_SETTLE_WITHIN_MS,
  lapsingWithinMs: 24 * HOUR_MS,
  expireAfterMs: 24 * HOUR_MS,
  purgeMessagesAfterMs: 7 * 24 * HOUR_MS,
  leaseTtlMs: 30_000,
  maxReconnectDelayMs: 30_000,
} as const;

/** All numbers of it. */
export type SweeperSettings = { readonly [Name in keyof typeof DEFAULTS]: number };

/** The same, and which restaurants are the database's own: undefined for all. */
export type TurnSettings = SweeperSettings & { readonly fence?: ResidueClass };

/** @throws ConfigurationError naming each option that is wrong */
export function readSweeperOptions(
  options: SweeperOptions | undefined,
): Pick<SweeperOptions, 'hooks' | 'signal'> & { readonly settings: SweeperSettings } {
  const { hooks, signal, ...given } = validateSettings({ SweeperOptions }, options);
  const settings = { ...DEFAULTS, ...given };
  const outside = (['stuckAfterMs', 'unsettledAfterMs', 'expireAfterMs'] as const).filter(
    (name) => settings[name] >= settings.withinMs,
  );
  if (outside.length > 0) {
    throw new ConfigurationError(
      `SweeperOptions: ${outside.join(', ')} must be less than withinMs, or no request could match.`,
    );
  }
  return { hooks, signal, settings };
}
